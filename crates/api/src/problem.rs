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
        }
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
}
