//! The command and its locks: one must not outlive the other.

use std::{io, time::Duration};

use throttle_client::{Guard, Loss, LossReason};
use tokio::time::{Instant, sleep_until};

use super::{arguments::Run, start::tell};
use crate::platform::{Change, Child, Signals};

/// Processes that end so soon after their command are not worth a line.
const MOMENT: Duration = Duration::from_secs(1);
/// How long those that got SIGKILL are waited for. It does not end a process of another user, nor one that waits for
/// a device.
const KILLED: Duration = Duration::from_secs(5);

/// How it ended.
pub(super) enum End {
    /// The command ended by itself, with this exit code.
    Exited(i32),
    /// The locks were lost, and the command is dead.
    Lost(Loss),
    /// Their lease could not be renewed and would have ended, and the command is dead.
    Unrenewed,
}

/// Waits for the end of the command and of all in its process group, or brings it about: before the locks can be
/// another's, and when a signal asked for it and the time for that is over.
pub(super) async fn supervise(
    child: &mut Child,
    guard: &Guard,
    signals: &mut Signals,
    arguments: &Run,
) -> io::Result<End> {
    let grace = arguments.grace(guard.ttl());
    let (mut suspended, mut is_stopping) = (false, false);
    let (mut kill_at, mut give_up_at, mut tell_at) = (None, None, None);
    loop {
        let deadline = Instant::from_std(guard.deadline());
        let warning = deadline.checked_sub(grace).unwrap_or(deadline);
        if Instant::now() >= warning {
            end(child, signals, deadline).await?;
            return Ok(End::Unrenewed);
        }
        if suspended && guard.is_held() {
            suspended = false;
            child.resume();
        }
        tokio::select! {
            biased;
            loss = guard.lost() => {
                end(child, signals, last_moment(&loss, grace)).await?;
                return Ok(End::Lost(loss));
            }
            // A renewal may have moved the deadline, so it is looked at anew.
            () = sleep_until(warning) => {}
            change = child.change() => match change? {
                Change::Gone(code) => return Ok(End::Exited(code)),
                Change::Ended => tell_at = Some(Instant::now() + MOMENT),
                // What happened to the lock meanwhile is asked first.
                Change::Suspended => suspended = true,
            },
            () = reached(kill_at) => {
                kill_at = None;
                give_up_at = Some(Instant::now() + KILLED);
                child.kill();
            }
            () = reached(give_up_at) => {
                // The command itself is waited for, whatever happens.
                give_up_at = Some(Instant::now() + KILLED);
                if let Some(code) = child.exit_code() {
                    tell("processes of the command go on in spite of SIGKILL, and hold no lock any more");
                    return Ok(End::Exited(code));
                }
            }
            () = reached(tell_at) => {
                tell_at = None;
                if !is_stopping {
                    tell("the command has ended, but it left processes behind: the lock is kept until they end");
                }
            }
            signal = signals.next() => {
                if signal.asks_to_end() && !is_stopping {
                    is_stopping = true;
                    // A time that no clock reaches is without end.
                    kill_at = Instant::now().checked_add(arguments.stop_timeout);
                }
                child.forward(signal);
            }
        }
    }
}

/// Waits until a moment has come; for ever if there is none.
async fn reached(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

/// When a command is killed whose lock is lost for certain.
fn last_moment(loss: &Loss, grace: Duration) -> Instant {
    match loss.reason() {
        LossReason::Expired => Instant::now(),
        _ => Instant::now() + grace,
    }
}

/// Ends the command and all of its group by SIGTERM, and by SIGKILL at the last moment. Returns when it is dead.
async fn end(child: &mut Child, signals: &mut Signals, last_moment: Instant) -> io::Result<()> {
    let (mut kill_at, mut give_up_at) = (Some(last_moment), None);
    if Instant::now() < last_moment {
        child.terminate();
    }
    loop {
        tokio::select! {
            biased;
            () = reached(kill_at) => {
                kill_at = None;
                give_up_at = Some(Instant::now() + KILLED);
                child.kill();
            }
            change = child.change() => match change? {
                Change::Gone(_) => return Ok(()),
                Change::Ended => {}
                Change::Suspended => child.resume(),
            },
            () = reached(give_up_at) => {
                give_up_at = Some(Instant::now() + KILLED);
                if child.exit_code().is_some() {
                    return Ok(());
                }
            }
            signal = signals.next() => child.forward(signal),
        }
    }
}
