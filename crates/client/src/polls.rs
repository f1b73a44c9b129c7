//! How long a request may wait at the server. What stands between may cut one that is idle for too long; how long that
//! is, nobody tells, so it is found out.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// Shorter than this a wait is not worth its requests, whatever cuts it.
const SHORTEST: Duration = Duration::from_secs(1);
/// A wait that was not cut lets the next one be longer by this part of it.
const GROWTH: u32 = 16;

/// What the requests of a client that waited tell. Clones share it.
#[derive(Clone, Default)]
pub(crate) struct Polls {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// How long a request may wait; `None` as long as none was cut.
    longest: Option<Duration>,
    cuts_in_a_row: u32,
}

impl Polls {
    /// How long a request may wait that wishes to wait for so long.
    pub(crate) fn bound(&self, wish: Duration) -> Duration {
        self.state().longest.map_or(wish, |longest| wish.min(longest))
    }

    /// How many requests in a row were cut, up to this one.
    pub(crate) fn cuts_in_a_row(&self) -> u32 {
        self.state().cuts_in_a_row
    }

    /// A request that asked to wait for so long was answered. Was it cut first, then after it was `held` for some time;
    /// the answer shows that the server was there.
    pub(crate) fn learn(
        &self,
        asked: Duration,
        held: Option<Duration>,
        at_first_attempt: bool,
        is_granted: bool,
    ) {
        match held {
            _ if asked.is_zero() => {}
            Some(held) => self.cut(asked, held),
            None if at_first_attempt => self.answered(asked, is_granted),
            None => {}
        }
    }

    fn cut(&self, asked: Duration, held: Duration) {
        let half = asked / 2;
        // What is cut sooner than any wait is worth says nothing of how long an idle request may be.
        let shorter = if held < SHORTEST { half } else { half.min(held) }.max(SHORTEST);
        let mut state = self.state();
        // Those that wait together are cut together, and that is one cut.
        state.longest = Some(state.longest.map_or(shorter, |longest| longest.min(shorter)));
        state.cuts_in_a_row = state.cuts_in_a_row.saturating_add(1);
    }

    fn answered(&self, asked: Duration, is_granted: bool) {
        let mut state = self.state();
        state.cuts_in_a_row = 0;
        if let Some(longest) = &mut state.longest
            && !is_granted
        {
            *longest = asked.saturating_add(asked / GROWTH).max(*longest);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WISH: Duration = Duration::from_secs(10);

    #[test]
    fn a_wait_gets_shorter_down_to_a_second() {
        let polls = Polls::default();
        let mut bounds = Vec::new();
        for _ in 0..5 {
            let asked = polls.bound(WISH);
            bounds.push(asked.as_millis());
            polls.cut(asked, Duration::ZERO);
        }
        assert_eq!(bounds, [10_000, 5_000, 2_500, 1_250, 1_000]);
    }

    #[test]
    fn a_long_wait_that_is_cut_soon_gets_as_short_as_that_at_once() {
        let polls = Polls::default();
        polls.cut(Duration::from_hours(1), Duration::from_mins(1));
        assert_eq!(polls.bound(Duration::from_hours(1)), Duration::from_mins(1));
    }

    #[test]
    fn it_gets_longer_again_slowly() {
        let polls = Polls::default();
        polls.cut(WISH, Duration::from_secs(5));
        let mut waits = 0;
        while polls.bound(WISH) < WISH {
            polls.answered(polls.bound(WISH), false);
            waits += 1;
        }
        assert_eq!(waits, 12);
    }

    #[test]
    fn those_that_are_cut_together_are_cut_once() {
        let polls = Polls::default();
        for _ in 0..100 {
            polls.cut(WISH, Duration::from_secs(5));
        }
        assert_eq!(polls.bound(WISH), Duration::from_secs(5));
    }

    #[test]
    fn a_grant_says_nothing_of_how_long_a_wait_may_be() {
        let polls = Polls::default();
        polls.cut(WISH, Duration::from_secs(5));
        polls.answered(Duration::from_secs(5), true);
        assert_eq!((polls.bound(WISH), polls.cuts_in_a_row()), (Duration::from_secs(5), 0));
    }
}
