//! The making of a snapshot.

use throttle_core::{Core, EndCause, Settings};
use throttle_journal::{Chain, End, Entry, Record, Snapshot, Source, State, StoreError, Visit, encode};

use super::{
    compact::{self, Step, Steps},
    outbox::Outbox,
};

fn state_of<'a>(bodies: impl Iterator<Item = &'a [u8]>) -> State {
    let mut state = State::new(Core::new(Settings::default(), 0, 0));
    for body in bodies {
        state.play(body).expect("it was written");
    }
    state
}

/// What a core writes of peers that come and go.
fn bodies() -> Vec<Vec<u8>> {
    let mut core = Core::new(Settings::default(), 0, 0);
    let mut now = core.now();
    let mut peers = Vec::new();
    (0..60_u64)
        .map(|n| {
            now = now + std::time::Duration::from_millis(1);
            match n % 3 {
                2 => drop(core.end_peer(now, peers.remove(0), EndCause::Released)),
                _ => peers.push(core.new_peer(now, std::time::Duration::from_mins(1), n, None).unwrap()),
            }
            let mut body = Vec::new();
            core.drain_events()
                .filter_map(|event| Record::of(&event))
                .for_each(|record| encode(&mut body, &record));
            body
        })
        .collect()
}

/// Batches in memory.
struct Kept(Vec<Vec<u8>>);

impl Source for Kept {
    fn read(&mut self, through: Option<u64>, visit: Visit<'_>) -> Result<End, StoreError> {
        let mut end = End { number: 0, chain: Chain::start(5), snapshot_bytes: 0, batch_bytes: 0 };
        for (number, body) in (1..=through.unwrap_or(u64::MAX)).zip(&self.0) {
            visit(Entry::Batch { number, body })?;
            (end.number, end.chain) = (number, end.chain.with(number, body));
        }
        Ok(end)
    }
}

fn kept() -> Kept {
    Kept(bodies())
}

#[test]
fn a_snapshot_has_in_it_what_it_says() {
    let mut source = kept();
    let bodies = source.0.clone();
    let through = bodies.len() as u64 / 2;
    let steps = Steps::new(Outbox::new(1));
    let maker = std::thread::spawn({
        let steps = steps.clone();
        move || compact::run(&mut source, 5, through, Settings::default(), &steps)
    });
    let (mut pieces, mut sum) = (Vec::new(), Chain::of_snapshot(5, through));
    let snapshot: Snapshot = loop {
        let Some(step) = steps.take() else {
            assert!(!maker.is_finished(), "there is no end");
            std::thread::yield_now();
            continue;
        };
        match step {
            Step::Piece { through: of, index, body } => {
                assert_eq!((of, index), (through, pieces.len() as u64));
                sum = sum.with(index, &body);
                pieces.push(body);
            }
            Step::Finish { snapshot, bytes } => {
                assert_eq!(bytes, pieces.iter().map(Vec::len).sum::<usize>() as u64);
                break snapshot;
            }
            Step::Failed(error) => panic!("{error}"),
        }
    };
    let batches = bodies.iter().zip(1..).map(|(body, number)| (number, body)).filter(|(n, _)| *n <= through);
    let chain = batches.clone().fold(Chain::start(5), |chain, (number, body)| chain.with(number, body));
    assert_eq!(snapshot, Snapshot { through, chain, pieces: pieces.len() as u64, sum });
    let played = state_of(pieces.iter().map(Vec::as_slice));
    let whole = state_of(batches.map(|(_, body)| body.as_slice()));
    assert_eq!(played.pieces(7).collect::<Vec<_>>(), whole.pieces(7).collect::<Vec<_>>());
}

#[test]
fn a_snapshot_of_what_cannot_be_read_is_none() {
    let mut source = kept();
    source.0[3] = vec![1, 255];
    let steps = Steps::new(Outbox::new(1));
    compact::run(&mut source, 5, 10, Settings::default(), &steps);
    assert!(matches!(steps.take(), Some(Step::Failed(StoreError::Damaged(_)))));
    assert!(steps.take().is_none());
}

#[test]
fn a_snapshot_ends_when_the_writer_does() {
    let mut source = kept();
    let steps = Steps::new(Outbox::new(1));
    steps.stop();
    compact::run(&mut source, 5, 10, Settings::default(), &steps);
    assert!(steps.take().is_none());
}
