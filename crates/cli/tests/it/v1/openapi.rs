//! The description of `/v1`, compared with the one that is kept here: a change of it must be meant.

use std::{env, fs, path::Path};

use serde_json::Value;

use crate::support::Server;

const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/v1/openapi.json");

#[test]
fn the_description_is_the_one_that_is_kept() {
    let server = Server::start("");
    let answer = server.get("/openapi.json");
    let found = answer.shape(200);
    if env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(Path::new(GOLDEN), format!("{}\n", answer.text())).expect("written");
    }
    let kept = fs::read_to_string(GOLDEN).expect("UPDATE_GOLDEN=1 writes it");
    let kept: Value = serde_json::from_str(&kept).expect("JSON");
    assert!(found == kept, "/openapi.json differs from {GOLDEN}; UPDATE_GOLDEN=1 takes it over");
    assert_eq!(found["openapi"], "3.1.0");
}

#[test]
fn every_reference_leads_somewhere_and_every_operation_is_told_apart() {
    let server = Server::start("");
    let description = server.get("/openapi.json").shape(200);
    let mut references = Vec::new();
    collect(&description, &mut references);
    assert!(!references.is_empty());
    for reference in references {
        let pointer = reference.strip_prefix('#').expect("in the same document");
        assert!(description.pointer(pointer).is_some(), "{reference}");
    }
    let operations: Vec<&Value> = description["paths"]
        .as_object()
        .expect("an object")
        .values()
        .flat_map(|item| item.as_object().expect("an object").values())
        .collect();
    let mut ids: Vec<_> = operations.iter().map(|operation| operation["operationId"].as_str()).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), operations.len());
    for operation in operations {
        assert!(operation["summary"].is_string(), "{operation}");
        for response in operation["responses"].as_object().expect("an object").values() {
            assert!(response["headers"]["Throttle-Instance"].is_object(), "{operation}");
        }
    }
}

fn collect(value: &Value, references: &mut Vec<String>) {
    match value {
        Value::Object(object) => {
            references.extend(object.get("$ref").and_then(Value::as_str).map(str::to_owned));
            object.values().for_each(|value| collect(value, references));
        }
        Value::Array(list) => list.iter().for_each(|value| collect(value, references)),
        _ => {}
    }
}
