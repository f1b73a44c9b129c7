//! The format, and that what is written plays to what was.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use proptest::{collection::vec, option, prelude::*};
use throttle_core::{
    Acquire, By, Core, EndCause, Event, Name, Origin, Owner, PeerId, Restore, RestoreLock, Settings, Spec,
    Time, Token,
};

use super::{
    batch::{Chain, VERSION, decode, encode},
    record::{CauseRecord, OriginRecord, Record, SpecRecord, WaitingRecord},
    state::State,
    wall::WallTime,
};
use crate::{keys::KeyedEnd, log::LogError};

fn name() -> impl Strategy<Value = Name> {
    "[a-z/%ü]{0,12}".prop_map(Into::into)
}

fn duration() -> impl Strategy<Value = Duration> {
    (any::<u64>(), 0..1_000_000_000_u32).prop_map(|(seconds, nanos)| Duration::new(seconds, nanos))
}

fn spec() -> impl Strategy<Value = SpecRecord> {
    let origin =
        prop_oneof![Just(OriginRecord::File), Just(OriginRecord::Runtime), Just(OriginRecord::Pattern)];
    let waiting = prop_oneof![
        Just(WaitingRecord::Levels),
        Just(WaitingRecord::Detect),
        Just(WaitingRecord::LevelsPass),
        Just(WaitingRecord::DetectPass)
    ];
    (any::<i64>(), any::<i32>(), option::of(duration()), waiting, origin)
        .prop_map(|(max, level, per, waiting, origin)| SpecRecord { max, level, per, waiting, origin })
}

fn cause() -> impl Strategy<Value = CauseRecord> {
    prop_oneof![
        Just(CauseRecord::Released),
        Just(CauseRecord::Expired),
        Just(CauseRecord::Operator),
        Just(CauseRecord::Removed),
        Just(CauseRecord::ExceedsMax),
    ]
}

fn record() -> impl Strategy<Value = Record> {
    let labels = proptest::collection::btree_map("[a-z]{1,5}", "\\PC{0,20}", 0..4).prop_map(Arc::new);
    let number = any::<u64>;
    prop_oneof![
        (name(), spec(), option::of(name()), number())
            .prop_map(|(semaphore, spec, pattern, at)| Record::SemaphoreSet { semaphore, spec, pattern, at }),
        name().prop_map(|semaphore| Record::SemaphoreRetired { semaphore }),
        name().prop_map(|semaphore| Record::SemaphoreRemoved { semaphore }),
        (number(), number(), duration(), option::of(labels))
            .prop_map(|(peer, at, expires_in, labels)| Record::PeerCreated { peer, at, expires_in, labels }),
        (number(), duration()).prop_map(|(peer, expires_in)| Record::LeaseChanged { peer, expires_in }),
        (number(), name(), any::<i64>(), any::<i32>(), number(), any::<i64>(), number()).prop_map(
            |(peer, semaphore, count, priority, since, key, sequence)| Record::Queued {
                peer,
                semaphore,
                count,
                priority,
                since,
                key,
                sequence
            }
        ),
        (number(), name(), any::<i64>(), number(), number()).prop_map(
            |(peer, semaphore, count, token, at)| Record::Granted { peer, semaphore, count, token, at }
        ),
        (number(), name(), any::<i64>(), option::of(number()), number(), number()).prop_map(
            |(peer, semaphore, count, token, serial, at)| Record::Restored {
                peer,
                semaphore,
                count,
                token,
                serial,
                at
            }
        ),
        (number(), name(), any::<i64>(), number()).prop_map(|(peer, semaphore, count, at)| Record::Shrunk {
            peer,
            semaphore,
            count,
            at
        }),
        (number(), name(), number(), cause()).prop_map(|(peer, semaphore, at, cause)| Record::Released {
            peer,
            semaphore,
            at,
            cause
        }),
        (number(), name(), any::<i64>(), cause())
            .prop_map(|(peer, semaphore, count, cause)| Record::Withdrawn { peer, semaphore, count, cause }),
        (number(), cause()).prop_map(|(peer, cause)| Record::PeerEnded { peer, cause }),
        (number(), number()).prop_map(|(token, sequence)| Record::Counters { token, sequence }),
        (name(), any::<i64>(), number()).prop_map(|(semaphore, count, until)| Record::Cooling {
            semaphore,
            count,
            until
        }),
        vec((name(), spec()), 0..4).prop_map(|semaphores| Record::Declared { semaphores }),
        (number(), name(), number()).prop_map(|(peer, key, fingerprint)| Record::KeyUsed {
            peer,
            key: key.shared(),
            fingerprint
        }),
        option::of(number()).prop_map(|until| Record::Holding { until }),
        number().prop_map(|peer| Record::Connected { peer }),
        any::<i64>().prop_map(|ahead_us| Record::Wall { ahead_us }),
        number().prop_map(|at| Record::Time { at }),
        (number(), option::of(name()), name(), number()).prop_map(|(peer, owner, key, fingerprint)| {
            let owner = owner.map(|owner| owner.shared());
            Record::KeyTaken { peer, owner, key: key.shared(), fingerprint }
        }),
        (number(), cause(), option::of(name()), number(), number()).prop_map(
            |(peer, cause, reason, at, told_at)| {
                let reason = reason.map(|reason| reason.shared());
                Record::KeyKept { peer, cause, reason, at, told_at }
            }
        ),
        (name(), any::<i64>()).prop_map(|(semaphore, max_before)| Record::Paused { semaphore, max_before }),
    ]
}

fn all(body: &[u8]) -> Result<Vec<Record>, LogError> {
    let mut records = Vec::new();
    decode(body, |record| {
        records.push(record);
        Ok(())
    })?;
    Ok(records)
}

proptest! {
    #[test]
    fn records_come_back_as_they_were(records in vec(record(), 1..20)) {
        let mut body = Vec::new();
        for record in &records {
            encode(&mut body, record);
        }
        prop_assert_eq!(all(&body), Ok(records));
    }

    #[test]
    fn an_event_comes_back_as_it_was_written(record in record()) {
        if let Ok(event) = record.clone().into_event() {
            prop_assert_eq!(Record::of(&event), Some(record));
        }
    }

    #[test]
    fn whatever_a_body_is_it_is_read_or_refused(bytes in vec(any::<u8>(), 0..200), version in any::<bool>()) {
        let body: Vec<u8> = version.then_some(1).into_iter().chain(bytes).collect();
        // It must not panic, and must not need more memory than there is.
        let _ = all(&body);
    }

    #[test]
    fn a_chain_shows_any_change(body in vec(any::<u8>(), 1..100), at in any::<prop::sample::Index>(), bit in 0..8_u8) {
        let chain = Chain::start(1).with(7, &body);
        let mut other = body.clone();
        other[at.index(body.len())] ^= 1 << bit;
        prop_assert_ne!(Chain::start(1).with(7, &other), chain);
        prop_assert_ne!(Chain::start(1).with(8, &body), chain);
        prop_assert_ne!(Chain::start(2).with(7, &body), chain);
        prop_assert_ne!(Chain::start(1).with(7, &body).with(8, &body), chain);
    }

    #[test]
    fn a_snapshot_plays_to_the_state_that_it_was_made_from(
        commands in vec((0..12_u8, 0..6_u8, 0..5_u8), 1..150), size in 1..20_usize
    ) {
        let bodies = play(&commands);
        let whole = state_of(bodies.iter().map(Vec::as_slice));
        let pieces: Vec<_> = whole.pieces(size).collect();
        let again = state_of(pieces.iter().map(Vec::as_slice));
        prop_assert_eq!(again.pieces(size).collect::<Vec<_>>(), pieces);
        prop_assert_eq!(again.core.now(), whole.core.now());
        prop_assert_eq!(&again.declared, &whole.declared);
        prop_assert_eq!(again.keys.iter().collect::<Vec<_>>(), whole.keys.iter().collect::<Vec<_>>());
        // A restart in the middle, and a snapshot in the middle, change nothing of what comes after.
        let (first, rest) = bodies.split_at(bodies.len() / 2);
        let middle: Vec<_> = state_of(first.iter().map(Vec::as_slice)).pieces(size).collect();
        let joined = state_of(middle.iter().chain(rest).map(Vec::as_slice));
        prop_assert_eq!(joined.pieces(usize::MAX).collect::<Vec<_>>(), whole.pieces(usize::MAX).collect::<Vec<_>>());
    }
}

#[test]
fn a_body_that_cannot_be_read_says_why() {
    assert_eq!(all(&[]), Err(LogError::Damaged("a batch is empty".to_owned())));
    let mut body = Vec::new();
    encode(&mut body, &Record::PeerEnded { peer: 300, cause: CauseRecord::Expired });
    assert!(matches!(all(&body[..body.len() - 1]), Err(LogError::Damaged(_))));
    body[0] = 3;
    let Err(LogError::Newer(why)) = all(&body) else { panic!("it is of a later version") };
    assert_eq!(why, "it has records of version 3, and this release reads version 2");
}

/// The bytes of a body with one record, of today's version.
fn bytes_of(record: Record) -> String {
    let mut body = Vec::new();
    encode(&mut body, &record);
    assert_eq!(all(&body), Ok(vec![record.clone()]));
    // Earlier versions have the same bytes behind their number.
    body[0] = 1;
    assert_eq!(all(&body), Ok(vec![record]));
    body[0] = VERSION;
    body.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

/// The records that version 2 adds.
#[test]
fn version_2_is_as_it_always_was() {
    let (key, reason, semaphore): (Arc<str>, Option<Arc<str>>, Name) =
        ("k".into(), Some("r".into()), "A".into());
    let records = [
        Record::PeerOwned { peer: 7, owner: "ann".into() },
        Record::SemaphoreOwned { semaphore: semaphore.clone(), owner: "ann".into() },
        Record::KeyTaken { peer: 7, owner: None, key: key.clone(), fingerprint: 13 },
        Record::KeyTaken { peer: 7, owner: Some("ann".into()), key, fingerprint: 13 },
        Record::KeyKept { peer: 7, cause: CauseRecord::Operator, reason, at: 17, told_at: 18 },
        Record::Paused { semaphore, max_before: 3 },
    ];
    let bytes = records.map(bytes_of);
    let golden = [
        "02140703616e6e",
        "0215014103616e6e",
        "02160700016b0d",
        "0216070103616e6e016b0d",
        "021707020101721112",
        "0218014106",
    ];
    assert_eq!(bytes, golden, "{bytes:#?}");
}

/// What an earlier release wrote: the key is that of the owner of the peer, and is forgotten with it.
#[test]
fn keys_of_version_1_end_with_their_peer() {
    let expires_in = Duration::from_mins(1);
    let records = |peer: u64, key: &str| {
        [
            Record::KeyUsed { peer, key: key.into(), fingerprint: 13 },
            Record::PeerCreated { peer, at: 1, expires_in, labels: None },
            Record::PeerOwned { peer, owner: "ann".into() },
        ]
    };
    let ended = Record::PeerEnded { peer: 2, cause: CauseRecord::Released };
    let mut body = Vec::new();
    for record in records(1, "lives").into_iter().chain(records(2, "ended")).chain([ended]) {
        encode(&mut body, &record);
    }
    body[0] = 1;
    let state = state_of([body.as_slice()].into_iter());
    let ann = Owner::new("ann");
    let peer = |owner: &Owner, key: &str| state.keys.get(owner, key).map(|keyed| keyed.peer);
    assert_eq!(peer(&ann, "lives"), Some(PeerId(1)));
    assert_eq!((peer(&ann, "ended"), peer(&Owner::NOBODY, "lives")), (None, None));
}

/// The bytes of every kind of record, as version 1 has them. They never change: files with them are there.
#[test]
fn version_1_is_as_it_always_was() {
    let spec = SpecRecord {
        max: 42,
        level: -1,
        per: Some(Duration::new(1, 5)),
        waiting: WaitingRecord::Detect,
        origin: OriginRecord::Pattern,
    };
    let labels = Arc::new(BTreeMap::from([("host".to_owned(), "w1".to_owned())]));
    let (peer, semaphore): (u64, Name) = (u64::MAX, "A/ü".into());
    let records = [
        Record::SemaphoreSet { semaphore: semaphore.clone(), spec, pattern: Some("A/*".into()), at: 1 },
        Record::SemaphoreRetired { semaphore: semaphore.clone() },
        Record::SemaphoreRemoved { semaphore: semaphore.clone() },
        Record::PeerCreated { peer, at: 300, expires_in: Duration::from_mins(5), labels: Some(labels) },
        Record::LeaseChanged { peer: 7, expires_in: Duration::from_millis(250) },
        Record::Queued {
            peer: 7,
            semaphore: semaphore.clone(),
            count: 2,
            priority: -3,
            since: 4,
            key: -5,
            sequence: 6,
        },
        Record::Granted { peer: 7, semaphore: semaphore.clone(), count: 2, token: 1 << 40, at: 9 },
        Record::Restored { peer: 7, semaphore: semaphore.clone(), count: 2, token: None, serial: 8, at: 9 },
        Record::Shrunk { peer: 7, semaphore: semaphore.clone(), count: 1, at: 9 },
        Record::Released { peer: 7, semaphore: semaphore.clone(), at: 9, cause: CauseRecord::Operator },
        Record::Withdrawn { peer: 7, semaphore: semaphore.clone(), count: 1, cause: CauseRecord::ExceedsMax },
        Record::PeerEnded { peer: 7, cause: CauseRecord::Released },
        Record::Counters { token: 10, sequence: 11 },
        Record::Cooling { semaphore: semaphore.clone(), count: 3, until: 12 },
        Record::Declared { semaphores: vec![(semaphore, spec)] },
        Record::KeyUsed { peer: 7, key: "k".into(), fingerprint: 13 },
        Record::Holding { until: Some(14) },
        Record::Connected { peer: 7 },
        Record::Wall { ahead_us: -15 },
        Record::Time { at: 16 },
    ];
    let bytes = records.map(bytes_of);
    let golden = GOLDEN.map(|bytes| bytes.replacen("01", "02", 1));
    assert_eq!(bytes, golden, "{bytes:#?}");
}

const GOLDEN: [&str; 20] = [
    "010004412fc3bc540101010501020103412f2a01",
    "010104412fc3bc",
    "010204412fc3bc",
    "0103ffffffffffffffffff01ac02ac0200010104686f7374027731",
    "0104070080e59a77",
    "01050704412fc3bc0405040906",
    "01060704412fc3bc0480808080802009",
    "01070704412fc3bc04000809",
    "01080704412fc3bc0209",
    "01090704412fc3bc0902",
    "010a0704412fc3bc0204",
    "010b0700",
    "010c0a0b",
    "010d04412fc3bc060c",
    "010e0104412fc3bc54010101050102",
    "010f07016b0d",
    "0110010e",
    "011107",
    "01121d",
    "011310",
];

/// Commands on a core, each a number for what, who and where: what is written of them.
fn play(commands: &[(u8, u8, u8)]) -> Vec<Vec<u8>> {
    let mut core = Core::new(Settings::default(), 100, 0);
    let names = ["A", "B", "C", "p/1", "p/2"];
    let mut peers: Vec<PeerId> = Vec::new();
    let mut bodies = Vec::new();
    let mut now = Time::from_micros(1_000_000);
    let spec = |max, level, per| Spec { level, per, ..Spec::with_max(max) };
    let pattern = Spec { origin: Origin::Pattern, ..spec(2, 0, None) };
    core.set_pattern(now, "p/*", pattern);
    core.set_semaphore(now, "A", spec(2, 0, None));
    core.set_semaphore(now, "B", spec(1, 1, None));
    core.set_semaphore(now, "C", spec(3, 0, Some(Duration::from_secs(2))));
    for (number, &(what, who, place)) in commands.iter().enumerate() {
        now = now + Duration::from_millis(u64::from(who) * 100);
        let count = i64::from(place % 2) + 1;
        let lease = Duration::from_secs(u64::from(who) + 1);
        let peer = peers.get(usize::from(who) % peers.len().max(1)).copied().unwrap_or(PeerId(0));
        let place = names[usize::from(place)];
        let mut extra = None;
        match what {
            0 | 1 => {
                let labels = BTreeMap::from([("n".to_owned(), number.to_string())]);
                let made =
                    core.new_peer(now, By::Anybody, lease * 20, number as u64 + 1, Some(Arc::new(labels)));
                peers.extend(made);
                let (peer, key) = (number as u64 + 1, number.to_string().into());
                let owner = (who % 2 == 0).then(|| "ann".into());
                extra = (what == 0).then_some(Record::KeyTaken { peer, owner, key, fingerprint: 9 });
            }
            2..=4 => {
                let locks = [(place, count)];
                let request = Acquire {
                    peer: peer.by_server(),
                    locks: &locks,
                    priority: i32::from(who),
                    expires_in: None,
                };
                let _ = core.acquire(now, &request);
            }
            5 => {
                let locks = [("A", 1), ("B", 1), (place, count)];
                let locks = if matches!(place, "A" | "B") { &locks[..2] } else { &locks[..] };
                let _ = core.acquire(
                    now,
                    &Acquire { peer: peer.by_server(), locks, priority: 0, expires_in: Some(lease * 30) },
                );
            }
            6 => drop(core.release_lock(now, peer.by_server(), place)),
            7 => drop(core.end_peer(now, peer.by_server(), EndCause::Operator)),
            8 => drop(core.heartbeat(now, peer.by_server(), lease * 10)),
            9 => {
                let token = (who > 2).then_some(Token(100 + u64::from(who)));
                let locks = [RestoreLock { semaphore: place, count, token }];
                let (peer, expires_in) = (PeerId(u64::MAX - u64::from(who)), lease * 20);
                let _ = core.restore(
                    now,
                    &Restore { peer: peer.by_server(), expires_in, locks: &locks, labels: None },
                );
            }
            10 => {
                core.set_semaphore(
                    now,
                    place,
                    Spec { origin: Origin::Runtime, ..spec(i64::from(who), 0, None) },
                );
                let declared = Record::of(&Event::SemaphoreSet {
                    semaphore: place.into(),
                    spec: spec(1, 0, None),
                    pattern: None,
                    at: now,
                });
                if let Some(Record::SemaphoreSet { semaphore, spec, .. }) = declared {
                    extra = Some(Record::Declared { semaphores: vec![(semaphore, spec)] });
                }
            }
            _ => {
                let _ = core.remove_semaphore(now, place, who % 2 == 0);
                let _ = core.retire_semaphore(now, place);
            }
        }
        let mut body = Vec::new();
        for event in core.drain_events() {
            // As a node does it.
            if let Event::PeerEnded { peer, cause, .. } = &event
                && who % 2 == 0
            {
                let (at, told_at) = (now, WallTime::from_micros(now.as_micros() + 5));
                let end = KeyedEnd { cause: *cause, reason: None, at, told_at };
                encode(&mut body, &Record::of_end(*peer, &end));
            }
            if let Some(record) = Record::of(&event) {
                encode(&mut body, &record);
            }
        }
        if let Some(record) = extra {
            encode(&mut body, &record);
        }
        bodies.extend(Some(body).filter(|body| !body.is_empty()));
    }
    bodies
}

fn state_of<'a>(bodies: impl Iterator<Item = &'a [u8]>) -> State {
    let mut state = State::new(Core::new(Settings::default(), 0, 0), 1000);
    for body in bodies {
        state.play(body).expect("it was written");
    }
    state
}
