//! The TCP listeners of a broker. Knows addresses and socket options, nothing of what comes in.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, ToSocketAddrs};

use socket2::{Domain, Protocol, Socket, Type};

/// Connections that the kernel holds until they are accepted: after a restart all clients come back at once.
const BACKLOG: i32 = 1024;

/// How often another free port is looked for, where the one that the first address got is used on the second.
const ATTEMPTS: usize = 16;

/// See [`Broker::listen`](crate::Broker::listen).
pub(crate) fn listen(host: Option<&str>, port: u16) -> io::Result<Vec<TcpListener>> {
    let hosts = match host {
        None => vec![Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()],
        Some("localhost") => vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()],
        Some(host) => resolve(host)?,
    };
    let mut result = listen_on_all(&hosts, port);
    for _ in 1..ATTEMPTS {
        match &result {
            Err(error) if port == 0 && error.kind() == io::ErrorKind::AddrInUse => result = listen_on_all(&hosts, port),
            _ => break,
        }
    }
    result
}

fn resolve(host: &str) -> io::Result<Vec<IpAddr>> {
    let mut hosts = Vec::new();
    for address in (host, 0).to_socket_addrs()? {
        if !hosts.contains(&address.ip()) {
            hosts.push(address.ip());
        }
    }
    Ok(hosts)
}

/// Listens on one port of all hosts. A used port is an error, a family that the machine lacks is not, as long as
/// there is another one.
fn listen_on_all(hosts: &[IpAddr], mut port: u16) -> io::Result<Vec<TcpListener>> {
    let mut listeners = Vec::new();
    let mut missing = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
    for host in hosts {
        match listen_on(SocketAddr::new(*host, port), hosts.len() > 1) {
            Ok(listener) => {
                port = listener.local_addr()?.port();
                listeners.push(listener);
            }
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => return Err(error),
            Err(error) => missing = error,
        }
    }
    if listeners.is_empty() { Err(missing) } else { Ok(listeners) }
}

fn listen_on(address: SocketAddr, only_v6: bool) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        // Where IPv4 has its own listener, the two would be in each other's way.
        socket.set_only_v6(only_v6)?;
    }
    // On Windows the same option would allow two programs on one port.
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn addresses(listeners: &[TcpListener]) -> Vec<SocketAddr> {
        listeners.iter().map(|listener| listener.local_addr().unwrap()).collect()
    }

    #[test]
    fn localhost_and_everywhere_have_one_port() {
        for host in [Some("localhost"), None] {
            let addresses = addresses(&listen(host, 0).unwrap());
            assert!(addresses[0].is_ipv4());
            assert!(addresses.iter().all(|address| address.port() == addresses[0].port() && address.port() != 0));
            assert!(addresses.iter().all(|address| address.ip().is_loopback() == host.is_some()));
        }
    }

    #[test]
    fn an_address_is_taken_literally() {
        let listeners = listen(Some("127.0.0.1"), 0).unwrap();
        assert_eq!(addresses(&listeners)[0].ip(), Ipv4Addr::LOCALHOST);
        assert_eq!(listeners.len(), 1);
    }

    #[test]
    fn a_used_port_is_an_error() {
        for host in [Some("localhost"), Some("127.0.0.1"), None] {
            let first = listen(host, 0).unwrap();
            let port = addresses(&first)[0].port();
            assert_eq!(listen(host, port).unwrap_err().kind(), io::ErrorKind::AddrInUse);
            drop(first);
            assert_eq!(addresses(&listen(host, port).unwrap())[0].port(), port);
        }
    }

    #[test]
    fn an_unknown_host_is_an_error() {
        assert!(listen(Some("no host has this name"), 0).is_err());
    }
}
