//! Counters of answers, by dialect and status.

use std::sync::OnceLock;

use prometheus::{IntCounter, IntCounterVec, Opts};

use crate::dialect::Dialect;

/// The statuses that HTTP knows.
const CODES: usize = 600;
/// What alerts look for is there from the start: a rise from nothing to one would be none.
const FROM_THE_START: [u16; 4] = [200, 429, 500, 503];

/// Answers, by dialect and status. To count one is to look up a place in a table.
pub struct RequestCounters {
    family: IntCounterVec,
    by_dialect: [Box<[OnceLock<IntCounter>]>; Dialect::ALL.len()],
}

impl RequestCounters {
    pub(super) fn new() -> prometheus::Result<Self> {
        let options = Opts::new("throttle_http_requests_total", "Requests that were answered.");
        let counters = Self {
            family: IntCounterVec::new(options, &["dialect", "code"])?,
            by_dialect: Dialect::ALL.map(|_| (0..CODES).map(|_| OnceLock::new()).collect()),
        };
        for (dialect, code) in
            Dialect::ALL.iter().flat_map(|dialect| FROM_THE_START.map(|code| (dialect, code)))
        {
            counters.series(*dialect, code);
        }
        Ok(counters)
    }

    pub(super) fn family(&self) -> &IntCounterVec {
        &self.family
    }

    /// Counts an answer.
    pub fn count(&self, dialect: Dialect, code: u16) {
        if let Some(series) = self.series(dialect, code) {
            series.inc();
        }
    }

    fn series(&self, dialect: Dialect, code: u16) -> Option<&IntCounter> {
        let series = self.by_dialect.get(dialect as usize)?.get(usize::from(code))?;
        Some(series.get_or_init(|| self.family.with_label_values(&[dialect.name(), &code.to_string()])))
    }
}
