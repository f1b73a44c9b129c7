//! Unix domain sockets, and sockets that the process was given when it was started.

use std::{
    fs, io,
    os::unix::{
        fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _},
        net::UnixStream as StdStream,
    },
    path::{Path, PathBuf},
};

use listenfd::ListenFd;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, UnixListener, UnixSocket, UnixStream},
};

/// Who may use a socket, if nothing else is said: its user and its group.
const MODE: u32 = 0o660;

/// A Unix domain socket that takes connections. Its file goes with it, if it was made for it.
#[derive(Debug)]
pub struct LocalListener {
    /// Goes first: while there is a file, somebody listens. Whoever starts meanwhile would take it for left behind.
    _file: Option<SocketFile>,
    listener: UnixListener,
}

/// A connection to one.
pub struct LocalStream(UnixStream);

/// A socket that the process was given.
pub enum Given {
    /// A TCP port.
    Tcp(TcpListener),
    /// A Unix domain socket.
    Local(LocalListener),
}

#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    /// By which it is known again.
    inode: u64,
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // It may be that of another server by now.
        if inode(&self.path).is_ok_and(|inode| inode == self.inode) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn inode(path: &Path) -> io::Result<u64> {
    Ok(fs::symlink_metadata(path)?.ino())
}

/// Takes a socket away that a server left behind which was killed; but none of which that is not sure.
fn take_away(path: &Path) -> io::Result<()> {
    let Err(error) = StdStream::connect(path) else { return Err(io::ErrorKind::AddrInUse.into()) };
    match error.kind() {
        io::ErrorKind::ConnectionRefused => fs::remove_file(path),
        // It went by itself.
        io::ErrorKind::NotFound => Ok(()),
        _ => Err(io::Error::other(format!(
            "there is a socket, and perhaps somebody who listens on it: {error}"
        ))),
    }
}

impl LocalListener {
    /// Listens at a path, whose file gets `mode`. The system keeps up to `backlog` connections ready.
    ///
    /// # Errors
    ///
    /// If somebody listens there, or may do so, or there is a file of another kind, or the system refuses it.
    pub fn bind(path: &Path, mode: Option<u32>, backlog: u32) -> io::Result<Self> {
        if let Ok(found) = fs::symlink_metadata(path) {
            if !found.file_type().is_socket() {
                return Err(io::Error::other("there is a file of another kind"));
            }
            take_away(path)?;
        }
        let socket = UnixSocket::new_stream()?;
        socket.bind(path)?;
        let file = SocketFile { path: path.to_owned(), inode: inode(path)? };
        // Nobody can connect before it listens, so nobody does with the rights that the umask leaves.
        fs::set_permissions(path, fs::Permissions::from_mode(mode.unwrap_or(MODE)))?;
        Ok(Self { _file: Some(file), listener: socket.listen(backlog)? })
    }

    /// The next connection.
    ///
    /// # Errors
    ///
    /// If the system has none to give.
    pub async fn accept(&self) -> io::Result<LocalStream> {
        Ok(LocalStream(self.listener.accept().await?.0))
    }

    /// Where it listens.
    ///
    /// # Errors
    ///
    /// If the system does not say.
    pub fn path(&self) -> io::Result<PathBuf> {
        Ok(self.listener.local_addr()?.as_pathname().map_or_else(PathBuf::new, Path::to_owned))
    }
}

impl LocalStream {
    /// What is read of it, and what is written to it.
    pub fn split(self) -> (impl AsyncRead + Send + Unpin + use<>, impl AsyncWrite + Send + Unpin + use<>) {
        self.0.into_split()
    }
}

/// The first socket that this process was given when it was started, as by systemd. Call it within a runtime.
///
/// # Errors
///
/// If it is of another kind.
pub fn given_socket() -> io::Result<Option<Given>> {
    let mut all = ListenFd::from_env();
    if all.len() == 0 {
        return Ok(None);
    }
    if let Ok(Some(listener)) = all.take_tcp_listener(0) {
        listener.set_nonblocking(true)?;
        return Ok(Some(Given::Tcp(TcpListener::from_std(listener)?)));
    }
    let Some(listener) = all.take_unix_listener(0)? else { return Ok(None) };
    listener.set_nonblocking(true)?;
    Ok(Some(Given::Local(LocalListener { _file: None, listener: UnixListener::from_std(listener)? })))
}
