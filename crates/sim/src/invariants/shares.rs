//! Shares: nobody has more than his quota, and is refused nothing that is within it.

use throttle_core::{Account, Quota};

use super::{Invariant, Shown, Verdict};
use crate::ledger::Ledger;

pub(super) struct Shares;

impl Invariant for Shares {
    fn name(&self) -> &'static str {
        "shares"
    }

    fn shown(&mut self, ledger: &Ledger, shown: &Shown<'_>) -> Verdict {
        let seen = shown.seen;
        if seen.counted != seen.used {
            return Err(format!("peers use {:?}, but {:?} is counted", seen.counted, seen.used));
        }
        let owned: usize = seen.counted.values().map(|usage| usage.members).sum();
        if !ledger.is_calm && !ledger.setup.owners.is_empty() && owned != seen.members {
            return Err(format!("of {} members of patterns {owned} count for somebody", seen.members));
        }
        for Account { owner, quota } in &ledger.setup.owners {
            let usage = seen.counted.get(owner).copied().unwrap_or_default();
            let blocked = shown.waiting.get(owner).copied().unwrap_or(0);
            let Quota { peers, pending, members, blocked: most } = *quota;
            if usage.peers > peers || usage.pending > pending || usage.members > members || blocked > most {
                return Err(format!("{owner:?} uses {usage:?}, {blocked} wait, of at most {quota:?}"));
            }
        }
        Ok(())
    }
}
