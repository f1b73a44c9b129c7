//! Semaphores made and changed.

use serde::{Deserialize, Deserializer, Serialize};
#[cfg(feature = "openapi")]
use utoipa::ToSchema;

use super::{RateText, Whole};
use crate::{Deadlock, Order};

/// What a semaphore is declared to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(ToSchema))]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", schema(as = DeclareSemaphore))]
pub struct SemaphoreBody {
    /// The full count; 0 pauses it.
    #[cfg_attr(
        feature = "openapi",
        schema(value_type = i64, minimum = 0, maximum = 9_223_372_036_854_775_807_i64, example = 42)
    )]
    pub max: Whole<i64>,
    /// Its place in the lock hierarchy: a peer asks only for levels below those that it holds.
    #[serde(default)]
    #[cfg_attr(
        feature = "openapi",
        schema(value_type = i32, minimum = -2_147_483_648, maximum = 2_147_483_647, default = 0)
    )]
    pub level: Whole<i32>,
    /// The rate: a grant's count comes back no sooner than this after it was given, at most 365 days.
    pub per: Option<RateText>,
    /// What protects against deadlocks.
    #[serde(default)]
    pub deadlock: Deadlock,
    /// In which order requests are granted.
    #[serde(default)]
    pub order: Order,
}

/// What is to be changed of a semaphore; the rest stays.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(ToSchema))]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", schema(as = ChangeSemaphore))]
pub struct ChangeBody {
    /// The full count; 0 pauses it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(
        feature = "openapi",
        schema(value_type = Option<i64>, minimum = 0, maximum = 9_223_372_036_854_775_807_i64, example = 42)
    )]
    pub max: Option<Whole<i64>>,
    /// Its place in the lock hierarchy.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(
        feature = "openapi",
        schema(value_type = Option<i32>, minimum = -2_147_483_648, maximum = 2_147_483_647)
    )]
    pub level: Option<Whole<i32>>,
    /// The rate; null takes it away.
    #[serde(default, deserialize_with = "named", skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<RateText>))]
    pub per: Option<NewRate>,
    /// What protects against deadlocks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deadlock: Option<Deadlock>,
    /// In which order requests are granted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub order: Option<Order>,
}

/// A rate, or null for none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct NewRate(pub Option<RateText>);

/// What the body names, be it null.
fn named<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<NewRate>, D::Error> {
    Ok(Some(NewRate(Option::deserialize(deserializer)?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_says_no_more_than_it_changes() {
        for text in [
            "{}",
            r#"{"max":3}"#,
            r#"{"per":null}"#,
            r#"{"level":-1,"per":"1s","deadlock":"detect","order":"pass"}"#,
        ] {
            let change: ChangeBody = serde_json::from_str(text).unwrap();
            assert_eq!(serde_json::to_string(&change).unwrap(), text);
        }
    }
}
