//! The rights that each of those who run the checks needs.

use join_crds::vocabulary::{
    CLUSTER_INFO, GROUP, KUBE_PUBLIC, KUBE_SYSTEM, PLURAL, SIGNER_KUBELET_CLIENT, SIGNER_KUBELET_SERVING,
};

const CERTIFICATES: &str = "certificates.k8s.io";
const RBAC: &str = "rbac.authorization.k8s.io";
const ADMISSION: &str = "admissionregistration.k8s.io";

/// One thing that somebody may do.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Right {
    /// The verb.
    pub verb: &'static str,
    /// The API group; empty for the core.
    pub group: &'static str,
    /// The resource.
    pub resource: &'static str,
    /// The subresource, or nothing.
    pub subresource: &'static str,
    /// The namespace, or nothing for all and for what has none.
    pub namespace: String,
    /// The object's name, or nothing for any.
    pub name: &'static str,
}

impl Right {
    fn new(verb: &'static str, group: &'static str, resource: &'static str) -> Self {
        let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
        Self { verb, group, resource, subresource, namespace: String::new(), name: "" }
    }

    fn within(self, namespace: &str) -> Self {
        Self { namespace: namespace.to_owned(), ..self }
    }

    fn named(self, name: &'static str) -> Self {
        Self { name, ..self }
    }
}

impl std::fmt::Display for Right {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.verb, self.resource)?;
        if !self.subresource.is_empty() {
            write!(f, "/{}", self.subresource)?;
        }
        if !self.group.is_empty() {
            write!(f, ".{}", self.group)?;
        }
        if !self.name.is_empty() {
            write!(f, " {}", self.name)?;
        }
        if !self.namespace.is_empty() {
            write!(f, " in {}", self.namespace)?;
        }
        Ok(())
    }
}

/// What it takes to install the chart.
pub fn installer(namespace: &str) -> Vec<Right> {
    let mut rights = vec![
        Right::new("create", "", "namespaces"),
        Right::new("create", "apiextensions.k8s.io", "customresourcedefinitions"),
        Right::new("create", RBAC, "clusterroles"),
        Right::new("create", RBAC, "clusterrolebindings"),
        Right::new("create", ADMISSION, "validatingadmissionpolicies"),
        Right::new("create", ADMISSION, "validatingadmissionpolicybindings"),
        Right::new("create", "apps", "deployments").within(namespace),
        Right::new("create", "", "serviceaccounts").within(namespace),
        Right::new("create", "", "secrets").within(namespace),
    ];
    for place in [namespace, KUBE_SYSTEM, KUBE_PUBLIC] {
        rights.push(Right::new("create", RBAC, "roles").within(place));
        rights.push(Right::new("create", RBAC, "rolebindings").within(place));
    }
    rights
}

/// What it takes to have machines join.
pub fn administrator() -> Vec<Right> {
    let mut rights: Vec<Right> = ["get", "list", "create", "delete"].map(|verb| Right::new(verb, GROUP, PLURAL)).into();
    rights.extend(["list", "delete"].map(|verb| Right::new(verb, CERTIFICATES, "certificatesigningrequests")));
    rights.push(Right::new("create", "", "secrets").within(KUBE_SYSTEM));
    rights.push(Right::new("list", "", "nodes"));
    rights
}

/// What the controller needs, as the chart grants it.
pub fn controller(namespace: &str) -> Vec<Right> {
    let mut rights = Vec::new();
    let mut need = |verbs: &[&'static str], group, resource, namespace: &str, name| {
        rights.extend(verbs.iter().map(|verb| Right::new(verb, group, resource).within(namespace).named(name)));
    };
    need(&["get", "list", "watch", "patch"], GROUP, PLURAL, "", "");
    need(&["get", "patch"], GROUP, "nodejoinrequests/status", "", "");
    need(&["get", "list", "watch"], CERTIFICATES, "certificatesigningrequests", "", "");
    need(&["update"], CERTIFICATES, "certificatesigningrequests/approval", "", "");
    need(&["approve"], CERTIFICATES, "signers", "", SIGNER_KUBELET_CLIENT);
    need(&["approve"], CERTIFICATES, "signers", "", SIGNER_KUBELET_SERVING);
    need(&["get", "list", "watch", "patch", "delete"], "", "nodes", "", "");
    need(&["list"], "", "pods", "", "");
    need(&["create"], "", "pods/eviction", "", "");
    need(&["create", "patch"], "events.k8s.io", "events", "", "");
    need(&["create", "delete"], "", "secrets", KUBE_SYSTEM, "");
    need(&["get", "list", "watch", "patch"], "", "configmaps", KUBE_PUBLIC, CLUSTER_INFO);
    need(&["create"], "", "configmaps", KUBE_PUBLIC, "");
    need(&["get", "list", "watch", "create", "patch", "delete"], "", "secrets", namespace, "");
    need(&["get", "create", "update"], "coordination.k8s.io", "leases", namespace, "");
    rights
}

/// What the controller must not be able to do: with these, whoever took it over would have the cluster.
pub fn too_much_for_the_controller() -> Vec<Right> {
    vec![
        // With the right to create them, this gives the token of any ServiceAccount in kube-system.
        Right::new("get", "", "secrets").within(KUBE_SYSTEM),
        Right::new("list", "", "secrets").within(KUBE_SYSTEM),
        Right::new("sign", CERTIFICATES, "signers").named(SIGNER_KUBELET_CLIENT),
        Right::new("approve", CERTIFICATES, "signers").named("kubernetes.io/kube-apiserver-client"),
        Right::new("create", GROUP, PLURAL),
        Right::new("update", GROUP, PLURAL),
    ]
}
