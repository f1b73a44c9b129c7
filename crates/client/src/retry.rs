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

/// What may follow an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Nothing: its outcome is the last word, or is unknown and not to be risked twice.
    End,
    /// Nothing at this server, however often it is asked. It did nothing, so another one may.
    Elsewhere,
    /// The same once more, after this pause at least. Another server may do as well.
    Again { at_least: Duration, arrived: Arrived },
    /// The same once more at this very server, which asks for this pause.
    Here { at_least: Duration },
}

/// Whether a request that is to be repeated may have waited in the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arrived {
    /// It did not: it was not sent, or the server said that it did nothing.
    No,
    Perhaps,
}

/// The attempts of one request: what may follow each of them, and after how long.
pub(crate) struct Retry<'a> {
    request: &'a Request,
    give_up_at: Moment,
    pauses: u32,
}

impl<'a> Retry<'a> {
    pub(crate) fn new(request: &'a Request, give_up_at: Moment) -> Self {
        Self { request, give_up_at, pauses: 0 }
    }

    /// For how long it is still repeated.
    pub(crate) fn left(&self) -> Duration {
        self.give_up_at.remaining()
    }

    /// Whether the time is over.
    pub(crate) fn is_over(&self) -> bool {
        self.give_up_at.has_passed()
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
    pub(crate) fn after_failure(&self, error: &Error) -> Next {
        let again = |arrived| Next::Again { at_least: Duration::ZERO, arrived };
        match error {
            Error::Unreachable { sent: false, .. } => again(Arrived::No),
            Error::Unreachable { .. } if self.request.repeatable => again(Arrived::Perhaps),
            Error::CertificateRejected { .. } => Next::Elsewhere,
            _ => Next::End,
        }
    }

    /// An answer arrived; it may be final, be it good or bad.
    pub(crate) fn after_answer(&self, answer: &Answer) -> Next {
        let at_least = answer.retry_after.unwrap_or_default();
        match answer.status {
            StatusCode::TOO_MANY_REQUESTS => Next::Here { at_least },
            // The server says that it did nothing, so even creating a peer may be repeated.
            StatusCode::SERVICE_UNAVAILABLE => Next::Again { at_least, arrived: Arrived::No },
            status if self.request.repeatable && is_transient(status) => {
                Next::Again { at_least: Duration::ZERO, arrived: Arrived::Perhaps }
            }
            _ => Next::End,
        }
    }

    /// How long to wait before it is repeated; `None` to give up.
    pub(crate) fn pause(&mut self, at_least: Duration, arrived: Arrived) -> Option<Duration> {
        // What became of a request that may have waited is asked for in any case.
        let is_question_due =
            arrived == Arrived::Perhaps && self.request.at_once.is_some() && self.pauses == 0;
        let delay = backoff(self.pauses, FIRST_DELAY, LONGEST_DELAY);
        self.pauses += 1;
        // Jitter on top, so that those who were told the same do not come back together.
        let delay = if at_least.is_zero() { delay } else { at_least.saturating_add(delay / 2) };
        (now() + delay < self.give_up_at).then_some(delay).or(is_question_due.then_some(Duration::ZERO))
    }
}

/// Whether the same request may be answered otherwise a little later.
pub(crate) fn is_transient(status: StatusCode) -> bool {
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
            location: None,
            text: String::new(),
        }
    }

    fn unreachable(sent: bool) -> Error {
        let (what, url) = (String::new(), String::new());
        Error::Unreachable { what, url, sent, proxy: None, source: "cut".into() }
    }

    fn again(at_least: u64, arrived: Arrived) -> Next {
        Next::Again { at_least: Duration::from_secs(at_least), arrived }
    }

    #[test]
    fn creating_a_peer_is_repeated_only_if_it_surely_did_not_happen() {
        let request = protocol::new_peer(Duration::from_secs(1));
        let retry = Retry::new(&request, now() + Duration::from_mins(1));
        assert_eq!(retry.after_failure(&unreachable(false)), again(0, Arrived::No));
        assert_eq!(retry.after_failure(&unreachable(true)), Next::End);
        assert_eq!(retry.after_answer(&answer(503, None)), again(0, Arrived::No));
        assert_eq!(retry.after_answer(&answer(502, None)), Next::End);
    }

    #[test]
    fn other_requests_are_repeated_after_trouble_but_not_after_a_refusal() {
        let request = protocol::heartbeat(1, Duration::from_secs(1));
        let retry = Retry::new(&request, now() + Duration::from_mins(1));
        assert_eq!(retry.after_failure(&unreachable(true)), again(0, Arrived::Perhaps));
        assert_eq!(retry.after_answer(&answer(502, Some(7))), again(0, Arrived::Perhaps));
        for status in [200, 307, 400, 401, 404, 409, 501] {
            assert_eq!(retry.after_answer(&answer(status, None)), Next::End, "{status}");
        }
    }

    #[test]
    fn a_limit_is_that_of_all_servers_so_no_other_is_asked() {
        let request = protocol::heartbeat(1, Duration::from_secs(1));
        let retry = Retry::new(&request, now() + Duration::from_mins(1));
        let here = Next::Here { at_least: Duration::from_secs(7) };
        assert_eq!(retry.after_answer(&answer(429, Some(7))), here);
    }

    #[test]
    fn a_certificate_that_is_not_trusted_is_that_of_one_server() {
        let request = protocol::new_peer(Duration::from_secs(1));
        let retry = Retry::new(&request, now());
        let error = Error::CertificateRejected { url: String::new(), source: "unknown".into() };
        assert_eq!(retry.after_failure(&error), Next::Elsewhere);
    }

    #[test]
    fn retry_after_is_obeyed_unless_the_time_is_over_by_then() {
        let request = protocol::heartbeat(1, Duration::from_secs(1));
        let mut retry = Retry::new(&request, now() + Duration::from_mins(1));
        assert_eq!(retry.after_answer(&answer(503, Some(7))), again(7, Arrived::No));
        assert!(retry.pause(Duration::from_secs(7), Arrived::No).unwrap() >= Duration::from_secs(7));
        assert!(retry.pause(Duration::from_mins(1), Arrived::No).is_none());
    }

    #[test]
    fn what_became_of_a_wait_is_asked_for_once_in_any_case() {
        let request = protocol::acquire(1, "A", 1, None, Some(Duration::from_secs(1)));
        let mut retry = Retry::new(&request, now());
        assert_eq!(retry.pause(Duration::ZERO, Arrived::No), None);
        let mut retry = Retry::new(&request, now());
        assert_eq!(retry.pause(Duration::ZERO, Arrived::Perhaps), Some(Duration::ZERO));
        assert_eq!(retry.pause(Duration::ZERO, Arrived::Perhaps), None);
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
