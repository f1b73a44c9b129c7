//! Who sends a request, and what he may do.
//!
//! Without tokens the server is open: whoever reaches it may do everything. With tokens every request has a [`Caller`],
//! found by what it shows; a row of the table of routes says which right it needs, and its handler asks for that right
//! over each semaphore that the request names. The core knows of a caller whose the peers are that he makes
//! ([`throttle_core::By`]), and nothing of rights.

mod caller;
mod file;
mod guard;
mod jwt;
mod keys;
mod quota;
mod rate;
mod rights;
pub mod token;

pub use caller::{Asker, Caller};
pub use file::{Terms, Tokens};
pub use guard::{COOKIE_NAME, Guard, Pass, Unauthenticated, shown};
pub use jwt::{JwtConfig, KeySource};
pub use keys::KeySet;
pub use quota::{Excess, QuotaEntry, Quotas};
pub use rate::{Rate, Rates};
pub use rights::{Forbidden, NamePattern, Right, Rights};
