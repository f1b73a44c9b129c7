/// Whom a route is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// The clients 0.1.0 to 0.1.9.
    First,
    /// The clients 0.2.0 to 0.5.13, and what they share with the first ones.
    Classic,
    /// New clients.
    V1,
    /// People, scripts and monitoring, and what is not there.
    Site,
}

impl Dialect {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::First, Self::Classic, Self::V1, Self::Site];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::Classic => "classic",
            Self::V1 => "v1",
            Self::Site => "site",
        }
    }

    /// That of the route to this path.
    pub(super) fn of(path: &str) -> Self {
        let mut parts = path.strip_prefix('/').unwrap_or(path).split('/');
        match parts.next() {
            Some("v1") => Self::V1,
            Some("acquire") => Self::First,
            Some("peers") if parts.nth(1) == Some("block_until_acquired") => Self::First,
            Some("peers" | "new_peer" | "restore" | "remainder" | "remove_expired") => Self::Classic,
            _ => Self::Site,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        for (path, expected) in [
            ("/v1/peers", Dialect::V1),
            ("/v1", Dialect::V1),
            ("/v12", Dialect::Site),
            ("/acquire", Dialect::First),
            ("/peers/7/block_until_acquired", Dialect::First),
            ("/peers/7/A", Dialect::Classic),
            ("/peers/", Dialect::Classic),
            ("/peers", Dialect::Classic),
            ("/new_peer", Dialect::Classic),
            ("/", Dialect::Site),
            ("/metrics", Dialect::Site),
            ("*", Dialect::Site),
        ] {
            assert_eq!(Dialect::of(path), expected, "{path}");
        }
    }
}
