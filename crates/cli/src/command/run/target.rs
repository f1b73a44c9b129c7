//! Under which locks a command runs: new ones, or those that a peer holds.

use std::fmt;

use clap::{Arg, ArgMatches, Args, Command, Error, FromArgMatches};

use super::wanted::Wanted;

/// The locks of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// To be acquired.
    Locks(Wanted),
    /// To be taken over from whoever acquired them.
    Peer(u64),
}

impl fmt::Display for Target {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Locks(wanted) => wanted.fmt(formatter),
            Self::Peer(peer) => write!(formatter, "peer {peer}"),
        }
    }
}

/// The id of a peer, as it is written.
pub(crate) fn peer_id(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| "the id of a peer is a number, as throttle peers shows it".to_owned())
}

// By hand, as what is wanted is.
impl Args for Target {
    fn augment_args(command: Command) -> Command {
        Wanted::augment_args(command)
            .mut_arg("semaphore", |semaphore| semaphore.required(false).required_unless_present("peer"))
            .arg(
                Arg::new("peer")
                    .long("peer")
                    .value_name("ID")
                    .value_parser(peer_id)
                    .conflicts_with_all(["semaphore", "count", "wait", "try", "priority", "label", "no_labels"])
                    .help("Take over the locks that this peer holds, such as those that throttle acquire left")
                    .long_help(
                        "Take over the locks that this peer holds, such as those that throttle acquire left. They are \
                         renewed from now on, and released when the command has ended. Nobody else may renew or \
                         release them then",
                    ),
            )
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for Target {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        match matches.get_one("peer") {
            Some(peer) => Ok(Self::Peer(*peer)),
            None => Wanted::from_arg_matches(matches).map(Self::Locks),
        }
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}
