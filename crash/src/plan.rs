//! What a client does next.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use fastrand::Rng;
use serde_json::json;

use crate::{
    clock::now,
    http::{Call, encoded},
    model::{Ask, Key, Lock, Peer, State, Token},
    view::Labels,
    world::{Creation, Lost, Semaphore, Spec, World},
};

/// How many peers a client has at most, beside those that it has left alone.
const PEERS: usize = 5;

/// What a request is about.
#[derive(Clone, Debug)]
pub(crate) enum What {
    /// Makes a peer.
    Create(Creation),
    /// The same again; the peer must be the same.
    Repeat,
    /// Asks for locks; for one alone in the old dialect, which is named.
    Ask {
        ask: Ask,
        alone: Option<String>,
    },
    Release(String),
    End,
    /// With the new length of the lease.
    Beat(Duration),
    BeatMany(Vec<u64>, Duration),
    Look,
    IsAcquired,
    Restore,
    Set(String, Spec),
    Change(String, i64),
    Remove {
        name: String,
        force: bool,
    },
}

/// A request that is about to be sent.
#[derive(Clone, Debug)]
pub(crate) struct Planned {
    pub(crate) call: Call,
    pub(crate) what: What,
    /// The peer that it is about, if it is about one.
    pub(crate) peer: u64,
    /// What that peer may have been before.
    pub(crate) before: Vec<Option<State>>,
    pub(crate) sent: Instant,
}

impl Planned {
    fn new(call: Call, what: What) -> Self {
        Self { call, what, peer: 0, before: Vec::new(), sent: now() }
    }
}

/// The next request of a client. What may become of its peers by it is known from now on.
pub(crate) fn next(world: &mut World, client: usize, rng: &mut Rng) -> Planned {
    let Some(own) = world.clients.get_mut(client) else {
        return Planned::new(Call::get("/livez"), What::Look);
    };
    let is_busy = |peer: &Peer| !peer.is_abandoned && !peer.is_unsettled;
    let busy: Vec<usize> =
        own.peers.iter().enumerate().filter(|(_, peer)| is_busy(peer)).map(|(at, _)| at).collect();
    let repeated = own.repeats.pop();
    let is_repeated = |peer: &Peer| repeated == Some(peer.id) && !peer.is_unsettled;
    if let Some(at) = own.peers.iter().position(is_repeated) {
        return on_peer(world, client, at, rng, |peer, _, _| Some(repeat(peer)));
    }
    let roll = rng.u32(0..100);
    if roll < 8 {
        return on_semaphore(world, client, rng);
    }
    if roll < 11
        && let Some(lost) = own.lost.pop()
    {
        return restore(world, client, lost, rng);
    }
    if busy.len() < 2 || busy.len() < PEERS && roll < 32 {
        return create(world, client, rng);
    }
    let at = rng.choice(busy).unwrap_or(0);
    on_peer(world, client, at, rng, choose)
}

/// A semaphore that may be asked for.
struct Open {
    name: String,
    /// The most that is asked for.
    most: i64,
    level: i32,
    /// Its `max` changes while clients use it.
    changes: bool,
}

struct Wanted(Vec<Open>);

impl Wanted {
    fn of(world: &World, client: usize) -> Self {
        let is_open = |semaphore: &Semaphore| {
            let is_mine = !semaphore.is_private || semaphore.owner == Some(client);
            is_mine && !semaphore.specs.contains(&None)
        };
        let open = world.semaphores.iter().filter(|(_, semaphore)| is_open(semaphore));
        Self(
            open.map(|(name, semaphore)| Open {
                name: name.clone(),
                most: semaphore.specs.iter().flatten().map(|spec| spec.max.clamp(1, 4)).min().unwrap_or(1),
                level: semaphore.specs.iter().flatten().map(|spec| spec.level).min().unwrap_or(0),
                changes: semaphore.owner.is_some(),
            })
            .collect(),
        )
    }

    /// Whether its `max` changes while clients use it.
    fn may_shrink(&self, name: &str) -> bool {
        self.0.iter().any(|semaphore| semaphore.name == name && semaphore.changes)
    }

    /// Some locks, mostly one.
    fn some(&self, below: i32, rng: &mut Rng) -> BTreeMap<String, i64> {
        let many = match rng.u32(0..20) {
            0..17 => 1,
            17..19 => 2,
            _ => 3,
        };
        let fitting: Vec<_> = self.0.iter().filter(|open| open.level < below).collect();
        let mut locks = BTreeMap::new();
        for _ in 0..many {
            if let Some(Open { name, most, .. }) = rng.choice(&fitting) {
                locks.insert(name.clone(), rng.i64(1..=*most));
            }
        }
        locks
    }
}

fn lease(rng: &mut Rng) -> Duration {
    match rng.u32(0..10) {
        0..4 => Duration::from_millis(rng.u64(250..1500)),
        _ => Duration::from_secs(rng.u64(60..600)),
    }
}

fn text(duration: Duration) -> String {
    humantime::format_duration(duration).to_string()
}

fn wait(rng: &mut Rng) -> Duration {
    if rng.u32(0..4) == 0 { Duration::from_millis(rng.u64(2..40)) } else { Duration::ZERO }
}

fn priority(rng: &mut Rng) -> i32 {
    if rng.bool() { 0 } else { rng.i32(-2..=2) }
}

fn create(world: &mut World, client: usize, rng: &mut Rng) -> Planned {
    let wanted = Wanted::of(world, client);
    let expires_in = lease(rng);
    let Some(own) = world.clients.get_mut(client) else {
        return Planned::new(Call::get("/livez"), What::Look);
    };
    own.next += 1;
    let request = format!("{client}-{}", own.next);
    // The journal is to grow fast, so that snapshots are made often.
    let fillers = ["a", "b", "c", "d"].map(|name| {
        let filler: String = std::iter::repeat_with(|| rng.alphanumeric()).take(240).collect();
        (name.to_owned(), filler)
    });
    let mut labels = BTreeMap::from(fillers);
    labels.insert("request".to_owned(), request.clone());
    let has_key = rng.bool();
    let mut creation = Creation { labels: Labels(labels), key: None, ask: None, expires_in, sent: now() };
    let ask = Ask { locks: wanted.some(i32::MAX, rng), priority: priority(rng), expires_in: None };
    let mut call = match rng.u32(0..10) {
        0..2 => {
            creation.labels = Labels::default();
            Call::new("POST", "/new_peer", json!({ "expires_in": text(expires_in) }).to_string())
        }
        2..4 => {
            let body = json!({ "expires_in": text(expires_in), "labels": creation.labels });
            Call::new("POST", "/v1/peers", body.to_string())
        }
        4..5 => {
            creation.labels = Labels::default();
            let body = json!({ "expires_in": text(expires_in), "pending": ask.locks });
            creation.ask = Some(Ask { priority: 0, ..ask });
            Call::new("POST", "/acquire", body.to_string())
        }
        _ => {
            let on_timeout = if !has_key && rng.bool() { "leave" } else { "stay" };
            let body = json!({
                "expires_in": text(expires_in), "labels": creation.labels, "locks": ask.locks,
                "priority": ask.priority, "wait": text(wait(rng)), "on_timeout": on_timeout,
            });
            creation.ask = Some(ask);
            Call::new("POST", "/v1/locks", body.to_string())
        }
    };
    if has_key && call.path.starts_with("/v1/") {
        let path = if creation.ask.is_some() { "/v1/locks" } else { "/v1/peers" };
        let ask = creation.ask.clone().map(|ask| Ask { expires_in: Some(expires_in), ..ask });
        call.key = Some(request.clone());
        creation.key = Some(Key { text: request, path, body: call.body.clone(), ask });
    }
    Planned::new(call, What::Create(creation))
}

/// Plans with one peer of a client.
fn on_peer(
    world: &mut World,
    client: usize,
    at: usize,
    rng: &mut Rng,
    choose: impl FnOnce(&mut Peer, &Wanted, &mut Rng) -> Option<Planned>,
) -> Planned {
    let wanted = Wanted::of(world, client);
    let peers = world.clients.get_mut(client).map(|own| &mut own.peers);
    let Some(peer) = peers.and_then(|peers| peers.get_mut(at)) else {
        return Planned::new(Call::get("/livez"), What::Look);
    };
    let before = peer.states.clone();
    let id = peer.id;
    let planned = choose(peer, &wanted, rng);
    let mut planned = match planned {
        Some(planned) => planned,
        None => beat_many(world, client, rng),
    };
    if !matches!(planned.what, What::BeatMany(..)) {
        (planned.peer, planned.before) = (id, before);
    }
    planned
}

fn states(peer: &Peer, change: impl Fn(&State) -> Vec<State>) -> Vec<Option<State>> {
    peer.living().flat_map(change).map(Some).collect()
}

fn repeat(peer: &mut Peer) -> Planned {
    let Some(Key { text, path, body, ask }) = peer.key.clone() else { return look(peer) };
    let mut call = Call::new("POST", path, body);
    call.key = Some(text);
    let planned = Planned::new(call, What::Repeat);
    if let Some(ask) = ask {
        let after = states(peer, |state| state.asked(&ask, planned.sent));
        peer.may_become(after, planned.sent);
    }
    planned
}

fn look(peer: &Peer) -> Planned {
    Planned::new(Call::get(format!("/v1/peers/{}", peer.id)), What::Look)
}

/// Something to do with a peer; nothing stands for a heartbeat of all.
fn choose(peer: &mut Peer, wanted: &Wanted, rng: &mut Rng) -> Option<Planned> {
    let Some(state) = peer.living().next().cloned() else { return Some(look(peer)) };
    let id = peer.id;
    // Who waits is mostly patient, and who holds something mostly soon ready.
    let roll = match (&state.pending, state.locks.is_empty()) {
        (Some(_), _) if rng.u32(0..3) > 0 => 0,
        (None, false) if rng.bool() => *rng.choice(&[34, 34, 99]).unwrap_or(&99),
        _ => rng.u32(0..100),
    };
    Some(match roll {
        0..34 => ask(peer, &state, wanted, rng),
        34..54 => {
            let pending = state.pending.iter().flat_map(|request| request.locks.keys());
            let has: Vec<&String> = state.locks.keys().chain(pending).collect();
            let Some(name) = rng.choice(has).cloned() else { return Some(look(peer)) };
            let path = if rng.bool() { format!("/v1/peers/{id}/locks/") } else { format!("/peers/{id}/") };
            let planned =
                Planned::new(Call::new("DELETE", path + &encoded(&name), ""), What::Release(name.clone()));
            let after = states(peer, |state| vec![state.without(&name), state.granted().without(&name)]);
            peer.may_become(after, planned.sent);
            planned
        }
        54..63 => {
            let longer = state.expires_in * 2;
            let expires_in = if rng.u32(0..3) == 0 { longer } else { state.expires_in };
            let body = json!({ "expires_in": text(expires_in) }).to_string();
            let call = if rng.bool() {
                Call::new("POST", format!("/v1/peers/{id}/heartbeat"), body)
            } else {
                Call::new("PUT", format!("/peers/{id}"), body)
            };
            let planned = Planned::new(call, What::Beat(expires_in));
            let after = states(peer, |state| vec![State { expires_in, ..state.clone() }]);
            peer.may_become(after, planned.sent);
            planned
        }
        63..66 => return None,
        66..72 => look(peer),
        72..75 => Planned::new(Call::get(format!("/peers/{id}/is_acquired")), What::IsAcquired),
        75..79 if peer.key.as_ref().is_some_and(|key| key.ask.is_none()) => repeat(peer),
        75..83 if state.expires_in < Duration::from_secs(5) => {
            peer.is_abandoned = true;
            look(peer)
        }
        _ => {
            let path = if rng.bool() { format!("/v1/peers/{id}") } else { format!("/peers/{id}") };
            let planned = Planned::new(Call::new("DELETE", path, ""), What::End);
            peer.may_become(vec![None], planned.sent);
            planned
        }
    })
}

fn ask(peer: &mut Peer, state: &State, wanted: &Wanted, rng: &mut Rng) -> Planned {
    let mut locks = BTreeMap::new();
    let less = |count: i64, rng: &mut Rng| if rng.u32(0..4) == 0 { (count - 1).max(1) } else { count };
    match &state.pending {
        // To wait on, or to be told of the grant.
        Some(request) if rng.u32(0..8) > 0 => {
            locks.extend(request.locks.iter().map(|(name, count)| (name.clone(), *count)));
        }
        _ if !state.locks.is_empty() && rng.u32(0..3) == 0 => {
            locks.extend(state.locks.iter().map(|(name, lock)| (name.clone(), less(lock.count, rng))));
        }
        // Mostly below what is held; sometimes anything, to be refused.
        _ => {
            let held = wanted.0.iter().filter(|open| state.locks.contains_key(&open.name));
            let lowest = held.map(|open| open.level).min().unwrap_or(i32::MAX);
            locks = wanted.some(if rng.u32(0..6) == 0 { i32::MAX } else { lowest }, rng);
        }
    }
    if locks.is_empty() {
        return look(peer);
    }
    let expires_in = (rng.u32(0..5) == 0).then_some(state.expires_in);
    let priority = state.pending.as_ref().map_or_else(|| priority(rng), |request| request.priority);
    let mut ask = Ask { locks, priority, expires_in };
    let (id, wait) = (peer.id, wait(rng));
    let is_alone = ask.locks.len() == 1 && rng.bool();
    let (call, alone) = if let Some((name, count)) = ask.locks.first_key_value().filter(|_| is_alone) {
        ask.priority = 0;
        let form = |duration| text(duration).replace(' ', "+");
        let lease = expires_in.map(|expires_in| format!("&expires_in={}", form(expires_in)));
        let query = format!("?block_for={}{}", form(wait), lease.unwrap_or_default());
        let path = format!("/peers/{id}/{}{query}", encoded(name));
        (Call::new("PUT", path, count.to_string()), Some(name.clone()))
    } else {
        let mut body = json!({ "locks": ask.locks, "priority": priority, "wait": text(wait) });
        if let (Some(expires_in), Some(body)) = (expires_in, body.as_object_mut()) {
            body.insert("expires_in".to_owned(), text(expires_in).into());
        }
        (Call::new("PUT", format!("/v1/peers/{id}/locks"), body.to_string()), None)
    };
    let planned = Planned::new(call, What::Ask { ask: ask.clone(), alone });
    let after = states(peer, |state| {
        // What waits for more than there is by now is withdrawn.
        let withdrawn = State { pending: None, ..state.clone() };
        let may_exceed = ask.locks.keys().any(|name| wanted.may_shrink(name));
        state.asked(&ask, planned.sent).into_iter().chain(may_exceed.then_some(withdrawn)).collect()
    });
    peer.may_become(after, planned.sent);
    planned
}

/// One heartbeat for all peers of a client that have a long lease.
fn beat_many(world: &mut World, client: usize, rng: &mut Rng) -> Planned {
    let expires_in = Duration::from_secs(rng.u64(600..1200));
    let is_long = |peer: &&mut Peer| {
        peer.shortest() >= Duration::from_mins(1) && !peer.is_abandoned && !peer.is_unsettled
    };
    let own = world.clients.get_mut(client);
    let peers: Vec<_> = own.into_iter().flat_map(|own| &mut own.peers).filter(is_long).collect();
    let ids: Vec<u64> = peers.iter().map(|peer| peer.id).collect();
    let digits: Vec<String> = ids.iter().map(u64::to_string).collect();
    let body = json!({ "expires_in": text(expires_in), "peers": digits }).to_string();
    let planned = Planned::new(Call::new("POST", "/v1/heartbeats", body), What::BeatMany(ids, expires_in));
    for peer in peers {
        let after = states(peer, |state| vec![State { expires_in, ..state.clone() }]);
        peer.may_become(after, planned.sent);
    }
    planned
}

fn restore(world: &mut World, client: usize, Lost { id, locks }: Lost, rng: &mut Rng) -> Planned {
    let expires_in = lease(rng);
    let counts: BTreeMap<_, _> = locks.iter().map(|(name, (count, _))| (name, count)).collect();
    let tokens = locks.iter().filter_map(|(name, (_, token))| Some((name, (*token)?.to_string())));
    let tokens: BTreeMap<_, _> = tokens.filter(|_| rng.bool()).collect();
    let body = json!({ "expires_in": text(expires_in), "peer_id": id, "acquired": counts, "tokens": tokens });
    let mut planned = Planned::new(Call::new("POST", "/restore", body.to_string()), What::Restore);
    (planned.peer, planned.before) = (id, vec![None]);
    let lock = |count| Lock { count, token: Token::Unread, after: planned.sent, asked: None, priority: 0 };
    let mut state = State::new(expires_in);
    state.locks.extend(locks.into_iter().map(|(name, (count, _))| (name, lock(count))));
    if let Some(own) = world.clients.get_mut(client) {
        own.peers.push(Peer {
            id,
            labels: Labels::default(),
            key: None,
            states: vec![None, Some(state)],
            lives_until: planned.sent,
            is_abandoned: false,
            is_ended: false,
            is_unsettled: false,
            since: planned.sent,
        });
    }
    planned
}

/// Something to do with a semaphore that only this client changes.
fn on_semaphore(world: &mut World, client: usize, rng: &mut Rng) -> Planned {
    let own = world.semaphores.iter().filter(|(_, semaphore)| semaphore.owner == Some(client));
    let own: Vec<_> = own.filter(|(name, _)| !world.unsettled.contains(*name)).collect();
    let Some((name, is_private)) = rng.choice(own).map(|(name, found)| (name.clone(), found.is_private))
    else {
        return create(world, client, rng);
    };
    let mut peers = world.clients.get(client).into_iter().flat_map(|own| &own.peers);
    let asks = |creation: &Creation| creation.ask.as_ref().is_some_and(|ask| ask.locks.contains_key(&name));
    let is_asked_for = world.clients.get(client).is_some_and(|own| own.creations.iter().any(asks));
    // A request that comes late must not find it made anew, and what it made must be as it was asked for.
    let may_go = !is_asked_for && !peers.any(|peer| peer.is_unsettled && peer.may_use(&name));
    let Some(semaphore) = world.semaphores.get_mut(&name) else { return create(world, client, rng) };
    let max = rng.i64(1..=semaphore.cap);
    let path = format!("/v1/semaphores/{}", encoded(&name));
    let exists = !semaphore.specs.contains(&None);
    match rng.u32(0..10) {
        0..4 if is_private || rng.bool() => {
            let spec = Spec { max, level: 0 };
            semaphore.specs.push(Some(spec));
            let call = Call::new("PUT", path, json!({ "max": max }).to_string());
            Planned::new(call, What::Set(name, spec))
        }
        8.. if is_private && exists && may_go => {
            let force = rng.bool();
            let planned = Planned::new(
                Call::new("DELETE", format!("{path}?force={force}"), ""),
                What::Remove { name: name.clone(), force },
            );
            semaphore.specs.push(None);
            let own = world.clients.get_mut(client);
            for peer in own.into_iter().flat_map(|own| &mut own.peers) {
                let after = states(peer, |state| vec![state.without(&name), state.granted().without(&name)]);
                peer.may_become(after, planned.sent);
            }
            planned
        }
        _ => {
            let after = semaphore.specs.iter().map(|spec| spec.map(|spec| Spec { max, ..spec }));
            let after: Vec<_> = after.collect();
            semaphore.specs.extend(after);
            Planned::new(Call::new("PATCH", path, json!({ "max": max }).to_string()), What::Change(name, max))
        }
    }
}
