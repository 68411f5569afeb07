//! The kubeconfigs of a control plane (kubeadm's `phases/kubeconfig`). The kubelet's is not among them: a kubelet gets its
//! certificate from the cluster.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use join_trust::go_yaml;
use k8s_openapi::ByteString;
use serde::Serialize as _;

use crate::authority::Authority;
use crate::certificates::{CLUSTER_ADMINS, CertificateError, Leaf, certificate_pem, not_after};
use crate::configuration::ClusterConfiguration;
use crate::file::File;
use crate::member::Member;

/// An administrator's kubeconfig.
pub const ADMIN_CONF: &str = "/etc/kubernetes/admin.conf";
/// kube-controller-manager's kubeconfig.
pub const CONTROLLER_MANAGER_CONF: &str = "/etc/kubernetes/controller-manager.conf";
/// kube-scheduler's kubeconfig.
pub const SCHEDULER_CONF: &str = "/etc/kubernetes/scheduler.conf";

/// The three kubeconfigs, each with a certificate and a key of its own. The administrator's leads to any API server, the
/// others to the member's own, which may be of another version than theirs while the cluster is upgraded.
///
/// `authorities` are the shared files (see [`crate::shared::decrypt`]), and `now` the moment at which the join began.
pub fn kubeconfigs(
    configuration: &ClusterConfiguration,
    member: &Member,
    authorities: &[File],
    now: SystemTime,
) -> Result<Vec<File>, CertificateError> {
    let folder = Path::new(&configuration.certificates_dir);
    let authority = Authority::find(authorities, &folder.join("ca.crt"), &folder.join("ca.key"))?;
    let everywhere = configuration.control_plane_endpoint.url(member.bind_port);
    let own = member.api_server_url();
    let users = [
        (ADMIN_CONF, "kubernetes-admin", Some(CLUSTER_ADMINS), &everywhere),
        (CONTROLLER_MANAGER_CONF, "system:kube-controller-manager", None, &own),
        (SCHEDULER_CONF, "system:kube-scheduler", None, &own),
    ];
    // kubeadm gives these no beginning of their own.
    let valid = (authority.not_before, not_after(now, configuration.certificate_validity)?);
    users
        .into_iter()
        .map(|(path, user, organization, server)| {
            let leaf = Leaf::client(user, organization);
            let (certificate, key) = leaf.issue(&authority, configuration.key_algorithm, valid)?;
            let cluster = configuration.cluster_name.as_str();
            let context = format!("{user}@{cluster}");
            let authority = certificate_pem(authority.der())?;
            let text = go_yaml::to_string(&serde_json::json!({
                "apiVersion": "v1",
                "kind": "Config",
                "current-context": context,
                "clusters": [{
                    "name": cluster,
                    "cluster": {"server": server, "certificate-authority-data": base64(authority.as_bytes())},
                }],
                "contexts": [{"name": context, "context": {"cluster": cluster, "user": user}}],
                "users": [{
                    "name": user,
                    "user": {
                        "client-certificate-data": base64(certificate.as_bytes()),
                        "client-key-data": base64(key.as_bytes()),
                    },
                }],
            }))?;
            Ok(File::new(PathBuf::from(path), File::PRIVATE, text))
        })
        .collect()
}

fn base64(bytes: &[u8]) -> serde_json::Value {
    // The API's own type of bytes has the encoding that is wanted.
    ByteString(bytes.to_vec()).serialize(serde_json::value::Serializer).unwrap_or_default()
}
