//! Lengths of time as requests write them. They are text, so that a server can quote what it refuses.

use std::time::Duration;

use serde::{Deserialize, Serialize};
#[cfg(feature = "openapi")]
use utoipa::ToSchema;

/// A length of time such as `5m`, `30s`, `250ms` or `1h 30m`, up to the longest lease that the server allows.
/// Weeks, months and years are understood too.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(ToSchema))]
#[serde(transparent)]
#[cfg_attr(
    feature = "openapi",
    schema(
        as = Duration,
        pattern = "^(0|([0-9]{1,3} ?(ns|us|ms|s|sec|m|min|h|hr|d|days?) ?){1,3})$",
        example = "5m"
    )
)]
pub struct DurationText(pub String);

/// A length of time from 1ms to 365 days, such as `1s`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(ToSchema))]
#[serde(transparent)]
#[cfg_attr(
    feature = "openapi",
    schema(as = Rate, pattern = "^[1-9][0-9]{0,2} ?(ms|s|sec|m|min|h|hr)$", example = "1s")
)]
pub struct RateText(pub String);

impl From<Duration> for DurationText {
    fn from(duration: Duration) -> Self {
        Self(humantime::format_duration(duration).to_string())
    }
}

impl From<Duration> for RateText {
    fn from(duration: Duration) -> Self {
        Self(humantime::format_duration(duration).to_string())
    }
}
