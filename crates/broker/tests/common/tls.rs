//! A certificate that was made for one test, and a client that trusts it.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::within;

/// The files of a certificate for localhost.
pub struct Files(PathBuf);

impl Files {
    pub fn paths(&self) -> (PathBuf, PathBuf) {
        (self.0.join("cert.pem"), self.0.join("key.pem"))
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub fn certificate() -> (Files, RootCertStore) {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let name = format!("linkup-tls-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    let files = Files(std::env::temp_dir().join(name));
    std::fs::create_dir_all(&files.0).unwrap();
    let roots = renew(&files);
    (files, roots)
}

/// Another certificate in the same files.
pub fn renew(files: &Files) -> RootCertStore {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (cert, key) = files.paths();
    std::fs::write(cert, made.cert.pem()).unwrap();
    std::fs::write(key, made.signing_key.serialize_pem()).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    roots
}

pub async fn connect_tls(tcp: TcpStream, roots: RootCertStore) -> io::Result<TlsStream<TcpStream>> {
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = "localhost".try_into().unwrap();
    within(TlsConnector::from(Arc::new(config)).connect(name, tcp)).await
}
