use std::sync::OnceLock;

use prometheus::{IntCounter, IntCounterVec, Opts};

use crate::http::Dialect;

/// The statuses that HTTP knows.
const CODES: usize = 600;

/// Answers, by dialect and status. To count one is to look up a place in a table.
pub struct RequestCounters {
    family: IntCounterVec,
    by_dialect: [Box<[OnceLock<IntCounter>]>; Dialect::ALL.len()],
}

impl RequestCounters {
    pub(super) fn new() -> prometheus::Result<Self> {
        let options = Opts::new("throttle_http_requests_total", "Requests that were answered.");
        Ok(Self {
            family: IntCounterVec::new(options, &["dialect", "code"])?,
            by_dialect: Dialect::ALL.map(|_| (0..CODES).map(|_| OnceLock::new()).collect()),
        })
    }

    pub(super) fn family(&self) -> &IntCounterVec {
        &self.family
    }

    /// Counts an answer.
    pub fn count(&self, dialect: Dialect, code: u16) {
        let by_code = self.by_dialect.get(dialect as usize);
        let Some(counter) = by_code.and_then(|by_code| by_code.get(usize::from(code))) else { return };
        let series = || self.family.with_label_values(&[dialect.name(), &code.to_string()]);
        counter.get_or_init(series).inc();
    }
}
