//! What clients speak to, as the world sees it: a single server, or a cluster.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Debug,
    sync::Arc,
};

use throttle_core::Owner;
use throttle_node::Node;

use crate::{message::Request, time::Moment, world::World};

/// What clients speak to.
pub(crate) trait Service: Sized {
    /// Something that is going to happen to it.
    type Event: Debug;

    /// Begins, at the beginning of the world.
    fn begin(world: &mut World<Self>);

    /// A request is on its way, and arrives at `at`.
    fn deliver(world: &mut World<Self>, at: Moment, request: Arc<Request>);

    /// That the connection of a request is gone is noticed at `at`.
    fn close(world: &mut World<Self>, at: Moment, request: Arc<Request>);

    /// Until when an event is put off that would happen at `at`, because whoever it happens to stands still.
    fn put_off(&mut self, at: Moment, event: &Self::Event) -> Option<Moment>;

    /// Whether an event was meant for something that is no more.
    fn is_void(world: &World<Self>, event: &Self::Event) -> bool;

    /// Whether an event is none that a run is measured by: there are many of them, whatever clients do.
    fn is_quiet(_: &Self::Event) -> bool {
        false
    }

    /// An event happens.
    fn happen(world: &mut World<Self>, event: Self::Event);

    /// Does what servers ask the world for.
    fn collect(world: &mut World<Self>);

    /// Faults, now and then.
    fn disturb(world: &mut World<Self>);

    /// A request of a client came to nothing.
    fn failed(world: &mut World<Self>, request: &Request);

    /// Ends its faults. Returns by when they have no effect any more.
    fn calm_down(world: &mut World<Self>) -> Moment;

    /// Once all is calm: the server dies, and another one, or the same, starts with its clock set back.
    fn die_once_more(world: &mut World<Self>);

    /// Does what is due. Tells whether it may be looked at.
    fn is_to_see(world: &mut World<Self>) -> bool;

    /// Looks at the node that leads, if one does.
    fn inspect<R>(&mut self, at: Moment, look: impl FnOnce(&mut Node) -> R) -> Option<R>;

    /// The peers whose clients wait with an open connection.
    fn connected(&self) -> BTreeSet<u64>;

    /// How many requests of each owner wait with an open connection.
    fn waiting_by_owner(&self) -> BTreeMap<Owner, usize>;
}
