//! Brings a request to a server that serves it: repeats where they are safe, at the next server of the list if there
//! are several, and after a pause once none of them was of use.

use std::time::Duration;

use reqwest::StatusCode;
use tokio_util::sync::CancellationToken;

use crate::{
    Error, Events, Trouble,
    clock::{Moment, now},
    protocol::{Answer, Request},
    retry::{Arrived, Next, Retry, is_transient},
    servers::{Redirect, Round},
    transport::{Effort, Link},
    trouble::answered,
};

/// An answer, and what it took to get it.
#[derive(Debug)]
pub(crate) struct Exchanged {
    pub(crate) answer: Answer,
    /// When the request that it answers was sent.
    pub(crate) sent_at: Moment,
    /// Whether there was no attempt before, but for one that was redirected.
    pub(crate) at_first_attempt: bool,
}

/// The last word on a request, be it good or bad.
struct Delivered {
    exchanged: Exchanged,
    /// For how long a wait was held that was cut then.
    held: Option<Duration>,
}

impl Link {
    /// Sends with the usual effort, and returns the answer if it is a success.
    pub(crate) async fn call(&self, request: &Request) -> Result<Answer, Error> {
        Ok(self.exchange(request, self.usual(request.block_for)).await?.answer)
    }

    /// Sends, repeats where that is safe, and returns the answer if it is a success.
    pub(crate) async fn exchange(&self, request: &Request, effort: Effort) -> Result<Exchanged, Error> {
        self.exchange_until(request, effort, &CancellationToken::new()).await
    }

    /// As `exchange`, but stops after the attempt during which `stop` was cancelled.
    pub(crate) async fn exchange_until(
        &self,
        request: &Request,
        effort: Effort,
        stop: &CancellationToken,
    ) -> Result<Exchanged, Error> {
        let Delivered { exchanged, held } = self.deliver(request, effort, stop).await?;
        let answer = exchanged.answer.check(request)?;
        self.polls.learn(request.block_for, held, exchanged.at_first_attempt, answer.is_granted());
        Ok(Exchanged { answer, ..exchanged })
    }

    /// Sends to one server after the other until one answers, to each once, and returns the answer, be it good or bad.
    pub(crate) async fn once(&self, request: &Request) -> Result<Answer, Error> {
        let effort = Effort::once(self.settings.timeout);
        Ok(self.deliver(request, effort, &CancellationToken::new()).await?.exchanged.answer)
    }

    /// Opens a stream of events at the first server that has one.
    pub(crate) async fn listen(&self, request: &Request) -> Result<Events, Error> {
        let retry = Retry::new(request, now());
        let mut round = self.round();
        loop {
            let outcome = match self.open(round.server(), request).await {
                Ok(Ok(events)) => {
                    round.answered();
                    return Ok(events);
                }
                Ok(Err(answer)) => Ok(answer),
                Err(error) => Err(error),
            };
            let (step, outcome) = judge(&retry, &mut round, request, outcome);
            let goes_on = match step {
                Step::Redirected => true,
                Step::Next(Next::Again { .. } | Next::Elsewhere) => round.move_on(),
                Step::Next(Next::End | Next::Here { .. }) => false,
            };
            if !goes_on {
                return Err(outcome?.json(request).err().unwrap_or_else(|| Error::Server {
                    what: request.what(),
                    status: 200,
                    message: "what comes is no stream of events".to_owned(),
                }));
            }
        }
    }

    async fn deliver(
        &self,
        request: &Request,
        effort: Effort,
        stop: &CancellationToken,
    ) -> Result<Delivered, Error> {
        let mut retry = Retry::new(request, effort.until);
        let mut round = self.round();
        let (mut next, mut held, mut at_first_attempt) = (request, None, true);
        // What a repeat may hope for after a round in which no server was of use.
        let mut hope = None;
        let mut is_told = false;
        loop {
            let sent_at = now();
            let outcome = self.attempt(round.server(), next, effort.limit).await;
            let so_long = sent_at.elapsed();
            let (step, outcome) = judge(&retry, &mut round, next, outcome);
            let is_redirected = step == Step::Redirected;
            let mut arrived = Arrived::No;
            let (mut delay, moved) = match step {
                Step::Redirected => (Some(Duration::ZERO), true),
                Step::Next(Next::End) => (None, false),
                Step::Next(Next::Here { at_least }) => (retry.pause(at_least, arrived), false),
                Step::Next(next) => {
                    if let Next::Again { at_least, arrived: perhaps } = next {
                        arrived = perhaps;
                        hope = Some((at_least, perhaps));
                    }
                    let is_due = round.is_first() || !retry.is_over();
                    if round.move_on() && is_due {
                        (Some(Duration::ZERO), true)
                    } else {
                        let pause = |(at_least, arrived)| retry.pause(at_least, arrived);
                        (hope.take().and_then(pause), false)
                    }
                }
            };
            // Where nothing was done, the next server may just as well let it wait.
            if let (Some(at_once), Some(_), false) = (&next.at_once, delay, moved && arrived == Arrived::No) {
                next = at_once;
                // Of several servers, those that do not lead say so.
                let is_cut_by_answer = self.settings.servers.len() == 1
                    && matches!(&outcome, Ok(answer) if answer.status == StatusCode::SERVICE_UNAVAILABLE);
                if arrived == Arrived::Perhaps {
                    held = Some(so_long);
                    delay = Some(retry.after_cut(so_long, self.polls.cuts_in_a_row()));
                } else if is_cut_by_answer {
                    // An answer that says when to come back is obeyed.
                    held = Some(so_long);
                }
            }
            if delay.is_some() && !is_redirected {
                self.tell(Some(&outcome), next, &retry);
                is_told = true;
            } else if is_told && outcome.is_ok() {
                self.tell(None, next, &retry);
            }
            let goes_on = match delay {
                None => false,
                Some(Duration::ZERO) => !stop.is_cancelled(),
                Some(delay) => tokio::select! {
                    biased;
                    () = stop.cancelled() => false,
                    () = tokio::time::sleep(delay) => true,
                },
            };
            if !goes_on {
                let exchanged = Exchanged { answer: outcome?, sent_at, at_first_attempt };
                return Ok(Delivered { exchanged, held });
            }
            at_first_attempt &= is_redirected;
        }
    }
}

impl Link {
    /// Tells whoever wants to hear of it why a request is repeated, or with `None` that this is over.
    fn tell(&self, outcome: Option<&Result<Answer, Error>>, request: &Request, retry: &Retry<'_>) {
        let Some(telling) = &self.telling else { return };
        let url = &self.server().shown;
        let why = |outcome: &Result<Answer, Error>| match outcome {
            Err(error) => error.trouble(),
            Ok(answer) => match answer.clone().check(request) {
                Err(Error::Server { message, .. }) => answered(url, answer.status, &message),
                Err(error) => error.to_string(),
                Ok(answer) => answered(url, answer.status, ""),
            },
        };
        let servers = self.settings.servers.shown();
        let trouble =
            outcome.map(|outcome| Trouble { why: why(outcome), url: servers.to_owned(), left: retry.left() });
        // A caller who is gone hears nothing.
        let _ = telling.send(trouble);
    }
}

/// What follows an attempt.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    /// The same, to the server that was named.
    Redirected,
    Next(Next),
}

/// What an attempt comes to. Others learn from it which server to ask.
fn judge(
    retry: &Retry<'_>,
    round: &mut Round<'_>,
    request: &Request,
    outcome: Result<Answer, Error>,
) -> (Step, Result<Answer, Error>) {
    let answer = match outcome {
        Ok(answer) => answer,
        Err(error) => {
            let next = retry.after_failure(&error);
            if next == Next::End && matches!(error, Error::Unreachable { .. }) {
                round.move_on();
            }
            return (Step::Next(next), Err(error));
        }
    };
    let Some(location) = &answer.location else {
        let next = retry.after_answer(&answer);
        if matches!(next, Next::End | Next::Here { .. }) {
            if is_transient(answer.status) && answer.status != StatusCode::TOO_MANY_REQUESTS {
                round.move_on();
            } else {
                round.answered();
            }
        }
        return (Step::Next(next), Ok(answer));
    };
    let by = round.server().shown.clone();
    let refused = |message: String| Error::Server {
        what: request.what(),
        status: answer.status.as_u16(),
        message: format!("{by} redirects to {message}"),
    };
    match round.redirect(location, &request.path) {
        Redirect::Followed => (Step::Redirected, Ok(answer)),
        Redirect::Vain(target) => {
            let at_least = answer.retry_after.unwrap_or_default();
            let next = Next::Again { at_least, arrived: Arrived::No };
            (Step::Next(next), Err(refused(format!("{target}, which is of no use at this moment"))))
        }
        Redirect::Stranger(target) => {
            let error = refused(format!(
                "{target}, which is not in the list of servers and gets nothing from here; servers of one cluster are \
                 given as a list, such as http://a:8000,http://b:8000"
            ));
            (Step::Next(Next::Elsewhere), Err(error))
        }
    }
}
