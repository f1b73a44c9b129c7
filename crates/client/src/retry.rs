//! When to try again, and after how long. Pure but for chance.

use std::time::Duration;

use reqwest::StatusCode;

use crate::{
    Error,
    clock::{Moment, now},
    protocol::{Answer, Request},
};

const FIRST_DELAY: Duration = Duration::from_millis(100);
const LONGEST_DELAY: Duration = Duration::from_secs(5);
/// Of a request that was cut as it waited.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// The attempts of one request: says after each failure how long to wait, or `None` to give up.
pub(crate) struct Retry<'a> {
    request: &'a Request,
    give_up_at: Moment,
    failures: u32,
}

impl<'a> Retry<'a> {
    pub(crate) fn new(request: &'a Request, give_up_at: Moment) -> Self {
        Self { request, give_up_at, failures: 0 }
    }

    /// After a request that was cut as it waited at the server, which was there: for how long it was held, and how many
    /// before it were cut as well.
    pub(crate) fn after_cut(&self, held: Duration, cuts: u32) -> Duration {
        // Those that are cut at once, again and again, must not become a flood. Whoever was cut after a while has
        // waited long enough to ask for what became of it.
        let pause = backoff(cuts, FIRST_DELAY, LONGEST_PAUSE).saturating_sub(held);
        // The time for the repeat itself has to remain.
        pause.min(self.give_up_at.remaining() / 2)
    }

    /// No answer arrived. Whether the server did its work is unknown if the request was sent.
    pub(crate) fn after_failure(&mut self, error: &Error) -> Option<Duration> {
        match error {
            Error::Unreachable { sent: false, .. } => self.delay(Duration::ZERO),
            Error::Unreachable { .. } if self.request.repeatable => {
                let is_due = self.is_question_due();
                self.delay(Duration::ZERO).or(is_due.then_some(Duration::ZERO))
            }
            _ => None,
        }
    }

    /// An answer arrived; `None` if it is final, be it good or bad.
    pub(crate) fn after_answer(&mut self, answer: &Answer) -> Option<Duration> {
        let said_no_for_now =
            matches!(answer.status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS);
        // The server says that it did nothing, so even creating a peer may be repeated.
        if said_no_for_now || self.request.repeatable && is_transient(answer.status) {
            let at_least = answer.retry_after.filter(|_| said_no_for_now).unwrap_or_default();
            let is_due = !said_no_for_now && self.is_question_due();
            self.delay(at_least).or(is_due.then_some(Duration::ZERO))
        } else {
            None
        }
    }

    /// Whether it may have waited in the queue just now: then what became of it is asked for in any case.
    fn is_question_due(&self) -> bool {
        self.request.at_once.is_some() && self.failures == 0
    }

    fn delay(&mut self, at_least: Duration) -> Option<Duration> {
        let delay = backoff(self.failures, FIRST_DELAY, LONGEST_DELAY);
        self.failures += 1;
        // Jitter on top, so that those who were told the same do not come back together.
        let delay = if at_least.is_zero() { delay } else { at_least.saturating_add(delay / 2) };
        (now() + delay < self.give_up_at).then_some(delay)
    }
}

fn is_transient(status: StatusCode) -> bool {
    match status.as_u16() {
        408 | 444 | 499 => true,
        // These are answered in the same way each time.
        501 | 505..=508 | 510 | 511 => false,
        code => code >= 500,
    }
}

/// Exponential delay with jitter: between the half and the whole of `first`, doubled each time.
pub(crate) fn backoff(failures: u32, first: Duration, longest: Duration) -> Duration {
    let whole = first.saturating_mul(1 << failures.min(20)).min(longest);
    whole.mul_f64(0.5 + fastrand::f64() / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol;

    fn answer(status: u16, retry_after: Option<u64>) -> Answer {
        Answer {
            status: StatusCode::from_u16(status).unwrap(),
            instance: None,
            token: None,
            retry_after: retry_after.map(Duration::from_secs),
            text: String::new(),
        }
    }

    fn unreachable(sent: bool) -> Error {
        Error::Unreachable { what: String::new(), sent, proxy: None, source: "cut".into() }
    }

    #[test]
    fn creating_a_peer_is_repeated_only_if_it_surely_did_not_happen() {
        let request = protocol::new_peer(Duration::from_secs(1));
        let mut retry = Retry::new(&request, now() + Duration::from_mins(1));
        assert!(retry.after_failure(&unreachable(false)).is_some());
        assert!(retry.after_failure(&unreachable(true)).is_none());
        assert!(retry.after_answer(&answer(503, None)).is_some());
        assert!(retry.after_answer(&answer(502, None)).is_none());
    }

    #[test]
    fn other_requests_are_repeated_after_trouble_but_not_after_a_refusal() {
        let request = protocol::heartbeat(1, Duration::from_secs(1));
        let mut retry = Retry::new(&request, now() + Duration::from_mins(1));
        assert!(retry.after_failure(&unreachable(true)).is_some());
        assert!(retry.after_answer(&answer(502, None)).is_some());
        for status in [200, 400, 401, 404, 409, 501] {
            assert!(retry.after_answer(&answer(status, None)).is_none(), "{status}");
        }
    }

    #[test]
    fn retry_after_is_obeyed_unless_the_time_is_over_by_then() {
        let request = protocol::heartbeat(1, Duration::from_secs(1));
        let mut retry = Retry::new(&request, now() + Duration::from_mins(1));
        assert!(retry.after_answer(&answer(503, Some(7))).unwrap() >= Duration::from_secs(7));
        assert!(retry.after_answer(&answer(503, Some(60))).is_none());
    }

    #[test]
    fn delays_grow_to_a_bound() {
        let (first, longest) = (Duration::from_millis(100), Duration::from_secs(5));
        for _ in 0..100 {
            let delay = backoff(2, first, longest);
            assert!((Duration::from_millis(200)..=Duration::from_millis(400)).contains(&delay));
            assert!(backoff(u32::MAX, first, longest) <= longest);
        }
    }
}
