//! The rules that the API server applies to a request, in CEL.
//!
//! A rule here says what bounds and patterns cannot: what may never change, what goes together, which values are
//! reserved. Each message names the field and the rule, since it is all that the sender of a refused request sees.
//! Every list and string that a rule walks is bounded in the schema: the API server refuses a type whose rules could
//! take too long (1,000,000 cost units for one rule).

use kube_core::Rule;

/// Flags of the kubelet that the join sets itself, so that a request may not.
///
/// Some decide which node the kubelet is and with which credential; the others have a field of their own.
pub const CONTROLLED_KUBELET_ARGS: [&str; 10] = [
    "bootstrap-kubeconfig",
    "cert-dir",
    "config",
    "container-runtime-endpoint",
    "hostname-override",
    "kubeconfig",
    "register-node",
    "register-with-taints",
    "root-dir",
    "rotate-certificates",
];

/// Labels that the kubelet sets and keeps itself, and the one that makes a Node a control plane.
pub const CONTROLLED_LABELS: [&str; 6] = [
    "beta.kubernetes.io/arch",
    "beta.kubernetes.io/os",
    "kubernetes.io/arch",
    "kubernetes.io/hostname",
    "kubernetes.io/os",
    "node-role.kubernetes.io/control-plane",
];

/// A node's name is the value of the label kubernetes.io/hostname, and a label's value has 63 characters at most.
pub(crate) fn name_length() -> Rule {
    Rule::new("self.metadata.name.size() <= 63")
        .message("metadata.name: is the node's name, and must have at most 63 characters")
}

/// A node's serving certificate may name the node, so its name must not be one by which the API server is called.
pub(crate) fn name_not_reserved() -> Rule {
    Rule::new(
        "!(self.metadata.name in ['kubernetes', 'localhost']) && !self.metadata.name.startsWith('kubernetes.default')",
    )
    .message(
        "metadata.name: is the node's name, and must not be one of the API server's own: localhost, kubernetes, \
         kubernetes.default and names below it",
    )
}

/// Who may become this node is decided once.
pub(crate) fn immutable(field: &str) -> Rule {
    Rule::new("self == oldSelf")
        .message(format!("{field}: cannot be changed; delete the request and create it anew").as_str())
}

/// [`immutable`] for controlPlane, which comes and goes with the role alone.
pub(crate) fn control_plane_immutable() -> Rule {
    Rule::new("!has(self.controlPlane) || !has(oldSelf.controlPlane) || self.controlPlane == oldSelf.controlPlane")
        .message("controlPlane: cannot be changed; delete the request and create it anew")
        .field_path(".controlPlane")
}

/// What only a control plane has needs the role.
pub(crate) fn control_plane_needs_role() -> Rule {
    Rule::new("!has(self.controlPlane) || self.role == 'ControlPlane'")
        .message("controlPlane: needs role ControlPlane")
        .field_path(".controlPlane")
}

/// A control plane cannot be made without the key to the certificates that it shares.
pub(crate) fn role_needs_control_plane() -> Rule {
    Rule::new("self.role != 'ControlPlane' || has(self.controlPlane)")
        .message("controlPlane: role ControlPlane needs controlPlane.certificateKeySecret")
        .field_path(".controlPlane")
}

/// Who becomes a control plane gets the keys of the cluster's certificate authorities: that machine is known beforehand,
/// and nobody but it can open what is sealed to it.
pub(crate) fn control_plane_needs_pin() -> Rule {
    Rule::new("self.role != 'ControlPlane' || (has(self.machine.publicKeyHash) && self.delivery == 'Sealed')")
        .message("role: ControlPlane needs machine.publicKeyHash and delivery Sealed")
        .field_path(".role")
}

/// The form of a Secret's name.
pub(crate) fn secret_name() -> Rule {
    Rule::new("self.matches('^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$')")
        .message("certificateKeySecret: must be the name of a Secret: lower-case letters, digits, hyphens and dots")
}

/// kubeadm makes its own key on the machine: there is none that could be pinned beforehand.
pub(crate) fn token_delivery_needs_first_use() -> Rule {
    Rule::new("self.delivery != 'Token' || self.machine.trust == 'FirstUse'")
        .message(
            "delivery: Token needs machine.trust FirstUse, because kubeadm makes its own key on the machine and the \
             first certificate request with the token decides",
        )
        .field_path(".delivery")
}

/// The kubelet's address is one that its certificate may name. Pairs are for dual stack, the unspecified addresses
/// stand for "whatever the machine has".
pub(crate) fn node_ip_is_an_address() -> Rule {
    Rule::new(
        "!has(self.nodeRegistration) || !has(self.nodeRegistration.kubeletExtraArgs) || \
         self.nodeRegistration.kubeletExtraArgs.all(arg, arg.name != 'node-ip' || arg.value in ['0.0.0.0', '::'] || \
         (has(self.addresses) && (arg.value in self.addresses || \
         self.addresses.exists(one, self.addresses.exists(other, arg.value == one + ',' + other)))))",
    )
    .message(
        "nodeRegistration.kubeletExtraArgs: node-ip must be one of spec.addresses, or two of them with a comma \
         between, or 0.0.0.0, or ::",
    )
    .field_path(".nodeRegistration")
}

/// A key is either known beforehand or taken at first use.
pub(crate) fn pin_or_first_use() -> Rule {
    Rule::new("has(self.publicKeyHash) != (self.trust == 'FirstUse')").message(
        "machine: needs either publicKeyHash (the hash that join-agent status prints) or trust FirstUse, and not both",
    )
}

/// The form of a pin, with a message that says where to get one.
pub(crate) fn public_key_hash() -> Rule {
    Rule::new("self.matches('^sha256:[0-9a-f]{64}$')")
        .message("publicKeyHash: must be sha256: and 64 lower-case hexadecimal digits, as join-agent status prints it")
}

/// The form of a container runtime's socket.
pub(crate) fn cri_socket() -> Rule {
    Rule::new("self.matches('^unix://(/[A-Za-z0-9._@%+:=-]+)+$')")
        .message("criSocket: must be unix:// and an absolute path, such as unix:///run/containerd/containerd.sock")
}

/// A control plane has an etcd member to be taken out first; a promise that nobody keeps must not be accepted.
pub(crate) fn drain_needs_worker() -> Rule {
    Rule::new("self.removal != 'Drain' || self.role == 'Worker'")
        .message("removal: Drain needs role Worker; use Retain for a control plane")
        .field_path(".removal")
}

/// A Node makes room for one machine that is known beforehand. Whoever announces himself first under a node's name must not
/// be able to have that Node deleted.
pub(crate) fn replacing_needs_pin() -> Rule {
    Rule::new("!has(self.replacesNodeUID) || has(self.machine.publicKeyHash)")
        .message("replacesNodeUID: needs machine.publicKeyHash, since a Node is replaced by a machine that is known")
        .field_path(".replacesNodeUID")
}

/// The form in which the API server makes UIDs.
pub(crate) fn replaced_uid() -> Rule {
    Rule::new("self.matches('^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$')")
        .message("replacesNodeUID: must be a Node's UID, as the request's message about that Node has it")
}

/// The form of a flag's name. The kubelet takes `_` for `-`, so only one spelling is let through.
pub(crate) fn kubelet_arg_name() -> Rule {
    Rule::new("self.matches('^[a-z0-9]+(-[a-z0-9]+)*$')").message(
        "kubeletExtraArgs: a name must be a flag of the kubelet in lower case without leading dashes, such as node-ip",
    )
}

/// Flags that the join sets itself.
pub(crate) fn kubelet_arg_not_controlled() -> Rule {
    Rule::new(format!("!(self in {})", cel_list(&CONTROLLED_KUBELET_ARGS))).message(
        format!(
            "kubeletExtraArgs: must not name a flag that the join sets itself: {}",
            CONTROLLED_KUBELET_ARGS.join(", ")
        )
        .as_str(),
    )
}

/// systemd splits the kubelet's flags at white space: a value with a space in it would be two flags.
pub(crate) fn kubelet_arg_value() -> Rule {
    Rule::new(r"self.matches('^[!#-&(-\\[\\]-~]*$')")
        .message("kubeletExtraArgs: a value must be printable ASCII without white space, quotes and backslashes")
}

/// The form of a label's key.
pub(crate) fn label_keys() -> Rule {
    Rule::new("self.all(key, !format.qualifiedName().validate(key).hasValue())").message(
        "labels: a key must be up to 63 letters, digits, '-', '_' and '.', with an optional DNS name and '/' before",
    )
}

/// Labels that are not the request's to set.
pub(crate) fn labels_not_controlled() -> Rule {
    Rule::new(format!("self.all(key, !(key in {}) && !key.startsWith('nodejoin.dev/'))", cel_list(&CONTROLLED_LABELS)))
        .message(
            format!(
                "labels: must not set a label that the kubelet or the join sets itself: {}, and those of nodejoin.dev",
                CONTROLLED_LABELS.join(", ")
            )
            .as_str(),
        )
}

/// The form of a taint's key.
pub(crate) fn taint_key() -> Rule {
    Rule::new("!format.qualifiedName().validate(self).hasValue()").message(
        "taints: a key must be up to 63 letters, digits, '-', '_' and '.', with an optional DNS name and '/' before",
    )
}

/// Taints by which Kubernetes tells a node's health come and go by themselves.
pub(crate) fn taint_not_controlled() -> Rule {
    Rule::new("!self.startsWith('node.kubernetes.io/') && !self.startsWith('nodejoin.dev/')")
        .message("taints: a key must not be of node.kubernetes.io or nodejoin.dev, which are set by controllers")
}

/// kubeadm refuses a list that has both.
pub(crate) fn ignore_all_alone() -> Rule {
    Rule::new("self.size() == 1 || self.all(name, name.lowerAscii() != 'all')")
        .message("ignorePreflightErrors: all stands for every check, and must be the only entry")
}

/// What is not an address at all. IPv4 in IPv6 notation and zones are refused with it.
pub(crate) fn address_form() -> Rule {
    Rule::new("isIP(self)").message("must be an IP address, such as 192.0.2.17 or 2001:db8::17, without prefix or zone")
}

/// Addresses are compared as text in other places, so each has one spelling.
pub(crate) fn address_canonical() -> Rule {
    Rule::new("!isIP(self) || ip.isCanonical(self)")
        .message("must be written in the canonical form of RFC 5952: lower case, zeros shortened, such as 2001:db8::17")
}

/// Addresses at which no other machine could reach this one, or that every machine has.
pub(crate) fn address_of_one_machine() -> Rule {
    Rule::new("!isIP(self) || ip(self).isGlobalUnicast()")
        .message("must be an address of one machine: not loopback, link-local, unspecified, multicast or broadcast")
}

/// A list of strings as CEL writes it. The entries are constants without quotes.
fn cel_list(entries: &[&str]) -> String {
    let quoted: Vec<String> = entries.iter().map(|entry| format!("'{entry}'")).collect();
    format!("[{}]", quoted.join(", "))
}
