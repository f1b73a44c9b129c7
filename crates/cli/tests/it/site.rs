//! What people, scripts and monitoring ask for, and what every answer has.

use crate::support::{Client, Server, request};

#[test]
fn pages() {
    let server = Server::start("[semaphores]\nA = 1");
    let plain = Some("text/plain; charset=utf-8");
    for (path, text) in
        [("/", "Hello from Throttle!"), ("/health", "Ok"), ("/version", env!("CARGO_PKG_VERSION"))]
    {
        let answer = server.get(path);
        answer.is(200, text);
        assert_eq!(answer.header("content-type"), plain, "{path}");
    }
    let metrics = server.get("/metrics");
    assert_eq!(metrics.status, 200);
    assert!(metrics.header("content-type").expect("a type").starts_with("text/plain; version=0.0.4"));
}

#[test]
fn heads_of_pages() {
    let server = Server::start("");
    for path in ["/", "/health", "/version", "/favicon.ico", "/metrics", "/peers/"] {
        let mut client = server.connect();
        client.send(request("HEAD", path, ""));
        assert_eq!(client.answer_to_head().status, 200, "{path}");
        client.send(request("GET", "/health", ""));
        client.answer().is(200, "Ok");
    }
}

#[test]
fn the_icon_is_one() {
    let server = Server::start("");
    let icon = server.get("/favicon.ico");
    assert_eq!((icon.status, icon.header("content-type")), (200, Some("image/x-icon")));
    let word = |at: usize| u16::from_le_bytes([icon.body[at], icon.body[at + 1]]);
    let long = |at: usize| u32::from(word(at)) | u32::from(word(at + 2)) << 16;
    let (reserved, kind, images) = (word(0), word(2), word(4));
    assert_eq!((reserved, kind), (0, 1));
    assert!(images >= 1);
    for entry in (0..usize::from(images)).map(|image| 6 + 16 * image) {
        let (size, offset) = (long(entry + 8), long(entry + 12));
        assert!(size > 0 && usize::try_from(offset + size).expect("small") <= icon.body.len());
    }
}

#[test]
fn what_is_not_there_is_said_to_people_and_counted() {
    let server = Server::start("");
    assert_eq!(server.figure("throttle_num_404"), Some(0.0));
    let paths = ["/nope", "/peers/1/2/3", "/peers/1/other", "/%00", "/%ff", "/nope?a=%ff", "//", "/Health"];
    for path in paths {
        let page = server.get(path);
        page.says(404, "<h1>");
        assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"), "{path}");
    }
    let number = f64::from(u32::try_from(paths.len()).expect("few"));
    assert_eq!(server.figure("throttle_num_404"), Some(number));
    for (method, path) in [("POST", "/nope"), ("DELETE", "/nope"), ("POST", "/peers/1/other"), ("FOO", "/x")]
    {
        server.ask(method, path, "").says(404, "<h1>");
    }
    server.send("HEAD", "/nope", "").answer_to_head();
    // Neither does a method that is not allowed count.
    server.get("/acquire").says(405, "The method GET is not allowed on /acquire.");
    assert_eq!(server.figure("throttle_num_404"), Some(number));
}

#[test]
fn links_of_the_page_for_what_is_not_there_are_relative() {
    let server = Server::start("");
    let file = format!("/dashboard/{}", "x/".repeat(3));
    for (path, root) in [
        ("/nope", "./"),
        ("/nope/", "./../"),
        ("//", "./../"),
        ("/nope?a=/b/c", "./"),
        ("/a%2Fb", "./"),
        ("/peers/1/other", "./../../"),
        (&file, "./../../../../"),
    ] {
        let page = server.get(path);
        page.says(404, &format!("<a href=\"{root}\">"));
        page.says(404, &format!("<a href=\"{root}metrics\">"));
        assert_eq!(page.text().matches("href").count(), 2, "{path}");
    }
    server.ask("POST", "/peers/1/other", "").says(404, "<a href=\"./../../metrics\">");
    // An answer does not grow with the depth of what is asked for.
    let deep = server.get(&"/a".repeat(5_000));
    deep.says(404, "<h1>");
    assert!(deep.body.len() < 1_000, "{}", deep.text());
}

#[test]
fn every_answer_says_which_server_gave_it() {
    // Sixteen is the smallest cap that may be configured.
    let file =
        "[semaphores]\nA = 1\n[limits]\nconnections = 16\nhead_timeout = '300ms'\nbody_timeout = '300ms'";
    let server = Server::start(file);
    let first = server.get("/health");
    let instance = first.header("throttle-instance").expect("an instance").to_owned();
    assert!(!instance.is_empty());
    let peer = server.peer("10m");
    for (method, path, body, status) in [
        ("GET", "/", "", 200),
        ("PUT", &*format!("/peers/{peer}/A"), "1", 200),
        ("GET", "/peers/", "", 200),
        ("GET", "/metrics", "", 200),
        ("GET", "/favicon.ico", "", 200),
        ("PUT", "/peers/42/A", "1", 400),
        ("PUT", "/peers/%ff/A", "1", 400),
        ("GET", "/nope", "", 404),
        ("GET", "/acquire", "", 405),
        ("TRACE", "/", "", 405),
        ("PUT", &format!("/peers/{peer}/A"), "9", 409),
        ("POST", "/new_peer", &"x".repeat(17 << 10), 413),
        ("POST", "/new_peer", "", 415),
    ] {
        let answer = server.ask(method, path, body);
        assert_eq!(answer.status, status, "{method} {path}");
        assert_eq!(answer.header("throttle-instance"), Some(&*instance), "{method} {path}");
    }
    // What the network layer answers by itself has it too.
    let long = format!("GET /{} HTTP/1.1\r\nhost: x\r\n\r\n", "x".repeat(70_000));
    let fields = format!("GET / HTTP/1.1\r\nhost: x\r\nx: {}\r\n\r\n", "x".repeat(70_000));
    let late_body =
        "POST /new_peer HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n{";
    for (bytes, status) in [
        ("nonsense\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nhost", 408),
        (late_body, 408),
        (&long, 414),
        (&fields, 431),
    ] {
        let mut client = server.connect();
        client.send(bytes);
        let answer = client.answer();
        let start = bytes.get(..30).unwrap_or(bytes);
        // Which of the two is too long is for the parser to say.
        let status = if status == 414 && answer.status == 431 { 431 } else { status };
        assert_eq!(answer.status, status, "{start}");
        assert!(!answer.text().is_empty(), "{start}");
        assert_eq!(answer.header("throttle-instance"), Some(&*instance), "{start}");
    }
    server.until_metric("throttle_blocked_requests", 0.0);
    let mut open: Vec<Client> = Vec::new();
    let refused = loop {
        let mut client = server.send("GET", "/peers", "");
        let answer = client.answer();
        if answer.status != 200 {
            break answer;
        }
        open.push(client);
        assert!(open.len() <= 16);
    };
    refused.says(503, "Too many connections are open.");
    assert_eq!(refused.header("throttle-instance"), Some(&*instance));

    let other = Server::start("");
    assert_ne!(other.get("/health").header("throttle-instance"), Some(&*instance));
}
