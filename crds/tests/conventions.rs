//! The schema keeps the Kubernetes API conventions in every field.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may end where it fails")]

mod support;

use std::collections::BTreeMap;

use join_crds::{ConditionType, NodeJoinRequest, generate};
use kube_core::cel::{compile_schema, estimate_rule_cost};
use proptest::prelude::*;
use serde_json::{Value, json};
use support::{SCHEMA, refused_by_schema, walk, worker};

/// Fields with a default. Each is a number of seconds, a port, or the stricter of two answers: a field whose absence
/// would weaken anything has none.
const DEFAULTS: [(&str, &str); 7] = [
    ("spec.controlPlane.localAPIEndpoint.bindPort", "6443"),
    ("spec.deadlineSeconds", "3600"),
    ("spec.delivery", "\"Sealed\""),
    ("spec.machine.trust", "\"Pinned\""),
    ("spec.removal", "\"Retain\""),
    ("spec.role", "\"Worker\""),
    ("spec.tokenTTLSeconds", "900"),
];

/// What is wrong with one node of the schema.
fn faults(path: &str, schema: &Value) -> Vec<String> {
    let mut faults = Vec::new();
    let mut expect = |holds: bool, expected: &str| {
        if !holds {
            faults.push(format!("{path}: expected {expected}, got {schema}"));
        }
    };
    let has = |key: &str| schema.get(key).is_some();
    expect(has("description"), "a description");
    for forbidden in [
        "nullable",
        "oneOf",
        "anyOf",
        "allOf",
        "not",
        "title",
        "$ref",
        "x-kubernetes-preserve-unknown-fields",
        "x-kubernetes-int-or-string",
    ] {
        expect(!has(forbidden), &format!("no {forbidden}"));
    }
    match schema["type"].as_str() {
        Some("string") => {
            expect(has("maxLength") || has("enum"), "a string with maxLength or enum");
            let camel_case =
                |value: &Value| value.as_str().is_some_and(|v| v.starts_with(|c: char| c.is_ascii_uppercase()));
            let values = schema["enum"].as_array().cloned().unwrap_or_default();
            expect(values.iter().all(camel_case), "enum values in CamelCase");
        }
        Some("integer") => {
            let format = schema["format"].as_str();
            expect(matches!(format, Some("int32" | "int64")), "format int32 or int64");
            expect(has("minimum"), "a minimum");
            expect(has("maximum") || format == Some("int64"), "a maximum");
        }
        Some("array") => {
            expect(has("maxItems"), "maxItems");
            expect(has("x-kubernetes-list-type"), "a list type");
            if schema["x-kubernetes-list-type"] == "map" {
                let required = schema["items"]["required"].as_array().cloned().unwrap_or_default();
                let keys = schema["x-kubernetes-list-map-keys"].as_array().cloned().unwrap_or_default();
                expect(!keys.is_empty(), "keys of a list of type map");
                expect(keys.iter().all(|key| required.contains(key)), "required keys of a list of type map");
            }
        }
        Some("object") => {
            expect(has("properties") != has("additionalProperties"), "either fields or a map");
            expect(!has("additionalProperties") || has("maxProperties"), "a map with maxProperties");
            let names: Vec<&String> = schema["properties"].as_object().into_iter().flat_map(|p| p.keys()).collect();
            let camel_case = |name: &&String| name.starts_with(|c: char| c.is_ascii_lowercase()) && !name.contains('_');
            expect(names.iter().all(camel_case), "field names in camelCase");
        }
        // Booleans cannot grow a third answer, and floating-point numbers do not survive a round trip.
        other => expect(false, &format!("a type that conventions allow, not {other:?}")),
    }
    for rule in schema["x-kubernetes-validations"].as_array().into_iter().flatten() {
        let message = rule["message"].as_str().unwrap_or_default();
        expect(!message.is_empty() && !message.contains('\n'), "a rule with a message of one line");
    }
    faults
}

#[test]
fn every_field_is_bounded_and_described() {
    let mut found = Vec::new();
    let mut fields = 0;
    walk("", &SCHEMA, &mut |path, schema| {
        found.extend(faults(path, schema));
        fields += 1;
    });
    assert!(fields > 80, "the schema was not walked: {fields} fields");
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn the_walk_finds_faults() {
    for bad in [
        json!({"type": "string", "description": "d"}),
        json!({"type": "string", "description": "d", "maxLength": 3, "nullable": true}),
        json!({"type": "string", "description": "d", "enum": ["lower"]}),
        json!({"type": "string", "maxLength": 3}),
        json!({"type": "boolean", "description": "d"}),
        json!({"type": "number", "description": "d", "minimum": 0, "maximum": 1}),
        json!({"type": "integer", "description": "d", "format": "uint32", "minimum": 0, "maximum": 1}),
        json!({"type": "integer", "description": "d", "format": "int32", "minimum": 0}),
        json!({"type": "array", "description": "d", "x-kubernetes-list-type": "set", "items": {}}),
        json!({"type": "array", "description": "d", "maxItems": 2, "items": {}}),
        json!({"type": "array", "description": "d", "maxItems": 2, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["a"], "items": {}}),
        json!({"type": "object", "description": "d", "additionalProperties": {}}),
        json!({"type": "object", "description": "d", "properties": {"snake_case": {}}}),
        json!({"type": "object", "description": "d", "properties": {}, "x-kubernetes-validations": [{"rule": "true"}]}),
    ] {
        assert!(!faults("x", &bad).is_empty(), "{bad}");
    }
}

#[test]
fn defaults_are_few_and_known() {
    let mut found = BTreeMap::new();
    walk("", &SCHEMA, &mut |path, schema| {
        if let Some(default) = schema.get("default") {
            found.insert(path.to_owned(), default.to_string());
        }
    });
    let known = DEFAULTS.into_iter().map(|(path, value)| (path.to_owned(), value.to_owned())).collect();
    assert_eq!(found, known);
}

#[test]
fn a_request_read_by_rust_has_the_defaults_of_the_schema() {
    let request: NodeJoinRequest = serde_json::from_value(worker()).unwrap();
    let filled = kube_core::cel::apply_defaults(&SCHEMA, &worker());
    let written = serde_json::to_value(&request.spec).unwrap();
    assert_eq!(written, filled["spec"]);
    assert_eq!(written["role"], "Worker");
}

#[test]
fn conditions_have_the_limits_of_metav1() {
    let conditions = &SCHEMA["properties"]["status"]["properties"]["conditions"];
    assert_eq!(conditions["x-kubernetes-list-map-keys"], json!(["type"]));
    let field = |name: &str| &conditions["items"]["properties"][name];
    assert_eq!(field("type")["maxLength"], 316);
    assert_eq!(field("status")["enum"], json!(["True", "False", "Unknown"]));
    assert_eq!((&field("reason")["minLength"], &field("reason")["maxLength"]), (&json!(1), &json!(1024)));
    assert_eq!(field("reason")["pattern"], "^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$");
    assert_eq!(field("message")["maxLength"], 32768);
    let most = usize::try_from(conditions["maxItems"].as_u64().unwrap()).unwrap();
    assert!(most > ConditionType::ALL.len());
}

/// An estimate without an API server: every rule compiles, and walks nothing unbounded.
#[test]
fn rules_compile_and_are_bounded() {
    let mut found = Vec::new();
    walk("", &SCHEMA, &mut |path, schema| {
        let compiled = compile_schema(schema);
        assert!(!compiled.has_errors(), "{path}: {:?}", compiled.compilation_errors());
        for rule in schema["x-kubernetes-validations"].as_array().into_iter().flatten() {
            let warnings = estimate_rule_cost(rule["rule"].as_str().unwrap(), &compiled);
            found.extend(warnings.into_iter().map(|warning| (path.to_owned(), warning)));
        }
    });
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn names_and_columns_are_those_that_people_learn() {
    let crd = serde_json::to_value(generate::crd().unwrap()).unwrap();
    assert_eq!(crd["metadata"]["name"], "nodejoinrequests.nodejoin.dev");
    assert_eq!(crd["spec"]["scope"], "Cluster");
    assert_eq!(crd["spec"]["names"]["shortNames"], json!(["njr"]));
    assert_eq!(crd["spec"]["names"]["categories"], json!(["node-join"]));
    let version = &crd["spec"]["versions"][0];
    assert_eq!(version["subresources"], json!({"status": {}}));
    let columns: Vec<(String, i64)> = version["additionalPrinterColumns"]
        .as_array()
        .unwrap()
        .iter()
        .map(|column| (column["name"].as_str().unwrap().to_owned(), column["priority"].as_i64().unwrap_or(0)))
        .collect();
    // NAME comes from the API server; columns of priority 1 are shown with -o wide only.
    let expected = [
        ("Ready", 0),
        ("Status", 0),
        ("Machine", 1),
        ("Addresses", 1),
        ("Kubelet", 1),
        ("Expires", 1),
        ("Message", 1),
        ("Age", 0),
    ];
    assert_eq!(columns, expected.map(|(name, priority)| (name.to_owned(), priority)));
}

/// Changes an object.
type Change = fn(&mut Value);

/// What bounds and patterns refuse, and where.
#[test]
fn values_out_of_bounds_are_refused_at_their_field() {
    let cases: [(&str, Change); 26] = [
        ("/spec/role", |r| r["spec"]["role"] = json!("worker")),
        ("/spec/delivery", |r| r["spec"]["delivery"] = json!("Plain")),
        ("/spec/removal", |r| r["spec"]["removal"] = json!("")),
        ("/spec/machine/trust", |r| r["spec"]["machine"]["trust"] = json!("Always")),
        ("/spec/tokenTTLSeconds", |r| r["spec"]["tokenTTLSeconds"] = json!(299)),
        ("/spec/tokenTTLSeconds", |r| r["spec"]["tokenTTLSeconds"] = json!(86_401)),
        ("/spec/tokenTTLSeconds", |r| r["spec"]["tokenTTLSeconds"] = json!("15m")),
        ("/spec/deadlineSeconds", |r| r["spec"]["deadlineSeconds"] = json!(299)),
        ("/spec/deadlineSeconds", |r| r["spec"]["deadlineSeconds"] = json!(604_801)),
        ("/spec/machine/publicKeyHash", |r| r["spec"]["machine"]["publicKeyHash"] = json!("f".repeat(72))),
        ("/spec/machine/publicKeyHash", |r| r["spec"]["machine"]["publicKeyHash"] = Value::Null),
        ("/spec/addresses", |r| r["spec"]["addresses"] = (1..18).map(|i| format!("192.0.2.{i}")).collect()),
        ("/spec/addresses/0", |r| r["spec"]["addresses"] = json!(["1".repeat(40)])),
        ("/spec/nodeRegistration/criSocket", |r| {
            r["spec"]["nodeRegistration"]["criSocket"] = json!(format!("unix:///{}", "a".repeat(107)));
        }),
        ("/spec/nodeRegistration/labels/a", |r| r["spec"]["nodeRegistration"]["labels"] = json!({"a": "b c"})),
        ("/spec/nodeRegistration/labels/a", |r| r["spec"]["nodeRegistration"]["labels"] = json!({"a": "b".repeat(64)})),
        ("/spec/nodeRegistration/taints/0/effect", |r| {
            r["spec"]["nodeRegistration"]["taints"] = json!([{"key": "a", "effect": "NoStart"}]);
        }),
        ("/spec/nodeRegistration/taints/0/value", |r| {
            r["spec"]["nodeRegistration"]["taints"] =
                json!([{"key": "a", "value": "b:NoExecute", "effect": "NoSchedule"}]);
        }),
        ("/spec/nodeRegistration/taints/0", |r| r["spec"]["nodeRegistration"]["taints"] = json!([{"key": "a"}])),
        ("/spec/nodeRegistration/ignorePreflightErrors/0", |r| {
            r["spec"]["nodeRegistration"]["ignorePreflightErrors"] = json!(["Swap,all"]);
        }),
        ("/spec/nodeRegistration/kubeletExtraArgs/0", |r| {
            r["spec"]["nodeRegistration"]["kubeletExtraArgs"] = json!([{"name": "v"}]);
        }),
        ("/spec/nodeRegistration/kubeletExtraArgs/0/value", |r| {
            r["spec"]["nodeRegistration"]["kubeletExtraArgs"] = json!([{"name": "v", "value": "1".repeat(1025)}]);
        }),
        ("/spec/controlPlane/localAPIEndpoint/bindPort", |r| {
            r["spec"]["controlPlane"] =
                json!({"certificateKeySecret": "key", "localAPIEndpoint": {"bindPort": 65_536}});
        }),
        ("/spec/controlPlane", |r| r["spec"]["controlPlane"] = json!({})),
        ("/spec/controlPlane/certificateKeySecret", |r| {
            r["spec"]["controlPlane"] = json!({"certificateKeySecret": "a".repeat(254)});
        }),
        ("/spec", |r| r["spec"] = json!({})),
    ];
    for (path, change) in cases {
        let mut request = worker();
        change(&mut request);
        let refusals = refused_by_schema(&request);
        assert!(!refusals.is_empty() && refusals.iter().all(|refusal| refusal.path == path), "{path}: {refusals:?}");
    }
}

/// A request with an agent's part that names this time.
fn with_agent_time(time: &str) -> Value {
    let mut request = worker();
    request["status"] = json!({"agent": {"step": "Preflight", "since": time}});
    request
}

#[test]
fn an_agent_cannot_write_a_time_that_makes_a_request_unreadable() {
    // The first is beyond what the time type can hold, and would pass as a date-time.
    for time in
        ["9999-12-31T23:59:59Z", "0000-01-01T00:00:00Z", "2026-11-24T10:00:00.5Z", "2026-11-24T10:00:00+01:00", "now"]
    {
        assert!(!refused_by_schema(&with_agent_time(time)).is_empty(), "{time}");
    }
    assert_eq!(refused_by_schema(&with_agent_time("2026-11-24T10:00:00Z")), []);
}

proptest! {
    /// Whatever the schema lets an agent write, the controller can read.
    #[test]
    fn what_the_schema_accepts_of_an_agent_can_be_read(
        time in "2[0-9]{3}-[0-1][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-5][0-9]Z",
        text in "\\PC{0,40}",
        generation in any::<i64>(),
    ) {
        let mut request = with_agent_time(&time);
        let agent = &mut request["status"]["agent"];
        agent["message"] = json!(text);
        agent["observedGeneration"] = json!(generation);
        agent["addresses"] = json!([text]);
        agent["observations"] = json!([{"name": "Swap", "value": text}]);
        agent["versions"] = json!({"kubelet": text});
        agent["checks"] = json!([{"name": "Swap", "result": "Warning", "message": text}]);
        if refused_by_schema(&request).is_empty() {
            let read: Result<NodeJoinRequest, _> = serde_json::from_value(request.clone());
            prop_assert!(read.is_ok(), "{:?} from {request}", read.err());
        }
    }
}
