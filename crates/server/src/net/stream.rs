//! Where connections come from: TCP, or a Unix domain socket.

use std::{
    fmt, io,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use socket2::{SockRef, TcpKeepalive};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
};

use crate::platform::{LocalListener, LocalStream};

/// A client that is silent, as one that waits, is asked after half a minute whether it is still there. It is gone if it
/// gives no sign of life for another.
const KEEP_ALIVE: TcpKeepalive = TcpKeepalive::new()
    .with_time(Duration::from_secs(30))
    .with_interval(Duration::from_secs(10))
    .with_retries(3);

/// What a server listens on.
#[derive(Debug)]
pub enum Listener {
    /// A TCP port.
    Tcp(TcpListener),
    /// A Unix domain socket.
    Local(LocalListener),
}

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Local {
    /// At a TCP port.
    Tcp(SocketAddr),
    /// At a Unix domain socket.
    Unix(PathBuf),
}

impl Local {
    /// Whether only this machine can reach it.
    pub fn is_of_this_machine(&self) -> bool {
        match self {
            Self::Tcp(address) => address.ip().is_loopback(),
            Self::Unix(_) => true,
        }
    }
}

impl fmt::Display for Local {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl From<TcpListener> for Listener {
    fn from(listener: TcpListener) -> Self {
        Self::Tcp(listener)
    }
}

/// A connection of a client.
pub(super) enum Stream {
    Tcp(TcpStream),
    Local(LocalStream),
}

/// What is read of a connection, and what is written to it, of whatever kind it is.
pub(super) type Reading = Box<dyn AsyncRead + Send + Unpin>;
pub(super) type Writing = Box<dyn AsyncWrite + Send + Unpin>;

impl Listener {
    /// Where it listens.
    ///
    /// # Errors
    ///
    /// If the system does not say.
    pub fn local(&self) -> io::Result<Local> {
        match self {
            Self::Tcp(listener) => Ok(Local::Tcp(listener.local_addr()?)),
            Self::Local(listener) => Ok(Local::Unix(listener.path()?)),
        }
    }

    /// The next connection, and the address of its client if it has one.
    pub(super) async fn accept(&self) -> io::Result<(Stream, Option<IpAddr>)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, address) = listener.accept().await?;
                // Both fail only on a connection that is already gone, which then shows when it is read.
                let _ = stream.set_nodelay(true);
                let _ = SockRef::from(&stream).set_tcp_keepalive(&KEEP_ALIVE);
                Ok((Stream::Tcp(stream), Some(address.ip())))
            }
            Self::Local(listener) => Ok((Stream::Local(listener.accept().await?), None)),
        }
    }
}
