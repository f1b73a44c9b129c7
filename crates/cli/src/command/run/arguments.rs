//! The command line of `throttle run`.

use std::{ffi::OsString, time::Duration};

use super::{asking::Asking, target::Target};
use crate::command::duration::{duration, ttl};

pub(crate) const LONG_ABOUT: &str = "\
Runs a command while locks are held.

It waits until the locks are granted, runs the command, and releases them when the command and all processes of its \
process group have ended. Until then the locks are renewed. If they are lost, the command is told to end by SIGTERM \
and then killed: a lock is never lost in silence while the work goes on. What is to outlive the command without the \
lock starts a group of its own, as by setsid; on Linux a loss ends that, too.";

const AFTER_LONG_HELP: &str = "\
Examples:
  throttle run --semaphore database -- ./import.sh
          Wait for a place, then import
  throttle run --try --semaphore report -- ./nightly-report.sh
          Only if no other machine is at it
  throttle run --wait 10m --semaphore licence --count 2 -- make -j4
          Wait for two licences, but not longer than 10 minutes
  throttle run --peer $THROTTLE_PEER_ID -- ./publish.sh
          Take over the locks that throttle acquire left, and release them at the end

The command finds in its environment:
  THROTTLE_FENCING_TOKEN   the fencing token of the first semaphore; storage that remembers the largest one that it \
saw can turn down a holder that was overtaken
  THROTTLE_FENCING_TOKENS  the tokens of all semaphores, those of locks around it included, as JSON: \
{\"A\":\"123\",\"B\":\"124\"}
  THROTTLE_PEER_ID         the id under which the server knows this holder
  THROTTLE_PEER_URL, THROTTLE_PEER_TTL_MS, THROTTLE_PEER_LOCK_FILE
                           what throttle run and the client libraries need to share that peer

Exit codes:
  that of the command; 128 + N if signal N ended it, or if signal N came while it waited for the locks
  69   the server cannot be reached, or refuses: an unknown semaphore, or a count above its maximum
  75   the locks were not granted in time (--conflict-exit-code)
  76   the locks were lost while the command ran, or those of --peer before (--lost-exit-code)
  126  the command cannot be executed
  127  there is no such command
  2    a wrong command line

Signals: HUP, INT, QUIT, TERM, USR1 and USR2 are passed on to the command's process group. After INT, QUIT or TERM \
the locks are held until all of it has ended; what is left of it after --stop-timeout gets SIGKILL. On a terminal the \
command is in front, so that Ctrl+C and Ctrl+Z reach it; while it is suspended the locks are not renewed, and it goes \
on only if they are still held then.

In a container it can be the first process: it waits for all that the command leaves behind.

Within another throttle run: the inner one shares the peer of the outer one, if its server knows that peer. So a lock \
that the outer one holds is had at once, levels count, and a deadlock is found. The lease is that of the outer one, \
and its end is a loss for the inner one. One at a time shares the peer: others that run beside it get peers of their \
own, and so does everyone with --new-peer.

What it cannot prevent: if an operator releases the lock or the server loses it, this is noticed at the next renewal \
(a third of --ttl later at most), and the lock may be another's by then. If throttle run itself is killed by SIGKILL, \
Linux kills the command, but not what the command started; if throttle run is stopped by SIGSTOP, it can do nothing. \
The fencing token protects in these cases.";

/// Arguments of `throttle run`.
#[derive(Debug, Clone, clap::Args)]
#[command(after_long_help = AFTER_LONG_HELP)]
pub struct Run {
    /// The locks.
    #[command(flatten)]
    pub target: Target,
    /// How to ask for them.
    #[command(flatten)]
    pub asking: Asking,
    /// How long the locks outlive a holder that is out of reach, such as 30s or 5m; at least 1s
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = ttl)]
    pub ttl: Duration,
    /// The time between SIGTERM and SIGKILL when the locks are lost; at most a third of --ttl
    ///
    /// While renewals fail, SIGTERM is sent this long before the lease ends and SIGKILL at its end at the latest,
    /// which is before the server gives the locks to another. What is larger than a third of --ttl counts as that.
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = duration)]
    pub grace: Duration,
    /// How long the command may take to end after INT, QUIT or TERM, before all of its process group get SIGKILL
    ///
    /// It counts from the first such signal that was passed on. Meanwhile the locks are held.
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = duration)]
    pub stop_timeout: Duration,
    /// Get a peer of its own, also within another throttle run
    #[arg(long, conflicts_with = "peer")]
    pub new_peer: bool,
    /// The exit code when the locks were lost while the command ran
    #[arg(long, value_name = "CODE", default_value_t = 76)]
    pub lost_exit_code: u8,
    /// The command and its arguments
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = false, value_name = "COMMAND")]
    pub command: Vec<OsString>,
}

impl Run {
    /// The time between SIGTERM and SIGKILL. A third of the lease, until the next renewal, must have passed before
    /// a lack of renewals can mean anything, and another third leaves time to repeat it.
    pub fn grace(&self, ttl: Duration) -> Duration {
        self.grace.min(ttl / 3)
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::arguments::{Cli, Command};

    fn parse(arguments: &str) -> Result<Run, String> {
        let all = ["throttle", "run", "-s", "A"].into_iter().chain(arguments.split(' '));
        match Cli::try_parse_from(all).map_err(|error| error.to_string())?.command {
            Some(Command::Run(run)) => Ok(*run),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_command_keeps_its_own_flags() {
        for arguments in ["-- make -j4 --try -s B -- x", "make -j4 --try -s B -- x"] {
            let run = parse(arguments).expect(arguments);
            assert_eq!(run.command, ["make", "-j4", "--try", "-s", "B", "--", "x"]);
            assert!(!run.asking.r#try);
            assert_eq!(run.target.to_string(), "A");
        }
    }

    #[test]
    fn the_grace_period_fits_into_the_lease() {
        let grace = |arguments| {
            let run = parse(arguments).expect(arguments);
            run.grace(run.ttl)
        };
        assert_eq!(grace("true"), Duration::from_secs(5));
        assert_eq!(grace("--ttl 3s true"), Duration::from_secs(1));
        assert_eq!(grace("--grace 0s true"), Duration::ZERO);
    }

    #[test]
    fn a_label_is_split_at_the_first_sign_between() {
        let run = parse("--label a=b=c:d --label d= --label e:f=g:h --priority -3 true").expect("valid");
        let expected = [("a", "b=c:d"), ("d", ""), ("e", "f=g:h")]
            .map(|(key, value)| (key.to_owned(), value.to_owned()));
        assert_eq!((run.asking.label, run.asking.priority), (expected.to_vec(), -3));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for (arguments, expected) in [
            ("--try --wait 1s true", "cannot be used with"),
            ("--ttl 999ms true", "less than 1s"),
            ("--wait soon true", "soon"),
            ("--stop-timeout soon true", "soon"),
            ("-E 256 true", "256 is not in"),
            ("--label team true", "write KEY=VALUE"),
            ("--priority high true", "high"),
            ("--try", "<COMMAND>"),
            ("--peer 7 true", "cannot be used with"),
        ] {
            let error = parse(arguments).expect_err(arguments);
            assert!(error.contains(expected), "{arguments}: {error}");
        }
    }
}
