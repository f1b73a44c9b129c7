//! What went wrong, for a person at a shell. The server and the client library speak to programs: their advice names
//! routes and functions.

use std::error::Error;

use reqwest::Url;
use throttle_client::{AcquireError, Error as ClientError};

const TOKEN: &str =
    "Name a file that holds one with --token-file, or set THROTTLE_TOKEN or THROTTLE_TOKEN_FILE.";

/// What is said of routes, and what is said of the same here. Spaces before it go with what is left out.
const FITTING: [(&str, &str); 8] = [
    ("GET /v1/semaphores lists those that there are.", "throttle status lists those that there are."),
    (" Make a new one with POST /v1/peers.", ""),
    ("POST /v1/resume ends that", "throttle resume ends that"),
    ("GET /v1/cluster says more.", "throttle cluster status says more."),
    (" GET /openapi.json describes those that there are.", ""),
    ("add force=true to the query to release", "give --force to release"),
    ("Release first what is held, or ask for all of it in one request.", ALL_AT_ONCE),
    ("Release what is held, and ask for all of it in one request.", ALL_AT_ONCE),
];

const ALL_AT_ONCE: &str = "Ask for all of it at once, with a --semaphore for each.";

/// An error with all that caused it.
pub fn told(error: &(dyn Error + 'static)) -> String {
    // What is transparent has the causes of what is in it.
    if let Some(AcquireError::Failed(error)) = error.downcast_ref() {
        return told(error);
    }
    // Others are sentences that say all.
    let has_causes = error.is::<ClientError>() || error.is::<AcquireError>();
    let mut causes = vec![words(error)];
    let mut last = error;
    while let Some(source) = last.source().filter(|_| has_causes && !says_all(last)) {
        causes.push(match client_error(source) {
            // Where a lock was held, nobody asks whether the server is the right one.
            Some(unreachable) if error.is::<ClientError>() => unreachable.trouble(),
            _ => words(source),
        });
        last = source;
    }
    causes.join(": ")
}

/// Whether the words for it have its causes.
fn says_all(error: &(dyn Error + 'static)) -> bool {
    client_error(error).is_some_and(|error| matches!(error, ClientError::Unreachable { .. }))
}

fn client_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a ClientError> {
    error.downcast_ref().or_else(|| error.downcast_ref::<Box<ClientError>>().map(|error| &**error))
}

fn words(error: &(dyn Error + 'static)) -> String {
    match client_error(error) {
        Some(error @ ClientError::Unreachable { url, sent, .. }) => {
            format!("{}{}", error.trouble(), remedy(error, url, *sent))
        }
        Some(ClientError::UnknownSemaphore { semaphore, advice: Some(advice) }) => {
            format!("No semaphore is called {semaphore:?}. {}", fitting(advice))
        }
        Some(ClientError::NotAuthorized { status: 401, .. } | ClientError::Problem { status: 401, .. }) => {
            format!("The server wants a token, and was shown none that it knows. {TOKEN}")
        }
        Some(ClientError::NotAuthorized { message, .. }) => fitting(message),
        Some(ClientError::CertificateRejected { url, .. }) => format!(
            "the certificate of {url} is not trusted. Name the file of the authority that signed it with --cacert, or \
             set THROTTLE_CACERT"
        ),
        _ => fitting(&error.to_string()),
    }
}

/// What to look at when no answer comes.
fn remedy(error: &ClientError, url: &str, sent: bool) -> String {
    const ELSEWHERE: &str = "--url or THROTTLE_URL says where else to ask";
    if error.is_nobody_there() {
        let port = match Url::parse(url).map(|url| (url.port(), url.port_or_known_default())) {
            Ok((None, Some(port))) => format!(", and without a port in the URL it is {port} that is asked"),
            _ => String::new(),
        };
        if error.is_name_unknown() {
            return format!(". Is the name right? {ELSEWHERE}");
        }
        format!(". Is it running there? {ELSEWHERE}; a server has port 8000 unless it is told another{port}")
    } else if sent {
        format!(". Is that a Throttle server? {ELSEWHERE}")
    } else {
        String::new()
    }
}

/// What a server says, for somebody who has commands, not routes.
pub(crate) fn fitting(text: &str) -> String {
    FITTING.into_iter().fold(text.to_owned(), |text, (route, command)| text.replace(route, command))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The sources of the server that speak of routes.
    const SENTENCES: [&str; 4] = [
        include_str!("../../../server/src/http/v1/problem.rs"),
        include_str!("../../../server/src/http/v1/semaphores.rs"),
        include_str!("../../../server/src/http/v1/probes.rs"),
        include_str!("../../../server/src/http/gate.rs"),
    ];

    #[test]
    fn nobody_is_sent_to_a_route() {
        for source in SENTENCES {
            // Sentences are broken at the ends of lines.
            let lines = source.lines().map(str::trim_start).filter(|line| !line.starts_with("//"));
            let text = lines.map(|line| line.strip_suffix('\\').unwrap_or(line)).collect::<String>();
            let found = fitting(&text);
            for method in ["GET", "PUT", "POST", "PATCH", "DELETE"] {
                let at = found.find(&format!("{method} /"));
                assert_eq!(at.and_then(|at| found.get(at..at + 40)), None);
            }
            assert!(!found.contains("to the query"), "{found}");
        }
    }

    #[test]
    fn every_sentence_is_one_that_a_server_says() {
        let all = SENTENCES.map(|source| {
            source
                .lines()
                .map(str::trim_start)
                .map(|line| line.strip_suffix('\\').unwrap_or(line))
                .collect::<String>()
        });
        for (route, _) in FITTING {
            assert!(all.iter().any(|source| source.contains(route.trim())), "{route}");
        }
    }

    #[test]
    fn a_server_out_of_reach_is_told_with_what_to_look_at() {
        let unreachable = |sent, kind: std::io::ErrorKind| ClientError::Unreachable {
            what: "GET http://a:1/health".to_owned(),
            url: "http://a:1".to_owned(),
            sent,
            proxy: None,
            source: std::io::Error::from(kind).into(),
        };
        let refused = || unreachable(false, std::io::ErrorKind::ConnectionRefused);
        assert!(told(&refused()).starts_with(
            "no connection to the server at http://a:1: connection refused. Is it running there? --url"
        ));
        assert_eq!(
            told(&unreachable(true, std::io::ErrorKind::TimedOut)),
            "no answer from the server at http://a:1: nothing came in time. Is that a Throttle server? --url or \
             THROTTLE_URL says where else to ask"
        );
        let held = ClientError::NotReleased {
            semaphores: vec!["A".to_owned()],
            peer_id: 7,
            url: "http://a:1".to_owned(),
            held_for: std::time::Duration::from_secs(3),
            source: refused().into(),
        };
        let said = told(&held);
        assert!(said.ends_with(": no connection to the server at http://a:1: connection refused"), "{said}");
    }

    #[test]
    fn what_fails_is_told_with_its_causes() {
        let unknown = ClientError::UnknownSemaphore {
            semaphore: "Z".to_owned(),
            advice: Some("GET /v1/semaphores lists those that there are.".to_owned()),
        };
        let expected = "No semaphore is called \"Z\". throttle status lists those that there are.";
        assert_eq!(told(&unknown), expected);
        assert_eq!(told(&AcquireError::Failed(unknown)), expected);
        let source = std::io::Error::other("because");
        assert!(told(&ClientError::Thread(source)).ends_with("could not be started: because"));
        let sentence = std::io::Error::other(ClientError::Thread(std::io::Error::other("because")));
        assert_eq!(told(&sentence), sentence.to_string());
    }
}
