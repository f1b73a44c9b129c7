//! Windows.

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::{
    io::DuplexStream,
    net::{TcpListener, TcpSocket},
    signal::windows,
};

/// Takes note from now on of being asked to stop, which completes what it returns: by Ctrl+C, Ctrl+Break, closing
/// the console, logging off or shutting down.
///
/// # Errors
///
/// If the system does not let this process listen for signals.
pub fn shutdown_signal() -> io::Result<impl Future<Output = ()>> {
    let (mut interrupt, mut kill) = (windows::ctrl_c()?, windows::ctrl_break()?);
    let (mut close, mut log_off, mut shut_down) =
        (windows::ctrl_close()?, windows::ctrl_logoff()?, windows::ctrl_shutdown()?);
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = kill.recv() => {}
            _ = close.recv() => {}
            _ = log_off.recv() => {}
            _ = shut_down.recv() => {}
        }
    })
}

/// There is no such signal here.
#[expect(clippy::unnecessary_wraps, reason = "fails on Unix only")]
pub fn on_reload_signal(_: impl Fn()) -> io::Result<impl Future<Output = ()>> {
    Ok(std::future::pending())
}

/// There is no such limit here.
pub fn raise_open_files() -> Option<u64> {
    None
}

/// What this machine calls itself.
pub fn host_name() -> String {
    std::env::var("COMPUTERNAME").unwrap_or_default()
}

/// Does nothing: the option would let another process take over the port, and a restart works without it.
///
/// # Errors
///
/// None.
#[expect(clippy::unnecessary_wraps, reason = "fails on Unix")]
pub fn reuse_address(_socket: &TcpSocket) -> io::Result<()> {
    Ok(())
}

/// Throttle listens on no Unix domain sockets here.
#[derive(Debug)]
pub enum LocalListener {}

/// A connection to one.
pub enum LocalStream {}

/// A socket that the process was given: none is, here.
pub enum Given {
    /// A TCP port.
    Tcp(TcpListener),
    /// A Unix domain socket.
    Local(LocalListener),
}

impl LocalListener {
    /// Listens at a path.
    ///
    /// # Errors
    ///
    /// Always.
    pub fn bind(_: &Path, _: Option<u32>, _: u32) -> io::Result<Self> {
        Err(io::Error::other("Throttle listens on no Unix domain sockets on this system"))
    }

    /// The next connection.
    ///
    /// # Errors
    ///
    /// Never, as there is no such listener.
    pub async fn accept(&self) -> io::Result<LocalStream> {
        match *self {}
    }

    /// Where it listens.
    ///
    /// # Errors
    ///
    /// Never, as there is no such listener.
    pub fn path(&self) -> io::Result<PathBuf> {
        match *self {}
    }
}

impl LocalStream {
    /// What is read of it, and what is written to it.
    pub fn split(self) -> (DuplexStream, DuplexStream) {
        match self {}
    }
}

/// The first socket that this process was given when it was started.
///
/// # Errors
///
/// Never.
pub fn given_socket() -> io::Result<Option<Given>> {
    Ok(None)
}

/// Tells whoever started this process that it is ready. Nobody asks for that here.
pub fn tell_ready() {}

/// Tells whoever started this process that it is about to stop.
pub fn tell_stopping() {}

/// How often whoever started this process wants a sign of life, and the giving of one.
pub fn watchdog() -> Option<(Duration, fn())> {
    None
}
