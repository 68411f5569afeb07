//! The reference of a request's fields, from its schema.

use std::fmt::Write as _;

use serde_json::Value;

use super::table::{code, escaped, head, row};
use super::{Error, note};

const INTRODUCTION: &str = "\
# NodeJoinRequest

`nodejoin.dev/v1alpha1`, cluster-scoped; `kubectl get njr` for short. The API server checks everything on this page
before a request is stored, and answers with the message that stands here.

The shortest request, for a machine whose key is known:

```yaml
apiVersion: nodejoin.dev/v1alpha1
kind: NodeJoinRequest
metadata:
  name: worker-1
spec:
  machine:
    publicKeyHash: sha256:0000000000000000000000000000000000000000000000000000000000000000
```

[examples](../../examples) has longer ones. What the conditions and their reasons mean is on the page
[Conditions, reasons and events](../reasons.md).

";

/// The page.
pub fn page() -> Result<String, Error> {
    let crd = serde_json::to_value(join_crds::generate::crd()?)?;
    let version = &crd["spec"]["versions"][0];
    let schema = &version["schema"]["openAPIV3Schema"];
    let mut page = note("crds/src");
    page.push_str(INTRODUCTION);
    page.push_str("## Columns of kubectl get\n\n");
    page.push_str(&columns(version));
    page.push_str("\n## metadata.name\n\nIs the node's name.\n");
    page.push_str(&rules(schema));
    page.push_str("\n## spec\n");
    let spec = &schema["properties"]["spec"];
    // Writing to a String cannot fail.
    let _ = write!(page, "\n{}\n{}", description(spec), rules(spec));
    fields("spec", spec, &mut page);
    page.push_str("\n## status\n\nWritten by the controller, except `status.agent`, which is the machine's own.\n\n");
    page.push_str(&head(&["Field", "Type", "Limits", "Meaning"]));
    status("status", &schema["properties"]["status"], &mut page);
    Ok(page)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn description(schema: &Value) -> String {
    escaped(text(&schema["description"]))
}

fn columns(version: &Value) -> String {
    let mut table = head(&["Column", "Shown with", "Meaning"]);
    for column in version["additionalPrinterColumns"].as_array().into_iter().flatten() {
        let shown = if column["priority"].as_i64().unwrap_or_default() > 0 { "`-o wide`" } else { "" };
        table.push_str(&row(&[&text(&column["name"]).to_uppercase(), shown, text(&column["description"])]));
    }
    table
}

/// A section for every field of an object, and for those below.
fn fields(path: &str, object: &Value, page: &mut String) {
    let required: Vec<&str> = object["required"].as_array().into_iter().flatten().map(text).collect();
    for (name, field) in object["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}.{name}");
        let _ = write!(page, "\n### {path}\n\n{}\n\n", description(field));
        let _ = writeln!(page, "- Type: {}", kind(field));
        if required.contains(&name.as_str()) {
            page.push_str("- Required\n");
        }
        if !field["default"].is_null() {
            let _ = writeln!(page, "- Default: {}", code(&plain(&field["default"])));
        }
        let limits = limits(field);
        if !limits.is_empty() {
            let _ = writeln!(page, "- Limits: {limits}");
        }
        page.push_str(&rules(field));
        let items = &field["items"];
        if items.is_object() && !items["properties"].is_object() {
            let limits = self::limits(items);
            let limits = if limits.is_empty() { String::new() } else { format!(": {limits}") };
            let _ = write!(page, "\nEach item{limits}.\n{}", rules(items));
        }
        let values = &field["additionalProperties"];
        if values.is_object() {
            let _ = write!(page, "\nEach value: {}.\n{}", self::limits(values), rules(values));
        }
        if field["properties"].is_object() {
            fields(&path, field, page);
        }
        if items["properties"].is_object() {
            fields(&format!("{path}[]"), items, page);
        }
    }
}

/// A row for every field of the status.
fn status(path: &str, object: &Value, page: &mut String) {
    for (name, field) in object["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}.{name}");
        let meaning = description(field).replace('\n', " ");
        page.push_str(&row(&[&code(&path), &kind(field), &limits(field), &meaning]));
        status(&path, field, page);
        if field["items"]["properties"].is_object() {
            status(&format!("{path}[]"), &field["items"], page);
        }
    }
}

fn kind(field: &Value) -> String {
    let kind = text(&field["type"]);
    match kind {
        "array" => {
            let items = self::kind(&field["items"]);
            let keys: Vec<String> = field["x-kubernetes-list-map-keys"]
                .as_array()
                .into_iter()
                .flatten()
                .map(|key| code(text(key)))
                .collect();
            match text(&field["x-kubernetes-list-type"]) {
                "set" => format!("list of {items}, without repetition"),
                "map" => format!("list of {items}, one for each {}", keys.join(" and ")),
                _ => format!("list of {items}"),
            }
        }
        "object" if field["additionalProperties"].is_object() => "map of strings".to_owned(),
        "string" if field["format"] == "date-time" => "time, RFC 3339".to_owned(),
        "string" if field["format"] == "byte" => "base64".to_owned(),
        other => other.to_owned(),
    }
}

/// A value as people write it.
fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Numbers of the schema are floating-point where its type has no integers.
fn whole(value: &Value) -> Option<String> {
    value.as_f64().map(|number| format!("{number}"))
}

fn limits(field: &Value) -> String {
    let mut limits = Vec::new();
    let choices: Vec<String> = field["enum"].as_array().into_iter().flatten().map(|one| code(&plain(one))).collect();
    if !choices.is_empty() {
        limits.push(format!("one of {}", choices.join(", ")));
    }
    let range = |low: &str, high: &str, unit: &str| match (whole(&field[low]), whole(&field[high])) {
        (Some(low), Some(high)) if low == high => Some(format!("exactly {low}{unit}")),
        (Some(low), Some(high)) => Some(format!("{low} to {high}{unit}")),
        (Some(low), None) => Some(format!("at least {low}{unit}")),
        (None, Some(high)) => Some(format!("at most {high}{unit}")),
        (None, None) => None,
    };
    limits.extend(range("minimum", "maximum", ""));
    limits.extend(range("minLength", "maxLength", " characters"));
    limits.extend(range("minItems", "maxItems", " items"));
    limits.extend(range("minProperties", "maxProperties", " entries"));
    if let Some(pattern) = field["pattern"].as_str() {
        limits.push(format!("matches {}", code(pattern)));
    }
    limits.join("; ")
}

/// The rules in CEL, each with the message of the one who breaks it.
fn rules(field: &Value) -> String {
    let rules: Vec<&Value> = field["x-kubernetes-validations"].as_array().into_iter().flatten().collect();
    if rules.is_empty() {
        return String::new();
    }
    let mut list = String::from("\nRules:\n\n");
    for rule in rules {
        let _ = writeln!(list, "- {}\\\n  {}", escaped(text(&rule["message"])), code(text(&rule["rule"])));
    }
    list
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::markdown::anchors;

    #[test]
    fn every_field_of_the_specification_has_a_section() {
        let page = page().unwrap();
        let anchors = anchors(&page);
        for field in ["specmachinepublickeyhash", "specnoderegistrationtaintskey", "spectokenttlseconds"] {
            assert!(anchors.iter().any(|anchor| anchor == field), "{field} is not in {anchors:?}");
        }
    }

    #[test]
    fn a_field_is_shown_with_all_that_the_schema_says() {
        let page = page().unwrap();
        let expected = "\
### spec.tokenTTLSeconds

Seconds that the bootstrap token lives, counted from the moment at which it is made: when the machine is there.

- Type: integer
- Default: `900`
- Limits: 300 to 86400
";
        assert!(page.contains(expected), "{page}");
        let rule = "- role: cannot be changed; delete the request and create it anew\\\n  `self == oldSelf`\n";
        assert!(page.contains(rule), "{page}");
    }
}
