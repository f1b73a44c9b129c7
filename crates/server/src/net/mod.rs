//! The network: an accept loop on hyper that bounds what a client can make it wait for or hold.
//!
//! Hyper parses and writes HTTP; what it writes is collected in memory and sent once per turn, so that pipelined
//! answers share a system call and an answer never waits for a request that has only begun.

mod accept;
mod body;
mod budget;
mod date;
mod drive;
mod link;
mod listen;
mod own_answers;
mod refuse;
mod serve;
mod source;
mod stream;
mod tls;
mod watched;

#[cfg(test)]
mod tests;

pub use body::{BodyError, read_body};
pub use budget::Budget;
pub use listen::{BindError, bind};
pub use serve::{NetStats, Settings, capacity, converse, serve};
pub use stream::{Listener, Local};
pub use tls::{ClientName, Tls, TlsError, TlsFiles};
pub use watched::{ClientAddress, client_of, request_waits};
