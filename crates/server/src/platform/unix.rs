//! Unix: what the server needs of it.

use std::{io, time::Duration};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use sd_notify::{NotifyState, notify, watchdog_enabled};
use tokio::{
    net::TcpSocket,
    signal::unix::{SignalKind, signal},
};

/// Takes note from now on of being asked to stop, which completes what it returns: by Ctrl+C or SIGTERM.
///
/// # Errors
///
/// If the system does not let this process listen for signals.
pub fn shutdown_signal() -> io::Result<impl Future<Output = ()>> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

/// Takes note from now on of being asked to read the configuration again, by SIGHUP. What it returns calls `then`
/// each time, and never ends.
///
/// # Errors
///
/// If the system does not let this process listen for signals.
pub fn on_reload_signal(then: impl Fn()) -> io::Result<impl Future<Output = ()>> {
    let mut hangup = signal(SignalKind::hangup())?;
    Ok(async move {
        while hangup.recv().await.is_some() {
            then();
        }
    })
}

/// Raises the number of files that this process may have open, sockets among them, as far as the system allows.
/// Returns that number, or `None` if there is no such limit or it is not known.
pub fn raise_open_files() -> Option<u64> {
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

/// What this machine calls itself.
pub fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// Allows a restarted server to listen at once on the address of the one before it.
///
/// # Errors
///
/// If the system refuses the option.
pub fn reuse_address(socket: &TcpSocket) -> io::Result<()> {
    socket.set_reuseaddr(true)
}

/// Tells whoever started this process that it is ready, if he asks for that as systemd does.
pub fn tell_ready() {
    // It concerns nobody here if he cannot be told.
    let _ = notify(&[NotifyState::Ready]);
}

/// Tells whoever started this process that it is about to stop.
pub fn tell_stopping() {
    let _ = notify(&[NotifyState::Stopping]);
}

/// How often whoever started this process wants a sign of life, and the giving of one.
pub fn watchdog() -> Option<(Duration, fn())> {
    watchdog_enabled().map(|patience| (patience / 2, (|| _ = notify(&[NotifyState::Watchdog])) as fn()))
}

#[cfg(test)]
mod tests {
    #[test]
    fn open_files_are_raised_to_the_hard_limit() {
        let first = super::raise_open_files();
        assert_eq!(super::raise_open_files(), first);
        assert!(first.is_none_or(|files| files >= 64));
    }
}
