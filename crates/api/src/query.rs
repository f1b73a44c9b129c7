//! The queries of requests.

use serde::{Deserialize, Serialize};
#[cfg(feature = "openapi")]
use utoipa::IntoParams;

/// Which peers are listed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(IntoParams))]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", into_params(parameter_in = Query))]
pub struct ListPeers {
    /// Only peers with this label: its key, a colon, its value.
    #[cfg_attr(feature = "openapi", param(pattern = "^[^:]+:", example = "host:w1"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// Only peers whose id, or one of whose labels, written like `host:w1`, contains this, upper and lower case of
    /// ASCII alike.
    #[cfg_attr(feature = "openapi", param(example = "w1"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub search: Option<String>,
    /// Only peers that hold this semaphore, or wait for it.
    #[cfg_attr(feature = "openapi", param(example = "A"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub semaphore: Option<String>,
    /// How many peers the page may have; 100 if it is not given.
    #[cfg_attr(feature = "openapi", param(minimum = 1, maximum = 1000))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
    /// `next` of the page before.
    #[cfg_attr(feature = "openapi", param(pattern = "^[0-9a-f]{1,16}$"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

/// Why a peer is released.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(IntoParams))]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", into_params(parameter_in = Query))]
pub struct ReleasePeer {
    /// Why an operator releases it. Whoever asks for the peer after that is told.
    #[cfg_attr(
        feature = "openapi",
        param(
            max_length = 1024,
            pattern = r"^[^\u0000-\u001f\u007f-\u009f]*$",
            example = "stuck since noon"
        )
    )]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Which semaphores are listed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(IntoParams))]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", into_params(parameter_in = Query))]
pub struct ListSemaphores {
    /// How many semaphores the page may have; 100 if it is not given.
    #[cfg_attr(feature = "openapi", param(minimum = 1, maximum = 1000))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
    /// Only semaphores whose name contains this, upper and lower case of ASCII alike.
    #[cfg_attr(feature = "openapi", param(example = "tenant/"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub search: Option<String>,
    /// `next` of the page before.
    #[cfg_attr(feature = "openapi", param(pattern = "^([0-9a-f]{2})+$"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

/// How much of a semaphore is shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(IntoParams))]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", into_params(parameter_in = Query))]
pub struct GetSemaphore {
    /// How many holders and how many waiters are listed; 100 if it is not given.
    #[cfg_attr(feature = "openapi", param(minimum = 1, maximum = 1000))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
    /// `holders_next` of an answer: lists the holders after those.
    #[cfg_attr(feature = "openapi", param(pattern = "^[0-9a-f]{1,16}$"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub holders_cursor: Option<String>,
    /// `queue_next` of an answer: lists the waiters after those.
    #[cfg_attr(feature = "openapi", param(pattern = "^[0-9a-f]{1,16}$"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue_cursor: Option<String>,
}

/// How a semaphore is removed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(IntoParams))]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", into_params(parameter_in = Query))]
pub struct RemoveSemaphore {
    /// Also if it is in use: its locks are released, and requests for it withdrawn.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub force: bool,
}

/// Which semaphore is shown, and how much of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(IntoParams))]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", into_params(parameter_in = Query))]
pub struct GetNamed {
    /// The name of the semaphore.
    #[cfg_attr(feature = "openapi", param(min_length = 1, example = "t/in"))]
    pub name: String,
    /// How many holders and how many waiters are listed; 100 if it is not given.
    #[cfg_attr(feature = "openapi", param(minimum = 1, maximum = 1000))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
    /// `holders_next` of an answer: lists the holders after those.
    #[cfg_attr(feature = "openapi", param(pattern = "^[0-9a-f]{1,16}$"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub holders_cursor: Option<String>,
    /// `queue_next` of an answer: lists the waiters after those.
    #[cfg_attr(feature = "openapi", param(pattern = "^[0-9a-f]{1,16}$"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue_cursor: Option<String>,
}

/// Which semaphore is made or replaced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(IntoParams))]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", into_params(parameter_in = Query))]
pub struct SetNamed {
    /// The name of the semaphore. It is no pattern.
    #[cfg_attr(
        feature = "openapi",
        param(min_length = 1, max_length = 255, pattern = r"^[^*]+$", example = "t/in")
    )]
    pub name: String,
}

/// Which semaphore is changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(IntoParams))]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", into_params(parameter_in = Query))]
pub struct ChangeNamed {
    /// The name of the semaphore.
    #[cfg_attr(feature = "openapi", param(min_length = 1, example = "t/in"))]
    pub name: String,
}

/// Which semaphore is removed, and how.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(IntoParams))]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", into_params(parameter_in = Query))]
pub struct RemoveNamed {
    /// The name of the semaphore.
    #[cfg_attr(feature = "openapi", param(min_length = 1, example = "t/in"))]
    pub name: String,
    /// Also if it is in use: its locks are released, and requests for it withdrawn.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub force: bool,
}

/// Which fencing token is asked about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(IntoParams))]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", into_params(parameter_in = Query))]
pub struct CheckToken {
    /// The name of the semaphore.
    #[cfg_attr(feature = "openapi", param(min_length = 1, example = "t/in"))]
    pub semaphore: String,
    /// The fencing token.
    #[cfg_attr(feature = "openapi", param(pattern = "^[0-9]{1,20}$", example = "1795480000000001"))]
    pub token: String,
}
