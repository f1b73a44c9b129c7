//! Batches of a journal, and pieces of a snapshot.

use throttle_core::{Core, Settings, Time};
use throttle_journal::State;

/// How many records a piece of a snapshot has.
const PIECE: usize = 3;
/// How many keys are remembered.
const KEYS: usize = 4;

/// Each part of the data is a batch: two bytes that say how long it is, and its body. What is read without an error
/// is in order, and a snapshot of it builds the same state.
pub fn run(data: &[u8]) {
    let mut state = State::new(Core::new(Settings::default(), 1, 7), KEYS);
    let mut rest = data;
    while let Some((length, after)) = rest.split_first_chunk::<2>() {
        let length = usize::from(u16::from_le_bytes(*length)).min(after.len());
        let (body, after) = after.split_at(length);
        if state.play(body).is_err() {
            return;
        }
        rest = after;
    }
    let mut copy = State::new(Core::new(Settings::default(), 1, 8), KEYS);
    for piece in state.pieces(PIECE) {
        copy.play(&piece).expect("a snapshot can be read");
    }
    let now = state.core.now();
    for state in [&mut state, &mut copy] {
        state.core.end_replay(now);
        state.core.audit().expect("in order");
    }
    assert_eq!(state.core.snapshot(), copy.core.snapshot(), "a snapshot builds the same state");
    // It goes on from there.
    while let Some(at) = state.core.next_deadline().filter(|at| at.as_micros() < u64::MAX / 2) {
        let before = state.core.peer_count();
        state.core.advance(Time::from_micros(at.as_micros().max(state.core.now().as_micros())));
        state.core.drain_events();
        assert!(state.core.peer_count() <= before);
    }
    state.core.audit().expect("in order");
}
