//! How long a page of a list is, where it begins, and how it is written.

use axum::{
    http::{HeaderValue, header::CONTENT_TYPE},
    response::{IntoResponse as _, Response},
};
use serde::Serialize;

use crate::http::refusal::Refusal;

/// How many items a page has if the request does not say.
pub(super) const PAGE: usize = 100;
/// How many it may have.
const LONGEST_PAGE: usize = 1000;
/// After so many bytes a page ends, however many items were asked for.
pub(in crate::http) const PAGE_BYTES: usize = 256 * 1024;

/// The length of a page that a request asks for.
pub(super) fn page_length(limit: Option<usize>) -> Result<usize, Refusal> {
    match limit.unwrap_or(PAGE) {
        limit @ 1..=LONGEST_PAGE => Ok(limit),
        limit => {
            Err(Refusal::Invalid(format!("limit is {limit}. Expected a number from 1 to {LONGEST_PAGE}.")))
        }
    }
}

/// The first of these items as a page, as many as there is room for: at least one. `next` gives the cursor of the next
/// page, from how many of them this one has.
pub(super) fn written<T: Serialize>(
    items: impl Iterator<Item = T>,
    next: impl FnOnce(usize) -> Option<String>,
) -> Response {
    let mut body = br#"{"items":["#.to_vec();
    let mut count = 0;
    for item in items {
        let end = body.len();
        if count > 0 {
            body.push(b',');
        }
        // Items of strings and numbers can always be written.
        let is_written = serde_json::to_writer(&mut body, &item).is_ok();
        if !is_written || (count > 0 && body.len() > PAGE_BYTES) {
            body.truncate(end);
            break;
        }
        count += 1;
    }
    body.extend_from_slice(br#"],"next":"#);
    body.extend_from_slice(serde_json::to_string(&next(count)).unwrap_or_default().as_bytes());
    body.push(b'}');
    // It may be a while until all of it is read.
    body.shrink_to_fit();
    json(body)
}

/// Cuts a list that has no next page down to what there is room for.
pub(super) fn cut<T: Serialize>(items: &mut Vec<T>) {
    let mut bytes = 0;
    let mut fits = |item: &T| {
        bytes += serde_json::to_vec(item).map_or(0, |text| text.len());
        bytes <= PAGE_BYTES
    };
    let count = items.iter().take_while(|item| fits(item)).count();
    items.truncate(count.max(1));
}

/// The answer to a `HEAD` of a list, which is not built for that.
pub(super) fn head() -> Response {
    json(Vec::new())
}

fn json(body: Vec<u8>) -> Response {
    ([(CONTENT_TYPE, HeaderValue::from_static("application/json"))], body).into_response()
}

/// A cursor that stands for a name.
pub(super) fn cursor_after(name: &str) -> String {
    use std::fmt::Write as _;

    name.bytes().fold(String::with_capacity(2 * name.len()), |mut cursor, byte| {
        // Writing to a string cannot fail.
        let _ = write!(cursor, "{byte:02x}");
        cursor
    })
}

/// The name that a cursor stands for.
pub(super) fn name_before(cursor: &str) -> Result<String, Refusal> {
    let byte = |pair: &[u8]| match pair {
        [first, _] if first.is_ascii_hexdigit() => u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok(),
        _ => None,
    };
    let bytes: Option<Vec<u8>> = cursor.as_bytes().chunks(2).map(byte).collect();
    let bytes = bytes.filter(|bytes| !bytes.is_empty()).ok_or_else(|| no_cursor(cursor))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The refusal of what is no cursor.
pub(super) fn no_cursor(cursor: &str) -> Refusal {
    Refusal::Invalid(format!("{cursor:?} is no cursor. Expected the value of next in an earlier answer."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_comes_back_as_its_name() {
        for name in ["A", "ü %/", "\0"] {
            assert_eq!(name_before(&cursor_after(name)), Ok(name.to_owned()));
        }
        for wrong in ["", "0", "x", "é", "4\u{e9}", "0g", "+f"] {
            assert!(name_before(wrong).is_err(), "{wrong}");
        }
    }
}
