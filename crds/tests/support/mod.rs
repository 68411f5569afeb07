//! What the API server does with an object, as far as it can be done without one.
#![allow(dead_code, reason = "each test binary uses a part")]

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use join_crds::generate;
use kube_core::cel::Validator;
use serde_json::{Value, json};

/// One reason for which an object would be refused.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Refusal {
    /// Where in the object.
    pub path: String,
    /// What the sender is told.
    pub message: String,
}

/// The schema that is installed in a cluster.
pub static SCHEMA: LazyLock<Value> = LazyLock::new(|| {
    let crd = serde_json::to_value(generate::crd().unwrap()).unwrap();
    crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone()
});

static SCHEMA_VALIDATOR: LazyLock<jsonschema::Validator> =
    LazyLock::new(|| jsonschema::draft4::options().should_validate_formats(true).build(&SCHEMA).unwrap());

/// What bounds, patterns and enums refuse in an object.
pub fn refused_by_schema(object: &Value) -> Vec<Refusal> {
    SCHEMA_VALIDATOR
        .iter_errors(object)
        .map(|error| Refusal { path: error.instance_path().to_string(), message: error.to_string() })
        .collect()
}

/// What the CEL rules refuse in an object that is created, or that replaces `old`.
///
/// Defaults are filled in first, as the API server does it.
pub fn refused_by_rules(object: &Value, old: Option<&Value>) -> Vec<Refusal> {
    let object = kube_core::cel::apply_defaults(&SCHEMA, object);
    let old = old.map(|old| kube_core::cel::apply_defaults(&SCHEMA, old));
    match Validator::new().validate(&SCHEMA, &object, old.as_ref()) {
        Ok(()) => Vec::new(),
        Err(errors) => errors
            .into_vec()
            .into_iter()
            .map(|error| Refusal { path: error.field_path, message: error.message })
            .collect(),
    }
}

/// The fields of an object that its schema does not know; the API server would drop them without a word.
pub fn unknown_fields(path: &str, object: &Value, schema: &Value) -> Vec<String> {
    match object {
        Value::Object(fields) if schema["properties"].is_object() => fields
            .iter()
            .flat_map(|(name, value)| {
                let (path, field) = (format!("{path}.{name}"), &schema["properties"][name]);
                if field.is_null() { vec![path] } else { unknown_fields(&path, value, field) }
            })
            .collect(),
        Value::Array(items) => items.iter().flat_map(|item| unknown_fields(path, item, &schema["items"])).collect(),
        _ => Vec::new(),
    }
}

/// A request that keeps every rule.
pub fn worker() -> Value {
    json!({
        "apiVersion": "nodejoin.dev/v1alpha1",
        "kind": "NodeJoinRequest",
        "metadata": {"name": "worker-7"},
        "spec": {"machine": {"publicKeyHash": format!("sha256:{}", "0123456789abcdef".repeat(4))}},
    })
}

/// The root of the repository.
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

/// Calls `visit` with the path and the schema of every field and item, parents first.
///
/// A path has `[]` for the items of a list and `{}` for the values of a map.
pub fn walk(path: &str, schema: &Value, visit: &mut impl FnMut(&str, &Value)) {
    visit(path, schema);
    let join = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        walk(&join(name), property, visit);
    }
    if schema["items"].is_object() {
        walk(&format!("{path}[]"), &schema["items"], visit);
    }
    if schema["additionalProperties"].is_object() {
        walk(&format!("{path}{{}}"), &schema["additionalProperties"], visit);
    }
}

/// Reads every document of a YAML file.
pub fn yaml_documents(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()));
    serde_saphyr::from_multiple(&text).unwrap_or_else(|error| panic!("{} is not YAML: {error}", path.display()))
}
