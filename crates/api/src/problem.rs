//! What refusals look like, by RFC 9457.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
#[cfg(feature = "openapi")]
use utoipa::ToSchema;

use crate::{Code, Open};

/// What a refusal looks like, by RFC 9457.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(ToSchema))]
pub struct Problem<'a> {
    /// Always `about:blank`: `code` tells problems apart.
    #[serde(default = "blank")]
    #[cfg_attr(feature = "openapi", schema(required, value_type = String, example = "about:blank"))]
    pub r#type: Cow<'a, str>,
    /// The code, for people.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(required, value_type = String, example = "Unknown semaphore"))]
    pub title: Cow<'a, str>,
    /// The status of the answer.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(required, minimum = 400, maximum = 599, example = 404))]
    pub status: u16,
    /// What was wrong, for programs.
    #[cfg_attr(feature = "openapi", schema(value_type = Code))]
    pub code: Open<Code>,
    /// What was wrong, with which value, and what would be right.
    #[cfg_attr(
        feature = "openapi",
        schema(
            value_type = String,
            example = "No semaphore is called \"B\". Known names that are near: \"A\"."
        )
    )]
    pub detail: Cow<'a, str>,
    /// Of `peer_gone` and `token_gone` only: what ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(required = false, nullable = false, value_type = Cause))]
    pub cause: Option<Open<Cause>>,
    /// Of `peer_gone` and `token_gone` only: what the operator who ended it gave as the reason, or null.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(required = false, value_type = Option<String>, example = "stuck since noon"))]
    pub reason: Option<Reason<'a>>,
}

/// What an operator gave as the reason, if anything.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Reason<'a>(pub Option<Cow<'a, str>>);

/// What ended a peer or the grant of a token: its lease was over, its client released it, an operator did, or
/// the server does not know any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// Its lease was over.
    Expired,
    /// Its client released it.
    Released,
    /// An operator released it, or removed the semaphore.
    Operator,
    /// The server does not know, or not any more.
    Unknown,
}

impl<'a> Problem<'a> {
    /// The refusal with this code.
    pub fn new(code: Code, detail: impl Into<Cow<'a, str>>) -> Self {
        Self {
            r#type: blank(),
            title: code.title().into(),
            status: code.status(),
            code: code.into(),
            detail: detail.into(),
            cause: None,
            reason: None,
        }
    }

    /// The refusal that says how what it is about ended.
    #[must_use]
    pub fn with_ending(mut self, cause: Cause, reason: Option<&'a str>) -> Self {
        (self.cause, self.reason) = (Some(cause.into()), Some(Reason(reason.map(Cow::Borrowed))));
        self
    }
}

fn blank() -> Cow<'static, str> {
    Cow::Borrowed("about:blank")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_that_is_not_known_is_kept() {
        let problem: Problem<'_> = serde_json::from_str(r#"{"code": "tea_pot", "detail": "…"}"#).unwrap();
        assert_eq!(problem.code, Open::Other("tea_pot".into()));
        let known = Problem::new(Code::PeerGone, "…");
        let text =
            r#"{"type":"about:blank","title":"Peer gone","status":410,"code":"peer_gone","detail":"…"}"#;
        assert_eq!(serde_json::to_string(&known).unwrap(), text);
        assert_eq!(serde_json::from_str::<Problem<'_>>(text).unwrap(), known);
    }

    #[test]
    fn what_is_gone_says_how_it_ended() {
        let gone = Problem::new(Code::TokenGone, "…").with_ending(Cause::Operator, Some("stuck"));
        let text = r#"{"type":"about:blank","title":"Token no longer live","status":410,"code":"token_gone","detail":"…","cause":"operator","reason":"stuck"}"#;
        assert_eq!(serde_json::to_string(&gone).unwrap(), text);
        assert_eq!(serde_json::from_str::<Problem<'_>>(text).unwrap(), gone);
        let unknown = Problem::new(Code::TokenGone, "…").with_ending(Cause::Unknown, None);
        let text = serde_json::to_string(&unknown).unwrap();
        assert!(text.ends_with(r#""cause":"unknown","reason":null}"#), "{text}");
        assert_eq!(serde_json::from_str::<Problem<'_>>(&text).unwrap().cause, unknown.cause);
    }
}
