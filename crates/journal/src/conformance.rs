//! What every log does: one suite, run on each provider.

use crate::{
    format::Chain,
    log::{AppendError, End, Entry, Epoch, Log, LogError, LogReader, Position, Snapshot},
};

/// A log that can be opened, crashed and damaged.
pub trait Provider {
    /// An empty log.
    fn fresh() -> Self;
    /// Its id.
    fn journal(&self) -> u64;
    /// A handle on it of a node that begins to lead.
    fn lead(&mut self) -> (Epoch, Box<dyn Log>);
    /// A reader of it.
    fn reader(&mut self) -> Box<dyn LogReader>;
    /// Ends whatever has it open, without a word.
    fn crash(&mut self);
    /// Changes the records of a batch, as a broken disk does.
    fn damage(&mut self, number: u64);
}

/// Runs the suite.
///
/// # Panics
///
/// If the provider does not do as every log does.
pub fn check_all<P: Provider>() {
    let checks: [fn(&mut P); 10] = [
        comes_back_in_order,
        refuses_gaps_and_doubles,
        takes_the_same_bytes_again,
        fences_an_old_epoch,
        is_tailed_while_it_is_written,
        is_tailed_across_a_snapshot,
        replaces_a_snapshot_at_once,
        outlives_a_crash,
        goes_on_where_all_batches_are_gone,
        shows_damage,
    ];
    for check in checks {
        check(&mut P::fresh());
    }
}

/// A handle that keeps track of the end.
struct Leader {
    log: Box<dyn Log>,
    epoch: Epoch,
    end: End,
}

impl Leader {
    fn of(provider: &mut impl Provider) -> Self {
        let (epoch, log) = provider.lead();
        let end = provider.reader().read_from(None, None, &mut |_| Ok(())).expect("it can be read");
        Self { log, epoch, end }
    }

    fn next(&self, body: &[u8]) -> (Position, Chain) {
        let position = Position { epoch: self.epoch, number: self.end.number + 1 };
        (position, self.end.chain.then(position, body))
    }

    fn append(&mut self, body: &[u8]) {
        let (position, chain) = self.next(body);
        assert_eq!(self.log.append(position, chain, body), Ok(()));
        assert_eq!(self.log.look_up(position.number), Ok(Some((self.epoch, chain))));
        (self.end.number, self.end.chain) = (position.number, chain);
    }

    /// Makes a snapshot of these pieces, which is said to have everything up to now in it.
    fn snapshot(&mut self, journal: u64, pieces: &[&[u8]]) -> Snapshot {
        let (through, mut sum) = (self.end.number, Chain::of_snapshot(journal, self.end.number));
        for (index, piece) in (0..).zip(pieces) {
            assert_eq!(self.log.put_piece(through, index, piece), Ok(()));
            sum = sum.with(index, piece);
        }
        Snapshot { through, chain: self.end.chain, pieces: pieces.len() as u64, sum }
    }

    fn trim(&mut self) {
        while self.log.trim() == Ok(true) {}
    }
}

/// What is read, and where it ends.
fn read(reader: &mut dyn LogReader, from: Option<End>) -> Result<(Vec<Vec<u8>>, End), LogError> {
    let mut found = Vec::new();
    let end = reader.read_from(from, None, &mut |entry| {
        found.push(entry.body().to_vec());
        Ok(())
    })?;
    Ok((found, end))
}

fn all(provider: &mut impl Provider) -> Vec<Vec<u8>> {
    read(&mut *provider.reader(), None).expect("it can be read").0
}

fn comes_back_in_order(provider: &mut impl Provider) {
    let mut leader = Leader::of(provider);
    assert_eq!(leader.end, End::start(provider.journal()));
    for body in [b"a", b"b", b"c"] {
        leader.append(body);
    }
    assert_eq!(all(provider), [b"a", b"b", b"c"]);
    let mut positions = Vec::new();
    let end = provider.reader().read_from(None, Some(2), &mut |entry| {
        if let Entry::Batch { position, .. } = entry {
            positions.push(position);
        }
        Ok(())
    });
    assert_eq!(end.map(|end| end.number), Ok(2));
    assert_eq!(positions, [1, 2].map(|number| Position { epoch: leader.epoch, number }));
    assert!(leader.log.bytes() > 0);
}

fn refuses_gaps_and_doubles(provider: &mut impl Provider) {
    let mut leader = Leader::of(provider);
    leader.append(b"a");
    let epoch = leader.epoch;
    for number in [1, 3] {
        let position = Position { epoch, number };
        let refused = leader.log.append(position, leader.end.chain.then(position, b"b"), b"b");
        assert!(matches!(refused, Err(AppendError::Failed(_))), "{number}: {refused:?}");
    }
    assert_eq!(leader.log.look_up(3), Ok(None));
    leader.append(b"b");
    assert_eq!(all(provider), [b"a", b"b"]);
}

fn takes_the_same_bytes_again(provider: &mut impl Provider) {
    let mut leader = Leader::of(provider);
    let (position, chain) = leader.next(b"a");
    leader.append(b"a");
    assert_eq!(leader.log.append(position, chain, b"a"), Ok(()));
    leader.append(b"b");
    assert_eq!(leader.log.append(position, chain, b"a"), Ok(()));
    assert_eq!(all(provider), [b"a", b"b"]);
}

fn fences_an_old_epoch(provider: &mut impl Provider) {
    let mut old = Leader::of(provider);
    old.append(b"a");
    let mut new = Leader::of(provider);
    assert!(new.epoch > old.epoch);
    let (position, chain) = old.next(b"b");
    assert_eq!(old.log.append(position, chain, b"b"), Err(AppendError::Superseded));
    new.append(b"c");
    assert_eq!(old.log.append(position, chain, b"b"), Err(AppendError::Superseded));
    new.append(b"d");
    assert_eq!(all(provider), [b"a", b"c", b"d"]);
}

fn is_tailed_while_it_is_written(provider: &mut impl Provider) {
    let mut leader = Leader::of(provider);
    let mut reader = provider.reader();
    let (found, mut end) = read(&mut *reader, None).expect("it is empty");
    assert!(found.is_empty());
    for body in [b"a", b"b"] {
        leader.append(body);
        let (found, after) = read(&mut *reader, Some(end)).expect("it is there");
        assert_eq!(found, [body]);
        assert_eq!(read(&mut *reader, Some(after)).expect("nothing new").0.len(), 0);
        end = after;
    }
    assert_eq!((end.number, end.chain), (leader.end.number, leader.end.chain));
}

fn is_tailed_across_a_snapshot(provider: &mut impl Provider) {
    let (mut leader, journal) = (Leader::of(provider), provider.journal());
    let mut reader = provider.reader();
    leader.append(b"a");
    let (_, behind) = read(&mut *reader, None).expect("it is there");
    leader.append(b"b");
    let (_, ahead) = read(&mut *reader, Some(behind)).expect("it is there");
    let snapshot = leader.snapshot(journal, &[b"AB"]);
    assert_eq!(leader.log.finish_snapshot(&snapshot), Ok(()));
    leader.trim();
    leader.append(b"c");
    assert_eq!(read(&mut *reader, Some(ahead)).expect("it follows").0, [b"c"]);
    assert_eq!(read(&mut *reader, Some(behind)), Err(LogError::Trimmed));
    assert_eq!(all(provider), [b"AB".to_vec(), b"c".to_vec()]);
}

fn replaces_a_snapshot_at_once(provider: &mut impl Provider) {
    let (mut leader, journal) = (Leader::of(provider), provider.journal());
    leader.append(b"a");
    // Its pieces count for nothing before it is finished.
    leader.snapshot(journal, &[b"half"]);
    assert_eq!(all(provider), [b"a"]);
    let first = leader.snapshot(journal, &[b"A", b"more"]);
    assert_eq!(leader.log.finish_snapshot(&first), Ok(()));
    leader.append(b"b");
    assert_eq!(all(provider), [b"A".to_vec(), b"more".to_vec(), b"b".to_vec()]);
    let second = leader.snapshot(journal, &[b"AB"]);
    assert_eq!(all(provider), [b"A".to_vec(), b"more".to_vec(), b"b".to_vec()]);
    assert_eq!(leader.log.finish_snapshot(&second), Ok(()));
    assert_eq!(all(provider), [b"AB"]);
    leader.trim();
    assert_eq!(all(provider), [b"AB"]);
    // All batches are gone, and the next one still has its number.
    leader.append(b"c");
    assert_eq!(all(provider), [b"AB".to_vec(), b"c".to_vec()]);
}

fn outlives_a_crash(provider: &mut impl Provider) {
    let (mut leader, journal) = (Leader::of(provider), provider.journal());
    leader.append(b"a");
    let snapshot = leader.snapshot(journal, &[b"A"]);
    assert_eq!(leader.log.finish_snapshot(&snapshot), Ok(()));
    leader.append(b"b");
    let epoch = leader.epoch;
    drop(leader);
    provider.crash();
    let mut again = Leader::of(provider);
    assert!(again.epoch > epoch && again.end.number == 2);
    again.append(b"c");
    assert_eq!(all(provider), [b"A", b"b", b"c"]);
}

fn goes_on_where_all_batches_are_gone(provider: &mut impl Provider) {
    let (mut leader, journal) = (Leader::of(provider), provider.journal());
    leader.append(b"a");
    let snapshot = leader.snapshot(journal, &[b"A"]);
    assert_eq!(leader.log.finish_snapshot(&snapshot), Ok(()));
    leader.trim();
    drop(leader);
    provider.crash();
    let mut again = Leader::of(provider);
    again.append(b"b");
    let snapshot = again.snapshot(journal, &[b"AB"]);
    assert_eq!(again.log.finish_snapshot(&snapshot), Ok(()), "in the place of that of an earlier epoch");
    again.append(b"c");
    again.trim();
    assert_eq!(all(provider), [b"AB".to_vec(), b"c".to_vec()]);
}

fn shows_damage(provider: &mut impl Provider) {
    let mut leader = Leader::of(provider);
    for body in [b"a", b"b", b"c"] {
        leader.append(body);
    }
    drop(leader);
    provider.damage(2);
    assert!(matches!(read(&mut *provider.reader(), None), Err(LogError::Damaged(_))));
}
