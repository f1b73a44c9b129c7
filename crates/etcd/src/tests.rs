//! Against a real etcd, which has to be installed: `etcd` of Debian's package `etcd-server`.

use std::{
    env,
    io::{Read as _, Write as _},
    net::{Shutdown, TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    sync::{
        Arc, LazyLock,
        atomic::{AtomicBool, AtomicU32, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

use throttle_journal::{
    AppendError, Chain, End, Epoch, Log, LogError, LogReader, Position, Snapshot,
    conformance::{Provider, check_all},
};

use super::*;
use crate::{
    keys::{Keys, PART_BYTES},
    proto::{DeleteRangeRequest, Operation, PutRequest, RangeRequest, TxnRequest},
};

const JOURNAL: u64 = 7;
const LEASE: Duration = Duration::from_secs(2);

/// An etcd of one member.
struct Member {
    client: String,
    /// The shell around it ends it once this is closed, as it is when this process ends.
    _shell: Child,
}

/// Runs etcd with the arguments behind the first one, which is its directory, until there is nothing more to read.
const SHELL: &str = r#"directory=$1; shift; etcd "$@" & read -r _; kill -9 $!; wait; rm -rf "$directory""#;

/// Started once, for all tests.
static MEMBER: LazyLock<Member> = LazyLock::new(Member::start);

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").expect("a free port").local_addr().expect("an address").port()
}

impl Member {
    fn start() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("throttle-etcd-{}-{}", std::process::id(), NEXT.fetch_add(1, Relaxed));
        let directory = env::temp_dir().join(name);
        let [client, peer] = [free_port(), free_port()].map(|port| format!("http://127.0.0.1:{port}"));
        assert!(
            Command::new("etcd").arg("--version").output().is_ok(),
            "install etcd (on Debian: etcd-server)"
        );
        let shell = Command::new("sh")
            .args(["-c", SHELL, "sh"])
            .arg(&directory)
            .args(["--name", "one", "--data-dir"])
            .arg(&directory)
            .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
            .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
            .args(["--initial-cluster", &format!("one={peer}"), "--log-level", "error"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("a shell");
        let member = Self { client, _shell: shell };
        let etcd = member.etcd();
        while etcd.wait(etcd.range(RangeRequest::of(b"x".to_vec()))).is_err() {
            thread::sleep(Duration::from_millis(50));
        }
        member
    }

    fn etcd(&self) -> Etcd {
        reached_at(vec![self.client.clone()])
    }
}

fn reached_at(endpoints: Vec<String>) -> Etcd {
    Etcd::new(EtcdSettings { endpoints, deadline: Duration::from_secs(1), tls: None, user: None })
        .expect("right settings")
}

/// A deployment of its own in the shared etcd.
struct Deployed {
    etcd: Etcd,
    prefix: String,
    leadership: Option<Arc<Leadership<Etcd>>>,
}

impl Deployed {
    /// A leader, and the relay between it and etcd.
    fn lead_through_relay(&self) -> (Relay, Etcd, Leadership<Etcd>) {
        let relay = Relay::start();
        let etcd = reached_at(vec![relay.url.clone()]);
        let candidate = Candidate::new(etcd.clone(), &self.prefix, "one", Duration::from_mins(1));
        let leadership = etcd.wait(candidate.try_lead()).expect("etcd answers").expect("nobody leads");
        (relay, etcd, leadership)
    }

    fn run(&self, operation: Operation) {
        let request = TxnRequest::of(Vec::new(), [operation]);
        self.etcd.wait(self.etcd.txn(request)).expect("it is done");
    }

    fn put(&self, key: Vec<u8>, value: Vec<u8>) {
        self.run(Operation::Put(PutRequest { key, value, lease: 0 }));
    }

    fn remove(&self, key: Vec<u8>) {
        self.run(Operation::DeleteRange(DeleteRangeRequest { key, range_end: Vec::new() }));
    }

    fn get(&self, key: Vec<u8>) -> Option<Vec<u8>> {
        let found = self.etcd.wait(self.etcd.range(RangeRequest::of(key))).expect("it is read");
        found.kvs.into_iter().next().map(|found| found.value)
    }

    fn keys(&self) -> Keys {
        Keys::new(&self.prefix)
    }

    fn candidate(&self, name: &str) -> Candidate<Etcd> {
        Candidate::new(self.etcd.clone(), &self.prefix, name, LEASE)
    }

    /// The log of whoever leads.
    fn log(&self, leadership: &Leadership<Etcd>) -> EtcdLog<Etcd> {
        let term = leadership.term().clone();
        self.etcd
            .wait(EtcdLog::open(self.etcd.clone(), &self.prefix, JOURNAL, term, true))
            .expect("it can be read")
    }

    /// Nobody leads any more.
    fn depose(&mut self) -> Option<Arc<Leadership<Etcd>>> {
        self.remove(self.keys().leader());
        self.leadership.take()
    }

    fn confirm(&self, leadership: &Leadership<Etcd>) -> Confirmed {
        self.etcd.wait(leadership.confirm())
    }
}

fn deployment_of(journal: u64) -> Deployment {
    Deployment { journal, secret: [1; 32] }
}

impl Provider for Deployed {
    fn fresh() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let prefix = format!("/test/{}/", NEXT.fetch_add(1, Relaxed));
        let deployment = Self { etcd: MEMBER.etcd(), prefix, leadership: None };
        let candidate = deployment.candidate("one");
        let ours = deployment_of(JOURNAL);
        assert_eq!(deployment.etcd.wait(candidate.deployment(ours)), Ok(ours));
        let other = deployment_of(JOURNAL + 1);
        assert_eq!(deployment.etcd.wait(candidate.deployment(other)), Ok(ours), "it is there");
        deployment
    }

    fn journal(&self) -> u64 {
        JOURNAL
    }

    fn lead(&mut self) -> (Epoch, Box<dyn Log>) {
        self.depose();
        let leadership =
            self.etcd.wait(self.candidate("one").try_lead()).expect("etcd answers").expect("nobody leads");
        let leadership = Arc::new(leadership);
        self.leadership = Some(leadership.clone());
        let kept = leadership.clone();
        self.etcd.spawn(async move { kept.keep_alive(|| true).await });
        (leadership.term().epoch, Box::new(self.log(&leadership)))
    }

    fn reader(&mut self) -> Box<dyn LogReader> {
        Box::new(EtcdReader::new(self.etcd.clone(), &self.prefix, JOURNAL))
    }

    fn crash(&mut self) {}

    fn damage(&mut self, number: u64) {
        let key = self.keys().batch(number);
        let mut value = self.get(key.clone()).expect("there");
        *value.last_mut().expect("not empty") ^= 1;
        self.put(key, value);
    }
}

#[test]
fn the_log_does_what_every_log_does() {
    check_all::<Deployed>();
}

fn read(deployment: &mut Deployed) -> (Vec<Vec<u8>>, End) {
    let mut bodies = Vec::new();
    let end = deployment.reader().read_from(None, None, &mut |entry| {
        bodies.push(entry.body().to_vec());
        Ok(())
    });
    (bodies, end.expect("it can be read"))
}

/// The position and the chain of the next batch.
fn next(end: &End, epoch: Epoch, body: &[u8]) -> (Position, Chain) {
    let position = Position { epoch, number: end.number + 1 };
    (position, end.chain.then(position, body))
}

#[test]
fn one_leads_and_another_only_after_it() {
    let mut deployment = Deployed::fresh();
    let etcd = deployment.etcd.clone();
    let (first, _log) = deployment.lead();
    let other = deployment.candidate("two");
    assert!(etcd.wait(other.try_lead()).expect("etcd answers").is_none());
    let leadership = deployment.leadership.take().expect("it leads");
    assert_eq!(deployment.confirm(&leadership), Confirmed::Yes);
    // It leads for longer than its lease, as it renews that.
    thread::sleep(2 * LEASE);
    assert_eq!(deployment.confirm(&leadership), Confirmed::Yes);
    let key = deployment.keys().leader();
    assert!(deployment.get(key.clone()).expect("there").starts_with(b"one "));
    let mut reader = EtcdReader::new(etcd.clone(), &deployment.prefix, JOURNAL);
    etcd.wait(reader.read_from(None, None, &mut |_| Ok(()))).expect("it can be read");
    assert_eq!(reader.leader(), Some(&Leader { name: "one".to_owned(), epoch: first }));
    deployment.remove(key.clone());
    let second = etcd.wait(other.try_lead()).expect("etcd answers").expect("nobody leads");
    assert!(second.term().epoch > first);
    assert!(deployment.get(key).expect("there").starts_with(b"two "));
    assert_eq!(deployment.confirm(&leadership), Confirmed::Deposed);
    // Whoever resigns lets another one lead at once.
    etcd.wait(second.resign());
    assert!(etcd.wait(other.try_lead()).expect("etcd answers").is_some());
}

#[test]
fn a_lease_that_nobody_renews_ends_the_term() {
    let deployment = Deployed::fresh();
    let etcd = deployment.etcd.clone();
    let candidate = deployment.candidate("one");
    let leadership = etcd.wait(candidate.try_lead()).expect("etcd answers").expect("nobody leads");
    while deployment.confirm(&leadership) == Confirmed::Yes {
        thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(deployment.confirm(&leadership), Confirmed::Deposed);
    // Renewing it finds that out too, and ends.
    etcd.wait(leadership.keep_alive(|| true));
}

#[test]
fn a_deposed_leader_is_told_so_and_changes_nothing() {
    let mut deployment = Deployed::fresh();
    let (old_epoch, mut old) = deployment.lead();
    let (position, chain) = next(&read(&mut deployment).1, old_epoch, b"a");
    old.append(position, chain, b"a").expect("it leads");
    // Somebody removes the key, or a revocation of etcd's comes late.
    let leadership = deployment.depose().expect("it leads");
    assert_eq!(deployment.confirm(&leadership), Confirmed::Deposed);
    let (_, end) = read(&mut deployment);
    let (position, chain) = next(&end, old_epoch, b"b");
    assert_eq!(old.append(position, chain, b"b"), Err(AppendError::Superseded));
    let large = vec![0; 2 * PART_BYTES];
    let (position, chain) = next(&end, old_epoch, &large);
    assert_eq!(old.append(position, chain, &large), Err(AppendError::Superseded));
    assert_eq!(old.put_piece(1, 0, b"x"), Err(LogError::Superseded));
    let (sum, pieces) = (Chain::of_snapshot(JOURNAL, 1).with(0, b"x"), 1);
    let snapshot = Snapshot { through: 1, chain: end.chain, pieces, sum };
    assert_eq!(old.finish_snapshot(&snapshot), Err(LogError::Superseded));
    // What it had appended before is there, and the same bytes again are a success, whoever leads.
    let (new_epoch, mut new) = deployment.lead();
    let again = next(&End::start(JOURNAL), old_epoch, b"a");
    assert_eq!(old.append(again.0, again.1, b"a"), Ok(()));
    let (position, chain) = next(&end, new_epoch, b"c");
    assert_eq!(new.append(position, chain, b"c"), Ok(()));
    assert_eq!(read(&mut deployment).0, [b"a", b"c"]);
}

#[test]
fn a_key_that_only_looks_like_the_leaders_is_not_taken_for_it() {
    let mut deployment = Deployed::fresh();
    let (epoch, mut log) = deployment.lead();
    // As after a restore from a backup: the revision is right, the value is not.
    let key = deployment.keys().leader();
    deployment.put(key, b"two 0000000000000001".to_vec());
    let leadership = deployment.leadership.take().expect("it led");
    assert_eq!(deployment.confirm(&leadership), Confirmed::Deposed);
    let (position, chain) = next(&End::start(JOURNAL), epoch, b"a");
    assert_eq!(log.append(position, chain, b"a"), Err(AppendError::Superseded));
}

#[test]
fn a_batch_above_the_limit_of_etcd_is_kept_in_parts() {
    let mut deployment = Deployed::fresh();
    let (epoch, mut log) = deployment.lead();
    let large: Vec<u8> = (0..=250).cycle().take(3 * PART_BYTES + 5).collect();
    let mut end = End::start(JOURNAL);
    for body in [&b"small"[..], &large, b"after"] {
        let (position, chain) = next(&end, epoch, body);
        log.append(position, chain, body).expect("it leads");
        (end.number, end.chain) = (position.number, chain);
    }
    let (bodies, read_end) = read(&mut deployment);
    assert!(bodies == [b"small".to_vec(), large.clone(), b"after".to_vec()]);
    assert_eq!((read_end.number, read_end.chain), (end.number, end.chain));
    // So is a piece of a snapshot.
    log.put_piece(3, 0, &large).expect("it leads");
    let sum = Chain::of_snapshot(JOURNAL, 3).with(0, &large);
    let snapshot = Snapshot { through: 3, chain: end.chain, pieces: 1, sum };
    log.finish_snapshot(&snapshot).expect("it leads");
    while log.trim().expect("it leads") {}
    assert!(read(&mut deployment).0 == [large]);
}

#[test]
fn a_batch_that_was_never_finished_counts_for_nothing() {
    let mut deployment = Deployed::fresh();
    let (epoch, mut log) = deployment.lead();
    let (position, chain) = next(&End::start(JOURNAL), epoch, b"a");
    log.append(position, chain, b"a").expect("it leads");
    // The leader died between the parts of the next one.
    deployment.put(deployment.keys().part(2, 1), b"half".to_vec());
    let (bodies, end) = read(&mut deployment);
    assert_eq!((bodies, end.number), (vec![b"a".to_vec()], 1));
    let (epoch, mut log) = deployment.lead();
    let (position, chain) = next(&end, epoch, b"b");
    log.append(position, chain, b"b").expect("it leads");
    assert_eq!(read(&mut deployment).0, [b"a", b"b"]);
}

#[test]
fn a_member_that_is_gone_is_named_and_another_one_answers() {
    let deployment = Deployed::fresh();
    let dead = format!("http://127.0.0.1:{}", free_port());
    let etcd = reached_at(vec![dead.clone(), MEMBER.client.clone()]);
    let candidate = Candidate::new(etcd.clone(), &deployment.prefix, "one", LEASE);
    let leadership = etcd.wait(candidate.try_lead()).expect("etcd answers").expect("nobody leads");
    assert_eq!(etcd.wait(leadership.confirm()), Confirmed::Yes);
    let alone = reached_at(vec![dead.clone()]);
    let candidate = Candidate::new(alone.clone(), &deployment.prefix, "two", LEASE);
    let error = alone.wait(candidate.try_lead()).err().expect("nobody answers").to_string();
    assert!(error.starts_with(&dead) && error.contains("refused"), "{error}");
    let status = etcd.wait(etcd.status());
    let [gone, there] = &status[..] else { panic!("{status:?}") };
    assert!(
        gone.outcome.is_err() && there.outcome.as_ref().is_ok_and(|health| health.is_leader),
        "{status:?}"
    );
}

/// Passes connections on to the member, for as long as it is let.
struct Relay {
    url: String,
    is_cut: Arc<AtomicBool>,
}

impl Relay {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let is_cut = Arc::new(AtomicBool::new(false));
        let (cut, to) = (is_cut.clone(), MEMBER.client.trim_start_matches("http://").to_owned());
        thread::spawn(move || {
            for from in listener.incoming().map_while(Result::ok) {
                if cut.load(Relaxed) {
                    continue;
                }
                let to = TcpStream::connect(&to).expect("the member listens");
                for (mut reading, mut writing) in
                    [(from.try_clone().expect("a socket"), to.try_clone().expect("a socket")), (to, from)]
                {
                    let cut = cut.clone();
                    thread::spawn(move || {
                        let mut bytes = [0; 4096];
                        while let Ok(count @ 1..) = reading.read(&mut bytes) {
                            if cut.load(Relaxed) || writing.write_all(&bytes[..count]).is_err() {
                                break;
                            }
                        }
                        let _ = writing.shutdown(Shutdown::Both);
                        let _ = reading.shutdown(Shutdown::Both);
                    });
                }
            }
        });
        Self { url, is_cut }
    }
}

#[test]
fn a_leader_that_is_cut_off_reads_on_for_its_snapshot_once_it_is_not() {
    let deployment = Deployed::fresh();
    let (relay, etcd, leadership) = deployment.lead_through_relay();
    let term = leadership.term().clone();
    let opened = EtcdLog::open(etcd.clone(), &deployment.prefix, JOURNAL, term, false);
    let mut log = etcd.wait(opened).expect("it can be read");
    let (position, chain) = next(&End::start(JOURNAL), leadership.term().epoch, b"a");
    assert_eq!(Log::append(&mut log, position, chain, b"a"), Ok(()));
    let mut reader = log.reader().expect("a reader");
    relay.is_cut.store(true, Relaxed);
    let reading = thread::spawn(move || reader.read_from(None, None, &mut |_| Ok(())).map(|end| end.number));
    // Whoever does not insist hears of it.
    let mut other = EtcdReader::new(etcd.clone(), &deployment.prefix, JOURNAL);
    assert!(matches!(LogReader::read_from(&mut other, None, None, &mut |_| Ok(())), Err(LogError::Io(_))));
    assert!(!reading.is_finished());
    relay.is_cut.store(false, Relaxed);
    assert_eq!(reading.join().expect("it ends"), Ok(1));
}

#[test]
fn a_leader_that_is_cut_off_goes_on_once_it_is_not() {
    let deployment = Deployed::fresh();
    let (relay, etcd, leadership) = deployment.lead_through_relay();
    let term = leadership.term().clone();
    relay.is_cut.store(true, Relaxed);
    let opening = thread::spawn({
        let (etcd, prefix) = (etcd.clone(), deployment.prefix.clone());
        move || etcd.wait(EtcdLog::open(etcd.clone(), &prefix, JOURNAL, term, false))
    });
    while etcd.why_held().is_none() {
        thread::sleep(Duration::from_millis(5));
    }
    relay.is_cut.store(false, Relaxed);
    let mut log = opening.join().expect("it ends").expect("it can be read");
    assert_eq!(etcd.why_held(), None);
    relay.is_cut.store(true, Relaxed);
    assert!(matches!(etcd.wait(leadership.confirm()), Confirmed::Unknown(_)));
    let (position, chain) = next(&End::start(JOURNAL), leadership.term().epoch, b"a");
    let appending = thread::spawn(move || {
        let outcome = Log::append(&mut log, position, chain, b"a");
        (log, outcome)
    });
    while etcd.why_held().is_none() {
        thread::sleep(Duration::from_millis(5));
    }
    assert!(!appending.is_finished());
    relay.is_cut.store(false, Relaxed);
    let (mut log, outcome) = appending.join().expect("it ends");
    assert_eq!((outcome, etcd.why_held()), (Ok(()), None));
    // Whoever stops waits for nothing.
    relay.is_cut.store(true, Relaxed);
    etcd.stop();
    assert!(matches!(Log::append(&mut log, position, chain, b"a"), Err(AppendError::Failed(_))));
}

#[test]
fn a_member_that_tells_no_quota_has_none_that_is_known() {
    let told =
        proto::StatusResponse { db_size: 5, db_size_quota: 2 << 30, ..proto::StatusResponse::default() };
    assert_eq!(Health::from(told.clone()).quota_bytes, Some(2 << 30));
    let before_3_6 = proto::StatusResponse { db_size_quota: 0, ..told };
    assert_eq!(Health::from(before_3_6).quota_bytes, None);
}
