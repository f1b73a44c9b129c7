//! Against a real etcd, which has to be installed: `etcd` of Debian's package `etcd-server`.

use std::{
    env,
    net::TcpListener,
    process::{Child, Command, Stdio},
    sync::{
        LazyLock,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

use throttle_journal::{
    AppendError, End, Epoch, Log, LogReader, Position,
    conformance::{Provider, check_all},
};

use super::*;
use crate::{
    keys::{Keys, PART_BYTES},
    proto::{Operation, PutRequest, RangeRequest, RequestOp, TxnRequest},
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
        let etcd = member.etcd("/ready/");
        while etcd.wait(etcd.range(RangeRequest { key: b"x".to_vec(), ..RangeRequest::default() })).is_err() {
            thread::sleep(Duration::from_millis(50));
        }
        member
    }

    fn etcd(&self, prefix: &str) -> Etcd {
        Etcd::new(EtcdSettings {
            endpoints: vec![self.client.clone()],
            prefix: prefix.to_owned(),
            lease: LEASE,
            deadline: Duration::from_secs(2),
            tls: None,
        })
        .expect("right settings")
    }
}

/// A deployment of its own in the shared etcd.
struct Deployment {
    etcd: Etcd,
    leadership: Option<Leadership>,
}

impl Deployment {
    fn put(&self, key: Vec<u8>, value: Vec<u8>) {
        let put = Operation::Put(PutRequest { key, value, lease: 0 });
        let request = TxnRequest { success: vec![RequestOp { request: Some(put) }], ..TxnRequest::default() };
        self.etcd.wait(self.etcd.txn(&request)).expect("it is written");
    }

    fn get(&self, key: Vec<u8>) -> Option<Vec<u8>> {
        let request = RangeRequest { key, ..RangeRequest::default() };
        self.etcd.wait(self.etcd.range(request)).expect("it is read").kvs.pop().map(|found| found.value)
    }

    fn keys(&self) -> Keys {
        Keys::new(&self.etcd.settings().prefix)
    }
}

impl Provider for Deployment {
    fn fresh() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let etcd = MEMBER.etcd(&format!("/test/{}/", NEXT.fetch_add(1, Relaxed)));
        assert_eq!(Candidate::new(etcd.clone(), "one").journal(JOURNAL), Ok(JOURNAL));
        Self { etcd, leadership: None }
    }

    fn journal(&self) -> u64 {
        JOURNAL
    }

    fn lead(&mut self) -> (Epoch, Box<dyn Log>) {
        if let Some(before) = self.leadership.take() {
            before.resign().expect("it resigns");
        }
        let candidate = Candidate::new(self.etcd.clone(), "one");
        let leadership = candidate.try_lead().expect("etcd answers").expect("nobody leads");
        let epoch = leadership.epoch();
        self.leadership = Some(leadership);
        (epoch, Box::new(EtcdLog::new(self.etcd.clone(), JOURNAL, epoch, true)))
    }

    fn reader(&mut self) -> Box<dyn LogReader> {
        Box::new(EtcdReader::new(self.etcd.clone(), JOURNAL))
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
    check_all::<Deployment>();
}

fn read(deployment: &mut Deployment) -> (Vec<Vec<u8>>, End) {
    let mut bodies = Vec::new();
    let end = deployment.reader().read_from(None, None, &mut |entry| {
        bodies.push(entry.body().to_vec());
        Ok(())
    });
    (bodies, end.expect("it can be read"))
}

/// The position and the chain of the next batch.
fn next(end: &End, epoch: Epoch, body: &[u8]) -> (Position, throttle_journal::Chain) {
    let position = Position { epoch, number: end.number + 1 };
    (position, end.chain.then(position, body))
}

#[test]
fn one_leads_and_another_only_after_it() {
    let mut deployment = Deployment::fresh();
    let (first, _log) = deployment.lead();
    let other = Candidate::new(deployment.etcd.clone(), "two");
    assert!(other.try_lead().expect("etcd answers").is_none());
    let leadership = deployment.leadership.take().expect("it leads");
    assert_eq!(leadership.confirm(), Confirmed::Yes);
    // It leads for longer than its lease, as it renews that.
    thread::sleep(2 * LEASE);
    assert_eq!(leadership.confirm(), Confirmed::Yes);
    let key = deployment.keys().leader();
    assert!(deployment.get(key.clone()).expect("there").starts_with(b"one "));
    leadership.resign().expect("it resigns");
    let second = other.try_lead().expect("etcd answers").expect("nobody leads");
    assert!(second.epoch() > first);
    assert!(deployment.get(key).expect("there").starts_with(b"two "));
}

#[test]
fn a_deposed_leader_is_told_so_and_changes_nothing() {
    let mut deployment = Deployment::fresh();
    let (old_epoch, mut old) = deployment.lead();
    let (position, chain) = next(&read(&mut deployment).1, old_epoch, b"a");
    old.append(position, chain, b"a").expect("it leads");
    let leadership = deployment.leadership.take().expect("it leads");
    // Somebody removes the key, or a revocation of etcd's comes late.
    let keys = deployment.keys();
    let gone = proto::DeleteRangeRequest { key: keys.leader(), range_end: Vec::new() };
    let request = TxnRequest {
        success: vec![RequestOp { request: Some(Operation::DeleteRange(gone)) }],
        ..TxnRequest::default()
    };
    deployment.etcd.wait(deployment.etcd.txn(&request)).expect("it is removed");
    assert_eq!(leadership.confirm(), Confirmed::Deposed);
    let (_, end) = read(&mut deployment);
    let (position, chain) = next(&end, old_epoch, b"b");
    assert_eq!(old.append(position, chain, b"b"), Err(AppendError::Superseded));
    assert_eq!(
        old.put_piece(1, 0, b"x").map_err(|error| error.to_string()),
        Err("another server leads by now".to_owned())
    );
    // What it had appended before is there, and the same bytes again are a success, whoever leads.
    let (new_epoch, mut new) = deployment.lead();
    let again = next(&End::start(JOURNAL), old_epoch, b"a");
    assert_eq!(old.append(again.0, again.1, b"a"), Ok(()));
    let (position, chain) = next(&end, new_epoch, b"c");
    assert_eq!(new.append(position, chain, b"c"), Ok(()));
    assert_eq!(read(&mut deployment).0, [b"a", b"c"]);
}

#[test]
fn a_batch_above_the_limit_of_etcd_is_kept_in_parts() {
    let mut deployment = Deployment::fresh();
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
    let sum = throttle_journal::Chain::of_snapshot(JOURNAL, 3).with(0, &large);
    let snapshot = throttle_journal::Snapshot { through: 3, chain: end.chain, pieces: 1, sum };
    log.finish_snapshot(&snapshot).expect("it leads");
    while log.trim().expect("it leads") {}
    assert!(read(&mut deployment).0 == [large]);
}

#[test]
fn a_batch_that_was_never_finished_counts_for_nothing() {
    let mut deployment = Deployment::fresh();
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
fn an_etcd_that_is_gone_is_named_and_what_becomes_of_a_batch_is_unknown() {
    let settings = |endpoint: String| EtcdSettings {
        endpoints: vec![endpoint, MEMBER.client.clone()],
        prefix: "/gone/".to_owned(),
        lease: LEASE,
        deadline: Duration::from_millis(500),
        tls: None,
    };
    let dead = format!("http://127.0.0.1:{}", free_port());
    // The next member answers.
    let etcd = Etcd::new(settings(dead.clone())).expect("right settings");
    let leadership =
        Candidate::new(etcd.clone(), "one").try_lead().expect("etcd answers").expect("nobody leads");
    assert_eq!(leadership.confirm(), Confirmed::Yes);
    let mut alone = settings(dead.clone());
    alone.endpoints.truncate(1);
    let alone = Etcd::new(alone).expect("right settings");
    let mut log = EtcdLog::new(alone.clone(), JOURNAL, leadership.epoch(), false);
    let (position, chain) = next(&End::start(JOURNAL), leadership.epoch(), b"a");
    match log.append(position, chain, b"a") {
        Err(AppendError::Unknown(why)) => assert!(why.starts_with(&dead), "{why}"),
        outcome => panic!("{outcome:?}"),
    }
    let error = Candidate::new(alone, "two").try_lead().err().expect("nobody answers").to_string();
    assert!(error.starts_with(&dead), "{error}");
}
