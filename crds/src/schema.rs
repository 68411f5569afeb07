//! Pieces of the schema that derive cannot express: types of other crates, and rules on the items of a list.

use kube_core::Rule;
use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::Value;

use crate::rules;

/// Characters of an IP address at most: IPv6 in full.
const MAX_ADDRESS_LENGTH: u32 = 39;

/// One IP address of a machine.
pub(crate) fn address(_: &mut SchemaGenerator) -> Schema {
    one_address("An IP address of the machine.")
}

/// A list of IP addresses of a machine.
pub(crate) fn addresses(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": 16,
        "x-kubernetes-list-type": "set",
        "items": one_address("An IP address of the machine."),
    })
}

fn one_address(description: &str) -> Schema {
    json_schema!({
        "type": "string",
        "description": description,
        "maxLength": MAX_ADDRESS_LENGTH,
        "x-kubernetes-validations": rules_of(&[
            rules::address_form(),
            rules::address_canonical(),
            rules::address_of_one_machine(),
        ]),
    })
}

/// Addresses that a machine says it has. Bounded, and nothing more: they decide nothing.
pub(crate) fn observed_addresses(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": 32,
        "x-kubernetes-list-type": "atomic",
        "items": {"type": "string", "description": "An address, as the machine reports it.", "maxLength": 64},
    })
}

/// Labels of a Node.
pub(crate) fn labels(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": 64,
        "additionalProperties": {
            "type": "string",
            "description": "Value of the label.",
            "maxLength": 63,
            "pattern": "^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$",
        },
        "x-kubernetes-validations": rules_of(&[rules::label_keys(), rules::labels_not_controlled()]),
    })
}

/// Names of preflight checks.
pub(crate) fn preflight_checks(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": 64,
        "x-kubernetes-list-type": "set",
        "items": {
            "type": "string",
            "description": "Name of a preflight check.",
            "maxLength": 128,
            "pattern": "^[A-Za-z0-9][A-Za-z0-9._-]*$",
        },
        "x-kubernetes-validations": rules_of(&[rules::ignore_all_alone()]),
    })
}

/// A point in time: UTC, whole seconds, and a year that every program can read.
///
/// Without the pattern an agent could write the year 9999 and more, which the controller's time type cannot hold, so
/// that the whole request would be unreadable to it.
pub(crate) fn time(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "string",
        "format": "date-time",
        "maxLength": 20,
        "pattern": "^2[0-9]{3}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-5][0-9]Z$",
    })
}

/// metav1.Condition with the limits that its Go type carries as markers.
pub(crate) fn conditions(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": 16,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"],
        "items": {
            "type": "object",
            "description": "One aspect of how far the join has come.",
            "required": ["lastTransitionTime", "message", "reason", "status", "type"],
            "properties": {
                "lastTransitionTime": {
                    "type": "string",
                    "description": "When the status last changed.",
                    "format": "date-time",
                    "maxLength": 64,
                },
                "message": {
                    "type": "string",
                    "description": "What was seen, and what to do, in words.",
                    "maxLength": 32768,
                },
                "observedGeneration": {
                    "type": "integer",
                    "description": "Generation of the spec that the condition answers.",
                    "format": "int64",
                    "minimum": 0,
                },
                "reason": {
                    "type": "string",
                    "description": "Why the status is what it is, in one word.",
                    "minLength": 1,
                    "maxLength": 1024,
                    "pattern": "^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$",
                },
                "status": {
                    "type": "string",
                    "description": "Whether the condition holds: True, False or Unknown.",
                    "enum": ["True", "False", "Unknown"],
                },
                "type": {
                    "type": "string",
                    "description": "Which aspect it is.",
                    "maxLength": 316,
                    "pattern": r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])$",
                },
            },
        },
    })
}

/// Rules as the schema has them. They are plain data, so that making JSON of them cannot fail.
fn rules_of(rules: &[Rule]) -> Value {
    serde_json::to_value(rules).unwrap_or_default()
}
