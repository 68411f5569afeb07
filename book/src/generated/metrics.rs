//! The controller's metrics, from what a controller with one sample of each would answer.

use std::collections::BTreeMap;

use super::table::{code, head, row};
use super::{Error, note};

const INTRODUCTION: &str = "\
# Metrics

The controller serves them at `/metrics`, in the text format of OpenMetrics, over TLS and to callers who may read them: who
has a token with which the API server lets them `get` the path `/metrics`. [Install](../install.md#metrics) says how to
give Prometheus that right.
";

/// One family of metrics.
#[derive(Debug, Default, PartialEq, Eq)]
struct Family {
    help: String,
    kind: String,
    unit: String,
    labels: Vec<String>,
}

/// The page.
pub fn page() -> Result<String, Error> {
    let text = join_controller::metrics::Metrics::example().encode()?;
    let mut page = note("controller/src/metrics.rs");
    page.push_str(INTRODUCTION);
    page.push('\n');
    page.push_str(&head(&["Metric", "Type", "Labels", "Meaning"]));
    for (name, family) in families(&text) {
        // As the samples are called, which is what one types into a query.
        let name = match family.kind.as_str() {
            "counter" => format!("{name}_total"),
            "info" => format!("{name}_info"),
            _ => name,
        };
        let labels: Vec<String> = family.labels.iter().map(|label| code(label)).collect();
        let kind = if family.kind == "info" { "gauge, always 1" } else { &family.kind };
        page.push_str(&row(&[&code(&name), kind, &labels.join(", "), &family.help]));
    }
    page.push_str(
        "\nA histogram has the three series `_bucket`, `_sum` and `_count`. The alerts that the chart brings are explained \
         among the\n[Runbooks](../runbooks.md).\n",
    );
    Ok(page)
}

/// The families of a text in the format of OpenMetrics.
fn families(text: &str) -> BTreeMap<String, Family> {
    let mut families: BTreeMap<String, Family> = BTreeMap::new();
    let mut current = String::new();
    for line in text.lines() {
        let mut words = line.splitn(4, ' ');
        match (words.next(), words.next(), words.next(), words.next()) {
            (Some("#"), Some("HELP"), Some(name), Some(help)) => {
                help.clone_into(&mut families.entry(name.to_owned()).or_default().help);
                name.clone_into(&mut current);
            }
            (Some("#"), Some("TYPE"), Some(name), Some(kind)) => {
                kind.clone_into(&mut families.entry(name.to_owned()).or_default().kind);
                name.clone_into(&mut current);
            }
            (Some("#"), ..) => {}
            _ => {
                if let Some(family) = families.get_mut(&current) {
                    for label in labels(line) {
                        if !family.labels.contains(&label) {
                            family.labels.push(label);
                        }
                    }
                }
            }
        }
    }
    families
}

/// The names of a sample's labels. The buckets of a histogram are not told: everyone knows them.
fn labels(sample: &str) -> Vec<String> {
    let Some((_, rest)) = sample.split_once('{') else { return Vec::new() };
    let names = rest.split("=\"").filter_map(|before| before.rsplit([',', '{']).next());
    let names = names.map(|name| name.trim_matches('"').to_owned());
    let is_name = |name: &String| !name.is_empty() && name.chars().all(|one| one.is_ascii_alphanumeric() || one == '_');
    // What stands behind the last quote is the sample's value.
    let count = rest.matches("=\"").count();
    names.take(count).filter(is_name).filter(|name| name != "le").collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_are_read_with_their_labels() {
        let text = "# HELP a_b Some things.\n# TYPE a_b counter\na_b_total{x=\"1\",y=\"2,z\"} 1\n\
                    # HELP c Others.\n# TYPE c histogram\nc_bucket{stage=\"r\",le=\"1.0\"} 3\n# EOF\n";
        let families = families(text);
        assert_eq!(families["a_b"].help, "Some things.");
        assert_eq!(families["a_b"].labels, ["x", "y"]);
        assert_eq!((families["c"].kind.as_str(), &families["c"].labels[..]), ("histogram", &["stage".to_owned()][..]));
    }
}
