//! What the configuration file declares, and how that differs from what it declared before.
//!
//! The later word wins: a reload changes only what the file says differently than when it was last read. So what
//! an operator set by a request stands until somebody edits the same entry of the file.

use std::collections::BTreeMap;

use throttle_core::Spec;

/// What the file declares, by name.
pub type Declared = BTreeMap<String, Spec>;

/// How what the file says now differs from what it said before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Difference {
    /// Semaphores and patterns that are new.
    pub added: Declared,
    /// Those that are declared differently, before and now.
    pub changed: BTreeMap<String, (Spec, Spec)>,
    /// Those that are gone. One that is in use takes no new requests, and goes when it is idle.
    pub removed: Declared,
}

/// What of a semaphore was in use when it was removed; of a pattern, of all its members.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// The count acquired.
    pub acquired: i64,
    /// The count that waited.
    pub pending: i64,
}

/// What was there when changes of the configuration file came into force.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Adopted {
    /// What of it was removed while it was in use.
    pub removed_in_use: BTreeMap<String, Usage>,
    /// What the added and changed semaphores were until then, those that were there. An operator may have changed them
    /// since the file was last read.
    pub before: Declared,
}

impl Difference {
    /// How what is declared now differs from what was declared before.
    pub fn between(before: &Declared, now: &Declared) -> Self {
        let mut difference = Self::default();
        for (name, spec) in now {
            match before.get(name) {
                None => drop(difference.added.insert(name.clone(), *spec)),
                Some(other) if other != spec => {
                    difference.changed.insert(name.clone(), (*other, *spec));
                }
                Some(_) => {}
            }
        }
        let is_gone = |(name, _): &(&String, &Spec)| !now.contains_key(*name);
        difference.removed =
            before.iter().filter(is_gone).map(|(name, spec)| (name.clone(), *spec)).collect();
        difference
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_has_what_is_new_changed_and_gone() {
        let declared = |specs: &[(&str, i64)]| -> Declared {
            specs.iter().map(|&(name, max)| (name.to_owned(), Spec::with_max(max))).collect()
        };
        let difference = Difference::between(
            &declared(&[("same", 1), ("changed", 1), ("gone", 1)]),
            &declared(&[("same", 1), ("changed", 2), ("new", 3)]),
        );
        assert_eq!(difference.added, declared(&[("new", 3)]));
        assert_eq!(difference.removed, declared(&[("gone", 1)]));
        assert_eq!(
            difference.changed,
            [("changed".to_owned(), (Spec::with_max(1), Spec::with_max(2)))].into()
        );
        assert_eq!(Difference::between(&Declared::new(), &Declared::new()), Difference::default());
    }
}
