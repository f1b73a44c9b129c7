//! One heartbeat for thousands of peers.

use std::{fmt, sync::Arc};

use axum::{
    Json,
    extract::{Request, State},
    response::IntoResponse as _,
};
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{self, Unexpected, Visitor},
};
use throttle_core::PeerId;
use utoipa::ToSchema;

use super::{
    documented::{self, DurationText},
    problem::Answer,
    read,
    shapes::Digits,
};
use crate::http::{App, extract, gate};

/// The largest body here: some 45,000 peers.
const BODY_BYTES: usize = 1 << 20;

const EXAMPLE: &str = r#"{"expires_in": "5m", "peers": ["15248218688310292863"]}"#;

/// A heartbeat for many peers.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Heartbeats)]
pub(super) struct HeartbeatsBody {
    /// The length of each lease from now on.
    #[schema(value_type = DurationText)]
    expires_in: String,
    /// Whose leases.
    #[schema(value_type = Vec<Digits>)]
    peers: Vec<Id>,
}

/// What became of a heartbeat for many.
#[derive(Serialize, ToSchema)]
pub(super) struct Renewed {
    /// How many of the peers live on.
    #[schema(example = 1)]
    renewed: usize,
    /// Those that expired or were released: they hold nothing any more.
    #[schema(value_type = Vec<Digits>)]
    gone: Vec<String>,
}

/// A peer's id, read without a copy of its digits; those of a number beyond 64 bits, which was never given.
struct Id(Result<PeerId, String>);

impl<'de> Deserialize<'de> for Id {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;

        impl Visitor<'_> for Reader {
            type Value = Id;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the id of a peer: a string of digits, as the server gave it")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Id, E> {
                let number = read::digits(text, "the id of a peer");
                let number = number.map_err(|_| E::invalid_value(Unexpected::Str(text), &self))?;
                Ok(Id(number.map(PeerId).ok_or_else(|| text.to_owned())))
            }
        }

        deserializer.deserialize_str(Reader)
    }
}

/// Starts the leases of many peers anew, in one request for thousands of them.
///
/// A peer may be named more than once. The body has up to 1 MiB.
#[utoipa::path(
    post,
    path = "/v1/heartbeats",
    operation_id = "renew_many",
    tag = documented::PEERS,
    request_body = HeartbeatsBody,
    responses((status = 200, body = Renewed, description = "What became of it."), documented::RenewMany)
)]
pub(in crate::http) async fn renew(State(app): State<Arc<App>>, request: Request) -> Answer {
    let (parts, body) = request.into_parts();
    let bytes = extract::bytes_up_to(&app, body, BODY_BYTES).await?;
    extract::check_json(&parts.headers)?;
    let body: HeartbeatsBody = extract::parse(&bytes, EXAMPLE)?;
    let expires_in = extract::duration("expires_in", &body.expires_in, app.expires_in_max)?;
    let (mut peers, mut gone) = (Vec::with_capacity(body.peers.len()), Vec::new());
    for Id(peer) in body.peers {
        match peer {
            Ok(peer) => peers.push(peer),
            Err(digits) => gone.push(digits),
        }
    }
    let (unknown, condition) = app.engine.heartbeats(&peers, expires_in).await;
    let renewed = peers.len() - unknown.len();
    gone.extend(unknown.iter().map(PeerId::to_string));
    Ok(gate::after(condition, Json(Renewed { renewed, gone }).into_response()))
}
