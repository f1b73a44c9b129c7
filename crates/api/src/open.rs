//! Values of a set that grows.

use std::{fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, IntoDeserializer as _, Visitor, value},
};

/// One of a set of names that later releases may extend: an older client keeps a name that it does not know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Open<T> {
    /// One that this release knows.
    Known(T),
    /// One that it does not know.
    Other(Box<str>),
}

impl<T> Open<T> {
    /// The value, if this release knows it.
    pub fn known(&self) -> Option<&T> {
        match self {
            Self::Known(value) => Some(value),
            Self::Other(_) => None,
        }
    }
}

impl<T: PartialEq> PartialEq<T> for Open<T> {
    fn eq(&self, other: &T) -> bool {
        self.known() == Some(other)
    }
}

impl<T: Default> Default for Open<T> {
    fn default() -> Self {
        Self::Known(T::default())
    }
}

impl<T> From<T> for Open<T> {
    fn from(value: T) -> Self {
        Self::Known(value)
    }
}

impl<T: fmt::Display> fmt::Display for Open<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Known(value) => value.fmt(f),
            Self::Other(name) => name.fmt(f),
        }
    }
}

impl<T: Serialize> Serialize for Open<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Known(value) => value.serialize(serializer),
            Self::Other(name) => serializer.serialize_str(name),
        }
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Open<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Names<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Names<T> {
            type Value = Open<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a name")
            }

            fn visit_str<E: de::Error>(self, name: &str) -> Result<Open<T>, E> {
                let known: Result<T, value::Error> = T::deserialize(name.into_deserializer());
                Ok(known.map_or_else(|_| Open::Other(name.into()), Open::Known))
            }
        }

        deserializer.deserialize_str(Names(PhantomData))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Deadlock;

    #[test]
    fn a_name_of_a_later_release_is_kept() {
        for (text, value) in
            [(r#""detect""#, Open::Known(Deadlock::Detect)), (r#""guess""#, Open::Other("guess".into()))]
        {
            assert_eq!(serde_json::from_str::<Open<Deadlock>>(text).unwrap(), value);
            assert_eq!(serde_json::to_string(&value).unwrap(), text);
            assert_eq!(format!("\"{value}\""), text);
        }
        assert!(serde_json::from_str::<Open<Deadlock>>("1").is_err());
    }
}
