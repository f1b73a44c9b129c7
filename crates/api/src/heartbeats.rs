//! One heartbeat for thousands of peers.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
#[cfg(feature = "openapi")]
use utoipa::ToSchema;

#[cfg(feature = "openapi")]
use crate::Digits;
use crate::{
    DurationText,
    scalar::{Reader, is_digits},
};

/// A heartbeat for many peers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(ToSchema))]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", schema(as = Heartbeats))]
pub struct HeartbeatsBody {
    /// The length of each lease from now on.
    pub expires_in: DurationText,
    /// Whose leases.
    #[cfg_attr(feature = "openapi", schema(value_type = Vec<Digits>))]
    pub peers: Vec<AnyDigits>,
}

/// What became of a heartbeat for many.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(ToSchema))]
pub struct Renewed {
    /// How many of the peers live on.
    #[cfg_attr(feature = "openapi", schema(example = 1))]
    pub renewed: usize,
    /// Those that expired or were released: they hold nothing any more.
    #[cfg_attr(feature = "openapi", schema(value_type = Vec<Digits>))]
    pub gone: Vec<AnyDigits>,
}

/// A peer's id, read without a copy of its digits; those of a number beyond 64 bits, which was never given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AnyDigits {
    /// A number of 64 bits.
    Number(u64),
    /// The digits of a larger one.
    Beyond(Box<str>),
}

impl fmt::Display for AnyDigits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Beyond(digits) => digits.fmt(f),
        }
    }
}

impl Serialize for AnyDigits {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for AnyDigits {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let read = |text: &str| {
            is_digits(text).then(|| text.parse().map_or_else(|_| Self::Beyond(text.into()), Self::Number))
        };
        let expected = "the id of a peer: a string of digits, as the server gave it";
        deserializer.deserialize_str(Reader { expected, read })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_beyond_64_bits_is_kept() {
        let ids = ["18446744073709551615", "18446744073709551616", "7"];
        let text = serde_json::to_string(&ids).unwrap();
        let read: Vec<AnyDigits> = serde_json::from_str(&text).unwrap();
        let beyond = AnyDigits::Beyond("18446744073709551616".into());
        assert_eq!(read, [AnyDigits::Number(u64::MAX), beyond, AnyDigits::Number(7)]);
        assert_eq!(serde_json::to_string(&read).unwrap(), text);
        for wrong in [r#""""#, r#""-1""#, r#""123456789012345678901""#, "7"] {
            assert!(serde_json::from_str::<AnyDigits>(wrong).is_err(), "{wrong}");
        }
    }
}
