//! What requests of this dialect carry: bodies, queries, keys.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use axum::{
    body::{Body, Bytes},
    http::{HeaderMap, HeaderName},
};
use serde::de::DeserializeOwned;
use throttle_api::{DurationText, Entries, Whole};
use throttle_core::{Labels, PeerId};
use throttle_node::IdempotencyKey;

use super::problem::Problem;
use crate::http::{
    App,
    extract::{self, check_json},
    refusal::Refusal,
};
use crate::security::Caller;

pub(super) const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// The longest `Idempotency-Key`, in bytes.
const KEY_BYTES: usize = 255;
/// The longest key of a label, in characters.
const LABEL_KEY_LENGTH: usize = 63;

/// Whether `text` contains what somebody searches for, upper and lower case of ASCII alike.
pub(super) fn contains(text: &str, searched: &str) -> bool {
    let mut parts = text.as_bytes().windows(searched.len().max(1));
    searched.is_empty() || parts.any(|part| part.eq_ignore_ascii_case(searched.as_bytes()))
}

/// The locks that these name. At least one.
pub(super) fn locks<'a>(
    locks: &'a Entries<Whole<i64>>,
    example: &str,
) -> Result<Vec<(&'a str, i64)>, Refusal> {
    if locks.0.is_empty() {
        let sentence = format!("There is nothing to acquire: locks is empty. Expected: {example}");
        return Err(Refusal::Invalid(sentence));
    }
    Ok(locks.0.iter().map(|(semaphore, count)| (semaphore.as_str(), count.0)).collect())
}

/// The labels that these are, within their bounds.
pub(in crate::http) fn labels(labels: Entries<String>, app: &App) -> Result<Option<Labels>, Refusal> {
    let (most, longest) = (app.labels_max, app.label_length_max);
    if labels.0.len() > most {
        let sentence = format!("There are {} labels; a peer has at most {most}.", labels.0.len());
        return Err(Refusal::Invalid(sentence));
    }
    let bytes: usize = labels.0.iter().map(|(key, value)| key.len() + value.len()).sum();
    if bytes > app.label_bytes_max {
        return Err(Refusal::Invalid(format!(
            "The labels have {bytes} bytes, names and values together; those of a peer have at most {}.",
            app.label_bytes_max
        )));
    }
    let mut read = BTreeMap::new();
    for (key, value) in labels.0 {
        if !(1..=LABEL_KEY_LENGTH).contains(&key.chars().count()) || key.contains(':') {
            return Err(Refusal::Invalid(format!(
                "The label {key:?} is named wrongly: the key of a label has 1 to {LABEL_KEY_LENGTH} \
                     characters and no colon."
            )));
        }
        let length = value.chars().count();
        if length > longest {
            return Err(Refusal::Invalid(format!(
                "The label {key:?} is too long: its value has {length} characters; at most {longest} are kept."
            )));
        }
        if let Some(first) = read.insert(key.clone(), value) {
            return Err(Refusal::Invalid(format!("The label {key:?} comes twice; first it is {first:?}.")));
        }
    }
    Ok((!read.is_empty()).then(|| Arc::new(read)))
}

/// The shortest lease: one of no length at all would be over before its answer could show the peer.
const INSTANT: Duration = Duration::from_micros(1);

/// A JSON body, as it came too.
pub(super) async fn body<T: DeserializeOwned>(
    app: &App,
    headers: &HeaderMap,
    body: Body,
    example: &str,
) -> Result<(T, Bytes), Refusal> {
    let bytes = extract::bytes_of(app, body).await?;
    check_json(headers)?;
    Ok((extract::parse(&bytes, example)?, bytes))
}

/// A JSON body that may be left out, or null.
pub(super) async fn optional_body<T: DeserializeOwned + Default>(
    app: &App,
    headers: &HeaderMap,
    body: Body,
    example: &str,
) -> Result<T, Refusal> {
    let bytes = extract::bytes_of(app, body).await?;
    if bytes.is_empty() {
        return Ok(T::default());
    }
    check_json(headers)?;
    Ok(extract::parse::<Option<T>>(&bytes, example)?.unwrap_or_default())
}

/// The `Idempotency-Key` of a request, as it came.
pub(super) fn key_text(headers: &HeaderMap) -> Result<Option<String>, Refusal> {
    let mut keys = headers.get_all(IDEMPOTENCY_KEY).iter();
    let (first, second) = (keys.next(), keys.next());
    let Some(first) = first else { return Ok(None) };
    let is_right = |text: &&str| {
        (1..=KEY_BYTES).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
    };
    match first.to_str().ok().filter(is_right).filter(|_| second.is_none()) {
        Some(text) => Ok(Some(text.to_owned())),
        None => Err(Refusal::Invalid(format!(
            "The header Idempotency-Key is {first:?}{}. Expected one, of 1 to {KEY_BYTES} visible ASCII \
             characters, such as a UUID.",
            if second.is_some() { " and comes more than once" } else { "" }
        ))),
    }
}

/// The key that a text is for a request to `route` with this body.
pub(super) fn key<'a>(
    caller: &'a Caller,
    text: Option<&'a str>,
    route: &str,
    body: &[u8],
) -> Option<IdempotencyKey<'a>> {
    text.map(|text| IdempotencyKey::new(caller.owner(), text, route, body))
}

/// A duration of the body, if it is there.
pub(super) fn duration(
    app: &App,
    name: &str,
    text: Option<&DurationText>,
) -> Result<Option<Duration>, Refusal> {
    text.map(|DurationText(text)| extract::duration(name, text, app.expires_in_max)).transpose()
}

/// The length of the lease of a peer that is to be made.
pub(super) fn new_lease(app: &App, DurationText(text): &DurationText) -> Result<Duration, Refusal> {
    Ok(extract::duration("expires_in", text, app.expires_in_max)?.max(INSTANT))
}

/// The length of a lease from now on, if the body has one.
pub(super) fn lease(app: &App, text: Option<&DurationText>) -> Result<Option<Duration>, Refusal> {
    text.map(|text| new_lease(app, text)).transpose()
}

/// How long to wait for a grant: not at all with a lease of no length.
pub(super) fn wait(
    app: &App,
    text: Option<&DurationText>,
    lease: Option<Duration>,
) -> Result<Duration, Refusal> {
    let wait = duration(app, "wait", text)?.unwrap_or_default();
    Ok(if lease == Some(INSTANT) { Duration::ZERO } else { wait })
}

/// A number as answers write it: `None` if it is beyond 64 bits.
pub(super) fn digits(text: &str, what: &str) -> Result<Option<u64>, Refusal> {
    if (1..=20).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(text.parse().ok());
    }
    Err(Refusal::Invalid(format!("{text:?} is not {what}: a string of digits, as the server gave it.")))
}

/// The peer that a path names.
pub(super) fn peer_id(text: &str) -> Result<PeerId, Problem> {
    let number = digits(text, "the id of a peer")?;
    // A number beyond 64 bits was never given, as is true of others.
    number.map(PeerId).ok_or_else(|| Problem::peer_unknown(text))
}
