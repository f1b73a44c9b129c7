//! The `/v1` dialect, a module for each kind of route.

mod events;
mod heartbeats;
mod keys;
mod locks;
mod openapi;
mod peers;
mod routing;
mod semaphores;
mod sessions;
mod tokens;
