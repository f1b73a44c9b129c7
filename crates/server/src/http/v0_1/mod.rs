//! The dialect of the clients 0.1.0 to 0.1.9. Their peers are leases that come with all their locks, and
//! every request repeats what they hold; the rest they share with the `classic` dialect.

mod acquire;
mod block;
mod claim;

pub(super) use acquire::acquire;
pub(super) use block::block_until_acquired;
pub(super) use claim::{Claim, ask};
