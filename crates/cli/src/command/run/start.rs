//! From the locks to the exit code.

use std::{ffi::OsString, io, process};

use throttle_client::{Error, Guard, Share};

use super::{
    acquire::{Caller, acquire, adopt},
    arguments::Run,
    notice,
    supervise::{End, supervise},
    target::Target,
};
use crate::{
    command::advice::told,
    platform::{Child, Signals},
};

/// Begins every line for people.
const COMMAND: &str = "throttle run";
/// The command is there, but cannot be executed, as in a shell.
const NOT_EXECUTABLE: i32 = 126;
/// There is no such command, as in a shell.
const NOT_FOUND: i32 = 127;

/// Runs the command under its locks. Returns the exit code for this process. To be called on the main thread.
///
/// # Errors
///
/// If the system refuses what this needs, such as to listen for signals.
pub fn run(arguments: &Run) -> io::Result<i32> {
    // On this thread, as the command is to live no longer than the thread that starts it.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut signals = Signals::listen()?;
        let asking = &arguments.asking;
        let acquired = match &arguments.target {
            Target::Peer(peer) => adopt(COMMAND, *peer, arguments.ttl, asking, &mut signals).await,
            Target::Locks(wanted) => {
                let program = arguments.command.first().map(OsString::as_os_str);
                let caller = Caller { command: COMMAND, program, is_alone: arguments.new_peer };
                acquire(wanted, arguments.ttl, asking, &caller, &mut signals).await
            }
        };
        match acquired {
            Ok(guard) => hold(arguments, guard, &mut signals).await,
            Err(failure) => Ok(failure.tell(COMMAND, asking, arguments.lost_exit_code.into())),
        }
    })
}

async fn hold(arguments: &Run, guard: Guard, signals: &mut Signals) -> io::Result<i32> {
    signals.listen_for_job_control()?;
    // Kept until the command has ended.
    let share = guard.share().map_err(io::Error::other)?;
    let mut child = match Child::start(command(arguments, &share)) {
        Ok(child) => child,
        Err(error) => {
            let code = if error.kind() == io::ErrorKind::NotFound { NOT_FOUND } else { NOT_EXECUTABLE };
            let program = arguments.command.first().map(|program| program.to_string_lossy());
            release(guard).await;
            return Ok(notice::fail(COMMAND, &format!("{}: {error}", program.unwrap_or_default()), code));
        }
    };
    let lost = |why: &str| notice::fail(COMMAND, why, arguments.lost_exit_code.into());
    match supervise(&mut child, &guard, signals, arguments).await? {
        End::Lost(loss) => Ok(lost(&loss.to_string())),
        End::Unrenewed => Ok(lost(&format!(
            "lost the lock of {}: no renewal reached the server, and the lease was about to end",
            arguments.target
        ))),
        End::Exited(code) => Ok(release(guard).await.map_or(code, |why| lost(&why))),
    }
}

fn command(arguments: &Run, share: &Share) -> process::Command {
    let mut words = arguments.command.iter();
    let mut command = process::Command::new(words.next().map(OsString::as_os_str).unwrap_or_default());
    command.args(words);
    // A lock around this one has left its own there.
    for variable in Share::VARIABLES {
        command.env_remove(variable);
    }
    // A secret is not for the command. One that asks the server itself reads `THROTTLE_TOKEN_FILE`, which stays.
    command.env_remove("THROTTLE_TOKEN");
    command.envs(share.variables());
    command
}

/// Gives the locks back. Returns why they were lost, if it turns out that they were.
async fn release(guard: Guard) -> Option<String> {
    match guard.release().await {
        Ok(()) => None,
        Err(Error::Lost(loss)) => Some(loss.to_string()),
        Err(error) => {
            tell(&told(&error));
            None
        }
    }
}

pub(super) fn tell(what: &str) {
    notice::tell(COMMAND, what);
}
