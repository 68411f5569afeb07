//! Alerts and dashboard: every metric that they name is one that the controller has, and every alert is explained.

use std::collections::BTreeSet;
use std::fs;

use join_controller::metrics::Metrics;
use join_e2e::components::Components;
use join_e2e::helm::{self, RELEASE};
use libtest_mimic::Failed;
use promql_parser::parser::{self, Expr, VectorSelector};
use promql_parser::util::{ExprVisitor, walk_expr};
use serde_json::Value;

use super::render::{Helm, file, of_kind, texts, values};
use super::suite::Suite;

pub fn alerts_and_dashboard_use_metrics_that_exist(helm: &Helm) -> Result<(), Failed> {
    let objects = helm.objects(&values("everything")?)?;
    let exposed = exposed()?;
    let mut used = BTreeSet::new();
    for expression in alerts(&objects)?.iter().map(|alert| &alert["expr"]).chain(panels(&objects)?.iter()) {
        let text = expression.as_str().ok_or("an alert or a panel without an expression")?;
        // Grafana's own variables, as it would fill them in.
        let text = text.replace("$__rate_interval", "5m").replace("$namespace", "join-system");
        let expression = parser::parse(&text).map_err(|failure| format!("{text}: {failure}"))?;
        let mut names = Names::default();
        walk_expr(&mut names, &expression).map_err(|never| format!("{text}: {never}"))?;
        assert!(!names.0.is_empty(), "{text} names no metric");
        for name in &names.0 {
            assert!(exposed.contains(name), "{text}: the controller has no metric {name}; it has {exposed:?}");
        }
        used.extend(names.0);
    }
    assert!(used.len() >= 8, "only {used:?}");
    Ok(())
}

/// The names under which the controller's metrics are stored, those of a histogram's parts included.
fn exposed() -> Result<BTreeSet<String>, Failed> {
    let text = Metrics::example().encode()?;
    let samples = text.lines().filter(|line| !line.starts_with('#'));
    Ok(samples.filter_map(|line| line.split([' ', '{']).next()).map(str::to_owned).collect())
}

#[derive(Default)]
struct Names(BTreeSet<String>);

impl ExprVisitor for Names {
    type Error = std::convert::Infallible;

    fn pre_visit(&mut self, expression: &Expr) -> Result<bool, Self::Error> {
        if let Expr::VectorSelector(VectorSelector { name: Some(name), .. }) = expression {
            self.0.insert(name.clone());
        }
        if let Expr::MatrixSelector(matrix) = expression {
            self.0.extend(matrix.vs.name.clone());
        }
        Ok(true)
    }
}

/// The types of the chart's monitors, as the definitions' files name them.
const MONITORING: [&str; 3] = ["podmonitors", "prometheusrules", "servicemonitors"];

/// Everything that the chart can render, the objects of prometheus-operator among it, is what the API server takes for
/// these types: no field that it does not know, no value that a schema refuses.
pub fn the_api_server_takes_what_is_rendered(suite: &Suite) -> Result<(), Failed> {
    let folder = Components::monitoring_definitions()?;
    let files = MONITORING.map(|name| folder.join(format!("monitoring.coreos.com_{name}.yaml")).display().to_string());
    let definitions = MONITORING.map(|name| format!("crd/{name}.monitoring.coreos.com"));
    // Beside the release itself, with whose objects these would be merged: in a namespace of their own, and in the one that
    // the values give to the dashboard.
    let namespaces = ["rendered", "monitoring"];
    for namespace in namespaces {
        suite.kubectl(&["create", "namespace", namespace])?;
    }
    for file in &files {
        suite.kubectl(&["create", "--filename", file])?;
    }
    let wait = ["wait", "--for=condition=Established", "--timeout=1m"];
    let taken = suite.kubectl(&[&wait[..], &definitions.each_ref().map(String::as_str)].concat()).and_then(|_| {
        let scratch = suite.lab().layout().folder().join("rendered.yaml");
        let mut taken = String::new();
        for values in ["everything", "pod-monitor"] {
            let file = file(&format!("values/{values}.yaml")).display().to_string();
            let chart = helm::chart().display().to_string();
            let render = ["template", RELEASE, &chart, "--namespace", "rendered", "--no-hooks", "--values", &file];
            fs::write(&scratch, suite.helm(&render)?)?;
            let path = scratch.display().to_string();
            let apply = ["apply", "--server-side", "--dry-run=server", "--force-conflicts", "--validate=strict"];
            taken += &suite.kubectl(&[&apply[..], &["--filename", &path]].concat())?;
        }
        Ok(taken)
    });
    for definition in &definitions {
        suite.kubectl(&["delete", definition])?;
    }
    for namespace in namespaces {
        suite.kubectl(&["delete", "namespace", namespace])?;
    }
    let taken = taken?;
    for kind in ["networkpolicy", "podmonitor", "servicemonitor", "prometheusrule", "poddisruptionbudget", "deployment"]
    {
        assert!(taken.contains(kind), "no {kind} was rendered and taken:\n{taken}");
    }
    Ok(())
}

fn alerts(objects: &[Value]) -> Result<Vec<Value>, Failed> {
    let rule = of_kind(objects, "PrometheusRule").next().ok_or("no PrometheusRule")?;
    Ok(rule["spec"]["groups"][0]["rules"].as_array().ok_or("no rules")?.clone())
}

/// The expressions of the dashboard's panels.
fn panels(objects: &[Value]) -> Result<Vec<Value>, Failed> {
    let dashboard = of_kind(objects, "ConfigMap").next().ok_or("no dashboard")?;
    let text = dashboard["data"]["join-operator.json"].as_str().ok_or("no dashboard in the ConfigMap")?;
    let dashboard: Value = serde_json::from_str(text)?;
    let panels = dashboard["panels"].as_array().ok_or("no panels")?;
    let targets = panels.iter().filter_map(|panel| panel["targets"].as_array()).flatten();
    Ok(targets.map(|target| target["expr"].clone()).collect())
}

/// Alerts, sections of docs/runbooks.md, links and the names that can be disabled are the same.
pub fn each_alert_has_its_runbook(helm: &Helm) -> Result<(), Failed> {
    let alerts = alerts(&helm.objects(&values("default-with-alerts")?)?)?;
    let mut names = Vec::new();
    for alert in &alerts {
        let name = alert["alert"].as_str().ok_or("an alert without a name")?;
        let link = alert["annotations"]["runbook_url"].as_str().unwrap_or_default();
        assert!(link.ends_with(&format!("docs/runbooks.md#{}", name.to_lowercase())), "{name}: {link}");
        assert!(["critical", "warning"].contains(&alert["labels"]["severity"].as_str().unwrap_or_default()), "{name}");
        for annotation in ["summary", "description"] {
            assert!(alert["annotations"][annotation].is_string(), "{name} has no {annotation}");
        }
        names.push(name);
    }
    let runbooks = fs::read_to_string(helm::chart().join("../../docs/runbooks.md"))?;
    let sections: Vec<&str> = runbooks.lines().filter_map(|line| line.strip_prefix("## ")).collect();
    assert_eq!(names, sections, "alerts, and sections of docs/runbooks.md");
    let schema: Value = serde_json::from_str(&fs::read_to_string(helm::chart().join("values.schema.json"))?)?;
    let disabled = schema.pointer("/properties/metrics/properties/prometheusRule/properties/disabled/items/enum");
    assert_eq!(names, texts(disabled.unwrap_or(&Value::Null)), "alerts, and names in values.schema.json");
    Ok(())
}
