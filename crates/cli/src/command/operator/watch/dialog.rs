//! What an operator does here, asked for once more with what it will come to.

use throttle_core::counted;

use super::{
    data::{Detail, Figures as _, Peer, Waiter, by_name},
    state::{Sight, State},
};
use crate::command::operator::text::verb;

/// The longest reason that a server takes, in characters.
const REASON_LENGTH: usize = 1024;
/// A number of 64 bits has no more digits.
const DIGITS: usize = 19;

/// What the server is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Act {
    /// End a peer.
    Release { peer: String, reason: String },
    /// Give a semaphore another full count.
    Resize { semaphore: String, max: i64 },
}

/// A question to the operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Dialog {
    /// Why a peer is to be released.
    Reason { peer: String, text: String },
    /// What the full count of a semaphore is to be.
    Max { semaphore: String, text: String },
    /// Whether it is really to be done.
    Confirm(Act),
}

impl Dialog {
    /// What is typed, if this is asked for in words.
    pub(super) fn text_mut(&mut self) -> Option<&mut String> {
        match self {
            Self::Reason { text, .. } | Self::Max { text, .. } => Some(text),
            Self::Confirm(_) => None,
        }
    }

    /// A letter is typed.
    pub(super) fn write(&mut self, letter: char) {
        match self {
            Self::Reason { text, .. } if text.chars().count() < REASON_LENGTH => text.push(letter),
            Self::Max { text, .. } if letter.is_ascii_digit() && text.len() < DIGITS => text.push(letter),
            _ => {}
        }
    }

    /// The next question, once the words are complete.
    pub(super) fn next(self) -> Self {
        match self {
            Self::Reason { peer, text } => Self::Confirm(Act::Release { peer, reason: text }),
            Self::Max { semaphore, text } => match text.parse() {
                Ok(max) => Self::Confirm(Act::Resize { semaphore, max }),
                Err(_) => Self::Max { semaphore, text },
            },
            confirm @ Self::Confirm(_) => confirm,
        }
    }

    /// What it asks, in sentences. `None`: what it will come to is not known yet.
    pub(super) fn question(&self, state: &State) -> Option<String> {
        match self {
            Self::Reason { peer, .. } => {
                let who = state.name_of(peer);
                Some(format!("Why is {who} to be released? Its holder and the log are told."))
            }
            Self::Max { semaphore, .. } => {
                let is_paused = match state.sight() {
                    Some(Sight::Semaphore(detail, _)) => detail.semaphore.is_paused(),
                    _ => false,
                };
                let hint = match state.former.get(semaphore) {
                    _ if !is_paused => "0 pauses it.".to_owned(),
                    Some(max) => format!("Before the pause it was {max}."),
                    None => "What it was before the pause is not known here.".to_owned(),
                };
                Some(format!("What is the full count of {semaphore:?} to be? {hint}"))
            }
            Self::Confirm(Act::Release { .. }) => match state.sight()? {
                Sight::Peer(peer) => Some(release(peer, &state.name_of(&peer.id.to_string()))),
                _ => None,
            },
            Self::Confirm(Act::Resize { max, .. }) => match state.sight()? {
                Sight::Semaphore(detail, _) => Some(resize(detail, *max)),
                _ => None,
            },
        }
    }
}

fn release(peer: &Peer, who: &str) -> String {
    let mut sentences = vec![format!("Release {who}?")];
    if peer.locks.is_empty() {
        sentences.push("It holds nothing.".to_owned());
    } else {
        let locks: Vec<_> =
            peer.locks.iter().map(|lock| format!("{} of {:?}", lock.count, lock.semaphore)).collect();
        sentences.push(format!(
            "It loses {} at once, and who waits next gets that. Its process learns of it at its next renewal and may \
             write until then: only fencing tokens keep that out.",
            locks.join(", ")
        ));
    }
    if let Some(pending) = &peer.pending {
        let names: Vec<_> = by_name(pending).map(|(name, _)| format!("{name:?}")).collect();
        sentences.push(format!(
            "It leaves the queue for {}, where it stands at {}; its client may ask again.",
            names.join(", "),
            pending.position
        ));
    }
    sentences.join(" ")
}

fn resize(detail: &Detail, max: i64) -> String {
    let semaphore = &detail.semaphore;
    let (name, held, waiting) = (&semaphore.name, semaphore.acquired, semaphore.waiting);
    let held_are = verb(held, "is", "are");
    if max == 0 {
        return format!(
            "Pause {name:?}? Who holds it goes on ({held} held). Nobody gets it from now on: {} keep their places, and \
             others join them, until its full count is above 0 again.",
            counted(waiting, "waiting request")
        );
    }
    let mut sentences = vec![format!("Set the full count of {name:?} from {} to {max}?", semaphore.max)];
    let over = held.saturating_sub(max);
    if over > 0 {
        sentences.push(format!(
            "{held} {held_are} held, which is {over} too many: nobody is interrupted, and nobody gets it before that is given \
             back."
        ));
    } else if semaphore.waiting > 0 && max > semaphore.max {
        let first = detail.queue.first().map_or(1, |first| first.count);
        let room = max - held;
        let goes = if room >= first {
            "those in front get it at once as far as it suffices"
        } else {
            "the first waits for more"
        };
        let (come, requests) = (verb(room, "comes", "come"), counted(waiting, "waiting request"));
        sentences.push(format!("{room} {come} free for {requests}: {goes}."));
    } else {
        sentences.push(format!("{held} {held_are} held; who holds it goes on."));
    }
    let too_large = detail.queue.iter().filter(|Waiter { count, .. }| *count > max).count();
    if too_large > 0 {
        let (ask, are) = (verb(too_large, "asks", "ask"), verb(too_large, "is", "are"));
        sentences
            .push(format!("{too_large} of those who wait {ask} for more than that, and {are} passed over."));
    }
    sentences.join(" ")
}
