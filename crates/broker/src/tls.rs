//! The certificate of a server: read from files, and read again while it serves. Knows nothing of what is served.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::CryptoProvider;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::{ClientHello, ResolvesServerCert};
use tokio_rustls::rustls::sign::CertifiedKey;

/// The files of a certificate chain and its key, both PEM, and what was in them.
#[derive(Debug)]
pub(crate) struct Certificate {
    chain: PathBuf,
    key: PathBuf,
    provider: Arc<CryptoProvider>,
    current: RwLock<Arc<CertifiedKey>>,
}

impl Certificate {
    /// Reads the files.
    ///
    /// # Errors
    /// Which of the files cannot be used, and why.
    pub(crate) fn load(chain: &Path, key: &Path) -> io::Result<Arc<Self>> {
        let provider = Arc::new(default_provider());
        let current = RwLock::new(Arc::new(read(chain, key, &provider)?));
        Ok(Arc::new(Self { chain: chain.into(), key: key.into(), provider, current }))
    }

    /// Reads the files again. Where they cannot be used, what was in them before is kept. Connections that are open go on.
    ///
    /// # Errors
    /// As for [`load`](Self::load).
    pub(crate) fn reload(&self) -> io::Result<()> {
        let new = Arc::new(read(&self.chain, &self.key, &self.provider)?);
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = new;
        Ok(())
    }

    /// For clients of a protocol that has no name in ALPN, or for those of `protocols`.
    pub(crate) fn acceptor(self: &Arc<Self>, protocols: &[&[u8]]) -> io::Result<TlsAcceptor> {
        let builder = ServerConfig::builder_with_provider(self.provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?;
        let mut config = builder.with_no_client_auth().with_cert_resolver(self.clone());
        config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
        Ok(TlsAcceptor::from(Arc::new(config)))
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _client: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current.read().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

fn read(chain: &Path, key: &Path, provider: &CryptoProvider) -> io::Result<CertifiedKey> {
    let wrong = |path: &Path, why: String| {
        io::Error::new(io::ErrorKind::InvalidInput, format!("cannot use {}: {why}", path.display()))
    };
    let bytes = |path: &Path| std::fs::read(path).map_err(|error| wrong(path, error.to_string()));
    let certificates = CertificateDer::pem_slice_iter(&bytes(chain)?)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| wrong(chain, error.to_string()))?;
    let private = PrivateKeyDer::from_pem_slice(&bytes(key)?).map_err(|error| wrong(key, error.to_string()))?;
    CertifiedKey::from_der(certificates, private, provider).map_err(|error| wrong(chain, error.to_string()))
}
