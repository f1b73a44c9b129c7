//! HTTP: one folder a dialect, each a thin adapter over the same commands of the engine.
//!
//! - `v1`: new clients.
//! - `classic`: clients 0.2.0 to 0.5.13.
//! - `first`: clients 0.1.0 to 0.1.9.
//! - `site`: what people and monitoring ask for.
//! - `dashboard`: the pages for browsers; `origin`: which pages may send requests.

mod app;
mod classic;
mod dashboard;
mod dialect;
mod extract;
mod first;
mod front;
mod gate;
mod origin;
mod refusal;
mod router;
mod site;
mod spans;
mod v1;

pub use app::App;
pub use dialect::Dialect;
pub use front::{INSTANCE, Stage, service};
