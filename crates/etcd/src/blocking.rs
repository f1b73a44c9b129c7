//! The traits of the journal over a real etcd, for the thread that writes.

use throttle_journal::{
    AppendError, End, Epoch, Log, LogError, LogReader, Position, Snapshot, Visit, format::Chain,
};

use crate::{client::Etcd, log::EtcdLog, reader::EtcdReader};

impl Log for EtcdLog<Etcd> {
    fn append(&mut self, position: Position, chain: Chain, body: &[u8]) -> Result<(), AppendError> {
        let etcd = self.fenced.kv.clone();
        etcd.wait(self.append(position, chain, body))
    }

    fn look_up(&mut self, number: u64) -> Result<Option<(Epoch, Chain)>, LogError> {
        let etcd = self.fenced.kv.clone();
        etcd.wait(EtcdLog::look_up(self, number))
    }

    fn put_piece(&mut self, through: u64, index: u64, piece: &[u8]) -> Result<(), LogError> {
        let etcd = self.fenced.kv.clone();
        etcd.wait(self.put_piece(through, index, piece))
    }

    fn finish_snapshot(&mut self, snapshot: &Snapshot) -> Result<(), LogError> {
        let etcd = self.fenced.kv.clone();
        etcd.wait(self.finish_snapshot(snapshot))
    }

    fn trim(&mut self) -> Result<bool, LogError> {
        let etcd = self.fenced.kv.clone();
        etcd.wait(self.trim())
    }

    fn reader(&self) -> Result<Box<dyn LogReader>, LogError> {
        Ok(Box::new(EtcdReader::of(self)))
    }

    fn bytes(&self) -> u64 {
        self.bytes()
    }
}

impl LogReader for EtcdReader<Etcd> {
    fn read_from(
        &mut self,
        from: Option<End>,
        through: Option<u64>,
        visit: Visit<'_>,
    ) -> Result<End, LogError> {
        let etcd = self.kv.clone();
        etcd.wait(self.read_from(from, through, visit))
    }
}
