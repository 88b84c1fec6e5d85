//! Where requests come in: a TCP port and a Unix socket.

use std::fs::{File, Permissions};
use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use tokio::net::{TcpListener, UnixListener};

use super::Tls;

/// Why requests cannot come in.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Someone has the port.
    #[error(
        "cannot listen on `{0}`: the port is in use\n\
         hint: another `capcast run` may be running (`capcast status`); choose a port with `--listen ADDRESS:PORT`, or 0 \
         for any free one"
    )]
    PortInUse(SocketAddr),
    /// The system refuses the address.
    #[error("cannot listen on `{address}`: {source}")]
    Tcp {
        /// As configured.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// Another daemon answers on the socket.
    #[error(
        "another capcast daemon is running: it holds `{}`\n\
         hint: stop it, or give this one a socket of its own with `CAPCAST_SOCKET=/path/to.sock`", .0.display()
    )]
    SecondDaemon(PathBuf),
    /// A file that is no socket is in the way.
    #[error("`{}` is not a socket\nhint: move it away, or set `CAPCAST_SOCKET` to another path", .0.display())]
    NotASocket(PathBuf),
    /// The system refuses the socket.
    #[error("cannot make the socket `{}`: {source}\nhint: set `CAPCAST_SOCKET` to a path that can be written", path.display())]
    Socket {
        /// Its path.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// One way in.
#[derive(Debug)]
pub enum Listener {
    /// A port, and the TLS that is spoken there, if any.
    Tcp(TcpListener, Tls),
    /// A socket in the file system, and what keeps it ours.
    Unix(UnixListener, SocketLock),
}

/// Holds the socket's lock file; when dropped, the socket's file goes.
#[derive(Debug)]
pub struct SocketLock {
    socket: PathBuf,
    // Locked as long as it is open.
    _lock: File,
}

impl Drop for SocketLock {
    fn drop(&mut self) {
        // The lock file stays: removing it would let a third daemon lock another file of the same name.
        let _ = std::fs::remove_file(&self.socket);
    }
}

impl Listener {
    /// Listens on a port, on IPv4 and IPv6 alike when the address is `[::]`; on IPv4 alone where there is no IPv6.
    /// Port 0 takes any free one.
    pub async fn tcp(address: SocketAddr) -> Result<Listener, ListenError> {
        let bound = match TcpListener::bind(address).await {
            Err(error) if no_ipv6(&error) && address.ip().is_unspecified() => {
                TcpListener::bind((Ipv4Addr::UNSPECIFIED, address.port())).await
            }
            bound => bound,
        };
        bound.map(|listener| Listener::Tcp(listener, Tls::default())).map_err(|source| match source.kind() {
            ErrorKind::AddrInUse => ListenError::PortInUse(address),
            _ => ListenError::Tcp { address, source },
        })
    }

    /// Listens on a socket that its owner and group may open. One that a dead daemon left is removed; a living one is an
    /// error. Makes the socket's own directory, not more.
    pub fn unix(path: &Path) -> Result<Listener, ListenError> {
        let refuse = |source| ListenError::Socket { path: path.to_owned(), source };
        if let Some(directory) = path.parent().filter(|directory| !directory.as_os_str().is_empty()) {
            match std::fs::create_dir(directory) {
                Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(refuse(error)),
                _ => {}
            }
        }
        let mut lock_path = path.as_os_str().to_owned();
        lock_path.push(".lock");
        let lock = File::options().create(true).append(true).open(lock_path).map_err(refuse)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(std::fs::TryLockError::WouldBlock) => return Err(ListenError::SecondDaemon(path.to_owned())),
            Err(std::fs::TryLockError::Error(source)) => return Err(refuse(source)),
        }
        match std::fs::symlink_metadata(path) {
            Ok(found) if !found.file_type().is_socket() => {
                return Err(ListenError::NotASocket(path.to_owned()));
            }
            Ok(_) if UnixStream::connect(path).is_ok() => {
                return Err(ListenError::SecondDaemon(path.to_owned()));
            }
            Ok(_) => std::fs::remove_file(path).map_err(refuse)?,
            Err(_) => {}
        }
        let listener = UnixListener::bind(path).map_err(refuse)?;
        let lock = SocketLock { socket: path.to_owned(), _lock: lock };
        std::fs::set_permissions(path, Permissions::from_mode(0o660)).map_err(refuse)?;
        Ok(Listener::Unix(listener, lock))
    }

    /// Speaks this TLS, as long as it has an identity; a socket never does.
    #[must_use]
    pub fn speaking(self, tls: Tls) -> Listener {
        match self {
            Listener::Tcp(listener, _) => Listener::Tcp(listener, tls),
            socket @ Listener::Unix(..) => socket,
        }
    }

    /// The port's real address, also when port 0 was asked for; none for a socket.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        match self {
            Listener::Tcp(listener, _) => listener.local_addr().ok(),
            Listener::Unix(..) => None,
        }
    }
}

fn no_ipv6(error: &io::Error) -> bool {
    // EAFNOSUPPORT and EADDRNOTAVAIL: no IPv6 in the kernel, or switched off.
    matches!(error.raw_os_error(), Some(97 | 99))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_port_is_taken_once_and_port_0_is_any() {
        let first = Listener::tcp("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = first.local_addr().unwrap();
        assert_ne!(address.port(), 0);
        let second = Listener::tcp(address).await.unwrap_err();
        assert!(second.to_string().contains("is in use\nhint: "), "{second}");
    }

    #[tokio::test]
    async fn a_stale_socket_is_replaced_and_a_living_one_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("own/capcast.sock");
        std::fs::create_dir(path.parent().unwrap()).unwrap();
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(path.exists(), "the socket of the dead daemon is there");

        let listener = Listener::unix(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o660);
        assert!(matches!(Listener::unix(&path), Err(ListenError::SecondDaemon(_))));
        drop(listener);
        assert!(!path.exists(), "the socket goes with its listener");

        std::fs::write(&path, "precious").unwrap();
        assert!(matches!(Listener::unix(&path), Err(ListenError::NotASocket(_))));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
        let nowhere = Listener::unix(&directory.path().join("no/such/place.sock")).unwrap_err();
        assert!(matches!(nowhere, ListenError::Socket { .. }), "{nowhere}");
    }
}
