//! How many requests somebody may send in a time: a leaky bucket in its form as a clock, the generic cell rate
//! algorithm of ATM (ITU-T I.371).
//!
//! Of each client one time is kept: until when the requests that he has sent have his share used up. A whole share may
//! come at once.

use std::{
    collections::HashMap,
    fmt,
    hash::Hash,
    str::FromStr,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use foldhash::fast::RandomState;
use serde::Deserialize;
use tokio::time::Instant;

/// Of how many clients something is kept at most. Those whose share is whole again are forgotten. While all of them
/// are busy, whoever comes beyond them shares one share with all others who do.
const KNOWN_MAX: usize = 100_000;
/// How often that is tidied up at most.
const TIDY_EVERY: Duration = Duration::from_secs(1);

/// So many requests in such a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Rate {
    count: u32,
    per: Duration,
}

impl Rate {
    /// What a rate looks like, for those who wrote none.
    pub const ALLOWED: &'static str = "a count and a time such as \"200/s\" or \"1000/10min\"";
}

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no rate; allowed: {}", Self::ALLOWED);
        let (count, per) = text.split_once('/').ok_or_else(wrong)?;
        let count: u32 = count.trim().parse().ok().filter(|count| *count > 0).ok_or_else(wrong)?;
        let per = per.trim();
        let per =
            if per.starts_with(|c: char| c.is_ascii_digit()) { per.to_owned() } else { format!("1{per}") };
        let per = humantime::parse_duration(&per).map_err(|_| wrong())?;
        let is_right = Duration::from_millis(1) <= per && per <= Duration::from_hours(24);
        if is_right { Ok(Self { count, per }) } else { Err(wrong()) }
    }
}

impl TryFrom<String> for Rate {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let noun = if self.count == 1 { "request" } else { "requests" };
        write!(f, "{} {noun} in {}", self.count, humantime::format_duration(self.per))
    }
}

/// What clients have used of their rates.
#[derive(Debug)]
pub struct Rates<K> {
    began: Instant,
    used: Mutex<Used<K>>,
}

#[derive(Debug)]
struct Used<K> {
    /// Until when the share of each is used up, from the beginning.
    until: HashMap<K, Duration, RandomState>,
    /// Until when that of all others is, for whom there is no room.
    others_until: Duration,
    tidied_at: Duration,
}

impl<K: Hash + Eq> Rates<K> {
    /// Nobody has sent anything.
    pub fn new(now: Instant) -> Self {
        let used =
            Used { until: HashMap::default(), others_until: Duration::ZERO, tidied_at: Duration::ZERO };
        Self { began: now, used: Mutex::new(used) }
    }

    /// Counts a request.
    ///
    /// # Errors
    ///
    /// If it is one too many: how long until there is room for it.
    pub fn take(&self, client: K, rate: Rate, now: Instant) -> Result<(), Duration> {
        let now = now.saturating_duration_since(self.began);
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        let Used { until, others_until, tidied_at } = &mut *used;
        if until.len() >= KNOWN_MAX && now >= *tidied_at + TIDY_EVERY {
            *tidied_at = now;
            until.retain(|_, until| *until > now);
        }
        let has_room = until.len() < KNOWN_MAX || until.contains_key(&client);
        let until = if has_room { until.entry(client).or_default() } else { others_until };
        // Never more than a whole share, whatever the rate was before.
        let from = (*until).clamp(now, now + rate.per);
        let next = from + rate.per / rate.count;
        let too_early = next.saturating_sub(now + rate.per);
        if !too_early.is_zero() {
            *until = from;
            return Err(too_early);
        }
        *until = next;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(text: &str) -> Rate {
        text.parse().unwrap()
    }

    #[test]
    fn a_rate_is_a_count_and_a_time() {
        assert_eq!(rate("200/s"), Rate { count: 200, per: Duration::from_secs(1) });
        assert_eq!(rate("5/10min"), Rate { count: 5, per: Duration::from_mins(10) });
        assert_eq!(rate("1 / h").to_string(), "1 request in 1h");
        for wrong in ["", "5", "0/s", "-1/s", "5/0s", "5/x", "5/2days", "x/s", "5/1ns", "99999999999/s"] {
            let error = wrong.parse::<Rate>().unwrap_err();
            assert_eq!(error, format!("{wrong:?} is no rate; allowed: {}", Rate::ALLOWED));
        }
    }

    #[test]
    fn a_share_comes_back_as_time_goes_on() {
        let start = Instant::now();
        let (rates, rate) = (Rates::new(start), rate("4/s"));
        let at = |ms: u64| start + Duration::from_millis(ms);
        // The whole share at once, and then one each quarter of a second.
        for _ in 0..4 {
            assert_eq!(rates.take("a", rate, at(0)), Ok(()));
        }
        assert_eq!(rates.take("a", rate, at(0)), Err(Duration::from_millis(250)));
        assert_eq!(rates.take("b", rate, at(0)), Ok(()), "it concerns nobody else");
        assert_eq!(rates.take("a", rate, at(249)), Err(Duration::from_millis(1)));
        assert_eq!(rates.take("a", rate, at(250)), Ok(()));
        assert_eq!(rates.take("a", rate, at(499)), Err(Duration::from_millis(1)));
        // What is refused does not count.
        assert_eq!(rates.take("a", rate, at(500)), Ok(()));
        for _ in 0..4 {
            assert_eq!(rates.take("a", rate, at(9_000)), Ok(()));
        }
        assert!(rates.take("a", rate, at(9_000)).is_err());
    }

    #[test]
    fn another_rate_counts_at_once() {
        let start = Instant::now();
        let (rates, slow, quick) = (Rates::new(start), rate("1/h"), rate("1000/s"));
        assert_eq!(rates.take("a", slow, start), Ok(()));
        assert!(rates.take("a", slow, start).is_err());
        assert_eq!(rates.take("a", quick, start), Err(Duration::from_millis(1)));
        assert_eq!(rates.take("a", quick, start + Duration::from_millis(1)), Ok(()));
    }

    #[test]
    fn not_more_clients_are_known_than_there_may_be() {
        let start = Instant::now();
        let (rates, rate) = (Rates::new(start), rate("2/10s"));
        for client in (0..KNOWN_MAX).chain(0..KNOWN_MAX) {
            rates.take(client, rate, start).unwrap();
        }
        let later = start + Duration::from_secs(4);
        let beyond = |client| rates.take(KNOWN_MAX + client, rate, later);
        assert_eq!([beyond(1), beyond(2)], [Ok(()), Ok(())]);
        let wait = Err(Duration::from_secs(5));
        assert_eq!([beyond(1), beyond(3)], [wait, wait], "they share one share");
        assert_eq!(rates.take(0, rate, later), Err(Duration::from_secs(1)), "others have their own");
        assert_eq!(rates.used.lock().unwrap().until.len(), KNOWN_MAX);
        let later = start + Duration::from_secs(11);
        assert_eq!([(); 2].map(|()| rates.take(KNOWN_MAX, rate, later)), [Ok(()), Ok(())]);
        assert_eq!(rates.used.lock().unwrap().until.len(), 1);
        assert!(rates.take(KNOWN_MAX, rate, later).is_err());
    }
}
