//! What a signal does to this process.

use std::{io, mem, ptr};

/// What one signal does, as it can be set and put back.
#[derive(Clone, Copy)]
pub(super) struct Disposition {
    signal: libc::c_int,
    action: libc::sigaction,
}

impl Disposition {
    /// What `signal` does now.
    pub(super) fn of(signal: libc::c_int) -> io::Result<Self> {
        Self::exchange(signal, None)
    }

    /// Ignores `signal`. Returns what it did before.
    pub(super) fn ignore(signal: libc::c_int) -> io::Result<Self> {
        Self::exchange(signal, Some(libc::SIG_IGN))
    }

    /// Sets `signal` to what the system does by default. Returns what it did before.
    pub(super) fn default(signal: libc::c_int) -> io::Result<Self> {
        Self::exchange(signal, Some(libc::SIG_DFL))
    }

    pub(super) fn is_ignored(&self) -> bool {
        self.action.sa_sigaction == libc::SIG_IGN
    }

    /// Sets this again. It may be called between fork and exec.
    pub(super) fn put_back(&self) -> io::Result<()> {
        // SAFETY: the action came from the system, and nothing is written to a null pointer.
        match unsafe { libc::sigaction(self.signal, &raw const self.action, ptr::null_mut()) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }

    fn exchange(signal: libc::c_int, handler: Option<libc::sighandler_t>) -> io::Result<Self> {
        // SAFETY: zeros are a valid value of this structure of integers and, at most, optional pointers.
        let (mut new, mut old): (libc::sigaction, libc::sigaction) = unsafe { mem::zeroed() };
        let new = handler.map_or(ptr::null(), |handler| {
            new.sa_sigaction = handler;
            &raw const new
        });
        // SAFETY: `new` is null or points to a whole structure that lives on, as does `old`; the handlers that
        // are set are the two that run no code.
        match unsafe { libc::sigaction(signal, new, &raw mut old) } {
            0 => Ok(Self { signal, action: old }),
            _ => Err(io::Error::last_os_error()),
        }
    }
}
