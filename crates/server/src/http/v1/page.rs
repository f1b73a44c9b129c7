//! How long a page of a list is, and where it begins.

use crate::http::refusal::Refusal;

/// How many items a page has if the request does not say.
pub(super) const PAGE: usize = 100;
/// How many it may have.
const LONGEST_PAGE: usize = 1000;

/// The length of a page that a request asks for.
pub(super) fn page_length(limit: Option<usize>) -> Result<usize, Refusal> {
    match limit.unwrap_or(PAGE) {
        limit @ 1..=LONGEST_PAGE => Ok(limit),
        limit => {
            Err(Refusal::Invalid(format!("limit is {limit}. Expected a number from 1 to {LONGEST_PAGE}.")))
        }
    }
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
