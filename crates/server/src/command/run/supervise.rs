//! The command and its locks: one must not outlive the other.

use std::{io, time::Duration};

use throttle_client::{Guard, Loss, LossReason};
use tokio::time::{Instant, sleep, sleep_until};

use crate::platform::{Change, Child, Signals};

/// How often it is asked whether processes that nobody can wait for have ended.
const OTHERS_ASKED_EVERY: Duration = Duration::from_millis(20);

/// How it ended.
pub(super) enum End {
    /// The command ended by itself, with this exit code.
    Exited(i32),
    /// The locks were lost, and the command is dead.
    Lost(Loss),
    /// Their lease could not be renewed and would have ended, and the command is dead.
    Unrenewed,
}

/// Waits for the end of the command, or brings it about before the locks can be another's.
pub(super) async fn supervise(
    child: &mut Child,
    guard: &Guard,
    signals: &mut Signals,
    grace: Duration,
) -> io::Result<End> {
    let mut suspended = false;
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
                Change::Ended(code) => return Ok(End::Exited(code)),
                // What happened to the lock meanwhile is asked first.
                Change::Suspended => suspended = true,
            },
            signal = signals.next() => child.forward(signal),
        }
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
    if Instant::now() < last_moment {
        child.terminate();
    }
    let (mut exited, mut killed) = (false, false);
    while !exited || (child.left_others() && !killed) {
        if !killed && Instant::now() >= last_moment {
            child.kill();
            killed = true;
        }
        tokio::select! {
            biased;
            change = child.change(), if !exited => match change? {
                Change::Ended(_) => exited = true,
                Change::Suspended => child.resume(),
            },
            () = sleep(OTHERS_ASKED_EVERY), if exited => {}
            () = sleep_until(last_moment), if !killed => {}
            signal = signals.next() => child.forward(signal),
        }
    }
    Ok(())
}
