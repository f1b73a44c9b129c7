//! How what a semaphore is declared to be changes, in words.

use std::fmt::{self, Display};

use throttle_core::Spec;

use crate::config;

/// What differs between two declarations, such as `max 5 -> 8, level 0 -> 1`.
pub(crate) struct Change {
    /// The earlier one.
    pub(crate) before: Spec,
    /// The later one.
    pub(crate) after: Spec,
}

impl Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { before, after } = *self;
        let parts: [(&str, &dyn Fn(Spec) -> String); 5] = [
            ("max", &|spec| spec.max.to_string()),
            ("level", &|spec| spec.level.to_string()),
            ("per", &|spec| {
                spec.per.map_or("none".to_owned(), |per| humantime::format_duration(per).to_string())
            }),
            ("deadlock", &|spec| word(config::DEADLOCK, spec.deadlock)),
            ("order", &|spec| word(config::ORDER, spec.order)),
        ];
        let mut is_first = true;
        for (name, of) in parts {
            let (was, is) = (of(before), of(after));
            if was != is {
                let comma = if is_first { "" } else { ", " };
                write!(f, "{comma}{name} {was} -> {is}")?;
                is_first = false;
            }
        }
        if is_first { f.write_str("nothing") } else { Ok(()) }
    }
}

/// The word of the configuration file for it.
fn word<T: Copy + PartialEq>(words: &[(&str, T)], meant: T) -> String {
    words.iter().find(|(_, of)| *of == meant).map(|(word, _)| (*word).to_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use throttle_core::{Deadlock, Order, Origin};

    use super::*;

    #[test]
    fn what_differs_is_told_with_what_it_was() {
        let before = Spec::with_max(5);
        let said = |after| Change { before, after }.to_string();
        assert_eq!(said(Spec { max: 8, ..before }), "max 5 -> 8");
        assert_eq!(said(Spec { origin: Origin::Runtime, ..before }), "nothing");
        let per = Some(Duration::from_millis(1500));
        let (deadlock, order) = (Deadlock::Detect, Order::Pass);
        assert_eq!(
            said(Spec { max: 0, level: -1, per, deadlock, order, ..before }),
            "max 5 -> 0, level 0 -> -1, per none -> 1s 500ms, deadlock hierarchy -> detect, order strict -> pass"
        );
    }
}
