//! The header `Date` of answers, written once a second.

use std::{
    cell::RefCell,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use hyper::header::HeaderValue;

thread_local! {
    /// The last one that was written, and of which second it is.
    static WRITTEN: RefCell<Option<(u64, HeaderValue)>> = const { RefCell::new(None) };
}

/// The header `Date` of an answer that is given now. Hyper's own stays behind when the clock is set back, until that
/// has come where it was.
pub(super) fn date() -> Option<HeaderValue> {
    let second = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    WRITTEN.with_borrow_mut(|written| match written {
        Some((of, date)) if *of == second => Some(date.clone()),
        _ => {
            let text = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(second));
            let date = HeaderValue::try_from(text).ok()?;
            *written = Some((second, date.clone()));
            Some(date)
        }
    })
}
