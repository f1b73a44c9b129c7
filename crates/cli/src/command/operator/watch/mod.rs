//! `throttle status --watch` on a terminal: who holds what, who waits and why, as it happens.
//!
//! What is seen and what keys do is a state machine without I/O (`state`, `keys`, `dialog`), drawn by `draw`. The
//! network works beside it (`network`), so that neither a slow server nor a cut line holds up a key.

mod data;
mod dialog;
mod draw;
mod keys;
mod network;
mod run;
mod screen;
mod state;
#[cfg(test)]
mod tests;

pub(super) use data::Figures;
pub(super) use run::watch;
