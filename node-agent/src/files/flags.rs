//! `/var/lib/kubelet/kubeadm-flags.env`.

use join_crds::{KubeletArg, Taint};

use super::go_quoted;

/// What decides the kubelet's additional flags.
pub struct FlagSource<'a> {
    /// The node's name.
    pub node_name: &'a str,
    /// The machine's host name.
    pub hostname: &'a str,
    /// The taints that the node registers with.
    pub taints: &'a [Taint],
    /// The request's own arguments, which replace defaults of the same name.
    pub extra: &'a [KubeletArg],
}

/// The file's one line: defaults sorted by name, less those that are given anew, then the given ones in their order.
pub fn kubeadm_flags_env(source: &FlagSource<'_>) -> String {
    let mut defaults: Vec<(&str, String)> = Vec::new();
    if source.node_name != source.hostname.to_lowercase() {
        defaults.push(("hostname-override", source.node_name.to_owned()));
    }
    if !source.taints.is_empty() {
        let taints: Vec<String> = source.taints.iter().map(taint).collect();
        defaults.push(("register-with-taints", taints.join(",")));
    }
    defaults.retain(|(name, _)| source.extra.iter().all(|argument| argument.name != *name));
    let given = source.extra.iter().map(|argument| (argument.name.as_str(), argument.value.clone()));
    let flags: Vec<String> =
        defaults.into_iter().chain(given).map(|(name, value)| format!("--{name}={value}")).collect();
    format!("KUBELET_KUBEADM_ARGS={}\n", go_quoted(&flags.join(" ")))
}

/// `key[=value]:Effect`
fn taint(taint: &Taint) -> String {
    let value = taint.value.as_deref().filter(|value| !value.is_empty());
    let value = value.map(|value| format!("={value}")).unwrap_or_default();
    format!("{}{value}:{}", taint.key, taint.effect.as_str())
}
