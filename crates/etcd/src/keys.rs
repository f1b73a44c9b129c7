//! The keys of one deployment, and what their values look like.
//!
//! `meta` has what all servers have in common. `leader` has who leads, with a lease, and `servers/` all of them.
//! `log/N/P` are the parts of batch `N`, in hexadecimal digits so that they sort: part 0 is written last, and a batch
//! is there when that is. `snap/head` says which snapshot counts, whose pieces are `snap/N/E/I/P`, where `E` is the
//! epoch of the leader that made it: no attempt to make a snapshot writes what another one does.

use std::fmt;

use throttle_journal::{Epoch, LogError, Snapshot, format::Chain};

/// The most bytes of one value. etcd refuses requests above 1.5 MiB.
pub(crate) const PART_BYTES: usize = 1 << 20;
/// The version of the values.
const VERSION: u8 = 1;

/// Where the keys of a deployment are.
#[derive(Clone, Debug)]
pub(crate) struct Keys(String);

impl Keys {
    pub(crate) fn new(prefix: &str) -> Self {
        Self(format!("{}/", prefix.trim_end_matches('/')))
    }

    fn key(&self, rest: &str) -> Vec<u8> {
        format!("{}{rest}", self.0).into_bytes()
    }

    pub(crate) fn meta(&self) -> Vec<u8> {
        self.key("meta")
    }

    pub(crate) fn leader(&self) -> Vec<u8> {
        self.key("leader")
    }

    pub(crate) fn server(&self, name: &str) -> Vec<u8> {
        self.key(&format!("servers/{name}"))
    }

    /// Behind the last server.
    pub(crate) fn servers_end(&self) -> Vec<u8> {
        self.key("servers0")
    }

    /// Part 0 of a batch, by which it is there.
    pub(crate) fn batch(&self, number: u64) -> Vec<u8> {
        self.part(number, 0)
    }

    pub(crate) fn part(&self, number: u64, part: u32) -> Vec<u8> {
        self.key(&format!("log/{number:016x}/{part:08x}"))
    }

    /// Behind the last part of every batch.
    pub(crate) fn batches_end(&self) -> Vec<u8> {
        // The character behind `/`.
        self.key("log0")
    }

    pub(crate) fn head(&self) -> Vec<u8> {
        self.key("snap/head")
    }

    pub(crate) fn piece(&self, of: SnapshotId, index: u64, part: u32) -> Vec<u8> {
        let SnapshotId { through, epoch: Epoch(epoch) } = of;
        self.key(&format!("snap/{through:016x}/{epoch:016x}/{index:016x}/{part:08x}"))
    }

    /// The first piece of a snapshot.
    pub(crate) fn pieces(&self, SnapshotId { through, epoch: Epoch(epoch) }: SnapshotId) -> Vec<u8> {
        self.key(&format!("snap/{through:016x}/{epoch:016x}/"))
    }

    /// Behind its last piece.
    pub(crate) fn pieces_end(&self, SnapshotId { through, epoch: Epoch(epoch) }: SnapshotId) -> Vec<u8> {
        self.key(&format!("snap/{through:016x}/{epoch:016x}0"))
    }

    /// Before every piece.
    pub(crate) fn all_pieces(&self) -> Vec<u8> {
        self.key("snap/0")
    }

    /// The number of the batch, and of the part, that a key is of.
    pub(crate) fn batch_of(&self, key: &[u8]) -> Option<(u64, u32)> {
        let rest = str::from_utf8(key).ok()?.strip_prefix(&self.0)?.strip_prefix("log/")?;
        let (number, part) = rest.split_once('/')?;
        Some((u64::from_str_radix(number, 16).ok()?, u32::from_str_radix(part, 16).ok()?))
    }

    /// The index of the piece, and of its part, that a key is of.
    pub(crate) fn piece_of(&self, of: SnapshotId, key: &[u8]) -> Option<(u64, u32)> {
        let rest = key.strip_prefix(&*self.pieces(of))?;
        let (index, part) = str::from_utf8(rest).ok()?.split_once('/')?;
        Some((u64::from_str_radix(index, 16).ok()?, u32::from_str_radix(part, 16).ok()?))
    }
}

/// The head of a batch, before the records of its part 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BatchHead {
    pub(crate) epoch: Epoch,
    pub(crate) chain: Chain,
    /// How many parts follow in keys of their own.
    pub(crate) more: u32,
}

impl BatchHead {
    pub(crate) fn value(self, body: &[u8]) -> Vec<u8> {
        let mut value = vec![VERSION];
        value.extend_from_slice(&self.epoch.0.to_be_bytes());
        value.extend_from_slice(&self.chain.to_bytes());
        value.extend_from_slice(&self.more.to_be_bytes());
        value.extend_from_slice(body);
        value
    }

    /// Reads a value: the head, and what is behind it.
    pub(crate) fn read(value: &[u8]) -> Result<(Self, &[u8]), LogError> {
        let mut rest = of_this_version(value)?;
        let epoch = Epoch(u64::from_be_bytes(take(&mut rest)?));
        let chain = Chain::of_bytes(take(&mut rest)?);
        let more = u32::from_be_bytes(take(&mut rest)?);
        Ok((Self { epoch, chain, more }, rest))
    }
}

/// What tells one attempt to make a snapshot from every other. A leader makes one at a time, and each goes further than
/// the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SnapshotId {
    pub(crate) through: u64,
    /// The epoch of the leader that makes it.
    pub(crate) epoch: Epoch,
}

/// The snapshot that counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) snapshot: Snapshot,
    pub(crate) epoch: Epoch,
}

impl Head {
    pub(crate) fn id(&self) -> SnapshotId {
        SnapshotId { through: self.snapshot.through, epoch: self.epoch }
    }

    pub(crate) fn value(&self) -> Vec<u8> {
        let Snapshot { through, chain, pieces, sum } = &self.snapshot;
        let mut value = vec![VERSION];
        value.extend_from_slice(&self.epoch.0.to_be_bytes());
        value.extend_from_slice(&through.to_be_bytes());
        value.extend_from_slice(&chain.to_bytes());
        value.extend_from_slice(&pieces.to_be_bytes());
        value.extend_from_slice(&sum.to_bytes());
        value
    }

    pub(crate) fn read(value: &[u8]) -> Result<Self, LogError> {
        let mut rest = of_this_version(value)?;
        let epoch = Epoch(u64::from_be_bytes(take(&mut rest)?));
        let snapshot = Snapshot {
            through: u64::from_be_bytes(take(&mut rest)?),
            chain: Chain::of_bytes(take(&mut rest)?),
            pieces: u64::from_be_bytes(take(&mut rest)?),
            sum: Chain::of_bytes(take(&mut rest)?),
        };
        Ok(Self { snapshot, epoch })
    }
}

/// What all servers of one deployment have in common, and no other deployment has.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Deployment {
    /// The id of its journal.
    pub journal: u64,
    /// By which its servers know each other. Whoever may read this key may change everything anyway.
    pub secret: [u8; 32],
}

impl fmt::Debug for Deployment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deployment").field("journal", &self.journal).finish_non_exhaustive()
    }
}

impl Deployment {
    pub(crate) fn value(&self) -> Vec<u8> {
        let mut value = vec![VERSION];
        value.extend_from_slice(&self.journal.to_be_bytes());
        value.extend_from_slice(&self.secret);
        value
    }

    pub(crate) fn read(value: &[u8]) -> Result<Self, LogError> {
        let mut rest = of_this_version(value)?;
        let journal = u64::from_be_bytes(take(&mut rest)?);
        Ok(Self { journal, secret: take(&mut rest)? })
    }
}

fn of_this_version(value: &[u8]) -> Result<&[u8], LogError> {
    match value {
        [VERSION, rest @ ..] => Ok(rest),
        [version, ..] => {
            Err(LogError::Newer(format!("a value has version {version}, and this release reads {VERSION}")))
        }
        [] => Err(LogError::Damaged("a value is empty".to_owned())),
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], LogError> {
    let (first, others) =
        rest.split_first_chunk().ok_or_else(|| LogError::Damaged("a value is cut off".to_owned()))?;
    *rest = others;
    Ok(*first)
}

/// A body in parts of which each fits into one value; the first one has room for a head. There is always one.
pub(crate) fn parts(body: &[u8], bytes: usize) -> impl ExactSizeIterator<Item = &[u8]> {
    let count = body.len().div_ceil(bytes).max(1);
    (0..count).map(move |index| {
        let from = index * bytes;
        body.get(from..body.len().min(from + bytes)).unwrap_or_default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_sort_as_their_numbers_and_are_read_again() {
        let keys = Keys::new("/throttle");
        assert_eq!(keys.batch(255), b"/throttle/log/00000000000000ff/00000000");
        let sorted =
            [keys.batch(1), keys.part(1, 2), keys.batch(2), keys.batch(16), keys.batches_end(), keys.meta()];
        assert!(sorted.is_sorted());
        assert_eq!(keys.batch_of(&keys.part(300, 7)), Some((300, 7)));
        assert_eq!(keys.batch_of(&keys.meta()), None);
        let [one, other, last] = [(3, 8), (3, 9), (u64::MAX, 1)]
            .map(|(through, epoch)| SnapshotId { through, epoch: Epoch(epoch) });
        let pieces = [
            keys.all_pieces(),
            keys.pieces(one),
            keys.piece(one, 0, 0),
            keys.piece(one, 0, 1),
            keys.piece(one, 10, 0),
            keys.pieces_end(one),
            keys.pieces(other),
            keys.pieces_end(other),
            keys.pieces(last),
            keys.head(),
        ];
        assert!(pieces.is_sorted());
        assert_eq!(keys.piece_of(one, &keys.piece(one, 10, 2)), Some((10, 2)));
        assert_eq!(keys.piece_of(one, &keys.piece(other, 10, 2)), None);
    }

    #[test]
    fn values_are_read_as_they_are_written() {
        let head = BatchHead { epoch: Epoch(7), chain: Chain::start(1), more: 2 };
        let value = head.value(b"body");
        assert_eq!(BatchHead::read(&value), Ok((head, &b"body"[..])));
        assert!(matches!(BatchHead::read(&value[..10]), Err(LogError::Damaged(_))));
        assert!(matches!(BatchHead::read(&[2]), Err(LogError::Newer(_))));
        let (chain, sum) = (Chain::start(2), Chain::start(3));
        let snapshot = Snapshot { through: 9, chain, pieces: 4, sum };
        let head = Head { snapshot, epoch: Epoch(6) };
        assert_eq!(Head::read(&head.value()), Ok(head));
        let deployment = Deployment { journal: 5, secret: [6; 32] };
        assert_eq!(Deployment::read(&deployment.value()), Ok(deployment));
        assert!(!format!("{deployment:?}").contains('6'), "a secret is not shown");
    }

    #[test]
    fn a_body_is_cut_into_parts() {
        assert_eq!(parts(b"", 8).collect::<Vec<_>>(), [b""]);
        let body = vec![1; 17];
        assert_eq!(parts(&body, 8).map(<[u8]>::len).collect::<Vec<_>>(), [8, 8, 1]);
        assert_eq!(parts(&body, 8).collect::<Vec<_>>().concat(), body);
    }
}
