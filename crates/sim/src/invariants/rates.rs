//! Rates: within the rate of a semaphore, no more is granted than its full count.

use std::{collections::BTreeMap, sync::Arc};

use throttle_core::{Event, Time};

use super::{Invariant, Shown, Verdict};
use crate::{
    ledger::{Ledger, Note},
    time::{Moment, duration},
};

#[derive(Default)]
pub(super) struct Rates {
    /// The grants that count, by semaphore.
    granted: BTreeMap<Arc<str>, Vec<(Time, i64)>>,
    /// Rates and counts may have been changed.
    is_over: bool,
}

impl Invariant for Rates {
    fn name(&self) -> &'static str {
        "rates"
    }

    fn noted(&mut self, ledger: &Ledger, _: Moment, note: &Note) {
        if matches!(note, Note::Started { .. }) && ledger.has_forgotten {
            self.granted.clear();
        }
    }

    fn shown(&mut self, ledger: &Ledger, shown: &Shown<'_>) -> Verdict {
        // A semaphore that is removed and made again begins anew.
        self.is_over |=
            ledger.setup.changes_semaphores() || (ledger.is_calm && ledger.setup.faults.operators > 0);
        if self.is_over {
            return Ok(());
        }
        for (_, logged) in shown.events {
            let Event::Granted { semaphore, count, at, .. } = &logged.event else { continue };
            let Some(spec) = ledger.setup.spec_of(semaphore) else { continue };
            let Some(per) = spec.per else { continue };
            let granted = self.granted.entry(Arc::from(&**semaphore)).or_default();
            granted.retain(|(then, _)| *then + per > *at);
            granted.push((*at, *count));
            let sum: i64 = granted.iter().map(|(_, count)| count).sum();
            if sum > spec.max {
                return Err(format!(
                    "{sum} of {semaphore} were granted within {:?}, of {}",
                    duration(0) + per,
                    spec.max
                ));
            }
        }
        Ok(())
    }
}
