//! What the description of this dialect says beside the shapes: parameters, and the problems of each route.

use std::collections::BTreeMap;

use serde_json::json;
use utoipa::{
    IntoParams, IntoResponses, PartialSchema as _, ToSchema,
    openapi::{
        ContentBuilder, Header, Object, ObjectBuilder, Ref, RefOr, Response, ResponseBuilder, Type,
        example::ExampleBuilder,
    },
};

use super::{code::Code, problem::Problem};

pub(super) const PEERS: &str = "peers";
pub(super) const LOCKS: &str = "locks";
pub(super) const SEMAPHORES: &str = "semaphores";
pub(super) const SERVER: &str = "server";

/// A length of time such as `5m`, `30s`, `250ms` or `1h 30m`, up to the longest lease that the server allows.
/// Weeks, months and years are understood too.
#[derive(ToSchema)]
#[schema(
    as = Duration,
    pattern = "^(0|([0-9]{1,3} ?(ns|us|ms|s|sec|m|min|h|hr|d|days?) ?){1,3})$",
    example = "5m"
)]
pub(super) struct DurationText(#[expect(dead_code, reason = "it only describes")] String);

/// A length of time from 1ms to 365 days, such as `1s`.
#[derive(ToSchema)]
#[schema(as = Rate, pattern = "^[1-9][0-9]{0,2} ?(ms|s|sec|m|min|h|hr)$", example = "1s")]
pub(super) struct RateText(#[expect(dead_code, reason = "it only describes")] String);

#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "it only describes")]
pub(super) struct PeerPath {
    /// The id of the peer.
    #[param(pattern = "^[0-9]{1,20}$", example = "15248218688310292863")]
    peer: String,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "it only describes")]
pub(super) struct SemaphorePath {
    /// The name of the semaphore, percent-encoded: `a/b` is `a%2Fb`.
    #[param(min_length = 1, example = "A")]
    semaphore: String,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "it only describes")]
pub(super) struct NewSemaphorePath {
    /// The name of the semaphore, percent-encoded: `a/b` is `a%2Fb`. It is no pattern.
    #[param(min_length = 1, max_length = 255, pattern = r"^[^*]+$", example = "A")]
    semaphore: String,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "it only describes")]
pub(super) struct TokenPath {
    /// The fencing token.
    #[param(pattern = "^[0-9]{1,20}$", example = "1795480000000001")]
    token: String,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "it only describes")]
pub(super) struct IdempotencyKey {
    /// Makes the request safe to repeat: a repeat with the same key and body finds the peer that the first one
    /// made. A UUID is a good key.
    #[param(
        rename = "Idempotency-Key",
        min_length = 1,
        max_length = 255,
        pattern = "^[!-~]+$",
        example = "6f1c8a1e-7d1b-4a9e-9d55-0a4be6c1f0de"
    )]
    key: Option<String>,
}

/// Labels in a request.
pub(super) fn labels() -> Object {
    ObjectBuilder::new()
        .schema_type(Type::Object)
        .description(Some(
            "What people should know of the peer. The server keeps a limited number of labels of limited length: 16, \
             with values of 255 characters, unless its settings say otherwise.",
        ))
        .property_names(Some(
            ObjectBuilder::new()
                .schema_type(Type::String)
                .min_length(Some(1))
                .max_length(Some(63))
                .pattern(Some("^[^:]+$")),
        ))
        .additional_properties(Some(ObjectBuilder::new().schema_type(Type::String).max_length(Some(255))))
        .max_properties(Some(16))
        .examples([json!({"host": "w1", "pid": "4711"})])
        .build()
}

/// Locks in a request.
pub(super) fn locks() -> Object {
    ObjectBuilder::new()
        .schema_type(Type::Object)
        .description(Some("Each semaphore and the count asked for."))
        .additional_properties(Some(
            ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(1)).maximum(Some(i64::MAX)),
        ))
        .min_properties(Some(1))
        .examples([json!({"A": 1, "B": 2})])
        .build()
}

macro_rules! problems {
    ($($route:ident: $($code:ident)+;)+) => {$(
        pub(super) struct $route;

        impl IntoResponses for $route {
            fn responses() -> BTreeMap<String, RefOr<Response>> {
                documented(&[$(Code::$code),+])
            }
        }
    )+};
}

// Every route and the problems that it can answer with.
problems! {
    CreatePeer: InvalidRequest RequestTimeout PeerGone TooLarge UnsupportedMediaType LimitReached;
    ListPeers: InvalidRequest UnknownSemaphore;
    GetPeer: InvalidRequest PeerGone;
    Heartbeat: InvalidRequest RequestTimeout PeerGone TooLarge UnsupportedMediaType;
    ReleasePeer: InvalidRequest;
    AcquireLocks: InvalidRequest UnknownSemaphore RequestTimeout CountExceedsMax HierarchyViolation AlreadyPending
        Deadlock NotAcquired PeerGone TooLarge UnsupportedMediaType LimitReached;
    ReleaseLock: InvalidRequest UnknownSemaphore PeerGone;
    ReleaseLocks: InvalidRequest UnknownSemaphore RequestTimeout PeerGone TooLarge UnsupportedMediaType;
    NewSession: InvalidRequest UnknownSemaphore RequestTimeout CountExceedsMax HierarchyViolation AlreadyPending
        Deadlock NotAcquired PeerGone TooLarge UnsupportedMediaType LimitReached;
    ListSemaphores: InvalidRequest;
    GetSemaphore: InvalidRequest UnknownSemaphore;
    SetSemaphore: InvalidRequest RequestTimeout TooLarge UnsupportedMediaType LimitReached;
    ChangeSemaphore: InvalidRequest UnknownSemaphore RequestTimeout TooLarge UnsupportedMediaType LimitReached;
    RemoveSemaphore: InvalidRequest UnknownSemaphore InUse;
    CheckToken: InvalidRequest UnknownSemaphore TokenGone;
    RenewMany: InvalidRequest RequestTimeout TooLarge UnsupportedMediaType;
    GetHistory: InvalidRequest;
    ReadEvents: InvalidRequest LimitReached Unavailable;
    ReadUpdates: LimitReached Unavailable;
    Reload: InvalidConfiguration;
    Ready: Unavailable;
}

/// A response for each status that these codes have, with an example for each code.
fn documented(codes: &[Code]) -> BTreeMap<String, RefOr<Response>> {
    let mut by_status: BTreeMap<u16, Vec<Code>> = BTreeMap::new();
    for &code in codes {
        by_status.entry(code.status().as_u16()).or_default().push(code);
    }
    by_status.into_iter().map(|(status, codes)| (status.to_string(), response(&codes).into())).collect()
}

fn response(codes: &[Code]) -> Response {
    let meanings: Vec<_> =
        codes.iter().map(|code| format!("`{}`: {}", code.name(), code.meaning())).collect();
    let examples = codes.iter().map(|&code| {
        let body = serde_json::to_value(Problem::new(code, code.example()).body()).unwrap_or_default();
        (code.name(), RefOr::from(ExampleBuilder::new().value(Some(body)).build()))
    });
    let content = ContentBuilder::new()
        .schema(Some(Ref::from_schema_name("Problem")))
        .examples_from_iter(examples)
        .build();
    let mut response = ResponseBuilder::new()
        .description(meanings.join("\n\n"))
        .content("application/problem+json", content);
    if codes.iter().any(|code| code.asks_to_retry()) {
        let mut seconds = Header::new(u32::schema());
        seconds.description = Some("After how many seconds another try makes sense.".to_owned());
        response = response.header("Retry-After", seconds);
    }
    response.build()
}
