//! The dialects: whom a route is for.

/// Whom a route is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// The clients 0.1.0 to 0.1.9.
    V0_1,
    /// The clients 0.2.0 to 0.5.13, and what they share with the first ones.
    V0_2,
    /// New clients.
    V1,
    /// People, scripts and monitoring, and what is not there.
    Site,
}

impl Dialect {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::V0_1, Self::V0_2, Self::V1, Self::Site];

    /// Its name in figures and traces.
    pub const fn name(self) -> &'static str {
        match self {
            Self::V0_1 => "first",
            Self::V0_2 => "classic",
            Self::V1 => "v1",
            Self::Site => "site",
        }
    }
}
