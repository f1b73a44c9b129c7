//! Asking the server, and how its answers are shown.

use std::{error::Error, io};

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use throttle_client::{Client, Error as ClientError};

use super::super::{Connection, connection::located};
use throttle_service::printable::{self, printable};

/// How answers are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Table,
    /// For programs: what the server says, as it is.
    Json,
}

/// What all these subcommands have in common.
#[derive(Debug, Clone, clap::Args)]
pub struct Operator {
    /// The server to ask.
    #[command(flatten)]
    pub connection: Connection,
    /// How the answer is shown
    #[arg(short, long, value_enum, default_value_t)]
    pub output: Format,
}

impl Operator {
    /// Sends one request.
    pub(super) async fn ask(
        &self,
        method: &str,
        path: &str,
        body: Option<Value>,
    ) -> Result<Value, Box<dyn Error>> {
        let client = self.client()?;
        Ok(client.send(method, path, body).await.map_err(|error| located(&client, error))?)
    }

    /// Everything that a list has, page by page, up to `limit` entries; and whether there is more.
    pub(super) async fn list(
        &self,
        path: &str,
        query: &str,
        limit: usize,
    ) -> Result<(Vec<Value>, bool), Box<dyn Error>> {
        Ok(list(&self.client()?, path, query, limit).await?)
    }

    /// Writes a list as JSON, as it came, or as `table` has it.
    pub(super) fn show<T: DeserializeOwned>(
        &self,
        out: &mut dyn io::Write,
        items: Vec<Value>,
        has_more: bool,
        table: impl FnOnce(&[T]) -> String,
    ) -> Result<(), Box<dyn Error>> {
        match self.output {
            Format::Json => writeln!(out, "{}", printable::json(&json!({ "items": items }), true))?,
            Format::Table => {
                let items: Vec<T> = items.into_iter().map(read).collect::<Result<_, _>>()?;
                out.write_all(table(&items).as_bytes())?;
                if has_more {
                    writeln!(out, "There are more; --limit says how many are shown.")?;
                }
            }
        }
        Ok(())
    }

    /// Writes the answer of the server as JSON, as it came, or as the sentence that it comes to.
    pub(super) fn sum_up<T: DeserializeOwned>(
        &self,
        out: &mut dyn io::Write,
        answer: Value,
        sentence: impl FnOnce(T) -> String,
    ) -> Result<(), Box<dyn Error>> {
        match self.output {
            Format::Json => self.tell(out, &answer, ""),
            Format::Table => {
                let sentence = sentence(read(answer)?);
                self.tell(out, &Value::Null, &sentence)
            }
        }
    }

    /// Writes the answer of the server as JSON, as it came, or as a picture of several lines.
    pub(super) fn picture<T: DeserializeOwned>(
        &self,
        out: &mut dyn io::Write,
        answer: &Value,
        picture: impl FnOnce(&T) -> String,
    ) -> Result<(), Box<dyn Error>> {
        match self.output {
            Format::Json => self.tell(out, answer, ""),
            Format::Table => Ok(out.write_all(picture(&read(answer.clone())?).as_bytes())?),
        }
    }

    /// Writes one answer as JSON, or as a sentence.
    pub(super) fn tell(
        &self,
        out: &mut dyn io::Write,
        answer: &Value,
        sentence: &str,
    ) -> Result<(), Box<dyn Error>> {
        match self.output {
            Format::Json => writeln!(out, "{}", printable::json(answer, true))?,
            Format::Table => writeln!(out, "{}", printable(sentence))?,
        }
        Ok(())
    }

    /// What asks the server.
    pub(super) fn client(&self) -> Result<Client, Box<dyn Error>> {
        Ok(self.connection.client().build()?)
    }
}

/// What an answer says.
fn read<T: DeserializeOwned>(answer: Value) -> Result<T, String> {
    serde_json::from_value(answer).map_err(|error| {
        format!("The answer was not expected ({error}); is this a Throttle server of this version?")
    })
}

/// Everything that a list has, page by page, up to `limit` entries; and whether there is more.
pub(super) async fn list(
    client: &Client,
    path: &str,
    query: &str,
    limit: usize,
) -> Result<(Vec<Value>, bool), ClientError> {
    let (mut items, mut cursor) = (Vec::new(), String::new());
    while items.len() < limit {
        let page = client.send("GET", &format!("{path}?limit=1000{query}{cursor}"), None).await;
        let page = page.map_err(|error| located(client, error))?;
        items.extend(page["items"].as_array().cloned().unwrap_or_default());
        let is_short = items.len() <= limit;
        let Some(next) = page["next"].as_str() else {
            items.truncate(limit);
            return Ok((items, !is_short));
        };
        cursor = format!("&cursor={next}");
    }
    items.truncate(limit);
    Ok((items, true))
}

/// The path of a semaphore. Its name is in the query, for proxies may decode what is encoded before that.
pub(super) fn semaphore(name: &str) -> String {
    format!("/v1/semaphore?name={}", encoded(name))
}

/// A name as a part of a path or query.
pub(super) fn encoded(name: &str) -> String {
    utf8_percent_encode(name, NON_ALPHANUMERIC).to_string()
}

/// The reason of a release that gives none: by what, and by whom.
pub(super) fn by(command: &str, user: &str) -> String {
    if user.is_empty() { command.to_owned() } else { format!("{command}, by {user}") }
}
