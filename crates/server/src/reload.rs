//! Which semaphores the configuration declares, and how that changes while the server runs.
//!
//! The later word wins: a reload changes only what the file says differently than when it was last read. So what
//! an operator set by a request stands until somebody edits the same entry of the file.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use throttle_core::{Origin, Spec};
use tracing::{info, warn};

use crate::{
    cli::Serve,
    config::{self, Config, ConfigError},
    engine::Engine,
};

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
    /// Parts of the file that changed as well, but are read only at the start.
    pub needs_restart: Vec<&'static str>,
}

impl Difference {
    fn of(before: &Config, now: &Config) -> Self {
        Self { needs_restart: needs_restart(before, now), ..Self::between(declared(before), &declared(now)) }
    }

    /// How what is declared now differs from what was declared before.
    pub fn between(before: Declared, now: &Declared) -> Self {
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
        difference.removed = before.into_iter().filter(|(name, _)| !now.contains_key(name)).collect();
        difference
    }

    fn log(&self) {
        let names = |names: Vec<&String>| match names.as_slice() {
            [] => "none".to_owned(),
            names => names.iter().map(|name| format!("{name:?}")).collect::<Vec<_>>().join(", "),
        };
        info!(
            "The configuration was reloaded. Added: {}; changed: {}; removed: {}.",
            names(self.added.keys().collect()),
            names(self.changed.keys().collect()),
            names(self.removed.keys().collect())
        );
        if !self.needs_restart.is_empty() {
            warn!("Changed in the file, but read only at the start: {}.", self.needs_restart.join(", "));
        }
    }
}

/// Reads the configuration again when it is asked to.
pub struct Reloader {
    arguments: Serve,
    engine: Arc<Engine>,
    /// As last read.
    current: Mutex<Config>,
}

impl Reloader {
    /// For a server that was started by these arguments, and read this configuration.
    pub fn new(arguments: Serve, current: Config, engine: Arc<Engine>) -> Self {
        Self { arguments, engine, current: Mutex::new(current) }
    }

    /// Reads the file, and if it is right, lets all that changed in it come into force in one step.
    ///
    /// # Errors
    ///
    /// If the file is not right; then nothing changes.
    pub fn reload(&self) -> Result<Difference, ConfigError> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let mut config = config::load(&self.arguments.configuration)?.config;
        self.arguments.apply(&mut config);
        let difference = Difference::of(&current, &config);
        self.engine.declare(&difference, &declared(&config));
        difference.log();
        *current = config;
        Ok(difference)
    }

    /// Reloads, and leaves it to the log to say how that went.
    pub fn reload_and_log(&self) {
        if let Err(error) = self.reload() {
            tracing::error!("The configuration stays as it is, for the file is wrong. {error}");
        }
    }
}

/// What a configuration declares.
pub fn declared(config: &Config) -> Declared {
    let spec = |s: &config::SemaphoreConfig| Spec {
        max: s.max,
        level: s.level,
        per: s.per,
        deadlock: s.deadlock,
        origin: if s.is_pattern() { Origin::Pattern } else { Origin::File },
    };
    config.semaphores.iter().map(|s| (s.name.clone(), spec(s))).collect()
}

fn needs_restart(before: &Config, now: &Config) -> Vec<&'static str> {
    let parts = [
        ("address", before.address != now.address),
        ("port", before.port != now.port),
        ("logging", before.logging != now.logging),
        ("limits", before.limits != now.limits),
        ("expiry", before.expiry != now.expiry),
        ("queue", before.queue != now.queue),
        ("durability", before.durability != now.durability),
        ("recovery", before.recovery != now.recovery),
        ("http", before.http != now.http),
        ("telemetry", before.telemetry != now.telemetry),
    ];
    parts.into_iter().filter(|(_, differs)| *differs).map(|(part, _)| part).collect()
}
