//! What tells a control plane's Node from others: kubeadm's `phases/markcontrolplane`.

/// The label that is `kubectl get nodes`' role, and the key of the taint.
pub const ROLE: &str = "node-role.kubernetes.io/control-plane";
/// The label that keeps cloud load balancers from sending Services' traffic there.
pub const EXCLUDE_FROM_LOAD_BALANCERS: &str = "node.kubernetes.io/exclude-from-external-load-balancers";
/// The labels that a control plane's Node gets, each with an empty value.
pub const LABELS: [&str; 2] = [ROLE, EXCLUDE_FROM_LOAD_BALANCERS];
/// The effect of the taint with the key [`ROLE`], which has no value. It is set where no taints were asked for; an empty
/// list of them asks for none.
pub const TAINT_EFFECT: &str = "NoSchedule";
