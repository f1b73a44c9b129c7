//! Names: the known one that is nearest to a misspelt one, and those that no semaphore can have.

/// Whether a URL cannot have this name in its path: clients and proxies take it for a step to another place.
pub(crate) fn is_dot_segment(name: &str) -> bool {
    matches!(name, "." | "..")
}

/// The known name that is most likely meant by `found`, if any is near enough to be worth a question.
pub(super) fn nearest<'a>(found: &str, known: &[&'a str]) -> Option<&'a str> {
    let found = found.to_lowercase().replace('-', "_");
    known
        .iter()
        .map(|&name| (strsim::damerau_levenshtein(&found, name), name))
        .filter(|&(distance, name)| {
            let shorter = name.len().min(found.len());
            distance < shorter && distance <= (name.len() / 3).max(2) || is_start_of(&found, name)
        })
        .min_by_key(|&(distance, _)| distance)
        .map(|(_, name)| name)
}

fn is_start_of(found: &str, name: &str) -> bool {
    found.len() >= 3 && (name.starts_with(found) || found.starts_with(name))
}
