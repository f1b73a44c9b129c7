//! The store does as etcd does; and the protocol of the log runs on it.

use std::{cell::RefCell, rc::Rc, time::Duration};

use throttle_etcd::{
    Candidate, Confirmed, Deployment, EtcdError, EtcdLog, EtcdReader, Kv as _,
    proto::{
        Compare, CompareResult, CompareTarget, DeleteRangeRequest, Operation, PutRequest, RangeRequest,
        RequestOp, Target, TxnRequest,
    },
};
use throttle_journal::{AppendError, Chain, Entry, LogError, Position, Snapshot};

use super::{
    kv::{Ask, SimKv, Told},
    store::Store,
    tasks::Tasks,
};
use crate::time::SECOND;

fn put(key: &str, value: &str, lease: i64) -> RequestOp {
    let (key, value) = (key.into(), value.into());
    RequestOp { request: Some(Operation::Put(PutRequest { key, value, lease })) }
}

fn delete(key: &str, range_end: &str) -> RequestOp {
    let (key, range_end) = (key.into(), range_end.into());
    RequestOp { request: Some(Operation::DeleteRange(DeleteRangeRequest { key, range_end })) }
}

fn all(operations: &[RequestOp]) -> TxnRequest {
    TxnRequest { compare: Vec::new(), success: operations.to_vec(), failure: Vec::new() }
}

fn when(key: &str, result: CompareResult, value: Target) -> TxnRequest {
    let target = match value {
        Target::CreateRevision(_) => CompareTarget::Create,
        Target::ModRevision(_) => CompareTarget::Mod,
        Target::Value(_) => CompareTarget::Value,
    };
    let (result, target) = (result.into(), target.into());
    let compare = vec![Compare { result, target, key: key.into(), value: Some(value) }];
    TxnRequest { compare, ..TxnRequest::default() }
}

/// The keys from one to another, as they were at a revision, and whether there are more.
fn keys(
    store: &Store,
    range: (&str, &str),
    limit: i64,
    revision: i64,
) -> Result<(Vec<String>, bool), EtcdError> {
    let (key, range_end) = (range.0.into(), range.1.into());
    let found = store.range(&RangeRequest { key, range_end, limit, revision, keys_only: false })?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let kvs = found.kvs.iter().map(|one| format!("{}={}", text(&one.key), text(&one.value)));
    Ok((kvs.collect(), found.more))
}

fn now(store: &Store) -> Vec<String> {
    keys(store, ("", "\u{7f}"), 0, 0).unwrap().0
}

#[test]
fn a_range_is_read_as_it_is_or_was_until_that_is_forgotten() {
    let mut store = Store::default();
    let first = store.txn(&all(&[put("a", "1", 0), put("b", "1", 0)])).unwrap();
    assert_eq!(first.header.map(|header| header.revision), Some(2), "one revision for all of it");
    store.txn(&all(&[put("a", "2", 0), delete("b", "")])).unwrap();
    store.txn(&all(&[put("c", "1", 0)])).unwrap();
    assert_eq!(now(&store), ["a=2", "c=1"]);
    assert_eq!(keys(&store, ("a", "c"), 0, 2), Ok((vec!["a=1".to_owned(), "b=1".to_owned()], false)));
    assert_eq!(keys(&store, ("a", "z"), 1, 0), Ok((vec!["a=2".to_owned()], true)));
    assert_eq!(keys(&store, ("b", ""), 0, 0), Ok((Vec::new(), false)));
    store.compact(3).unwrap();
    assert!(store.compact(3).is_err());
    assert_eq!(keys(&store, ("a", "z"), 0, 2), Err(EtcdError::Compacted));
    assert_eq!(keys(&store, ("a", "z"), 0, 3), Ok((vec!["a=2".to_owned()], false)));
    assert_eq!(now(&store), ["a=2", "c=1"]);
    let found = store.range(&RangeRequest::of(b"a".to_vec())).unwrap();
    assert_eq!((found.kvs[0].create_revision, found.kvs[0].mod_revision), (2, 3));
}

#[test]
fn a_transaction_compares_what_is_there() {
    use CompareResult::{Equal, Greater, Less, NotEqual};
    let mut store = Store::default();
    store.txn(&all(&[put("a", "x", 0)])).unwrap();
    store.txn(&all(&[put("a", "y", 0)])).unwrap();
    let mut holds = |key, result, value| store.txn(&when(key, result, value)).unwrap().succeeded;
    assert!(holds("a", Equal, Target::CreateRevision(2)));
    assert!(holds("a", Greater, Target::CreateRevision(0)));
    assert!(!holds("a", Equal, Target::ModRevision(2)));
    assert!(holds("a", Less, Target::ModRevision(4)));
    assert!(holds("a", Equal, Target::Value(b"y".to_vec())));
    assert!(holds("z", Equal, Target::CreateRevision(0)));
    assert!(
        !holds("z", NotEqual, Target::Value(b"y".to_vec())),
        "no value is that of a key that is not there"
    );
    let revision = |store: &mut Store, request: &TxnRequest| {
        store.txn(request).unwrap().header.map(|header| header.revision)
    };
    assert_eq!(revision(&mut store, &all(&[delete("q", "")])), Some(3), "nothing was written");
    let failing =
        TxnRequest { failure: vec![put("f", "1", 0)], ..when("a", Equal, Target::CreateRevision(0)) };
    assert_eq!(revision(&mut store, &failing), Some(4));
    assert_eq!(now(&store), ["a=y", "f=1"]);
}

#[test]
fn a_lease_ends_and_takes_its_keys_along() {
    let mut store = Store::default();
    let lease = store.grant(0, 2).unwrap();
    store.txn(&all(&[put("a", "1", lease), put("b", "1", 0)])).unwrap();
    assert_eq!(store.lease_of(b"a"), Some(lease));
    store.expire(2 * SECOND - 1);
    assert!(store.keep_alive(SECOND, lease));
    store.expire(3 * SECOND - 1);
    store.restart_leases(3 * SECOND - 1);
    store.expire(4 * SECOND);
    assert_eq!(now(&store), ["a=1", "b=1"]);
    store.expire(6 * SECOND);
    assert_eq!(now(&store), ["b=1"]);
    assert!(!store.keep_alive(6 * SECOND, lease));
    assert!(matches!(store.txn(&all(&[put("b", "2", lease)])), Err(EtcdError::Refused(_))));
    assert_eq!(now(&store), ["b=1"], "nothing of it is done");
    // A key that another lease has by now is not touched.
    let [first, second] = [store.grant(0, 2).unwrap(), store.grant(0, 2).unwrap()];
    store.txn(&all(&[put("a", "1", first)])).unwrap();
    store.txn(&all(&[put("a", "2", second)])).unwrap();
    assert!(store.revoke(first) && !store.revoke(first));
    assert_eq!((now(&store), store.len()), (vec!["a=2".to_owned(), "b=1".to_owned()], 2));
}

#[test]
fn a_full_store_refuses_what_may_add_to_it() {
    let mut store = Store::default();
    let lease = store.grant(0, 2).unwrap();
    store.txn(&all(&[put("a", "1", lease)])).unwrap();
    store.is_full = true;
    let refused = TxnRequest { failure: vec![put("b", "1", 0)], ..TxnRequest::default() };
    assert!(matches!(store.txn(&refused), Err(EtcdError::Refused(_))), "though it would not come to that");
    assert!(store.grant(0, 2).is_err());
    assert!(store.keep_alive(0, lease));
    assert_eq!(now(&store), ["a=1"]);
    store.txn(&all(&[delete("a", "")])).unwrap();
    assert!(store.revoke(lease) && store.is_empty());
}

/// A server whose requests are answered at once, but for those that `lose` names.
struct Server {
    kv: SimKv,
    tasks: Tasks<()>,
}

impl Server {
    fn new() -> Self {
        Self { kv: SimKv::default(), tasks: Tasks::default() }
    }

    /// Runs something to its end.
    fn run<T: 'static>(
        &mut self,
        store: &mut Store,
        at: u64,
        lose: impl Fn(&Ask) -> bool,
        work: impl Future<Output = T> + 'static,
    ) -> T {
        let mut tasks = Tasks::default();
        tasks.spawn(work);
        for _ in 0..1_000 {
            if let Some(done) = tasks.poll().pop() {
                return done;
            }
            for (slot, ask) in self.kv.drain() {
                let lost = lose(&ask);
                let told = super::kv::done(store, at, &ask);
                let told = if lost { Told::Failed(EtcdError::Unknown("late".to_owned())) } else { told };
                self.kv.fill(slot, told);
            }
        }
        panic!("it does not end")
    }
}

#[test]
fn a_slot_is_filled_once_and_given_up_with_its_task() {
    let mut server = Server::new();
    let kv = server.kv.clone();
    server.tasks.spawn(async move { kv.pause(Duration::from_secs(1)).await });
    assert!(server.kv.drain().is_empty(), "nobody waits for it yet");
    assert!(server.tasks.poll().is_empty());
    let asked = server.kv.drain();
    assert_eq!(asked, [(1, Ask::Pause(Duration::from_secs(1)))]);
    assert!(server.kv.is_open(1));
    server.kv.fill(1, Told::Done);
    assert!(!server.kv.is_open(1));
    assert_eq!(server.tasks.poll().len(), 1);
    let kv = server.kv.clone();
    server.tasks.spawn(async move { kv.pause(Duration::from_secs(1)).await });
    server.tasks.poll();
    server.tasks.clear();
    assert!(!server.kv.is_open(2));
}

#[test]
fn the_protocol_of_the_log_runs_on_it() {
    let (mut store, mut one, mut other) = (Store::default(), Server::new(), Server::new());
    let never = |_: &Ask| false;
    let candidate = |server: &Server| Candidate::new(server.kv.clone(), "/t", "a", Duration::from_secs(2));
    let [first, second] = [candidate(&one), candidate(&other)];
    let new = Deployment { journal: 7, secret: [0; 32] };
    let journal = one.run(&mut store, 0, never, async move { first.deployment(new).await });
    assert_eq!(journal, Ok(new));
    let [first, again] = [candidate(&one), second.clone()];
    let leads = one.run(&mut store, 0, never, async move { first.try_lead().await }).unwrap().unwrap();
    assert!(other.run(&mut store, 0, never, async move { again.try_lead().await }).unwrap().is_none());
    let (kv, term) = (one.kv.clone(), leads.term().clone());
    let position = Position { epoch: term.epoch, number: 1 };
    let chain = Chain::start(7).then(position, b"records");
    // An answer that is lost is asked for again.
    let attempts = std::cell::Cell::new(0);
    let twice = move |ask: &Ask| {
        attempts.set(attempts.get() + u32::from(matches!(ask, Ask::Txn(_))));
        matches!(ask, Ask::Txn(_)) && attempts.get() < 3
    };
    let (mut log, appended) = one.run(&mut store, 0, twice, async move {
        let mut log = EtcdLog::open(kv, "/t", 7, term, true).await.unwrap();
        let appended = log.append(position, chain, b"records").await;
        (log, appended)
    });
    assert_eq!(appended, Ok(()));
    // Another server leads once the lease is over, and reads what was appended; the first one finds out.
    store.expire(2 * SECOND);
    let next = other.run(&mut store, 0, never, async move { second.try_lead().await }).unwrap().unwrap();
    assert!(next.term().epoch > position.epoch);
    let confirmed = one.run(&mut store, 0, never, async move { leads.confirm().await });
    assert_eq!(confirmed, Confirmed::Deposed);
    let next_position = Position { number: 2, ..position };
    let late = one.run(&mut store, 0, never, async move {
        let snapshot = Snapshot { through: 1, chain, pieces: 0, sum: chain };
        (log.append(next_position, chain, b"more").await, log.finish_snapshot(&snapshot).await)
    });
    assert_eq!(late, (Err(AppendError::Superseded), Err(LogError::Superseded)));
    let mut reader = EtcdReader::new(other.kv.clone(), "/t", 7);
    let (read, end) = other.run(&mut store, 0, never, async move {
        let mut read = Vec::new();
        let mut visit = |entry: Entry<'_>| {
            read.push(entry.body().to_vec());
            Ok(())
        };
        let end = reader.read_from(None, None, &mut visit).await.unwrap();
        (read, end)
    });
    assert_eq!((read, end.number, end.chain), (vec![b"records".to_vec()], 1, chain));
}

/// Notes transactions, and loses none.
fn recorder() -> (Rc<RefCell<Vec<TxnRequest>>>, impl Fn(&Ask) -> bool) {
    let sent = Rc::new(RefCell::new(Vec::new()));
    let all = sent.clone();
    let record = move |ask: &Ask| {
        if let Ask::Txn(request) = ask {
            all.borrow_mut().push(request.clone());
        }
        false
    };
    (sent, record)
}

#[test]
fn an_append_that_arrives_late_brings_nothing_back_that_was_trimmed() {
    let (mut store, mut server) = (Store::default(), Server::new());
    let (sent, record) = recorder();
    let kv = server.kv.clone();
    server.run(&mut store, 0, record, async move {
        let candidate = Candidate::new(kv.clone(), "/t", "a", Duration::from_secs(2));
        let leads = candidate.try_lead().await.unwrap().unwrap();
        let term = leads.term().clone();
        let epoch = term.epoch;
        let mut log = EtcdLog::open(kv, "/t", 7, term, true).await.unwrap();
        let mut chain = Chain::start(7);
        for number in 1..=4 {
            let position = Position { epoch, number };
            chain = chain.then(position, b"records");
            log.append(position, chain, b"records").await.unwrap();
            let sum = Chain::of_snapshot(7, number);
            log.finish_snapshot(&Snapshot { through: number, chain, pieces: 0, sum }).await.unwrap();
            while log.trim().await.unwrap() {}
        }
    });
    let before = now(&store);
    let puts = |one: &RequestOp| matches!(one.request, Some(Operation::Put(_)));
    for request in sent.borrow().iter().filter(|request| request.success.iter().any(puts)) {
        // Whatever of it was given up may arrive now.
        store.txn(request).unwrap();
    }
    assert_eq!(now(&store), before);
}

#[test]
fn a_trim_that_arrives_late_takes_nothing_of_the_snapshot_that_counts() {
    let (mut store, mut server) = (Store::default(), Server::new());
    let (sent, record) = recorder();
    let snapshot = |chain| Snapshot { through: 1, chain, pieces: 1, sum: Chain::of_snapshot(7, 1) };
    let lead = |kv: SimKv, is_first: bool| async move {
        let candidate = Candidate::new(kv.clone(), "/t", "a", Duration::from_secs(2));
        let leads = candidate.try_lead().await.unwrap().unwrap();
        let term = leads.term().clone();
        let position = Position { epoch: term.epoch, number: 1 };
        let mut log = EtcdLog::open(kv, "/t", 7, term, true).await.unwrap();
        let chain = Chain::start(7).then(position, b"records");
        if is_first {
            log.append(position, chain, b"records").await.unwrap();
        } else {
            while log.trim().await.unwrap() {}
        }
        log.put_piece(1, 0, b"piece").await.unwrap();
        log.finish_snapshot(&snapshot(chain)).await.unwrap();
    };
    server.run(&mut store, 0, |_| false, lead(server.kv.clone(), true));
    // Nothing was written since: the next leader's snapshot goes through the same batch.
    store.expire(2 * SECOND);
    server.run(&mut store, 0, record, lead(server.kv.clone(), false));
    let before = now(&store);
    assert!(before.iter().filter(|key| key.contains("snap/0")).count() >= 1, "{before:?}");
    let deletes = |one: &RequestOp| matches!(one.request, Some(Operation::DeleteRange(_)));
    let sent = sent.borrow();
    let mut late = sent.iter().filter(|request| request.success.iter().any(deletes)).peekable();
    assert!(late.peek().is_some());
    for request in late {
        store.txn(request).unwrap();
    }
    assert_eq!(now(&store), before);
}

#[test]
fn a_page_that_was_too_much_is_asked_for_anew_in_a_small_one() {
    let (mut store, mut server) = (Store::default(), Server::new());
    let (sent, record) = recorder();
    let lost = sent.clone();
    // The third look has no answer.
    let lose = move |ask: &Ask| {
        record(ask);
        lost.borrow().len() == 3
    };
    let kv = server.kv.clone();
    let read = server.run(&mut store, 0, lose, async move {
        let mut reader = EtcdReader::new(kv, "/t", 7);
        let mut outcomes = Vec::new();
        for _ in 0..4 {
            outcomes.push(reader.read_from(None, None, &mut |_| Ok(())).await.is_ok());
        }
        outcomes
    });
    assert_eq!(read, [true, true, false, true]);
    let limit = |request: &TxnRequest| match &request.success[2].request {
        Some(Operation::Range(range)) => range.limit,
        other => panic!("{other:?}"),
    };
    assert_eq!(sent.borrow().iter().map(limit).collect::<Vec<_>>(), [8, 16, 32, 8]);
}
