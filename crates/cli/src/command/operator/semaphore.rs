//! `throttle semaphore`.

use std::{error::Error, io};

use clap::{
    Parser as _,
    builder::{PossibleValuesParser, TypedValueParser as _},
};
use serde_json::json;
use throttle_api::{ChangeBody, Code, Deadlock, NewRate, Order, RateText, Semaphore, Whole};
use throttle_client::Error as ClientError;

use super::{
    Status,
    ask::{Operator, semaphore},
    text::level,
};
use crate::command::{acquire::quoted, advice::told, duration::rate, usage::Usage};

const USAGE: &str = "throttle semaphore <NAME>\n       throttle semaphore <COMMAND>";

const AFTER_HELP: &str = "\
Without a command:
  <NAME>  Shows that semaphore, as throttle status NAME does";

/// What is done to a semaphore.
#[derive(Debug, Clone, clap::Subcommand)]
#[command(override_usage = USAGE, after_help = AFTER_HELP)]
pub enum SemaphoreCommand {
    /// Makes a semaphore, or changes those settings of it that are named
    Set(Set),
    /// Removes a semaphore
    Rm(Rm),
    /// Shows the semaphores, as throttle status does
    List(Status),
    /// A name alone shows that semaphore.
    #[command(external_subcommand)]
    Named(Vec<String>),
}

/// Arguments of `throttle semaphore set`.
#[derive(Debug, Clone, clap::Args)]
pub struct Set {
    /// The semaphore
    pub name: String,
    /// The full count; 0 pauses it
    #[arg(long, allow_negative_numbers = true, value_parser = clap::value_parser!(i64).range(0..))]
    pub max: Option<i64>,
    /// Its place in the lock hierarchy
    #[arg(long, allow_hyphen_values = true)]
    pub level: Option<i32>,
    /// The rate: count comes back no sooner than this after it was given; "none" for none
    ///
    /// From 1ms to 365 days.
    #[arg(long, value_name = "DURATION", value_parser = rate)]
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
            Self::List(status) => status.run(out).await,
            Self::Named(words) => named(words)?.run(out).await,
        }
    }
}

/// What is meant by words that begin with no subcommand: to see a semaphore.
fn named(words: &[String]) -> Result<Status, Box<dyn Error>> {
    #[derive(clap::Parser)]
    #[command(no_binary_name = true, name = "throttle status")]
    struct Shown {
        #[command(flatten)]
        status: Status,
    }

    let [name, others @ ..] = words else { return Err(Usage("Name a semaphore.".to_owned()).into()) };
    let quoted = |name: &String| quoted(name);
    let advice = match (name.as_str(), others) {
        ("pause", [name]) => format!("To pause it, write: throttle semaphore set {} --max 0", quoted(name)),
        ("resume", [name]) => {
            format!("To resume it, write its full count: throttle semaphore set {} --max N", quoted(name))
        }
        _ => match Shown::try_parse_from(words) {
            Ok(Shown { status }) if status.semaphores.len() == 1 => return Ok(status),
            _ => format!(
                "What to do with {name:?}? throttle semaphore NAME shows one, set NAME --max N makes or changes it, rm \
                 NAME removes it, and list shows all."
            ),
        },
    };
    Err(Usage(advice).into())
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
            let advice =
                "Nothing to set: name at least one of --max, --level, --per, --deadlock and --order.";
            return Err(Usage(advice.to_owned()).into());
        }
        // A semaphore that is new gets its default for what is not named.
        let body = serde_json::to_value(change)?;
        let path = semaphore(&self.name);
        let former = if self.max == Some(0) { self.former_max(&path).await } else { None };
        let changed = self.operator.ask("PATCH", &path, Some(body.clone())).await;
        let mut is_new = "";
        let seen = match changed {
            Err(error) if is_unknown(&*error) && self.max.is_some() => {
                is_new = " It is new.";
                self.operator.ask("PUT", &path, Some(body)).await?
            }
            Err(error) if is_unknown(&*error) => {
                return Err(format!("{} A new one needs its full count: --max N.", told(&*error)).into());
            }
            changed => changed?,
        };
        self.operator.sum_up(out, seen, |seen: Semaphore| sentence(&seen, former) + is_new)
    }

    /// What it has before a pause, so that it can be told how to end that. That it cannot be seen holds up nothing.
    async fn former_max(&self, path: &str) -> Option<i64> {
        let seen = self.operator.ask("GET", &format!("{path}&limit=1"), None).await.ok()?;
        seen["max"].as_i64().filter(|max| *max > 0)
    }
}

/// All that a semaphore has now.
fn sentence(seen: &Semaphore, former: Option<i64>) -> String {
    let Semaphore { name, max, acquired, deadlock, order, .. } = seen;
    let max_now = if *max == 0 { "is paused (max 0)".to_owned() } else { format!("has max {max}") };
    let rate = seen.per.map_or_else(|| "no rate".to_owned(), |per| format!("rate {max} per {per}"));
    let level = level(seen).map_or(String::new(), |level| format!(", level {level}"));
    let sentence = format!(
        "Semaphore {:?} {max_now}{level}, {rate}, deadlock {deadlock}, order {order}; {acquired} acquired.",
        &**name
    );
    if *max > 0 {
        return sentence;
    }
    let (name, max) = (quoted(name), former.map_or_else(|| "N".to_owned(), |max| max.to_string()));
    format!("{sentence} To resume it: throttle semaphore set {name} --max {max}")
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
