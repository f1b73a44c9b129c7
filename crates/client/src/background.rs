//! The one thread of a process that acquires, renews and releases for every lock.
//!
//! It runs a runtime of its own, so that neither a blocked runtime of the program nor its end stops it, and so
//! that a server that hangs delays nobody but its own peers: all requests are in flight at the same time.

use std::{
    sync::{
        Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use tokio::runtime::{Builder, Handle};

use crate::Error;

/// A release that is still under way when the process ends gets this long.
const LAST_RELEASES: Duration = Duration::from_secs(2);

static THREAD: Mutex<Option<Handle>> = Mutex::new(None);

/// The runtime of the thread; it starts with the first lock.
pub(crate) fn handle() -> Result<Handle, Error> {
    let mut current = lock(&THREAD);
    if let Some(handle) = &*current {
        return Ok(handle.clone());
    }
    let runtime = Builder::new_current_thread().enable_io().enable_time().build().map_err(Error::Thread)?;
    let handle = runtime.handle().clone();
    thread::Builder::new()
        .name("throttle-renewal".to_owned())
        .spawn(move || runtime.block_on(std::future::pending::<()>()))
        .map_err(Error::Thread)?;
    at_exit();
    Ok(current.insert(handle).clone())
}

/// What ran there ended without a word: it panicked.
pub(crate) fn no_answer() -> Error {
    Error::Thread(std::io::Error::other("it ended before it answered"))
}

/// Releases that the process should not end without.
static UNDERWAY: (Mutex<usize>, Condvar) = (Mutex::new(0), Condvar::new());

/// A release that may have begun.
#[derive(Default)]
pub(crate) struct Release {
    begun: AtomicBool,
}

impl Release {
    /// From now on the end of the process waits for it, until this is dropped.
    pub(crate) fn begin(&self) {
        if !self.begun.swap(true, Ordering::Relaxed) {
            *lock(&UNDERWAY.0) += 1;
        }
    }
}

impl Drop for Release {
    fn drop(&mut self) {
        if self.begun.load(Ordering::Relaxed) {
            *lock(&UNDERWAY.0) -= 1;
            UNDERWAY.1.notify_all();
        }
    }
}

/// Waits for releases before the process ends: a guard that is dropped at the end of `main` would else be held
/// until it expires.
fn at_exit() {
    // SAFETY: the function takes no argument and does not unwind; a failure to register it is harmless.
    unsafe { libc::atexit(wait_for_releases) };
}

extern "C" fn wait_for_releases() {
    let underway = lock(&UNDERWAY.0);
    drop(UNDERWAY.1.wait_timeout_while(underway, LAST_RELEASES, |underway| *underway > 0));
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
