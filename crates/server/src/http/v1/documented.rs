//! What the description of this dialect says beside the types: parameters, and the problems of each route.

use std::collections::BTreeMap;

use throttle_api::{Cause, Code, Problem};
use utoipa::{
    IntoParams, IntoResponses, PartialSchema as _,
    openapi::{ContentBuilder, Header, Ref, RefOr, Response, ResponseBuilder, example::ExampleBuilder},
};

pub(super) const PEERS: &str = "peers";
pub(super) const LOCKS: &str = "locks";
pub(super) const SEMAPHORES: &str = "semaphores";
pub(super) const SERVER: &str = "server";

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

macro_rules! problems {
    ($($route:ident: $($code:ident)*;)+) => {$(
        pub(super) struct $route;

        impl IntoResponses for $route {
            fn responses() -> BTreeMap<String, RefOr<Response>> {
                documented(&[$(Code::$code,)* Code::Unauthenticated, Code::Forbidden])
            }
        }
    )+};
}

// Every route and the problems that it can answer with, beside those of who asks.
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
    GetPermissions: ;
    GetCluster: NotFound;
    Reload: InvalidConfiguration;
    Resume: ;
}

/// Everybody may sign in who can.
pub(super) struct SignIn;

impl IntoResponses for SignIn {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        documented(&[
            Code::InvalidRequest,
            Code::RequestTimeout,
            Code::TooLarge,
            Code::UnsupportedMediaType,
            Code::Unauthenticated,
        ])
    }
}

/// Everybody may ask whether the server is ready.
pub(super) struct Ready;

impl IntoResponses for Ready {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        documented(&[Code::Unavailable])
    }
}

/// A response for each status that these codes have, with an example for each code.
fn documented(codes: &[Code]) -> BTreeMap<String, RefOr<Response>> {
    let mut by_status: BTreeMap<u16, Vec<Code>> = BTreeMap::new();
    for &code in codes {
        by_status.entry(code.status()).or_default().push(code);
    }
    by_status.into_iter().map(|(status, codes)| (status.to_string(), response(&codes).into())).collect()
}

fn response(codes: &[Code]) -> Response {
    let meanings: Vec<_> = codes.iter().map(|code| format!("`{code}`: {}", code.meaning())).collect();
    let examples = codes.iter().map(|&code| {
        let example = Problem::new(code, code.example());
        let example = match code {
            Code::PeerGone | Code::TokenGone => example.with_ending(Cause::Expired, None),
            _ => example,
        };
        let body = serde_json::to_value(example).unwrap_or_default();
        (code.to_string(), RefOr::from(ExampleBuilder::new().value(Some(body)).build()))
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
