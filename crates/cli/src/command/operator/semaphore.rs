//! `throttle semaphore`.

use std::{error::Error, io};

use serde_json::{Map, Value, json};
use throttle_client::Error as ClientError;

use super::ask::{Operator, semaphore};

/// What is done to a semaphore.
#[derive(Debug, Clone, clap::Subcommand)]
pub enum SemaphoreCommand {
    /// Makes a semaphore, or changes those settings of it that are named
    Set(Set),
    /// Removes a semaphore
    Rm(Rm),
}

/// Arguments of `throttle semaphore set`.
#[derive(Debug, Clone, clap::Args)]
pub struct Set {
    /// The semaphore
    pub name: String,
    /// The full count; 0 pauses it
    #[arg(long)]
    pub max: Option<i64>,
    /// Its place in the lock hierarchy
    #[arg(long, allow_hyphen_values = true)]
    pub level: Option<i32>,
    /// The rate: count comes back no sooner than this after it was given; "none" for none
    #[arg(long, value_name = "DURATION")]
    pub per: Option<String>,
    /// What keeps those who wait for it from waiting for each other
    #[arg(long, value_parser = ["hierarchy", "detect"])]
    pub deadlock: Option<String>,
    /// Which server, and how.
    #[command(flatten)]
    pub operator: Operator,
}

/// Arguments of `throttle semaphore rm`.
#[derive(Debug, Clone, clap::Args)]
pub struct Rm {
    /// The semaphore
    pub name: String,
    /// Also if it is in use: its locks are released, and requests for it withdrawn
    #[arg(long)]
    pub force: bool,
    /// Which server, and how.
    #[command(flatten)]
    pub operator: Operator,
}

impl SemaphoreCommand {
    pub(super) async fn run(&self, out: &mut dyn io::Write) -> Result<(), Box<dyn Error>> {
        match self {
            Self::Set(set) => set.run(out).await,
            Self::Rm(rm) => rm.run(out).await,
        }
    }
}

impl Set {
    async fn run(&self, out: &mut dyn io::Write) -> Result<(), Box<dyn Error>> {
        let mut body = Map::new();
        let per = self.per.as_ref().map(|per| if per == "none" { Value::Null } else { json!(per) });
        let named = [
            ("max", self.max.map(Value::from)),
            ("level", self.level.map(Value::from)),
            ("per", per),
            ("deadlock", self.deadlock.clone().map(Value::from)),
        ];
        body.extend(named.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))));
        if body.is_empty() {
            return Err("Nothing to set: name at least one of --max, --level, --per and --deadlock.".into());
        }
        let path = semaphore(&self.name);
        let changed = self.operator.ask("PATCH", &path, Some(Value::Object(body.clone()))).await;
        let seen = match changed {
            Err(error) if is_unknown(&*error) && self.max.is_some() => {
                self.operator.ask("PUT", &path, Some(Value::Object(body))).await?
            }
            changed => changed?,
        };
        let sentence = format!(
            "Semaphore {:?} has max {}, of which {} is acquired.",
            self.name, seen["max"], seen["acquired"]
        );
        self.operator.tell(out, &seen, &sentence)
    }
}

impl Rm {
    async fn run(&self, out: &mut dyn io::Write) -> Result<(), Box<dyn Error>> {
        let force = if self.force { "&force=true" } else { "" };
        self.operator.ask("DELETE", &(semaphore(&self.name) + force), None).await?;
        let sentence = format!("Semaphore {:?} is removed.", self.name);
        self.operator.tell(out, &json!({ "removed": self.name }), &sentence)
    }
}

fn is_unknown(error: &(dyn Error + 'static)) -> bool {
    matches!(error.downcast_ref(), Some(ClientError::Problem { code, .. }) if code == "unknown_semaphore")
}
