//! The dashboard's page and files, and which web pages may send requests. What it looks like and does in a browser is
//! tested in `tests/dashboard`.

use crate::support::{Answer, Launch, Server};

const BROWSER: &str = "accept: text/html,application/xhtml+xml,*/*;q=0.8\r\n";

/// A request with headers, the `Host` among them.
fn ask(server: &Server, method: &str, path: &str, headers: &str) -> Answer {
    let mut client = server.connect();
    client.send(format!("{method} {path} HTTP/1.1\r\n{headers}\r\n"));
    client.answer()
}

fn front(server: &Server, headers: &str) -> Answer {
    ask(server, "GET", "/", &format!("host: localhost\r\n{BROWSER}{headers}"))
}

/// The paths of the files that the page names, relative to its own.
fn named(page: &str) -> Vec<String> {
    let parts = page.split('"').filter(|part| part.starts_with("dashboard/"));
    parts.map(|part| format!("/{part}")).collect()
}

#[test]
fn browsers_get_a_page_and_others_the_greeting() {
    let server = Server::start("");
    for accept in ["", "accept: */*\r\n", "accept: application/json\r\n"] {
        let greeting = ask(&server, "GET", "/", &format!("host: throttle\r\n{accept}"));
        greeting.is(200, "Hello from Throttle!");
        assert_eq!(greeting.header("content-type"), Some("text/plain; charset=utf-8"));
        assert_eq!(greeting.header("vary"), Some("accept"));
    }
    let page = front(&server, "");
    page.says(200, "<!doctype html>");
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    assert_eq!(page.header("vary"), Some("accept"));
    assert!(page.header("throttle-instance").is_some());
}

#[test]
fn the_page_is_kept_to_itself() {
    let server = Server::start("");
    let page = front(&server, "");
    let script = named(page.text()).into_iter().find(|path| path.ends_with("/app.js")).expect("a script");
    for answer in [page, ask(&server, "GET", &script, "host: localhost\r\n")] {
        let policy = answer.header("content-security-policy").expect("a policy");
        for part in ["default-src 'none'", "script-src 'self'", "style-src 'self'", "frame-ancestors 'none'"]
        {
            assert!(policy.split("; ").any(|found| found == part), "{part}: {policy}");
        }
        assert!(!policy.contains("unsafe") && !policy.contains('*') && !policy.contains("http"), "{policy}");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(answer.header("referrer-policy"), Some("no-referrer"));
        assert_eq!(answer.header("cross-origin-opener-policy"), Some("same-origin"));
        assert_eq!(answer.header("cross-origin-resource-policy"), Some("same-origin"));
    }
    // Nothing that the policy would have to allow, and nothing from elsewhere.
    let page = front(&server, "");
    for part in ["<style", "style=", "onclick=", "<script>", "//"] {
        assert!(!page.text().contains(part), "{part}");
    }
}

#[test]
fn files_are_kept_for_ever_and_the_page_is_asked_for_anew() {
    let server = Server::start("");
    let page = front(&server, "");
    assert_eq!(page.header("cache-control"), Some("no-cache"));
    let tag = page.header("etag").expect("a tag").to_owned();
    let again = front(&server, &format!("if-none-match: \"other\", W/{tag}\r\n"));
    assert_eq!((again.status, again.text(), again.header("etag")), (304, "", Some(&*tag)));
    assert_eq!(front(&server, "if-none-match: \"other\"\r\n").status, 200);
    for path in named(page.text()) {
        let file = server.get(&path);
        assert_eq!(file.status, 200, "{path}");
        assert_eq!(file.header("cache-control"), Some("public, max-age=31536000, immutable"));
        let kind = match path.rsplit('.').next() {
            Some("js") => "text/javascript; charset=utf-8",
            Some("css") => "text/css; charset=utf-8",
            _ => "text/plain; charset=utf-8",
        };
        assert_eq!(file.header("content-type"), Some(kind), "{path}");
        // Of another version.
        server.get(&path.replace(tag.trim_matches('"'), "0123456789abcdef")).says(404, "<h1>");
    }
    let folder = format!("/dashboard/{}", tag.trim_matches('"'));
    for path in ["/", "/nope.js", "/../Cargo.toml", "/%2e%2e/Cargo.toml", "/vendor", "/README.md", "/%ff"] {
        server.get(&format!("{folder}{path}")).says(404, "<h1>");
    }
}

/// Routes of every dialect that would change something.
const DEEDS: &[(&str, &str)] = &[
    ("POST", "/new_peer"),
    ("PUT", "/peers/7"),
    ("PUT", "/peers/7/A"),
    ("DELETE", "/peers/7"),
    ("POST", "/restore"),
    ("POST", "/acquire"),
    ("POST", "/v1/peers"),
    ("DELETE", "/v1/peers/7"),
    ("PATCH", "/v1/semaphores/A"),
    ("POST", "/v1/locks"),
    ("POST", "/v1/reload"),
];

#[test]
fn pages_of_other_origins_are_refused_on_every_route() {
    let server = Server::start("[semaphores]\nA = 1");
    let routes = DEEDS.iter().copied().chain([
        ("GET", "/"),
        ("GET", "/v1/semaphores"),
        ("GET", "/v1/events"),
        ("GET", "/v1/updates"),
        ("GET", "/metrics"),
        ("GET", "/nope"),
        ("OPTIONS", "/v1/peers"),
    ]);
    for (method, path) in routes {
        for foreign in [
            "origin: http://example.com\r\n",
            "origin: http://localhost:9000\r\n",
            "origin: http://localhost:8000.example.com\r\n",
            "origin: null\r\n",
            "origin: \r\n",
            "origin: localhost:8000\r\n",
            "origin: \u{e9}\r\n",
            "sec-fetch-site: cross-site\r\n",
            "sec-fetch-site: same-site\r\n",
            "sec-fetch-site: new-word\r\n",
            "origin: http://localhost:8000\r\nsec-fetch-site: cross-site\r\n",
            "origin: http://example.com\r\nsec-fetch-site: same-origin\r\n",
            "sec-fetch-site: cross-site\r\nsec-fetch-mode: navigate\r\nsec-fetch-dest: iframe\r\n",
        ] {
            let answer = ask(&server, method, path, &format!("host: localhost:8000\r\n{foreign}"));
            let detail = answer.problem(403, "cross_origin");
            assert!(detail.contains("another origin"), "{method} {path} {foreign}: {detail}");
            assert!(answer.header("throttle-instance").is_some());
        }
    }
    server.until_metric("throttle_peers", 0.0);
}

#[test]
fn files_are_served_to_its_page_by_whatever_name_and_way() {
    let server = Server::start("");
    let page = front(&server, "");
    let script = named(page.text()).into_iter().find(|path| path.ends_with("/app.js")).expect("a script");
    // Browsers send the origin with modules. Over plain HTTP it is all they say.
    for (host, site, status) in [
        ("127.0.0.1:8000", "", 200),
        ("127.0.0.1:8000", "sec-fetch-site: same-origin\r\n", 200),
        ("throttle.example.com", "", 200),
        ("throttle.example.com", "sec-fetch-site: same-site\r\n", 403),
        ("throttle.example.com", "sec-fetch-site: cross-site\r\n", 403),
    ] {
        let headers = format!("host: {host}\r\norigin: http://throttle.example.com\r\n{site}");
        assert_eq!(ask(&server, "GET", &script, &headers).status, status, "{headers}");
        assert_eq!(ask(&server, "POST", &script, &headers).status, 403, "{headers}");
    }
}

#[test]
fn its_own_pages_are_served() {
    let server = Server::start("[http]\nhosts = ['throttle.example.com']");
    for host in [
        "localhost",
        "LOCALHOST:8000",
        "127.0.0.1:8000",
        "10.1.2.3",
        "[::1]:8000",
        "[2001:db8::1]",
        "throttle.example.com",
        "Throttle.Example.com:444",
    ] {
        for own in [
            format!("origin: http://{host}\r\n"),
            format!("origin: https://{}\r\nsec-fetch-site: same-origin\r\n", host.to_lowercase()),
            "sec-fetch-site: same-origin\r\n".to_owned(),
            "sec-fetch-site: none\r\n".to_owned(),
        ] {
            let answer = ask(&server, "DELETE", "/v1/peers/7", &format!("host: {host}\r\n{own}"));
            assert_eq!(answer.status, 204, "{host} {own}");
        }
    }
}

#[test]
fn a_name_that_is_not_its_own_is_refused_to_browsers_only() {
    let server = Server::start("[http]\nhosts = ['throttle.example.com']");
    for host in ["rebound.example.com", "throttle", "127.0.0.1.example.com", "localhost.example.com:8000"] {
        for own in [format!("origin: http://{host}\r\n"), "sec-fetch-site: same-origin\r\n".to_owned()] {
            for (method, path) in DEEDS {
                let answer = ask(&server, method, path, &format!("host: {host}\r\n{own}"));
                let detail = answer.problem(403, "unknown_host");
                assert!(detail.contains(&format!("{host:?}")) && detail.contains("[http]"), "{detail}");
            }
        }
        let page = ask(&server, "GET", "/", &format!("host: {host}\r\n{BROWSER}sec-fetch-site: none\r\n"));
        let name = host.split(':').next().expect("a name");
        page.says(
            403,
            &format!("<pre>[http]\nhosts = [&quot;throttle.example.com&quot;, &quot;{name}&quot;]</pre>"),
        );
        assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
        // A browser that says nothing of itself, as over plain HTTP: its page says that it can only show.
        ask(&server, "GET", "/", &format!("host: {host}\r\n{BROWSER}")).says(200, "<!doctype html>");
        let may = ask(&server, "GET", "/v1/permissions", &format!("host: {host}\r\n")).shape(200);
        assert_eq!(may["actions"], serde_json::json!([]));
        assert!(may["reason"].as_str().is_some_and(|reason| reason.contains("[http]")), "{may}");
        // No browser.
        let answer = ask(&server, "DELETE", "/v1/peers/7", &format!("host: {host}\r\n"));
        assert_eq!(answer.status, 204);
        ask(&server, "GET", "/", &format!("host: {host}\r\n")).is(200, "Hello from Throttle!");
    }
    for host in ["", "<script>", "a..b", "-x:y:z"] {
        let headers = format!("host: {host}\r\nsec-fetch-site: same-origin\r\n");
        let answer = ask(&server, "DELETE", "/v1/peers/7", &headers);
        assert!(matches!(answer.status, 400 | 403), "{host:?}");
    }
    let none = ask(&server, "DELETE", "/v1/peers/7", "host: \r\nsec-fetch-site: same-origin\r\n");
    let detail = none.problem(403, "unknown_host");
    assert!(detail.contains("hosts in the section [http]"), "{detail}");
}

/// A server that other machines can reach, with what it says at its start.
fn reached(file: &str) -> (Server, String) {
    let launch = Launch::new(&["--port", "0", "--address", "0.0.0.0"]).file(file);
    let process = launch.env("THROTTLE_LOG", "info").start();
    let line = process.stderr.line("Listening on http://0.0.0.0:");
    let port = line.rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port");
    let names = process.stderr.line("Browsers may open it by its addresses and as ");
    (Server { process, port }, names)
}

#[cfg(unix)]
#[test]
fn what_the_machine_calls_itself_is_its_own_where_others_can_reach_it() {
    let machine = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let label = machine.split('.').next().expect("a name");
    let (server, names) = reached("[http]\nhosts = ['throttle.example.com']");
    assert!(names.contains(&format!("{label:?}, \"throttle.example.com\", \"localhost\"")), "{names}");
    assert!(names.contains("[http] hosts = ["), "{names}");
    let status = |server: &Server, host: &str| {
        ask(server, "DELETE", "/v1/peers/7", &format!("host: {host}\r\nsec-fetch-site: same-origin\r\n"))
            .status
    };
    for host in
        [label.to_owned(), format!("{}:8000", label.to_uppercase()), "throttle.example.com".to_owned()]
    {
        assert_eq!(status(&server, &host), 204, "{host}");
    }
    // With a domain it may be somebody else's.
    for host in [format!("{label}.example.com"), format!("x{label}"), format!("{label}.")] {
        assert_eq!(status(&server, &host), 403, "{host}");
    }
    // On loopback a network may have given the machine its name.
    assert_eq!(status(&Server::start(""), label), 403);
}

#[test]
fn a_link_of_another_page_leads_to_the_front_page_only() {
    let server = Server::start("");
    let link = "host: localhost\r\nsec-fetch-site: cross-site\r\nsec-fetch-mode: navigate\r\nsec-fetch-dest: document\r\n";
    ask(&server, "GET", "/", &format!("{link}{BROWSER}")).says(200, "<!doctype html>");
    for (method, path) in [("GET", "/metrics"), ("GET", "/v1/peers"), ("POST", "/"), ("DELETE", "/peers/7")] {
        let answer = ask(&server, method, path, &format!("{link}{BROWSER}"));
        answer.says(403, "another origin");
        assert_eq!(answer.header("content-type"), Some("text/html; charset=utf-8"));
        ask(&server, method, path, link).problem(403, "cross_origin");
    }
    // What a name in a header says is text.
    let markup = ask(&server, "GET", "/", &format!("host: localhost\r\n{BROWSER}origin: <b>\r\n"));
    markup.says(403, "&lt;b&gt;");
}
