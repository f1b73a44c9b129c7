//! What came of reading the configuration file again.

use std::{borrow::Cow, collections::BTreeMap};

use throttle_api::{Change, Declaration, Difference, Span, Usage};
use throttle_core::Spec;
use throttle_node as node;

use super::semaphore::{shown_deadlock, shown_order};
use crate::reload::Reloaded;

/// How the file differs from what it was.
pub(in crate::http::v1) fn difference(reloaded: Reloaded) -> Difference {
    let Reloaded { difference, needs_restart, removed_in_use, warnings, before: _ } = reloaded;
    let declarations = |declared: BTreeMap<String, Spec>| {
        declared.into_iter().map(|(name, spec)| (name, declaration(spec))).collect()
    };
    let changed = difference
        .changed
        .into_iter()
        .map(|(name, (before, now))| (name, Change { before: declaration(before), now: declaration(now) }));
    Difference {
        added: declarations(difference.added),
        changed: changed.collect(),
        removed: declarations(difference.removed),
        needs_restart: needs_restart.into_iter().map(Cow::Borrowed).collect(),
        removed_in_use: removed_in_use.into_iter().map(|(name, used)| (name, usage(used))).collect(),
        warnings,
    }
}

fn declaration(spec: Spec) -> Declaration {
    Declaration {
        max: spec.max,
        level: spec.level,
        per: spec.per.map(Span),
        deadlock: shown_deadlock(spec.deadlock).into(),
        order: shown_order(spec.order).into(),
    }
}

fn usage(node::Usage { acquired, pending }: node::Usage) -> Usage {
    Usage { acquired, pending }
}
