//! What the description says of requests beside their types.

use serde_json::json;
use utoipa::openapi::{Object, ObjectBuilder, Type};

/// Labels in a request.
pub(crate) fn labels() -> Object {
    ObjectBuilder::new()
        .schema_type(Type::Object)
        .description(Some(
            "What people should know of the peer. The server keeps a limited number of labels of limited length: 16, \
             with values of 255 characters, unless its settings say otherwise.",
        ))
        .property_names(Some(
            ObjectBuilder::new()
                .schema_type(Type::String)
                .min_length(Some(1))
                .max_length(Some(63))
                .pattern(Some("^[^:]+$")),
        ))
        .additional_properties(Some(ObjectBuilder::new().schema_type(Type::String).max_length(Some(255))))
        .max_properties(Some(16))
        .examples([json!({"host": "w1", "pid": "4711"})])
        .build()
}

/// Locks in a request.
pub(crate) fn locks() -> Object {
    ObjectBuilder::new()
        .schema_type(Type::Object)
        .description(Some("Each semaphore and the count asked for."))
        .additional_properties(Some(
            ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(1)).maximum(Some(i64::MAX)),
        ))
        .min_properties(Some(1))
        .examples([json!({"A": 1, "B": 2})])
        .build()
}
