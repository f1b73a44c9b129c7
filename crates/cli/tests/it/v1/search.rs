//! Searching in lists; and what the caller may do.

use serde_json::{Value, json};

use crate::support::{Server, id};

fn found(server: &Server, path: &str, key: &str) -> Vec<String> {
    let (mut found, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = server.get(&format!("{path}{cursor}")).shape(200);
        let items = page["items"].as_array().expect("a list");
        found.extend(items.iter().map(|item| item[key].as_str().expect("text").to_owned()));
        let Value::String(next) = &page["next"] else { return found };
        cursor = format!("&cursor={next}");
    }
}

#[test]
fn semaphores_by_a_part_of_their_name() {
    let declared = (0..700).fold(String::new(), |all, number| format!("{all}'Many/{number:03}' = 1\n"));
    let server = Server::start(&format!("[semaphores]\nA = 1\n'ünïque %' = 1\n{declared}"));
    let search = |query: &str| found(&server, &format!("/v1/semaphores?{query}"), "name");
    assert_eq!(search("search=mANY/69"), (690..700).map(|n| format!("Many/{n}")).collect::<Vec<_>>());
    assert_eq!(search("search=nïque+%25"), ["ünïque %"]);
    assert_eq!(search("search=nope"), Vec::<String>::new());
    for limit in [1, 7, 100, 255, 256, 257, 1000] {
        assert_eq!(search(&format!("search=9&limit={limit}")).len(), 133, "{limit}");
        assert_eq!(search(&format!("limit={limit}")).len(), 702, "{limit}");
        assert_eq!(search(&format!("search=&limit={limit}")).len(), 702, "{limit}");
    }
}

#[test]
fn peers_by_a_part_of_their_id_or_labels() {
    let server = Server::start("[semaphores]\nA = 1");
    let peer = |labels: Value| {
        let body = json!({ "expires_in": "5m", "labels": labels }).to_string();
        id(&server.post("/v1/peers", &body).shape(201))
    };
    let (first, second) = (peer(json!({ "host": "Web-17" })), peer(json!({ "host": "db-1", "job": "web" })));
    let search = |query: &str| found(&server, &format!("/v1/peers?search={query}"), "id");
    assert_eq!(search("web"), [first.clone(), second.clone()]);
    assert_eq!(search("HOST:web").join(","), first);
    assert_eq!(search(&first).join(","), first);
    assert_eq!(search("db-1&label=job:web"), [second]);
    assert_eq!(search("db-1&label=host:Web-17"), Vec::<String>::new());
    assert_eq!(search("web-17&semaphore=A"), Vec::<String>::new());
}

#[test]
fn a_server_tells_what_it_is() {
    let told = |file: &str| {
        let server = Server::start(file);
        let version = server.get("/version").text().to_owned();
        let told = server.get("/v1/permissions").shape(200)["server"].clone();
        assert_eq!(told["version"], version);
        assert!(told["started_at"].as_str().is_some_and(|at| at.ends_with('Z')), "{told}");
        (told["name"].clone(), told["keeps"].clone())
    };
    assert_eq!(told("name = 'Warehouse'"), (json!("Warehouse"), json!("memory")));
    assert_eq!(told("[durability]\ndata_dir = 'data'"), (Value::Null, json!("durable")));
}

#[test]
fn the_caller_learns_what_it_may_do() {
    let server = Server::start("");
    let mut client = server.connect();
    client.send("GET /v1/permissions HTTP/1.1\r\nhost: localhost\r\n\r\n");
    let may = client.answer().shape(200);
    let actions = may["actions"].clone();
    assert_eq!(may["reason"], Value::Null);
    assert_eq!(actions, json!(["release_peer", "set_semaphore", "change_semaphore", "remove_semaphore"]));
    // They are operations of the description.
    let description = server.get("/openapi.json").text().to_owned();
    for action in actions.as_array().expect("a list") {
        assert!(description.contains(&format!("\"operationId\": {action}")), "{action}");
    }
}
