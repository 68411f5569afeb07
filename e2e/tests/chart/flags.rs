//! The Deployment starts the controller with flags that it knows, and with what the values say.

use clap::Parser as _;
use join_controller::cli::Cli;
use libtest_mimic::Failed;
use serde_json::{Value, json};

use super::golden::SETS;
use super::render::{Helm, of_kind, texts, values};

pub fn flags_are_the_controllers(helm: &Helm) -> Result<(), Failed> {
    for set in SETS {
        let values = values(set)?;
        let cli = parsed(helm, &values)?;
        assert_eq!(cli.namespace, "from-the-pod");
        let expected = values["metrics"]["secure"].as_bool().unwrap_or(true);
        assert_eq!(cli.metrics_secure, expected && values["metrics"]["enabled"] != false, "{set}");
    }
    let cli = parsed(helm, &values("everything")?)?;
    assert_eq!(cli.cluster_endpoint.as_deref(), Some("cluster.example.com:6443"));
    assert_eq!(cli.forbidden_networks, ["192.0.2.0/24", "2001:db8::/32"]);
    assert_eq!((cli.concurrency, cli.max_joins_in_flight, cli.signer_timeout_seconds), (7, 77, 777));
    assert_eq!(cli.health_address.port(), 9081);
    // The chart's defaults are the controller's own, so that an omitted value means the same in both.
    let (chart, own) = (parsed(helm, &json!({}))?, Cli::try_parse_from(["join-controller"])?);
    assert_eq!(
        (chart.concurrency, chart.max_joins_in_flight, chart.signer_timeout_seconds, chart.health_address),
        (own.concurrency, own.max_joins_in_flight, own.signer_timeout_seconds, own.health_address)
    );
    Ok(())
}

/// The Deployment's arguments as the controller reads them.
fn parsed(helm: &Helm, values: &Value) -> Result<Cli, Failed> {
    let objects = helm.objects(values)?;
    let deployment = of_kind(&objects, "Deployment").next().ok_or("no Deployment")?;
    let arguments = texts(&deployment["spec"]["template"]["spec"]["containers"][0]["args"]);
    let filled_in = arguments.iter().map(|argument| argument.replace("$(POD_NAMESPACE)", "from-the-pod"));
    Ok(Cli::try_parse_from(["join-controller".to_owned()].into_iter().chain(filled_in))?)
}
