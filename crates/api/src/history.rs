//! How busy semaphores were lately.

use serde::{Deserialize, Serialize};
#[cfg(feature = "openapi")]
use utoipa::ToSchema;

use crate::{Span, Stamp};

/// What some semaphores were like lately.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(ToSchema))]
pub struct Histories {
    /// The time between two samples.
    pub step: Span,
    /// When the last samples were taken.
    pub at: Stamp,
    /// One for each semaphore of the request, in its order.
    pub items: Vec<History>,
}

/// What a semaphore was like lately: up to sixty samples, the oldest first. What is not known is zero.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(ToSchema))]
pub struct History {
    /// The semaphore.
    #[cfg_attr(feature = "openapi", schema(example = "A"))]
    pub semaphore: String,
    /// The count that was held.
    #[cfg_attr(feature = "openapi", schema(max_items = 60, example = json!([0, 3, 5])))]
    pub acquired: Vec<i64>,
    /// The count that waited.
    #[cfg_attr(feature = "openapi", schema(max_items = 60, example = json!([0, 0, 2])))]
    pub pending: Vec<i64>,
    /// How many locks were granted since the sample before.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(max_items = 60, example = json!([0, 12, 9])))]
    pub grants: Vec<u64>,
}
