//! Identity and rights, against a real server: who may come in, what he may do, and what he is shown.

mod jwt;
mod quotas;
mod rotation;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::{Value, json};
use throttle_service::{http, security::Right};

use crate::support::{Answer, Launch, Server, id, until};

const FILE: &str =
    "[semaphores]\n\"etl/a\" = 1\n\"web/a\" = 1\n\"etl/n/*\" = 1\n[security]\ntokens = \"tokens.toml\"\n";

/// A server with tokens, which the command line made.
struct Secured {
    server: Server,
    directory: PathBuf,
    tokens: BTreeMap<&'static str, String>,
}

/// Runs `throttle token` beside a file of tokens.
fn token(directory: &Path, arguments: &[&str], shown: Option<&str>) -> (i32, String, String) {
    let file = directory.join("tokens.toml");
    let file = file.to_str().expect("a path").to_owned();
    let launch = Launch::new(&[&["token"], arguments, &["--file", &file]].concat());
    match shown {
        Some(shown) => launch.env("THROTTLE_TOKEN", shown).run(),
        None => launch.run(),
    }
}

fn make(directory: &Path, name: &str, more: &[&str]) -> String {
    let (code, out, error) = token(directory, &[&["new", name], more].concat(), None);
    assert_eq!(code, 0, "{error}");
    out.trim().to_owned()
}

impl Secured {
    /// With an identity for each of these, and what it may do.
    fn start(identities: &[(&'static str, &[&str])]) -> Self {
        Self::with(FILE, identities)
    }

    fn with(file: &str, identities: &[(&'static str, &[&str])]) -> Self {
        let launch = Launch::new(&["--port", "0"]).file(file).env("THROTTLE_LOG", "debug");
        let directory = launch.path("");
        let mut tokens = BTreeMap::new();
        for (name, rights) in identities {
            let allow: Vec<_> = rights.iter().flat_map(|right| ["--allow", right]).collect();
            tokens.insert(*name, make(&directory, name, &allow));
        }
        Self { server: Server::launch(launch), directory, tokens }
    }

    fn bearer(&self, name: &str) -> String {
        format!("authorization: Bearer {}\r\n", self.tokens[name])
    }

    fn ask(&self, name: &str, method: &str, path: &str, body: &Value) -> Answer {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        self.server.ask_with(method, path, &self.bearer(name), &body)
    }

    fn get(&self, name: &str, path: &str) -> Answer {
        self.ask(name, "GET", path, &Value::Null)
    }

    /// A peer of somebody that holds these locks.
    fn holder(&self, name: &str, locks: &Value) -> String {
        let body = json!({"expires_in": "10m", "locks": locks, "labels": {"of": name}});
        id(&self.ask(name, "POST", "/v1/locks", &body).shape(201))
    }

    fn status(&self, method: &str, path: &str, headers: &str) -> (u16, Option<String>, bool) {
        let mut client = self.server.connect();
        client.send(format!(
            "{method} {path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: 0\r\n{headers}\r\n"
        ));
        let answer = client.answer_to_head();
        let asks = answer.header("www-authenticate").is_some();
        (answer.status, answer.header("content-type").map(str::to_owned), asks)
    }
}

fn basic(token: &str) -> String {
    format!("authorization: Basic {}\r\n", BASE64_STANDARD.encode(format!("any:{token}")))
}

#[test]
fn every_route_asks_for_its_right() {
    let secured = Secured::start(&[
        ("nobody", &[]),
        ("read", &["read"]),
        ("acquire", &["acquire"]),
        ("operate", &["operate"]),
        ("admin", &["admin"]),
    ]);
    let expired = make(&secured.directory, "admin", &["--expires", "0s"]);
    let mut of_rights = BTreeMap::<&str, usize>::new();
    for (method, path, right) in http::rights() {
        let path = path.replace("{peer}", "7").replace("{semaphore}", "etl%2Fa").replace("{token}", "1");
        let path = path.replace("{*path}", "app.js");
        let asked = |headers: &str| secured.status(method.as_str(), &path, headers);
        *of_rights.entry(right.name()).or_default() += 1;
        let unauthenticated = asked("");
        if right == Right::None {
            assert!(unauthenticated.0 != 401 && unauthenticated.0 != 403, "{method} {path}");
            continue;
        }
        assert_eq!((unauthenticated.0, unauthenticated.2), (401, true), "{method} {path}");
        // Nothing tells one that is unknown, or has expired, from none.
        for wrong in ["thr_", "", &expired] {
            for headers in [format!("authorization: Bearer {wrong}\r\n"), basic(wrong)] {
                assert_eq!(asked(&headers), unauthenticated, "{method} {path} with {headers}");
            }
        }
        for name in ["nobody", "read", "acquire", "operate", "admin"] {
            let may = match right {
                Right::Any => name != "nobody",
                Right::Release => ["acquire", "operate", "admin"].contains(&name),
                _ => name == right.name() || name == "admin",
            };
            for headers in [secured.bearer(name), basic(&secured.tokens[name])] {
                let (status, ..) = asked(&headers);
                assert_ne!(status, 401, "{method} {path} by {name}");
                assert_eq!(status != 403, may, "{method} {path} by {name}: {status}");
            }
        }
    }
    assert_eq!(of_rights.len(), 5, "{of_rights:?}");
}

#[test]
fn a_refusal_names_the_right_and_the_semaphore_whether_there_is_one_or_not() {
    let secured = Secured::start(&[("etl", &["acquire:etl/*", "read:etl/*", "operate:etl/*"])]);
    for name in ["web/a", "web/none"] {
        let expected = |right: &str| format!("\"etl\" lacks the right {right:?} over semaphore {name:?}.");
        let path = format!("/v1/semaphores/{}", name.replace('/', "%2F"));
        let session = json!({"expires_in": "1m", "locks": {name: 1}});
        let peer = id(&secured.ask("etl", "POST", "/v1/peers", &json!({"expires_in": "10m"})).shape(201));
        let locks = json!({"locks": {"etl/a": 1, name: 1}});
        for (method, path, body, right) in [
            ("GET", path.clone(), Value::Null, "read"),
            ("PATCH", path.clone(), json!({"max": 2}), "operate"),
            ("PUT", path.clone(), json!({"max": 2}), "operate"),
            ("DELETE", path.clone(), Value::Null, "operate"),
            ("GET", format!("{path}/tokens/1"), Value::Null, "read"),
            ("POST", "/v1/locks".to_owned(), session, "acquire"),
            ("PUT", format!("/v1/peers/{peer}/locks"), locks, "acquire"),
            (
                "DELETE",
                format!("/v1/peers/{peer}/locks/{}", name.replace('/', "%2F")),
                Value::Null,
                "acquire",
            ),
            ("POST", format!("/v1/peers/{peer}/release"), json!({"locks": [name]}), "acquire"),
            ("GET", format!("/v1/semaphore?name={name}"), Value::Null, "read"),
            ("GET", format!("/v1/history?semaphore={name}"), Value::Null, "read"),
            ("GET", format!("/v1/peers?semaphore={name}"), Value::Null, "read"),
        ] {
            let detail = secured.ask("etl", method, &path, &body).problem(403, "forbidden");
            assert!(detail.starts_with(&expected(right)), "{method} {path}: {detail}");
        }
        let encoded = name.replace('/', "%2F");
        for (method, path, body, right) in [
            ("PUT", format!("/peers/{peer}/{encoded}"), json!(1), "acquire"),
            ("DELETE", format!("/peers/{peer}/{encoded}"), Value::Null, "acquire"),
            ("GET", format!("/remainder?semaphore={name}"), Value::Null, "read"),
            ("POST", "/acquire".to_owned(), json!({"pending": {name: 1}, "expires_in": "5m"}), "acquire"),
            ("PUT", "/peers/9".to_owned(), json!({"expires_in": "5m", "active": {name: 1}}), "acquire"),
            (
                "POST",
                "/restore".to_owned(),
                json!({"expires_in": "5m", "peer_id": 9, "acquired": {name: 1}}),
                "acquire",
            ),
            (
                "POST",
                "/peers/9/block_until_acquired?timeout_ms=0".to_owned(),
                json!({"expires_in": "5m", "pending": {name: 1}}),
                "acquire",
            ),
        ] {
            secured.ask("etl", method, &path, &body).says(403, &expected(right));
        }
    }
    // What it may do, it does, and nothing of the others came of it.
    secured.holder("etl", &json!({"etl/a": 1}));
    assert_eq!(secured.get("etl", "/v1/semaphores").shape(200)["items"].as_array().expect("a list").len(), 1);
    // A name that it may not read is not offered for one that it may.
    let detail = secured.get("etl", "/v1/semaphores/etl%2Fb").problem(404, "unknown_semaphore");
    assert!(detail.contains("etl/a") && !detail.contains("web"), "{detail}");
    let metrics = secured.get("etl", "/metrics");
    assert!(
        metrics.text().contains("throttle_max{semaphore=\"etl/a\"} 1") && !metrics.text().contains("web")
    );
}

#[test]
fn a_deadlock_does_not_tell_of_what_is_hidden() {
    let file = FILE.replace("[semaphores]\n", "[semaphores]\nmine = { max = 1, deadlock = 'detect' }\nhidden = { max = 1, deadlock = 'detect' }\nalso = { max = 1, deadlock = 'detect' }\n");
    let secured = Secured::with(&file, &[("ann", &["acquire:mine", "acquire:also"]), ("admin", &["admin"])]);
    // Ann holds one; the first of the others waits for that and holds another, for which the second waits.
    let ann = secured.holder("ann", &json!({"mine": 1}));
    let first = secured.holder("admin", &json!({"hidden": 1}));
    let second = secured.holder("admin", &json!({"also": 1}));
    for (peer, wanted) in [(&first, "mine"), (&second, "hidden")] {
        let path = format!("/v1/peers/{peer}/locks");
        secured.ask("admin", "PUT", &path, &json!({"locks": {wanted: 1}})).shape(202);
    }
    let also = json!({"locks": {"also": 1}});
    let detail = secured.ask("ann", "PUT", &format!("/v1/peers/{ann}/locks"), &also).problem(409, "deadlock");
    assert!(detail.contains("another semaphore") && !detail.contains("hidden"), "{detail}");
    secured.ask("ann", "PUT", &format!("/peers/{ann}/also"), &json!(1)).says(409, "another semaphore");
}

#[test]
fn a_stolen_id_is_of_no_use() {
    let secured = Secured::start(&[
        ("ann", &["acquire", "read"]),
        ("bob", &["acquire", "read", "operate:web/*"]),
        ("operator", &["operate", "read"]),
    ]);
    let peer = secured.holder("ann", &json!({"etl/a": 1}));
    let unknown = "12345678901234567890".to_owned();
    // To Bob, Ann's peer and one that never was are the same, but for its number.
    let told = |peer: &String| -> Vec<(u16, String)> {
        let ask = |method: &str, path: String, body: Value| {
            let answer = secured.ask("bob", method, &path, &body);
            (answer.status, answer.text().replace(peer.as_str(), "PEER"))
        };
        vec![
            ask("GET", format!("/v1/peers/{peer}"), Value::Null),
            ask("POST", format!("/v1/peers/{peer}/heartbeat"), Value::Null),
            ask("PUT", format!("/v1/peers/{peer}/locks"), json!({"locks": {"web/a": 1}})),
            ask("DELETE", format!("/v1/peers/{peer}/locks/etl%2Fa"), Value::Null),
            ask("POST", format!("/v1/peers/{peer}/release"), json!({"locks": ["etl/a"]})),
            ask("POST", "/v1/heartbeats".to_owned(), json!({"expires_in": "1s", "peers": [peer]})),
            ask("DELETE", format!("/v1/peers/{peer}"), Value::Null),
            ask("DELETE", format!("/v1/peers/{peer}?reason=mine"), Value::Null),
            ask("PUT", format!("/peers/{peer}"), json!({"expires_in": "1s"})),
            ask("PUT", format!("/peers/{peer}/web%2Fa"), json!(1)),
            ask("DELETE", format!("/peers/{peer}/etl%2Fa"), Value::Null),
            ask("GET", format!("/peers/{peer}/is_acquired"), Value::Null),
            ask("DELETE", format!("/peers/{peer}"), Value::Null),
        ]
    };
    assert_eq!(told(&peer), told(&unknown));
    let conflict =
        json!({"expires_in": "1s", "peer_id": peer.parse::<u64>().expect("a number"), "acquired": {}});
    assert_eq!(secured.ask("bob", "POST", "/restore", &conflict).status, 409);
    let seen = secured.get("ann", &format!("/v1/peers/{peer}")).shape(200);
    assert_eq!(seen["locks"][0]["semaphore"], "etl/a");

    // Lists show that somebody holds it, and not by which id.
    let ids = |name: &str| {
        let list = secured.get(name, "/v1/peers").shape(200);
        let detail = secured.get(name, "/v1/semaphores/etl%2Fa").shape(200);
        let old = secured.get(name, "/peers").text().to_owned();
        (list["items"][0]["id"].clone(), detail["holders"][0]["peer"].clone(), old)
    };
    let own = format!("[{{\"id\":{peer}}}]");
    assert_eq!(ids("bob"), (json!("0"), json!("0"), "[]".to_owned()));
    assert_eq!(ids("ann"), (json!(peer), json!(peer), own.clone()));
    assert_eq!(ids("operator"), (json!(peer), json!(peer), own));
    let found = secured.get("bob", &format!("/v1/peers?search={peer}")).shape(200);
    assert_eq!(found["items"], json!([]));

    // How it ended is for its owner; an operator over it may end it.
    secured.ask("operator", "DELETE", &format!("/v1/peers/{peer}?reason=night"), &Value::Null).is_empty();
    let path = format!("/v1/peers/{peer}/heartbeat");
    assert!(secured.ask("ann", "POST", &path, &Value::Null).problem(410, "peer_gone").contains("night"));
    assert!(!secured.ask("bob", "POST", &path, &Value::Null).problem(410, "peer_gone").contains("night"));
}

#[test]
fn events_and_updates_show_what_the_caller_may_see() {
    let secured = Secured::start(&[("etl", &["acquire", "read:etl/*"]), ("admin", &["admin"])]);
    let mut events = secured.server.stream("/v1/events", &secured.bearer("etl"));
    let mut updates = secured.server.stream("/v1/updates", &secured.bearer("etl"));
    updates.next();
    let hidden = secured.holder("admin", &json!({"web/a": 1}));
    let other = secured.holder("admin", &json!({"etl/n/x": 1}));
    let own = secured.holder("etl", &json!({"etl/a": 1}));
    let mut seen = Vec::new();
    while seen.last().is_none_or(|event: &Value| event["semaphore"] != "etl/a") {
        seen.push(events.next().data);
    }
    let text = format!("{seen:?}");
    assert!(!text.contains("web/a") && !text.contains(&hidden) && !text.contains(&other), "{text}");
    assert!(text.contains("etl/n/x") && text.contains(&own), "{text}");
    let mut told = String::new();
    while !told.contains("etl/a") {
        told += &updates.next().data.to_string();
    }
    assert!(!told.contains("web/a") && !told.contains(&hidden) && !told.contains(&other), "{told}");
    assert!(told.contains(&own), "{told}");
}

#[test]
fn events_say_which_operator_acted() {
    let secured = Secured::start(&[
        ("ops", &["admin"]),
        ("etl", &["acquire", "read:etl/*"]),
        ("web", &["acquire", "read:etl/*"]),
    ]);
    let stream = |name: &str| secured.server.stream("/v1/events", &secured.bearer(name));
    let mut streams = ["ops", "etl", "web"].map(stream);
    let ask = |method: &str, path: &str, body: &str| {
        secured.server.ask_with(method, path, &secured.bearer("ops"), body).status
    };
    let peer = secured.holder("etl", &json!({"etl/a": 1}));
    assert_eq!(ask("DELETE", &format!("/v1/peers/{peer}?reason=stuck"), ""), 204);
    // Nothing comes of this, so what happens next is nobody's act.
    assert_eq!(ask("DELETE", "/v1/semaphore?name=nope", ""), 404);
    secured.holder("etl", &json!({"etl/a": 1}));
    assert_eq!(ask("PATCH", "/v1/semaphore?name=etl/a", r#"{"max":3}"#), 200);
    assert_eq!(ask("DELETE", "/v1/semaphore?name=etl/a&force=true", ""), 204);
    let [ops, owner, other] = streams.each_mut().map(|events| {
        let mut told = Vec::new();
        while told.last().is_none_or(|(kind, _): &(String, Value)| kind != "removed") {
            let event = events.next();
            if event.data.get("semaphore").is_some() {
                told.push((event.event, event.data["by"].clone()));
            }
        }
        told
    });
    let (by, nobody) = (json!("ops"), Value::Null);
    let kinds = ["granted", "released", "granted", "resized", "released", "removed"];
    let told = |acts: [&Value; 6]| -> Vec<_> {
        kinds.iter().zip(acts).map(|(kind, by)| ((*kind).to_owned(), by.clone())).collect()
    };
    assert_eq!(ops, told([&nobody, &by, &nobody, &by, &by, &by]));
    // As with ids: whose peers it happens to is told, and operators.
    assert_eq!(owner, told([&nobody, &by, &nobody, &nobody, &by, &nobody]));
    assert_eq!(other, told([&nobody; 6]));
}

#[test]
fn a_reload_is_the_act_of_whoever_asked_for_it() {
    let secured = Secured::start(&[("root", &["admin"])]);
    let file = FILE.replacen("[semaphores]", "[semaphores]\nnew = 1", 1);
    fs::write(secured.directory.join("throttle.toml"), file).expect("written");
    secured.ask("root", "POST", "/v1/reload", &Value::Null).shape(200);
    // From the oldest on, as that is of no run of this server.
    let all = format!("{}last-event-id: x\r\n", secured.bearer("root"));
    let mut events = secured.server.stream("/v1/events?kind=resized", &all);
    assert_eq!(events.next().event, "missed");
    let told: Vec<_> = events.take(3).into_iter().map(|event| event.data).collect();
    let by = told.iter().map(|data| (data["semaphore"].as_str(), data["by"].as_str()));
    let file = Some("configuration");
    assert_eq!(
        by.collect::<Vec<_>>(),
        [(Some("etl/a"), file), (Some("web/a"), file), (Some("new"), Some("root"))]
    );
}

#[test]
fn a_key_belongs_to_whoever_used_it() {
    let secured = Secured::start(&[("ann", &["acquire"]), ("bob", &["acquire"])]);
    let made = |name: &str| {
        let headers = format!("{}idempotency-key: k\r\n", secured.bearer(name));
        id(&secured.server.ask_with("POST", "/v1/peers", &headers, r#"{"expires_in":"10m"}"#).shape(201))
    };
    let first = made("ann");
    assert_eq!(made("ann"), first);
    assert_ne!(made("bob"), first);
}

#[test]
fn tokens_come_and_go_without_a_restart() {
    let secured = Secured::start(&[("ann", &["read"])]);
    let file = secured.directory.join("tokens.toml");
    let before = fs::read_to_string(&file).expect("readable");
    assert!(!before.contains(&secured.tokens["ann"]), "only its hash is kept");
    let status = |token: &str| {
        secured.status("GET", "/v1/semaphores", &format!("authorization: Bearer {token}\r\n")).0
    };
    let new = make(&secured.directory, "ann", &["--expires", "90d"]);
    until("the new token is known", || status(&new) == 200);
    assert_eq!(status(&secured.tokens["ann"]), 200, "several may be live");
    // A wrong file changes nothing, and says what is wrong.
    fs::write(&file, "[[token]]\nidentity = \"ann\"\nhash = \"none\"\n").expect("writable");
    let line = secured.server.process.stderr.line("The tokens stay as they were.");
    assert!(line.contains("tokens.toml:1: token 1 of \"ann\": its hash is not right"), "{line}");
    assert_eq!((status(&new), status(&secured.tokens["ann"])), (200, 200));
    fs::write(&file, before).expect("writable");
    until("the new token is revoked", || status(&new) == 401);
    assert_eq!(status(&secured.tokens["ann"]), 200);
    // Nothing of a token is in the log.
    for line in secured.server.stop() {
        assert!(!line.contains("thr_"), "{line}");
    }
}

#[test]
fn a_token_is_checked_without_a_server() {
    let directory = Launch::new(&[]).path("");
    let token_of = make(&directory, "etl", &["--allow", "read", "--expires", "90d"]);
    let (code, out, _) = token(&directory, &["check"], Some(&token_of));
    assert_eq!(code, 0);
    assert!(
        out.starts_with("identity: etl\nexpires:  20") && out.trim().ends_with("allow:    read"),
        "{out}"
    );
    let expired = make(&directory, "etl", &["--expires", "0s"]);
    let mut slip = token_of.clone();
    slip.replace_range(8..9, if &token_of[8..9] == "x" { "y" } else { "x" });
    for (wrong, sentence) in
        [(&*expired, "The token has expired"), (&*slip, "its checksum"), ("secret", "That is no token")]
    {
        let (code, out, error) = token(&directory, &["check"], Some(wrong));
        assert_eq!((code, &*out), (1, ""));
        assert!(error.contains(sentence), "{error}");
    }
    // The file is for its owner alone, and a wrong name or right leaves it as it was.
    let file = directory.join("tokens.toml");
    let before = fs::read_to_string(&file).expect("readable");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        assert_eq!(fs::metadata(&file).expect("there").permissions().mode() & 0o777, 0o600);
    }
    for wrong in [&["new", "a*"][..], &["new", "b", "--allow", "write"]] {
        assert_eq!(token(&directory, wrong, None).0, 1);
    }
    assert_eq!(fs::read_to_string(&file).expect("readable"), before);
    assert_eq!(fs::read_dir(&directory).expect("a directory").count(), 1, "nothing else is left");
}

#[test]
fn a_stream_ends_with_its_token() {
    let secured = Secured::start(&[("ann", &["read"]), ("admin", &["admin"])]);
    let file = secured.directory.join("tokens.toml");
    let before = fs::read_to_string(&file).expect("readable");
    let mut events = secured.server.stream("/v1/events", &secured.bearer("ann"));
    let (of_ann, others) = before.split_at(before.rfind("[[token]]").expect("a token"));
    assert!(of_ann.contains("\"ann\"") && others.contains("\"admin\""));
    fs::write(&file, others).expect("writable");
    secured.server.process.stderr.line("The tokens were read again");
    secured.holder("admin", &json!({"web/a": 1}));
    assert_eq!(events.rest().len(), 0, "what happens after that is not for her");
}

#[test]
fn signing_in_sets_a_cookie_and_signing_out_takes_it_away() {
    let secured = Secured::start(&[("ann", &["read"])]);
    let wrong = secured.server.post("/v1/session", r#"{"token":"thr_"}"#);
    wrong.problem(401, "unauthenticated");
    assert_eq!(wrong.header("set-cookie"), None);
    let body = json!({"token": secured.tokens["ann"]}).to_string();
    let known = secured.server.post("/v1/session", &body);
    known.is_empty();
    let cookie = known.header("set-cookie").expect("a cookie").to_owned();
    assert_eq!(
        cookie,
        format!("throttle_token={}; HttpOnly; SameSite=Strict; Path=/", secured.tokens["ann"])
    );
    let out = secured.server.delete("/v1/session");
    let gone = "throttle_token=; HttpOnly; SameSite=Strict; Path=/; Max-Age=0";
    assert_eq!((out.status, out.header("set-cookie")), (204, Some(gone)));
}

#[test]
fn what_is_public_needs_no_token() {
    let secured = Secured::start(&[("ann", &["read:etl/*"])]);
    assert_eq!(secured.status("GET", "/metrics", "").0, 401);
    let launch = Launch::new(&["--port", "0"]).file(format!("{FILE}public = [\"/metrics\"]\n"));
    fs::copy(secured.directory.join("tokens.toml"), launch.path("tokens.toml")).expect("copied");
    let server = Server::launch(launch.env("THROTTLE_LOG", "info"));
    assert_eq!(server.get("/metrics").status, 200);
    assert_eq!(server.get("/v1/semaphores").status, 401);
    let error = Launch::new(&["--port", "0"]).file(format!("{FILE}public = [\"/v1/reload\"]\n")).fails();
    assert!(
        error.contains("security.public: \"/v1/reload\" is no route that only shows something"),
        "{error}"
    );
}

#[test]
fn a_server_says_that_it_is_open_and_may_refuse_to_be() {
    let open = Launch::new(&["--port", "0", "--address", "0.0.0.0"]).file("[semaphores]\nA = 1").start();
    let line = open.stderr.line("The server is open: whoever reaches 0.0.0.0:");
    assert!(line.contains("WARN"), "{line}");
    let error =
        Launch::new(&["--port", "0"]).file("[semaphores]\nA = 1\n[security]\nrequired = true").fails();
    assert!(error.contains("security.required is true, but nothing says who may come in"), "{error}");
    let missing = Launch::new(&["--port", "0"]).file(FILE).fails();
    assert!(missing.contains("tokens.toml: cannot be read"), "{missing}");
    // On this machine only, it is as it always was.
    let server = Server::start("");
    server.get("/readyz").is(200, "Ok");
    assert_eq!(server.figure("throttle_security_open"), Some(0.0));
}

#[test]
fn permissions_tell_who_asks() {
    let secured = Secured::start(&[("ann", &["read"]), ("admin", &["admin"])]);
    let by = |headers: &str| {
        let mut client = secured.server.connect();
        client.send(format!("GET /v1/permissions HTTP/1.1\r\nhost: localhost\r\n{headers}\r\n"));
        client.answer().shape(200)
    };
    let of = |name: &str| by(&secured.bearer(name));
    assert_eq!((&of("ann")["identity"], &of("ann")["actions"]), (&json!("ann"), &json!([])));
    assert_eq!(of("admin")["actions"].as_array().expect("a list").len(), 4);
    let by_cookie = format!("cookie: throttle_token={}\r\n", secured.tokens["ann"]);
    assert_eq!(by(&by_cookie)["identity"], "ann");
}

/// The lines of an audit log, without their times, once there are so many.
fn audited(file: &Path, count: usize) -> Vec<Value> {
    let read = || fs::read_to_string(file).unwrap_or_default();
    until("the lines are written", || read().lines().count() >= count);
    let lines: Vec<Value> = read().lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(lines.len(), count, "{lines:?}");
    let without_time = |mut line: Value| {
        let at = line.as_object_mut().and_then(|fields| fields.remove("at")).expect("a time");
        assert!(at.as_str().is_some_and(|at| at.ends_with('Z')), "{at}");
        line
    };
    lines.into_iter().map(without_time).collect()
}

#[test]
fn the_audit_log_tells_who_did_what() {
    let file = format!(
        "{FILE}[audit]\nfile = \"audit.jsonl\"\nlog = [\"acquire\", \"operate\", \"admin\", \"refused\"]\n"
    );
    let secured = Secured::with(&file, &[("etl", &["acquire:etl/*"]), ("ops", &["admin"])]);
    let log = secured.directory.join("audit.jsonl");
    let peer = secured.holder("etl", &json!({"etl/a": 1}));
    let other = json!({"expires_in": "1m", "locks": {"web/a": 1}});
    secured.ask("etl", "POST", "/v1/locks", &other).problem(403, "forbidden");
    secured.server.post("/v1/reload", "").problem(401, "unauthenticated");
    let traced = format!(
        "{}traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n",
        secured.bearer("ops")
    );
    secured.server.ask_with("PATCH", "/v1/semaphores/web%2Fa", &traced, r#"{"max":2}"#).shape(200);
    secured.ask("ops", "DELETE", &format!("/v1/peers/{peer}?reason=night"), &Value::Null).is_empty();
    secured.ask("ops", "POST", "/v1/reload", &Value::Null).shape(200);
    // Looking is worth no line.
    secured.get("ops", "/v1/semaphores").shape(200);
    let line = |identity: Option<&str>,
                operation: &str,
                peer: Option<&str>,
                semaphores: &[&str],
                status: u16,
                code: Option<&str>| {
        json!({
            "identity": identity, "address": "127.0.0.1", "operation": operation, "peer": peer,
            "semaphores": semaphores, "status": status, "code": code, "trace": null,
        })
    };
    let mut lines = audited(&log, 6);
    assert_eq!(lines[3]["trace"], "0af7651916cd43dd8448eb211c80319c");
    lines[3]["trace"] = Value::Null;
    assert_eq!(
        lines,
        [
            line(Some("etl"), "acquire_with_new_peer", Some(&peer), &["etl/a"], 201, None),
            line(Some("etl"), "acquire_with_new_peer", None, &[], 403, Some("forbidden")),
            line(None, "reload", None, &[], 401, Some("unauthenticated")),
            line(Some("ops"), "change_semaphore", None, &["web/a"], 200, None),
            line(Some("ops"), "release_peer", Some(&peer), &[], 204, None),
            line(Some("ops"), "reload", None, &[], 200, None),
        ]
    );
    assert!(!fs::read_to_string(&log).expect("readable").contains("thr_"));
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        assert_eq!(fs::metadata(&log).expect("there").permissions().mode() & 0o777, 0o600);
        // It may be moved away, and is opened again on SIGHUP.
        fs::rename(&log, secured.directory.join("audit.1")).expect("moved");
        secured.server.process.signal(rustix::process::Signal::HUP);
        secured.server.process.stderr.line("The configuration was reloaded.");
        secured.server.process.stderr.line("The configuration was reloaded.");
        until("the file is opened again", || {
            secured.ask("etl", "POST", "/v1/peers", &json!({"expires_in": "1m"})).shape(201);
            fs::metadata(&log).is_ok_and(|metadata| metadata.len() > 0)
        });
    }
}

#[test]
fn an_audit_log_that_cannot_be_written_is_no_reason_to_start() {
    let error = Launch::new(&["--port", "0"])
        .file("[semaphores]\nA = 1\n[audit]\nfile = \"none/audit.jsonl\"")
        .fails();
    assert!(error.contains("The audit log none/audit.jsonl: "), "{error}");
}

#[test]
fn commands_without_a_token_say_where_one_belongs() {
    let secured = Secured::start(&[("etl", &["read"])]);
    let url = format!("http://127.0.0.1:{}", secured.server.port);
    for command in [&["status"] as &[_], &["peers"], &["run", "-s", "A", "true"]] {
        let (code, _, stderr) = Launch::new(command).env("THROTTLE_URL", &url).run();
        assert!(code == 1 || code == 69, "{stderr}");
        let advice = "was shown none that it knows. Name a file that holds one with --token-file, or set THROTTLE_TOKEN or \
                      THROTTLE_TOKEN_FILE.";
        assert!(stderr.ends_with(advice), "{stderr}");
    }
    let launch = Launch::new(&["run", "-s", "A", "true"]).env("THROTTLE_URL", &url);
    let (code, _, stderr) = launch.env("THROTTLE_TOKEN", &secured.tokens["etl"]).run();
    assert!(code == 69 && stderr.contains("acquire") && !stderr.contains("builder"), "{stderr}");
}
