//! Suggestions: names that may have been meant.

use throttle_core::{Core, Name};

use crate::node::Node;

/// How many known names are compared with one that is not, at each place where it may belong.
const NEIGHBOURS: usize = 64;
/// How much of a name is compared, in characters: the effort grows with its square.
const COMPARED: usize = 64;
/// How many names are offered.
const OFFERED: usize = 3;

impl Node {
    /// Known names that are like `name`, quoted, the likeliest first.
    ///
    /// Looks at a bounded number of them: at the beginning of the list, and at those that begin like `name`. Offers
    /// those only of which `may_know` says that whoever asks may know them.
    pub fn suggestions(&self, name: &str, may_know: impl Fn(&str) -> bool) -> Vec<String> {
        let mut known = neighbours(&self.core, name);
        known.sort_unstable();
        known.dedup();
        let name: String = name.chars().take(COMPARED).collect();
        let most = (name.chars().count() / 3).max(1);
        let mut like: Vec<(usize, &Name)> = known
            .iter()
            .filter(|other| may_know(other))
            .map(|other| (distance(&name, other), other))
            .filter(|&(distance, _)| distance <= most)
            .collect();
        like.sort_unstable();
        like.into_iter().take(OFFERED).map(|(_, name)| format!("{name:?}")).collect()
    }
}

fn neighbours(core: &Core, name: &str) -> Vec<Name> {
    let length = name.chars().count();
    let mut known = Vec::with_capacity(4 * NEIGHBOURS);
    for part in [0, 1, length / 2, length.saturating_sub(1)] {
        let start: String = name.chars().take(part).collect();
        known.extend(core.semaphore(&start).map(|semaphore| semaphore.name().clone()));
        known.extend(core.semaphores(Some(&start)).take(NEIGHBOURS).map(|s| s.name().clone()));
    }
    known
}

fn distance(name: &str, other: &str) -> usize {
    let other: String = other.chars().take(COMPARED).collect();
    if name.eq_ignore_ascii_case(&other) { 0 } else { strsim::damerau_levenshtein(name, &other) }
}
