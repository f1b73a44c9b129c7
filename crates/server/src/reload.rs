//! Which semaphores the configuration declares, and how that changes while the server runs.
//!
//! The later word wins: a reload changes only what the file says differently than when it was last read. So what
//! an operator set by a request stands until somebody edits the same entry of the file.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use throttle_core::{Origin, Spec, counted};
use throttle_node::{Adopted, Declared, Difference, Usage};
use tracing::{error, info, warn};

use crate::{
    audit::Audit,
    config::{self, Config, ConfigError, Content, Loaded, Start},
    runtime::Engine,
    security::Guard,
    spec::Change,
};

/// Who makes happen what a change of the file does, where nobody who is known by name asked for that.
pub const BY_FILE: &str = "configuration";

/// How many names a sentence has at most.
const NAMES: usize = 20;

/// What a reload did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reloaded {
    /// What changed.
    pub difference: Difference,
    /// Parts of the file that are not as they were at the start, and are read only then.
    pub needs_restart: Vec<&'static str>,
    /// Those of the removed semaphores and patterns that are in use.
    pub removed_in_use: BTreeMap<String, Usage>,
    /// What an operator may not have meant to do, in sentences.
    pub warnings: Vec<String>,
    /// What the semaphores that it set were until then, those that were there.
    pub before: Declared,
}

impl Reloaded {
    /// Applies a difference, in one step, and logs at WARN what may not have been meant. So many
    /// semaphores and patterns were declared before.
    pub fn apply(
        engine: &Engine,
        difference: Difference,
        before: usize,
        declared: &Declared,
        by: &str,
    ) -> Self {
        let Adopted { removed_in_use, before: earlier } = engine.declare(&difference, declared, by);
        let mut warnings = Vec::new();
        if !removed_in_use.is_empty() {
            let used = removed_in_use
                .iter()
                .map(|(name, Usage { acquired, pending })| {
                    format!("{name:?} ({acquired} acquired, {pending} pending)")
                })
                .collect();
            warnings.push(format!(
                "Semaphores in use are removed; they take no new requests, and go when they are idle: {}.",
                list(used)
            ));
        }
        let removed = difference.removed.len();
        if removed * 2 > before {
            let gone = names(difference.removed.keys());
            let is = if removed == 1 { "is" } else { "are" };
            let removed = counted(removed, "semaphore");
            warnings.push(format!("{removed} of {before} in the configuration {is} removed: {gone}."));
        }
        for warning in &warnings {
            warn!("{warning}");
        }
        Self { difference, needs_restart: Vec::new(), removed_in_use, warnings, before: earlier }
    }

    /// Each semaphore and pattern that is declared differently, with how.
    fn changes(&self) -> impl Iterator<Item = String> {
        self.difference
            .changed
            .iter()
            .map(|(name, (declared, spec))| self.changed(name, Some(*declared), *spec))
    }

    /// A semaphore with how it changed, if it was there or was `declared` before. An operator may have changed it
    /// since.
    fn changed(&self, name: &str, declared: Option<Spec>, after: Spec) -> String {
        let before = self.before.get(name).copied().or(declared);
        before
            .map_or_else(|| format!("{name:?}"), |before| format!("{name:?} ({})", Change { before, after }))
    }

    fn log(&self) {
        info!(
            "The configuration was reloaded. Added: {}; changed: {}; removed: {}.",
            list(self.difference.added.iter().map(|(name, spec)| self.changed(name, None, *spec)).collect()),
            list(self.changes().collect()),
            names(self.difference.removed.keys())
        );
        if !self.needs_restart.is_empty() {
            warn!(
                "Other in the file than at the start, and read only then: {}.",
                self.needs_restart.join(", ")
            );
        }
    }
}

/// The configuration: what is read only at the start, and the rest as it was last read.
pub struct Current {
    /// The whole, as the start read it.
    pub config: Config,
    /// What there was to read.
    pub content: Content,
    /// What it declares.
    pub declared: Declared,
}

impl Current {
    /// What a start read. Where the file is gone or empty, what it declared in an earlier run of the same state stays
    /// declared, as it would at a reload.
    ///
    /// Not so if the command line says which semaphores there are: then there need be no file.
    pub fn at_start(loaded: Loaded, before: &Declared, start: &Start) -> Self {
        let file = start.file();
        let Loaded { config, mut content } = loaded;
        let mut declared = declared(&config);
        let kept: Declared = match content {
            Content::Missing | Content::Empty if start.semaphores.is_empty() => {
                let is_kept = |(name, _): &(&String, &Spec)| !declared.contains_key(*name);
                before.iter().filter(is_kept).map(|(name, spec)| (name.clone(), *spec)).collect()
            }
            _ => Declared::new(),
        };
        if !kept.is_empty() {
            let state = if content == Content::Missing { "is not there" } else { "is empty" };
            warn!(
                "The file {} {state}, but declared {} in the last run: {}. They stay as they were. To \
                 remove them, write [semaphores] with nothing below it.",
                file.display(),
                counted(kept.len(), "semaphore"),
                names(kept.keys())
            );
            // It did say something, when it was last read.
            content = Content::Something;
            declared.extend(kept);
        }
        Self { config, content, declared }
    }
}

/// Reads the configuration again when it is asked to.
pub struct Reloader {
    start: Start,
    engine: Arc<Engine>,
    guard: Arc<Guard>,
    audit: Option<Arc<Audit>>,
    current: Mutex<Current>,
}

impl Reloader {
    /// For a server that was started by these start, and read this configuration.
    pub fn new(
        start: Start,
        current: Current,
        engine: Arc<Engine>,
        guard: Arc<Guard>,
        audit: Option<Arc<Audit>>,
    ) -> Self {
        Self { start, engine, guard, audit, current: Mutex::new(current) }
    }

    /// Where it is written who did what.
    pub fn audit(&self) -> Option<Arc<Audit>> {
        self.audit.clone()
    }

    /// Who may come in.
    pub fn guard(&self) -> Arc<Guard> {
        self.guard.clone()
    }

    /// Reads the file, and if it is right, lets all that changed in it come into force in one step. `by` is the name of
    /// whoever asks for it, if he has one.
    ///
    /// # Errors
    ///
    /// If the file is not right, or says nothing any more: it may be gone by mistake, or be written just now; or if the
    /// file of tokens is not right. Then nothing changes.
    pub fn reload(&self, by: Option<&str>) -> Result<Reloaded, ConfigError> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let path = self.start.file();
        let Loaded { mut config, content } = config::load(path)?;
        match (content, current.content) {
            (Content::Missing, Content::Empty | Content::Something) => return Err(ConfigError::gone(path)),
            (Content::Empty, Content::Something) => return Err(ConfigError::emptied(path)),
            _ => {}
        }
        self.start.apply(&mut config);
        let tokens = self.guard.read()?;
        let declared = declared(&config);
        let difference = Difference::between(&current.declared, &declared);
        let reloaded = Reloaded {
            needs_restart: needs_restart(&current.config, &config),
            ..Reloaded::apply(
                &self.engine,
                difference,
                current.declared.len(),
                &declared,
                by.unwrap_or(BY_FILE),
            )
        };
        self.guard.adopt(tokens);
        reloaded.log();
        (current.content, current.declared) = (content, declared);
        Ok(reloaded)
    }

    /// Reloads, and leaves it to the log to say how that went.
    pub fn reload_and_log(&self) {
        if let Some(audit) = &self.audit {
            audit.reopen();
        }
        if let Err(error) = self.reload(None) {
            error!("The configuration stays as it is. {error}");
        }
    }
}

/// Says that what the file declares is not what the cluster has: whoever begins to lead adopts nothing by itself, or a
/// forgotten file on one machine would change what all have.
pub fn warn_of_other_file(difference: &Difference) {
    let Difference { added, changed, removed } = difference;
    if *difference != Difference::default() {
        warn!(
            "The configuration of this server declares other semaphores than the cluster has. Not there: {}; different: \
             {}; only there: {}. Nothing was changed; a reload takes over what the file says.",
            names(added.keys()),
            names(changed.keys()),
            names(removed.keys())
        );
    }
}

/// Names for a sentence; of very many, the first.
fn names<'a>(names: impl Iterator<Item = &'a String>) -> String {
    list(names.map(|name| format!("{name:?}")).collect())
}

fn list(mut items: Vec<String>) -> String {
    if items.is_empty() {
        return "none".to_owned();
    }
    let more = items.len().saturating_sub(NAMES);
    items.truncate(NAMES);
    let items = items.join(", ");
    if more == 0 { items } else { format!("{items} and {more} more") }
}

/// What a configuration declares.
pub fn declared(config: &Config) -> Declared {
    let spec = |s: &config::SemaphoreConfig| Spec {
        max: s.max,
        level: s.level,
        per: s.per,
        deadlock: s.deadlock,
        order: s.order,
        origin: if s.is_pattern() { Origin::Pattern } else { Origin::File },
    };
    config.semaphores.iter().map(|s| (s.name.clone(), spec(s))).collect()
}

/// The parts in which a configuration is another than that of the start.
fn needs_restart(before: &Config, now: &Config) -> Vec<&'static str> {
    let parts = [
        ("address", before.address != now.address),
        ("port", before.port != now.port),
        ("name", before.name != now.name),
        ("logging", before.logging != now.logging),
        ("limits", before.limits != now.limits),
        ("expiry", before.expiry != now.expiry),
        ("queue", before.queue != now.queue),
        ("durability", before.durability != now.durability),
        ("recovery", before.recovery != now.recovery),
        ("http", before.http != now.http),
        ("telemetry", before.telemetry != now.telemetry),
        ("security", before.security != now.security),
        ("tls", before.tls != now.tls),
        ("audit", before.audit != now.audit),
        ("cluster", before.cluster != now.cluster),
    ];
    parts.into_iter().filter(|(_, differs)| *differs).map(|(part, _)| part).collect()
}
