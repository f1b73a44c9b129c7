//! The `/v1` dialect, a module for each kind of route.

mod bounds;
mod deadlocks;
mod events;
mod fencing;
mod heartbeats;
mod history;
mod keys;
mod locks;
mod named;
mod openapi;
mod patterns;
mod peers;
mod reload;
mod routing;
mod search;
mod semaphores;
mod sessions;
mod tokens;
mod updates;
