//! What the tests of `/v1` ask for again and again.

use serde_json::{Value, json};

use super::{answer::Answer, client::Client, server::Server};

impl Answer {
    /// A problem with this status and code. Returns its detail.
    #[track_caller]
    pub(crate) fn problem(&self, status: u16, code: &str) -> String {
        assert_eq!(self.status, status, "{}", self.text());
        assert_eq!(self.header("content-type"), Some("application/problem+json"));
        let body = self.json();
        assert_eq!((&body["status"], &body["code"]), (&json!(status), &json!(code)), "{body}");
        assert_eq!(body["type"], "about:blank");
        assert!(body["title"].as_str().is_some_and(|title| !title.is_empty()), "{body}");
        let is_gone = matches!(code, "peer_gone" | "token_gone");
        let members = ["cause", "reason"].map(|member| body.get(member).is_some());
        assert_eq!(members, [is_gone; 2], "{body}");
        let retry_after = self.header("retry-after").and_then(|seconds| seconds.parse::<u64>().ok());
        let has_retry = retry_after.is_some_and(|seconds| seconds > 0);
        assert_eq!(has_retry, matches!(status, 429 | 503));
        body["detail"].as_str().expect("a detail").to_owned()
    }

    /// A JSON body with this status.
    #[track_caller]
    pub(crate) fn shape(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.text());
        assert_eq!(self.header("content-type"), Some("application/json"));
        self.json()
    }

    /// No body, as it should be.
    #[track_caller]
    pub(crate) fn is_empty(&self) {
        assert_eq!((self.status, self.text()), (204, ""));
    }
}

impl Server {
    /// A new peer of `/v1`.
    pub(crate) fn v1_peer(&self, expires_in: &str) -> String {
        let body = json!({ "expires_in": expires_in }).to_string();
        id(&self.post("/v1/peers", &body).shape(201))
    }

    /// Asks for locks without waiting.
    pub(crate) fn v1_locks(&self, peer: &str, locks: &Value) -> Answer {
        self.put(&format!("/v1/peers/{peer}/locks"), &json!({ "locks": locks }).to_string())
    }

    /// A new peer that has acquired `locks`.
    pub(crate) fn v1_holder(&self, locks: &Value) -> String {
        let peer = self.v1_peer("10m");
        self.v1_locks(&peer, locks).shape(200);
        peer
    }

    /// Sends a request that will wait, and returns once it does.
    pub(crate) fn blocked(&self, method: &str, path: &str, body: &Value) -> Client {
        let before = self.metric("throttle_blocked_requests");
        let client = self.send(method, path, &body.to_string());
        self.until_metric("throttle_blocked_requests", before + 1.0);
        client
    }

    /// A request with headers of its own.
    pub(crate) fn ask_with(&self, method: &str, path: &str, headers: &str, body: &str) -> Answer {
        let mut client = self.connect();
        client.send(format!(
            "{method} {path} HTTP/1.1\r\nhost: throttle\r\ncontent-type: application/json\r\n{headers}\
             content-length: {}\r\n\r\n{body}",
            body.len()
        ));
        client.answer()
    }
}

/// The id in the shape of a peer.
#[track_caller]
pub(crate) fn id(peer: &Value) -> String {
    let id = peer["id"].as_str().expect("an id is a string");
    assert!(id.parse::<u64>().is_ok(), "{id}");
    id.to_owned()
}
