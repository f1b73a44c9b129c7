//! Binding the address, and an error that says what to do if that fails.

use std::{fmt, io, net::SocketAddr, path::Path};

use socket2::SockRef;
use tokio::net::{TcpListener, TcpSocket, lookup_host};

use super::stream::Listener;
use crate::platform::{self, Given, LocalListener};

/// What an address begins with that is the path of a Unix domain socket.
const UNIX: &str = "unix:";

/// Connections that the system keeps ready for us; it may keep fewer.
const BACKLOG: u32 = 4096;

/// What the system keeps of answers on their way, for each connection, in bytes. Each has that of its listener. Else
/// the system may keep megabytes for each client that reads nothing.
const SEND_BUFFER: u32 = 128 * 1024;

/// Why the server cannot listen. Displays as one line that names the address and what to do.
#[derive(Debug)]
pub struct BindError {
    address: String,
    error: io::Error,
    kind: Kind,
}

/// What failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// The address was not even found.
    Lookup,
    /// A TCP port.
    Port,
    /// A Unix domain socket, or one that was given.
    Socket,
}

impl BindError {
    fn of_socket(address: &str, error: io::Error) -> Self {
        Self { address: address.to_owned(), error, kind: Kind::Socket }
    }
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cannot listen on {}: ", self.address)?;
        let error = &self.error;
        if self.kind == Kind::Socket {
            return if error.kind() == io::ErrorKind::AddrInUse {
                f.write_str("another server listens there. Stop it, or choose another path with --address.")
            } else {
                write!(f, "{error}. Choose another path with --address.")
            };
        }
        if self.kind == Kind::Lookup {
            return write!(
                f,
                "this is no address or host name ({error}). Choose another one with --address."
            );
        }
        match error.kind() {
            io::ErrorKind::AddrInUse => {
                f.write_str("the port is in use. Stop the process that uses it, or choose another port with --port.")
            }
            io::ErrorKind::AddrNotAvailable => f.write_str(
                "no network interface of this machine has this address. Choose another one with --address, such as \
                 0.0.0.0 for all of them.",
            ),
            io::ErrorKind::PermissionDenied => f.write_str(
                "no permission. Choose a port of 1024 or above with --port, or allow this process to use low ports.",
            ),
            _ => write!(f, "{error}. Choose another address with --address or another port with --port."),
        }
    }
}

impl std::error::Error for BindError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.error)
    }
}

/// Listens. `address` is an IP address or a host name, of which the first address that works counts; port 0 lets the
/// system choose. Or it is `unix:` and the path of a Unix domain socket, whose file gets `mode`. A socket that the
/// process was given when it was started (by systemd, for one) counts before that. Call it within a runtime.
///
/// # Errors
///
/// If the address is not found, or the system refuses it.
pub async fn bind(address: &str, port: u16, mode: Option<u32>) -> Result<Listener, BindError> {
    let given = platform::given_socket();
    let refused = |error| BindError::of_socket("the socket that it was given", error);
    match given.map_err(refused)? {
        Some(Given::Tcp(listener)) => {
            SockRef::from(&listener).set_send_buffer_size(SEND_BUFFER as usize).map_err(refused)?;
            return Ok(Listener::Tcp(listener));
        }
        Some(Given::Local(listener)) => return Ok(Listener::Local(listener)),
        None => {}
    }
    match address.strip_prefix(UNIX) {
        Some(path) => {
            let bound = LocalListener::bind(Path::new(path), mode, BACKLOG);
            Ok(Listener::Local(bound.map_err(|error| BindError::of_socket(address, error))?))
        }
        None => Ok(bind_tcp(address, port).await?.into()),
    }
}

async fn bind_tcp(address: &str, port: u16) -> Result<TcpListener, BindError> {
    let host = address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(address);
    let failed = |error, lookup| {
        let address = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
        BindError { address, error, kind: if lookup { Kind::Lookup } else { Kind::Port } }
    };
    let found = lookup_host((host, port)).await.map_err(|error| failed(error, true))?;
    let mut last = failed(io::Error::other("it stands for no address"), true);
    for address in found {
        match listen(address) {
            Ok(listener) => return Ok(listener),
            Err(error) => last = failed(error, false),
        }
    }
    Err(last)
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    platform::reuse_address(&socket)?;
    socket.set_send_buffer_size(SEND_BUFFER)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}
