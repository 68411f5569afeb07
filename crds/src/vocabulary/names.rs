//! Names of API objects, identities and fields.

/// API group of every kind of ours.
pub const GROUP: &str = "nodejoin.dev";
/// API version that is served and stored.
pub const VERSION: &str = "v1alpha1";
/// Group and version as `apiVersion` has them.
pub const API_VERSION: &str = "nodejoin.dev/v1alpha1";
/// Kind of a request.
pub const KIND: &str = "NodeJoinRequest";
/// Plural of a request, as in URLs and RBAC rules.
pub const PLURAL: &str = "nodejoinrequests";

/// Namespace of our own objects unless a flag says otherwise.
pub const DEFAULT_NAMESPACE: &str = "join-system";
/// Namespace of bootstrap tokens and of kubeadm's ConfigMaps.
pub const KUBE_SYSTEM: &str = "kube-system";
/// Namespace of cluster-info.
pub const KUBE_PUBLIC: &str = "kube-public";
/// ConfigMap in kube-public from which a machine learns the cluster's CA.
pub const CLUSTER_INFO: &str = "cluster-info";
/// Role and RoleBinding in kube-public with which anyone may read cluster-info; kubeadm's name.
pub const CLUSTER_INFO_ROLE: &str = "kubeadm:bootstrap-signer-clusterinfo";

/// Signer of announcements. Nothing is ever issued for it.
pub const SIGNER_MACHINE: &str = "nodejoin.dev/machine";
/// Signer of the kubelet's client certificates, in kube-controller-manager.
pub const SIGNER_KUBELET_CLIENT: &str = "kubernetes.io/kube-apiserver-client-kubelet";
/// Signer of the kubelet's serving certificates, in kube-controller-manager.
pub const SIGNER_KUBELET_SERVING: &str = "kubernetes.io/kubelet-serving";

/// Group of agents that wait for a request: they may announce a machine and read requests.
pub const GROUP_ENROLL: &str = "system:bootstrappers:nodejoin:enroll";
/// Group of machines that carry out their request.
pub const GROUP_JOIN: &str = "system:bootstrappers:nodejoin:join";
/// Group that the token of a joining control plane has beside [`GROUP_JOIN`].
pub const GROUP_CONTROL_PLANE: &str = "system:bootstrappers:nodejoin:control-plane";
/// Group of every node.
pub const GROUP_NODES: &str = "system:nodes";
/// Prefix of a bootstrap token's user name.
pub const BOOTSTRAP_USER_PREFIX: &str = "system:bootstrap:";
/// Prefix of a node's user name, and of the common name in its certificates.
pub const NODE_USER_PREFIX: &str = "system:node:";

/// Type of the Secret in which the controller records what it did for a request.
pub const SECRET_TYPE_RECORD: &str = "nodejoin.dev/record";
/// Prefix of every pin: a SHA-256 over a DER SubjectPublicKeyInfo, in 64 lower-case hexadecimal digits.
pub const PIN_PREFIX: &str = "sha256:";

/// Label that names the program which owns an object.
pub const LABEL_MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// Value of [`LABEL_MANAGED_BY`] on the controller's objects.
pub const MANAGED_BY_CONTROLLER: &str = "join-controller";
/// Label that carries the UID of the request for which an object exists.
pub const LABEL_REQUEST_UID: &str = "nodejoin.dev/request-uid";
/// Label of a record that outlives its request: the UID of the Node that came of it, with which the record goes.
pub const LABEL_NODE_UID: &str = "nodejoin.dev/node-uid";
/// Annotation that carries the node name of the request for which an object exists.
pub const ANNOTATION_NODE_NAME: &str = "nodejoin.dev/node-name";

/// Annotation of a request with which a person asks for another try; each value asks once. See [`retry_value`].
pub const ANNOTATION_RETRY: &str = "nodejoin.dev/retry";
/// Characters of an [`ANNOTATION_RETRY`] that count; the rest is cut off.
const MAX_RETRY_CHARACTERS: usize = 64;

/// Finalizer that holds a request with removal Drain until its node is drained and deleted.
pub const FINALIZER: &str = "nodejoin.dev/drain";

/// What the controller calls itself in Events.
pub const REPORTING_CONTROLLER: &str = "nodejoin.dev/join-controller";
/// ServiceAccount of the controller.
pub const SERVICE_ACCOUNT_CONTROLLER: &str = "join-controller";

/// Field manager of the controller's part of the status.
pub const MANAGER_STATUS: &str = "join-controller/status";
/// Field manager of the controller's records.
pub const MANAGER_RECORD: &str = "join-controller/record";
/// Field manager of bootstrap token Secrets.
pub const MANAGER_TOKEN: &str = "join-controller/token";
/// Field manager of cluster-info and of the right to read it.
pub const MANAGER_CLUSTER_INFO: &str = "join-controller/cluster-info";
/// Field manager of certificate decisions.
pub const MANAGER_CERTIFICATES: &str = "join-controller/certificates";
/// Field manager of labels and taints on Nodes.
pub const MANAGER_NODE: &str = "join-controller/node";
/// Field manager of the finalizer on requests.
pub const MANAGER_FINALIZER: &str = "join-controller/finalizer";
/// Field manager of the Secrets with a ready join command.
pub const MANAGER_JOIN_COMMAND: &str = "join-controller/join-command";

/// Prefix of an announcement's name.
pub const ANNOUNCEMENT_PREFIX: &str = "nodejoin-machine-";
/// Prefix of the name of an agent's request for the kubelet's first client certificate.
const CLIENT_CSR_PREFIX: &str = "nodejoin-client-";
/// Prefix of the key in cluster-info that holds a token's signature.
pub const JWS_KEY_PREFIX: &str = "jws-kubeconfig-";

/// Hexadecimal digits of a key's hash that an announcement's name carries.
const ANNOUNCEMENT_HASH_DIGITS: usize = 16;

/// Name of a machine's announcement: the same for the same node name and key, so that announcing twice is once.
///
/// `public_key_hash` is a pin (`sha256:<hex>`) or its digits alone.
pub fn announcement_name(node_name: &str, public_key_hash: &str) -> String {
    let digits = public_key_hash.strip_prefix(PIN_PREFIX).unwrap_or(public_key_hash);
    let short = digits.get(..ANNOUNCEMENT_HASH_DIGITS).unwrap_or(digits);
    format!("{ANNOUNCEMENT_PREFIX}{node_name}-{short}")
}

/// What of an [`ANNOTATION_RETRY`] is recorded and compared; `None` for one that says nothing.
pub fn retry_value(annotation: &str) -> Option<String> {
    let visible = annotation.chars().map(|character| if character.is_control() { ' ' } else { character });
    let value: String = visible.take(MAX_RETRY_CHARACTERS).collect();
    let value = value.trim();
    (!value.is_empty()).then(|| value.to_owned())
}

/// Name of the Secret in which the controller records what it did for the request with this UID.
pub fn record_name(request_uid: &str) -> String {
    format!("njr-{request_uid}")
}

/// Name of the request for the kubelet's first client certificate that an agent makes with a token.
pub fn client_csr_name(token_id: &str) -> String {
    format!("{CLIENT_CSR_PREFIX}{token_id}")
}

/// Name of the Secret that holds the join command of a request with delivery Token.
pub fn join_command_secret_name(node_name: &str) -> String {
    format!("njr-{node_name}-join-command")
}

/// User name of who holds a bootstrap token.
pub fn bootstrap_user(token_id: &str) -> String {
    format!("{BOOTSTRAP_USER_PREFIX}{token_id}")
}

/// User name of a node.
pub fn node_user(node_name: &str) -> String {
    format!("{NODE_USER_PREFIX}{node_name}")
}
