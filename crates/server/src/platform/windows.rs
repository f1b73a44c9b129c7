//! Windows.

use std::io;

use tokio::{net::TcpSocket, signal::windows};

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

/// Does nothing: the option would let another process take over the port, and a restart works without it.
///
/// # Errors
///
/// None.
#[expect(clippy::unnecessary_wraps, reason = "fails on Unix")]
pub fn reuse_address(_socket: &TcpSocket) -> io::Result<()> {
    Ok(())
}
