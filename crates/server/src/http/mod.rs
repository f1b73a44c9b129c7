//! HTTP: one folder a dialect, each a thin adapter over the same commands of the engine.
//!
//! - `routes`: the table of all routes, which the rest reads.
//! - `v1`: new clients.
//! - `v0_2`: clients 0.2.0 to 0.5.13.
//! - `v0_1`: clients 0.1.0 to 0.1.9.
//! - `site`: what people and monitoring ask for.
//! - `dashboard`: the pages for browsers; `origin`: which pages may send requests.

mod app;
mod dashboard;
mod extract;
mod gate;
mod lawful;
mod origin;
mod refusal;
mod routes;
mod service;
mod several;
mod site;
mod spans;
mod v0_1;
mod v0_2;
mod v1;

pub use app::{App, Around};
pub use origin::Hosts;
pub use routes::{is_answered_when_full, is_for_looking, rights};
pub use service::{INSTANCE, Stage, service};
pub use several::Several;
