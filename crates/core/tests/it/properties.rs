//! Random runs in virtual time: the core must do what the model does, command by command.

use proptest::{collection::vec, option, prelude::*, sample::subsequence};

use crate::run::{Detecting, NAMES, Op, Run};

fn lease() -> impl Strategy<Value = u64> {
    prop_oneof![1 => Just(0_u64), 9 => 1..200_u64]
}

fn locks(most: usize) -> impl Strategy<Value = Vec<(&'static str, i64)>> {
    subsequence(NAMES.to_vec(), 1..=most).prop_flat_map(|names| {
        let counts = vec(prop_oneof![1 => Just(0_i64), 9 => 1..4_i64], names.len());
        counts.prop_map(move |counts| names.iter().copied().zip(counts).collect())
    })
}

fn op() -> impl Strategy<Value = Op> {
    let name = || prop::sample::select(NAMES.to_vec());
    prop_oneof![
        4 => lease().prop_map(|expires_in| Op::NewPeer { expires_in }),
        2 => (0..12_usize, lease()).prop_map(|(peer, expires_in)| Op::Heartbeat { peer, expires_in }),
        1 => (0..12_usize).prop_map(|peer| Op::End { peer }),
        10 => (0..12_usize, locks(3), -1..3_i32, option::weighted(0.2, lease())).prop_map(
            |(peer, locks, priority, expires_in)| Op::Acquire { peer, locks, priority, expires_in }
        ),
        4 => (0..12_usize, name()).prop_map(|(peer, semaphore)| Op::Release { peer, semaphore }),
        1 => (0..12_usize, prop_oneof![Just(Vec::new()), locks(2)], option::of(0..30_u64), lease())
            .prop_map(|(peer, locks, token, expires_in)| Op::Restore { peer, locks, token, expires_in }),
        2 => (name(), 0..5_i64, 0..3_i32, option::weighted(0.3, 1..40_u64), any::<bool>())
            .prop_map(|(semaphore, max, level, per, passes)| Op::Set { semaphore, max, level, per, passes }),
        1 => (name(), any::<bool>()).prop_map(|(semaphore, force)| Op::Remove { semaphore, force }),
        3 => (0..12_usize).prop_map(|peer| Op::Connect { peer }),
        3 => (0..12_usize).prop_map(|peer| Op::Disconnect { peer }),
        1 => (0..12_usize).prop_map(|peer| Op::Poll { peer }),
        2 => Just(Op::Wait),
    ]
}

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config(10_000))]

    #[test]
    fn does_what_the_model_does(run in vec((op(), prop_oneof![3 => Just(0), 2 => 0..60_u64]), 1..60)) {
        let mut core = Run::new();
        for (op, later) in &run {
            core.now += later;
            core.apply(op);
        }
        core.check_journal();
    }
}

proptest! {
    #![proptest_config(config(1_000))]

    /// Woken only when it says so, the core does everything at the very microsecond at which it is due.
    #[test]
    fn its_deadlines_suffice(run in vec((op(), 0..60_u64), 1..30)) {
        let mut core = Run::new();
        for (op, later) in &run {
            let until = core.now + later;
            while let Some(at) = core.core.next_deadline().filter(|at| at.as_micros() <= until) {
                core.now = at.as_micros();
                core.apply(&Op::Wait);
            }
            core.now = until;
            core.apply(op);
        }
        core.check_journal();
    }
}

/// Runs in which nobody brings anything back, and the hierarchy stays what it is.
fn orderly_op() -> impl Strategy<Value = Op> {
    op().prop_filter("orderly", |op| !matches!(op, Op::Restore { .. } | Op::Set { .. } | Op::Remove { .. }))
}

proptest! {
    #![proptest_config(config(4_000))]

    /// No deadlock by levels, with requests over several of them.
    #[test]
    fn everybody_has_a_turn(run in vec((orderly_op(), 0..3_u64), 1..60)) {
        let mut core = Run::new();
        for (op, later) in &run {
            core.now += later;
            core.apply(op);
        }
        core.check_progress();
    }
}

proptest! {
    #![proptest_config(config(6_000))]

    /// A request is refused exactly if it would wait for ever; so nobody ever does.
    #[test]
    fn deadlocks_are_detected(run in vec((orderly_op(), 0..3_u64), 1..80)) {
        everybody_has_a_turn_in_all_kinds(&run);
    }
}

/// Semaphores that detect deadlocks, above, below and among those that do not.
const KINDS: [(Detecting, [i32; NAMES.len()]); 3] = [
    ([false, true, true, true], [1, 0, 0, 0]),
    ([false, false, true, true], [2, 1, 0, 3]),
    ([false, true, false, true], [2, 1, 1, 1]),
];

/// Whatever kinds of semaphores a run is on, everybody has a turn in the end.
fn everybody_has_a_turn_in_all_kinds(run: &[(Op, u64)]) {
    for (detecting, levels) in KINDS {
        let mut core = Run::with(detecting, levels);
        for (op, later) in run {
            core.now += later;
            core.apply(op);
        }
        core.check_progress();
    }
}

/// Runs in which semaphores change under those who hold and wait.
fn changing_op() -> impl Strategy<Value = Op> {
    let name = prop::sample::select(NAMES.to_vec());
    prop_oneof![
        1 => Just(Op::NewPeer { expires_in: 1_000 }),
        4 => (name, 1..4_i64, 0..3_i32)
            .prop_map(|(semaphore, max, level)| Op::Set { semaphore, max, level, per: None, passes: false }),
        20 => op().prop_filter("orderly", |op| {
            !matches!(op, Op::Restore { .. } | Op::Set { .. } | Op::Heartbeat { .. } | Op::End { .. } | Op::Wait)
        }),
    ]
}

proptest! {
    #![proptest_config(config(4_000))]

    /// A change of a semaphore may let waiters wait for each other; once each has asked again, nobody does.
    #[test]
    fn a_change_leaves_no_deadlock(run in vec((changing_op(), 0..3_u64), 20..80)) {
        everybody_has_a_turn_in_all_kinds(&run);
    }
}
