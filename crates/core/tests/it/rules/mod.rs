//! Each rule of the contract by examples, with its exact events, in virtual time.

mod deadlock;
mod estimate;
mod hierarchy;
mod lease;
mod limits;
mod manage;
mod max;
mod owner;
mod pattern;
mod presence;
mod queue;
mod rate;
mod recovery;
mod release;
mod restore;
mod share;
mod steps;
mod view;

use std::{fmt::Debug, time::Duration};

use throttle_core::{
    Acquire, AcquireError, By, Core, Deadlock, EndCause, Event, InUse, LimitReached, Limits, Link, Name,
    NewPeerError, Order, Origin, Owner, PeerId, Rank, ReleaseError, RemoveError, Resource, Restore,
    RestoreError, RestoreLock, RestorePolicy, Settings, Spec, Status, Time, Token, UnknownPeer,
    UnknownSemaphore,
};

const ANN: PeerId = PeerId(1);
const BOB: PeerId = PeerId(2);
const CAT: PeerId = PeerId(3);
const DAN: PeerId = PeerId(4);
const EVE: PeerId = PeerId(5);

const START: Time = Time::from_micros(1_700_000_000_000_000);
const HOUR: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);

const PENDING: Result<Status, AcquireError> = Ok(Status::Pending);

/// A core with its clock. Each command gives back an [`Outcome`], which has to be compared.
struct World {
    core: Core,
    settings: Settings,
    /// Since [`START`].
    now: Duration,
    /// The largest `now` that the core was told.
    latest: Duration,
}

/// What a command replied, and everything that happened.
#[must_use]
struct Outcome<T> {
    reply: T,
    events: Vec<String>,
}

impl<T: Debug + PartialEq> Outcome<T> {
    /// Exactly this was replied, and exactly this happened.
    #[expect(clippy::needless_pass_by_value, reason = "a call reads better without a reference")]
    #[track_caller]
    fn is<const N: usize>(self, reply: T, events: [&str; N]) {
        assert_eq!(self.events, events.map(str::to_owned));
        assert_eq!(self.reply, reply);
    }
}

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

fn us(n: u64) -> Duration {
    Duration::from_micros(n)
}

fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn max(max: i64) -> Spec {
    Spec { origin: Origin::Runtime, ..Spec::with_max(max) }
}

fn level(level: i32) -> Spec {
    Spec { level, ..max(5) }
}

/// All is acquired; `token` is the one of the lock named first.
#[expect(clippy::unnecessary_wraps, reason = "it is a whole reply, to compare with")]
fn acquired(token: u64) -> Result<Status, AcquireError> {
    Ok(Status::Acquired(Some(Token(token))))
}

fn exceeds(semaphore: &str, count: i64, max: i64) -> Result<Status, AcquireError> {
    Err(AcquireError::ExceedsMax { semaphore: semaphore.into(), count, max })
}

fn violates(semaphore: &str, level: i32, held: i32) -> Result<Status, AcquireError> {
    Err(AcquireError::Hierarchy { semaphore: semaphore.into(), level, held })
}

/// Reads `"A=2 B=1"`.
fn parse(locks: &str) -> Vec<(&str, i64)> {
    let parts = locks.split_whitespace().filter_map(|lock| lock.split_once('='));
    parts.map(|(name, count)| (name, count.parse().expect("a number"))).collect()
}

impl World {
    /// Semaphores of level 0 with these full counts, and peers with a lease of a day.
    fn new<const N: usize>(semaphores: &str, peers: [PeerId; N]) -> Self {
        let mut world = Self::with_settings(Settings::default());
        for (name, count) in parse(semaphores) {
            world = world.with_semaphore(name, max(count));
        }
        for peer in peers {
            world.new_peer(peer, DAY).is(Ok(peer), [&format!("{} begins, 86400s", name(peer))]);
        }
        world
    }

    fn with_settings(settings: Settings) -> Self {
        let (now, latest) = (Duration::ZERO, Duration::ZERO);
        Self { core: Core::new(settings.clone(), 1, 0), settings, now, latest }
    }

    fn with_semaphore(mut self, name: &str, spec: Spec) -> Self {
        self.core.set_semaphore(START, name, spec);
        self.core.drain_events();
        self
    }

    /// From now on it is this long after the start. The core learns it with the next command.
    fn at(&mut self, now: Duration) -> &mut Self {
        self.now = now;
        self
    }

    fn run<T>(&mut self, command: impl FnOnce(&mut Core, Time) -> T) -> Outcome<T> {
        self.latest = self.latest.max(self.now);
        let reply = command(&mut self.core, START + self.now);
        self.core.audit().expect("consistent");
        let events: Vec<Event> = self.core.drain_events().collect();
        Outcome { reply, events: events.iter().map(|event| self.describe(event)).collect() }
    }

    fn advance(&mut self) -> Outcome<()> {
        self.run(|core, now| _ = core.advance(now))
    }

    fn new_peer(&mut self, peer: PeerId, expires_in: Duration) -> Outcome<Result<PeerId, NewPeerError>> {
        self.run(|core, now| core.new_peer(now, By::Anybody, expires_in, peer.0, None))
    }

    fn heartbeat(&mut self, peer: PeerId, expires_in: Duration) -> Outcome<Result<(), UnknownPeer>> {
        self.run(|core, now| core.heartbeat(now, peer.by_server(), expires_in))
    }

    fn end(&mut self, peer: PeerId, cause: EndCause) -> Outcome<bool> {
        self.run(|core, now| core.end_peer(now, peer.by_server(), cause))
    }

    fn acquire(&mut self, peer: PeerId, locks: &str) -> Outcome<Result<Status, AcquireError>> {
        self.acquire_with(peer, locks, 0, None)
    }

    fn acquire_with(
        &mut self,
        peer: PeerId,
        locks: &str,
        priority: i32,
        expires_in: Option<Duration>,
    ) -> Outcome<Result<Status, AcquireError>> {
        let request = Acquire { peer: peer.by_server(), locks: &parse(locks), priority, expires_in };
        self.run(|core, now| core.acquire(now, &request))
    }

    fn release(&mut self, peer: PeerId, semaphore: &str) -> Outcome<Result<(), ReleaseError>> {
        self.run(|core, now| core.release_lock(now, peer.by_server(), semaphore))
    }

    /// Restores locks without tokens.
    fn restore(
        &mut self,
        peer: PeerId,
        expires_in: Duration,
        locks: &str,
    ) -> Outcome<Result<(), RestoreError>> {
        let locks: Vec<_> = parse(locks).into_iter().map(|(name, count)| (name, count, None)).collect();
        self.restore_with(peer, expires_in, &locks)
    }

    fn restore_with(
        &mut self,
        peer: PeerId,
        expires_in: Duration,
        locks: &[(&str, i64, Option<u64>)],
    ) -> Outcome<Result<(), RestoreError>> {
        let lock = |&(semaphore, count, token): &(_, _, Option<u64>)| RestoreLock {
            semaphore,
            count,
            token: token.map(Token),
        };
        let locks: Vec<_> = locks.iter().map(lock).collect();
        self.run(|core, now| {
            core.restore(now, &Restore { peer: peer.by_server(), expires_in, locks: &locks, labels: None })
        })
    }

    fn connect(&mut self, peer: PeerId) -> Outcome<Result<(), AcquireError>> {
        self.run(|core, now| core.connect(now, peer.by_server()))
    }

    fn disconnect(&mut self, peer: PeerId) -> Outcome<()> {
        self.run(|core, now| core.disconnect(now, peer.by_server()))
    }

    fn is_absent(&self, peer: PeerId) -> bool {
        self.core.peer(peer.by_server()).expect("known").pending().expect("it waits").is_absent()
    }

    fn set(&mut self, semaphore: &str, spec: Spec) -> Outcome<()> {
        self.run(|core, now| core.set_semaphore(now, semaphore, spec))
    }

    fn remove(&mut self, semaphore: &str, force: bool) -> Outcome<Result<(), RemoveError>> {
        self.run(|core, now| core.remove_semaphore(now, semaphore, force))
    }

    fn evict(&mut self, semaphore: &str) -> Outcome<Result<usize, UnknownSemaphore>> {
        self.run(|core, now| core.evict(now, semaphore))
    }

    /// The promised end of a peer's lease, since the start.
    fn expires_at(&self, peer: PeerId) -> Duration {
        self.core.peer(peer.by_server()).expect("known").expires_at().since(START)
    }

    /// When the core next wants to be woken, since the start.
    fn next_deadline(&self) -> Option<Duration> {
        Some(self.core.next_deadline()?.since(START))
    }

    /// An event in a short form that leaves out only what is checked here: it happens now, its rank follows
    /// from its arrival and priority, and the serial of a lock is its token.
    fn describe(&self, event: &Event) -> String {
        let now = START + self.latest;
        match event {
            Event::SemaphoreSet { semaphore, spec, pattern, at } => {
                assert_eq!(*at, now);
                assert_eq!(spec.origin, if pattern.is_some() { Origin::Pattern } else { Origin::Runtime });
                let level = Some(spec.level).filter(|&level| level != 0);
                let level = level.map(|level| format!(", level {level}")).unwrap_or_default();
                let per = spec.per.map(|per| format!(" per {per:?}")).unwrap_or_default();
                format!("{semaphore} has max {}{per}{level}", spec.max)
            }
            Event::SemaphoreRemoved { semaphore } => format!("{semaphore} is removed"),
            Event::SemaphoreRetired { semaphore } => format!("{semaphore} takes no new requests"),
            Event::PeerCreated { peer, at, expires_in, labels } => {
                assert_eq!((*at, labels), (now, &None));
                format!("{} begins, {expires_in:?}", name(*peer))
            }
            Event::PeerOwned { peer, owner } => {
                format!("{} is {}'s", name(*peer), owner.name().expect("somebody"))
            }
            Event::SemaphoreOwned { semaphore, owner } => {
                format!("{semaphore} is {}'s", owner.name().expect("somebody"))
            }
            Event::LeaseChanged { peer, expires_in } => format!("{} lasts {expires_in:?}", name(*peer)),
            Event::Queued { peer, semaphore, count, priority, since, rank } => {
                assert_eq!(*since, now);
                let step = i64::try_from(self.settings.ageing_step.as_micros()).expect("short");
                assert_eq!(rank.key, now.as_micros().cast_signed() - i64::from(*priority) * step);
                format!("{} waits for {semaphore}={count}", name(*peer))
            }
            Event::Connected { peer } => format!("{} is connected", name(*peer)),
            Event::Granted { peer, semaphore, count, token, at, waited } => {
                assert_eq!(*at, now);
                let waited = waited.map(|waited| format!(" after {waited:?}")).unwrap_or_default();
                format!("{} gets {semaphore}={count} #{token}{waited}", name(*peer))
            }
            Event::Shrunk { peer, semaphore, count, at } => {
                assert_eq!(*at, now);
                format!("{} shrinks to {semaphore}={count}", name(*peer))
            }
            Event::Released { peer, semaphore, count, token, at, held, cause } => {
                assert_eq!(*at, now);
                let (peer, token) = (name(*peer), describe_token(*token));
                format!("{peer} gives up {semaphore}={count} {token} after {held:?}, {cause:?}")
            }
            Event::Withdrawn { peer, semaphore, count, cause } => {
                format!("{} stops waiting for {semaphore}={count}, {cause:?}", name(*peer))
            }
            Event::PeerEnded { peer, cause, .. } => format!("{} ends, {cause:?}", name(*peer)),
            Event::Restored { peer, semaphore, count, token, serial, at } => {
                assert_eq!(*at, now);
                assert!(token.is_none_or(|token| token == Token(*serial)));
                format!("{} restores {semaphore}={count} {}", name(*peer), describe_token(*token))
            }
            Event::Overcommitted { semaphore, acquired, max } => {
                format!("{semaphore} is overcommitted, {acquired} of {max}")
            }
            Event::Counters { .. } | Event::Cooling { .. } | Event::Paused { .. } => {
                unreachable!("only in snapshots")
            }
        }
    }
}

fn name(peer: PeerId) -> String {
    let names = [(ANN, "ann"), (BOB, "bob"), (CAT, "cat"), (DAN, "dan"), (EVE, "eve")];
    let known = names.iter().find(|(id, _)| *id == peer);
    known.map_or_else(|| format!("{peer:?}"), |(_, name)| (*name).to_owned())
}

fn describe_token(token: Option<Token>) -> String {
    token.map_or_else(|| "without token".to_owned(), |token| format!("#{token}"))
}
