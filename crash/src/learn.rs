//! What an answer tells, and whether it can be true.

use std::time::{Duration, Instant};

use throttle_api::{self as api, AnyDigits, Problem, Renewed};

use crate::{
    http::Answer,
    model::{Ask, Peer, State, Token},
    plan::{Planned, What},
    world::{Creation, Lost, World},
};

type Outcome = Result<(), String>;

/// Why a request was refused, whichever dialect says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refusal {
    Gone,
    UnknownSemaphore,
    ExceedsMax,
    InUse,
    /// For reasons that change nothing.
    Other,
}

/// The answer of a request that was refused; nothing if it was not.
fn refusal(answer: &Answer) -> Result<Option<Refusal>, String> {
    if answer.status < 400 {
        return Ok(None);
    }
    let text = answer.text();
    let code = answer.json::<Problem<'_>>().map(|problem| problem.code.to_string());
    let refusal = match (answer.status, code.as_deref().unwrap_or(&text)) {
        (410, "peer_gone") | (400, "Unknown peer") => Refusal::Gone,
        (404, "unknown_semaphore") | (400, "Unknown semaphore") => Refusal::UnknownSemaphore,
        (409, "count_exceeds_max") => Refusal::ExceedsMax,
        (409, "in_use") => Refusal::InUse,
        (409, text) if text.starts_with("Lock can never be acquired.") => Refusal::ExceedsMax,
        (409, _) => Refusal::Other,
        (status, _) => return Err(format!("an answer that nothing asked for: {status} {text}")),
    };
    Ok(Some(refusal))
}

impl World {
    /// Takes in an answer.
    pub(crate) fn learn(&mut self, client: usize, planned: &Planned, answer: &Answer) -> Outcome {
        match &self.instance {
            Some(instance) if *instance != answer.instance => {
                return Err(format!("Throttle-Instance is {:?}, and was {instance:?}", answer.instance));
            }
            _ => self.instance = Some(answer.instance.clone()),
        }
        if answer.status == 503 && self.is_ending {
            return Err(format!("a server that ends in order refused: {}", answer.text()));
        }
        let refusal = refusal(answer)?;
        self.figures.acknowledged += 1;
        self.figures.refused += u64::from(refusal.is_some());
        match &planned.what {
            What::Create(creation) => self.created(client, creation, answer, refusal),
            What::Set(name, _) | What::Change(name, _) => self.changed(name, planned, refusal),
            What::Remove { name, force } => self.removed(client, name, *force, answer, refusal),
            What::BeatMany(ids, expires_in) => self.beaten(client, ids, *expires_in, planned.sent, answer),
            What::Repeat => self.repeated(client, planned, answer, refusal),
            _ => {
                self.told_of_peer(client, planned, answer, refusal)?;
                self.check_sums(client, planned.peer, answer.received)
            }
        }
        .map_err(|error| format!("{planned:?} was answered {} {}: {error}", answer.status, answer.text()))
    }

    fn created(
        &mut self,
        client: usize,
        creation: &Creation,
        answer: &Answer,
        refusal: Option<Refusal>,
    ) -> Outcome {
        if refusal.is_some() {
            return Ok(());
        }
        let id;
        let mut peer;
        if let Ok(view) = answer.json::<api::Peer>() {
            id = view.id.0;
            peer = creation.peer(id);
            peer.meet(&view, creation.sent, answer.received, &mut self.ledger)?;
            if creation.ask.is_some() && (answer.status == 202) != view.pending.is_some() {
                return Err("the status is not that of the peer".to_owned());
            }
        } else {
            id = answer.json()?;
            peer = creation.peer(id);
            if answer.status == 201 {
                peer.states = peer.living().map(|state| Some(state.granted())).collect();
            }
            queued(&mut peer, creation.sent, answer.received);
        }
        if self.peers().any(|other| other.id == id) {
            return Err(format!("peer {id} is there already"));
        }
        peer.renewed(creation.sent);
        self.clients.get_mut(client).ok_or("no client")?.peers.push(peer);
        self.check_sums(client, id, answer.received)
    }

    fn changed(&mut self, name: &str, planned: &Planned, refusal: Option<Refusal>) -> Outcome {
        let semaphore = self.semaphores.get_mut(name).ok_or("no semaphore")?;
        match refusal {
            Some(Refusal::UnknownSemaphore) if semaphore.specs.contains(&None) => {
                semaphore.specs = vec![None];
            }
            Some(refusal) => return Err(format!("{refusal:?}")),
            None => {
                semaphore.specs = match planned.what {
                    What::Set(_, spec) => vec![Some(spec)],
                    What::Change(_, max) => {
                        semaphore.specs.retain(|spec| spec.is_some_and(|spec| spec.max == max));
                        std::mem::take(&mut semaphore.specs)
                    }
                    _ => return Err("no change".to_owned()),
                };
                semaphore.specs.dedup();
            }
        }
        Ok(())
    }

    fn removed(
        &mut self,
        client: usize,
        name: &str,
        force: bool,
        answer: &Answer,
        refusal: Option<Refusal>,
    ) -> Outcome {
        let semaphore = self.semaphores.get_mut(name).ok_or("no semaphore")?;
        match refusal {
            Some(Refusal::InUse) if !force => {
                semaphore.specs.retain(Option::is_some);
                return Ok(());
            }
            Some(refusal) => return Err(format!("{refusal:?}")),
            None => semaphore.specs = vec![None],
        }
        let uses = |state: &State| state.uses(name);
        for peer in self.clients.get_mut(client).into_iter().flat_map(|own| &mut own.peers) {
            if !peer.states.iter().any(|state| state.as_ref().is_none_or(|state| !uses(state))) {
                // Only without force can that be: with it, there are states without the semaphore.
                return Err(format!("{peer:?} uses it"));
            }
            peer.states.retain(|state| state.as_ref().is_none_or(|state| !uses(state)));
            if !force && peer.lives_until > answer.received && peer.surely_holds(name) > 0 {
                return Err(format!("{peer:?} holds it"));
            }
        }
        Ok(())
    }

    fn beaten(
        &mut self,
        client: usize,
        ids: &[u64],
        expires_in: Duration,
        sent: Instant,
        answer: &Answer,
    ) -> Outcome {
        let Renewed { renewed, gone } = answer.json()?;
        if renewed + gone.len() != ids.len() {
            return Err("some peers are missing".to_owned());
        }
        let own = self.clients.get_mut(client).ok_or("no client")?;
        for id in ids {
            let Some(peer) = own.peers.iter_mut().find(|peer| peer.id == *id) else { continue };
            if gone.contains(&AnyDigits::Number(*id)) {
                is_over(peer, answer.received)?;
                peer.states = vec![None];
                continue;
            }
            peer.states.retain(|state| state.as_ref().is_some_and(|state| state.expires_in == expires_in));
            peer.renewed(sent);
        }
        own.peers.retain(|peer| !peer.is_gone());
        Ok(())
    }

    fn repeated(
        &mut self,
        client: usize,
        planned: &Planned,
        answer: &Answer,
        refusal: Option<Refusal>,
    ) -> Outcome {
        if refusal == Some(Refusal::ExceedsMax) && self.may_exceed(client, planned.peer) {
            return Ok(());
        }
        let Ok(view) = answer.json::<api::Peer>() else {
            return self.told_of_peer(client, planned, answer, refusal);
        };
        self.figures.keys_checked += 1;
        let own = self.clients.get_mut(client).ok_or("no client")?;
        let found = own.peers.iter_mut().find(|peer| peer.id == planned.peer).ok_or("no peer")?;
        if view.id.0 == planned.peer {
            found.meet(&view, planned.sent, answer.received, &mut self.ledger)?;
            if found.key.as_ref().is_some_and(|key| key.ask.is_some()) {
                found.renewed(planned.sent);
            }
            return self.check_sums(client, planned.peer, answer.received);
        }
        // If that one has ended, the answer is that it has, also after a restart.
        Err(format!("its key made another peer, {}", view.id.0))
    }

    /// Whether a semaphore that the peer was made to ask for may have been made smaller than that since.
    fn may_exceed(&self, client: usize, peer: u64) -> bool {
        let own = self.clients.get(client).and_then(|own| own.peers.iter().find(|own| own.id == peer));
        let ask = own.and_then(|peer| peer.key.as_ref()?.ask.as_ref());
        let is_small = |(name, count): (&String, &i64)| {
            let specs = self.semaphores.get(name).map(|semaphore| &semaphore.specs);
            specs.is_some_and(|specs| specs.iter().flatten().any(|spec| spec.max < *count))
        };
        ask.is_some_and(|ask| ask.locks.iter().any(is_small))
    }

    fn told_of_peer(
        &mut self,
        client: usize,
        planned: &Planned,
        answer: &Answer,
        refusal: Option<Refusal>,
    ) -> Outcome {
        let (sent, received) = (planned.sent, answer.received);
        let surely_there = |name: &str, world: &Self| {
            world.semaphores.get(name).is_some_and(|semaphore| !semaphore.specs.contains(&None))
        };
        if refusal == Some(Refusal::UnknownSemaphore)
            && let What::Ask { ask, .. } = &planned.what
            && ask.locks.keys().all(|name| surely_there(name, self))
        {
            return Err("the semaphore is there".to_owned());
        }
        let Some(own) = self.clients.get_mut(client) else { return Ok(()) };
        let Some(peer) = own.peers.iter_mut().find(|peer| peer.id == planned.peer) else { return Ok(()) };
        if refusal == Some(Refusal::Gone) {
            is_over(peer, received)?;
            own.peers.retain(|peer| peer.id != planned.peer);
            return Ok(());
        }
        match &planned.what {
            What::Look | What::Repeat if refusal.is_none() => {
                peer.meet(&answer.json()?, sent, received, &mut self.ledger)?;
            }
            What::Beat(expires_in) => {
                peer.states
                    .retain(|state| state.as_ref().is_some_and(|state| state.expires_in == *expires_in));
                peer.renewed(sent);
                if let Ok(view) = answer.json::<api::Peer>() {
                    peer.meet(&view, sent, received, &mut self.ledger)?;
                }
            }
            What::IsAcquired => {
                let is_acquired: bool = answer.json()?;
                if is_acquired {
                    peer.states = peer.living().map(|state| Some(state.granted())).collect();
                } else {
                    peer.states.retain(|state| state.as_ref().is_some_and(|state| state.pending.is_some()));
                    queued(peer, sent, received);
                }
            }
            What::Ask { ask, alone } => {
                asked(peer, ask, alone.as_deref(), planned, answer, refusal)?;
                if let Ok(view) = answer.json::<api::Peer>() {
                    peer.meet(&view, sent, received, &mut self.ledger)?;
                } else {
                    peer.write_down(received, &mut self.ledger)?;
                }
            }
            What::Release(name) => {
                if refusal.is_none() {
                    peer.states = planned
                        .before
                        .iter()
                        .flatten()
                        .flat_map(|state| [state.without(name), state.granted().without(name)])
                        .map(Some)
                        .collect();
                    peer.states.dedup();
                    cool(&mut self.semaphores, planned, Some(name));
                }
            }
            What::End => {
                if answer.text().contains("not found") {
                    is_over(peer, received)?;
                }
                let may_come_back = planned.before.len() == 1;
                let locks = planned.before.iter().flatten().next().map(|state| state.locks.clone());
                let (id, has_labels) = (peer.id, !peer.labels.0.is_empty());
                own.peers.retain(|peer| peer.id != id);
                let restorable = locks.unwrap_or_default().into_iter().filter_map(|(name, lock)| {
                    let semaphore = self.semaphores.get(&name)?;
                    let Token::Known(token) = lock.token else { return None };
                    (!semaphore.is_private && semaphore.per.is_none()).then_some((name, (lock.count, token)))
                });
                let restorable: std::collections::BTreeMap<_, _> = restorable.take(2).collect();
                if may_come_back && has_labels && !restorable.is_empty() && own.lost.len() < 3 {
                    own.lost.push(Lost { id, locks: restorable });
                }
                cool(&mut self.semaphores, planned, None);
            }
            What::Restore => {
                if refusal.is_none() {
                    peer.states.retain(Option::is_some);
                    peer.renewed(sent);
                } else {
                    own.peers.retain(|peer| peer.id != planned.peer);
                }
            }
            _ => return Err("an answer that does not fit".to_owned()),
        }
        let is_empty =
            own.peers.iter().find(|peer| peer.id == planned.peer).is_some_and(|peer| peer.states.is_empty());
        if is_empty { Err(format!("after {:#?} that cannot be", planned.before)) } else { Ok(()) }
    }
}

/// A peer that the server calls gone must have come to the end of its lease.
fn is_over(peer: &Peer, received: Instant) -> Outcome {
    if peer.lives_until <= received || peer.states.contains(&None) {
        return Ok(());
    }
    Err(format!("it is gone, {:?} before its time: {peer:#?}", peer.lives_until - received))
}

/// What waits now has its place.
fn queued(peer: &mut Peer, sent: Instant, received: Instant) {
    for request in peer.states.iter_mut().flatten().filter_map(|state| state.pending.as_mut()) {
        request.queued.get_or_insert(received);
        request.seen = sent;
    }
}

fn asked(
    peer: &mut Peer,
    ask: &Ask,
    alone: Option<&str>,
    planned: &Planned,
    answer: &Answer,
    refusal: Option<Refusal>,
) -> Outcome {
    if let Some(refusal) = refusal {
        let before: Vec<State> = planned.before.iter().flatten().cloned().collect();
        peer.states = before.iter().cloned().map(Some).collect();
        for state in before {
            let waits = |request: &crate::model::Request| {
                ask.locks.iter().any(|(name, count)| request.locks.get(name) == Some(count))
            };
            if refusal == Refusal::ExceedsMax && state.pending.as_ref().is_some_and(waits) {
                peer.states.push(Some(State { pending: None, ..state.clone() }));
            }
            if let Some(expires_in) = ask.expires_in.filter(|expires_in| *expires_in != state.expires_in) {
                peer.states.push(Some(State { expires_in, ..state }));
            }
        }
        return Ok(());
    }
    let after: Vec<State> =
        planned.before.iter().flatten().flat_map(|state| state.asked(ask, planned.sent)).collect();
    peer.states = after.into_iter().map(Some).collect();
    if ask.expires_in.is_some() {
        peer.renewed(planned.sent);
    }
    let Some(name) = alone else { return Ok(()) };
    if answer.status == 202 {
        let waits =
            |state: &State| state.pending.as_ref().is_some_and(|request| request.locks.contains_key(name));
        peer.states.retain(|state| state.as_ref().is_some_and(waits));
        queued(peer, planned.sent, answer.received);
        return Ok(());
    }
    let granted = peer.living().map(|state| {
        let waits = state.pending.as_ref().is_some_and(|request| request.locks.contains_key(name));
        if waits { state.granted() } else { state.clone() }
    });
    let mut states: Vec<State> = granted.filter(|state| state.locks.contains_key(name)).collect();
    for lock in states.iter_mut().filter_map(|state| state.locks.get_mut(name)) {
        match lock.token {
            Token::Known(token) if token != answer.token => {
                return Err(format!("the token of {name} was {token:?}"));
            }
            _ => lock.token = Token::Known(answer.token),
        }
    }
    peer.states = Vec::new();
    for state in states.into_iter().map(Some) {
        if !peer.states.contains(&state) {
            peer.states.push(state);
        }
    }
    Ok(())
}

/// What was released on a semaphore with a rate is not due back yet.
fn cool(
    semaphores: &mut std::collections::BTreeMap<String, crate::world::Semaphore>,
    planned: &Planned,
    only: Option<&str>,
) {
    let [Some(before)] = planned.before.as_slice() else { return };
    for (name, lock) in before.locks.iter().filter(|(name, _)| only.is_none_or(|only| only == *name)) {
        let Some(semaphore) = semaphores.get_mut(name) else { continue };
        if let Some(per) = semaphore.per {
            semaphore.cooling.retain(|(_, until)| *until > planned.sent);
            semaphore.cooling.push((lock.count, lock.after + per));
        }
    }
}
