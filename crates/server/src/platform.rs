//! What differs between operating systems. No other module may depend on one.

use std::io;

use tokio::net::TcpSocket;

/// Takes note from now on of being asked to stop, which completes what it returns: by Ctrl+C or SIGTERM on
/// Unix; by Ctrl+C, Ctrl+Break, closing the console, logging off or shutting down on Windows.
///
/// # Errors
///
/// If the system does not let this process listen for signals.
#[cfg(unix)]
pub fn shutdown_signal() -> io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

/// Takes note from now on of being asked to stop, which completes what it returns: by Ctrl+C or SIGTERM on
/// Unix; by Ctrl+C, Ctrl+Break, closing the console, logging off or shutting down on Windows.
///
/// # Errors
///
/// If the system does not let this process listen for signals.
#[cfg(windows)]
pub fn shutdown_signal() -> io::Result<impl Future<Output = ()>> {
    use tokio::signal::windows;
    let mut c = windows::ctrl_c()?;
    let mut r#break = windows::ctrl_break()?;
    let mut close = windows::ctrl_close()?;
    let mut logoff = windows::ctrl_logoff()?;
    let mut shutdown = windows::ctrl_shutdown()?;
    Ok(async move {
        tokio::select! {
            _ = c.recv() => {}
            _ = r#break.recv() => {}
            _ = close.recv() => {}
            _ = logoff.recv() => {}
            _ = shutdown.recv() => {}
        }
    })
}

/// Raises the number of files that this process may have open, sockets among them, as far as the system allows.
/// Returns that number, or `None` if there is no such limit or it is not known.
#[cfg(unix)]
pub fn raise_open_files() -> Option<u64> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let before = getrlimit(Resource::Nofile);
    let current = before.current?;
    // macOS reports a hard limit that it then refuses, hence the second, smaller step.
    for target in [before.maximum, before.maximum.map_or(Some(10_240), |maximum| Some(maximum.min(10_240)))] {
        let raises = target.is_none_or(|target| target > current);
        let limit = Rlimit { current: target, maximum: before.maximum };
        if raises && setrlimit(Resource::Nofile, limit).is_ok() {
            return target;
        }
    }
    Some(current)
}

/// Raises the number of files that this process may have open, sockets among them, as far as the system allows.
/// Returns that number, or `None` if there is no such limit or it is not known.
#[cfg(not(unix))]
pub fn raise_open_files() -> Option<u64> {
    None
}

/// Lets a restarted server listen at once on the address of the one before it.
///
/// # Errors
///
/// If the system refuses the option.
#[cfg_attr(not(unix), allow(clippy::unnecessary_wraps, reason = "fails on Unix only"))]
pub fn reuse_address(socket: &TcpSocket) -> io::Result<()> {
    // On Windows this option would let another process take over the port, and a restart works without it.
    #[cfg(unix)]
    socket.set_reuseaddr(true)?;
    #[cfg(not(unix))]
    let _ = socket;
    Ok(())
}

#[cfg(all(test, unix))]
mod tests {
    #[test]
    fn open_files_are_raised_to_the_hard_limit() {
        let first = super::raise_open_files();
        assert_eq!(super::raise_open_files(), first);
        assert!(first.is_none_or(|files| files >= 64));
    }
}
