//! A part of a list, and where the next part begins.

use serde::{Deserialize, Serialize};
#[cfg(feature = "openapi")]
use utoipa::ToSchema;

/// A page of a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(ToSchema))]
pub struct Page<T> {
    /// What is on it.
    pub items: Vec<T>,
    /// The `cursor` of the next page; null on the last one. A page may be short of `limit` and not be the last.
    #[cfg_attr(feature = "openapi", schema(required))]
    pub next: Option<String>,
}
