//! `throttle semaphore`.

use std::{error::Error, io};

use clap::builder::{PossibleValuesParser, TypedValueParser as _};
use serde_json::json;
use throttle_api::{ChangeBody, Code, Deadlock, NewRate, Order, RateText, Semaphore, Whole};
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
    #[arg(long, value_parser = PossibleValuesParser::new(["hierarchy", "detect"]).map(|name| deadlock(&name)))]
    pub deadlock: Option<Deadlock>,
    /// Whether a request may pass one that waits for another semaphore
    #[arg(long, value_parser = PossibleValuesParser::new(["strict", "pass"]).map(|name| order(&name)))]
    pub order: Option<Order>,
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
        let per = self.per.as_ref().map(|per| NewRate((per != "none").then(|| RateText(per.clone()))));
        let change = ChangeBody {
            max: self.max.map(Whole),
            level: self.level.map(Whole),
            per,
            deadlock: self.deadlock,
            order: self.order,
        };
        if change == ChangeBody::default() {
            return Err(
                "Nothing to set: name at least one of --max, --level, --per, --deadlock and --order.".into(),
            );
        }
        // A semaphore that is new gets its default for what is not named.
        let body = serde_json::to_value(change)?;
        let path = semaphore(&self.name);
        let changed = self.operator.ask("PATCH", &path, Some(body.clone())).await;
        let seen = match changed {
            Err(error) if is_unknown(&*error) && self.max.is_some() => {
                self.operator.ask("PUT", &path, Some(body)).await?
            }
            changed => changed?,
        };
        self.operator.sum_up(out, seen, |seen: Semaphore| {
            format!("Semaphore {:?} has max {}, of which {} is acquired.", self.name, seen.max, seen.acquired)
        })
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
    let code = match error.downcast_ref() {
        Some(ClientError::Problem { code, .. }) => code.parse(),
        _ => return false,
    };
    code == Ok(Code::UnknownSemaphore)
}

/// One of the possible values.
fn deadlock(name: &str) -> Deadlock {
    if name == "detect" { Deadlock::Detect } else { Deadlock::Hierarchy }
}

/// One of the possible values.
fn order(name: &str) -> Order {
    if name == "pass" { Order::Pass } else { Order::Strict }
}
