//! The pods that the kubelet left in the container runtime.
//!
//! Only sandboxes that carry the kubelet's own label with a pod's UID are its; whoever else uses the runtime is left
//! alone. They are stopped through CRI, so that the runtime gives back their networks as well.

use std::collections::HashMap;
use std::time::Duration;

use super::plan::Sandbox;
use crate::cri::{self, Cri};

/// The labels that the kubelet gives to each sandbox.
const POD_UID: &str = "io.kubernetes.pod.uid";
const POD_NAMESPACE: &str = "io.kubernetes.pod.namespace";
const POD_NAME: &str = "io.kubernetes.pod.name";
/// How long stopping a sandbox may take: its containers are killed and its network is taken down.
const STOP_TIMEOUT: Duration = Duration::from_mins(1);

/// The runtime did not do what was asked.
#[derive(Debug, thiserror::Error)]
#[error(
    "failed to {action}: {source}; start the container runtime (`systemctl start containerd`) and reset again, or, if it is \
     gone for good, add --keep-pods"
)]
pub struct Error {
    action: String,
    source: cri::Error,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
struct Empty {}

#[derive(Clone, PartialEq, Eq, prost::Message)]
struct ListPodSandboxResponse {
    #[prost(message, repeated, tag = "1")]
    items: Vec<PodSandbox>,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
struct PodSandbox {
    #[prost(string, tag = "1")]
    id: String,
    #[prost(map = "string, string", tag = "5")]
    labels: HashMap<String, String>,
}

/// Of `StopPodSandbox` as well as of `RemovePodSandbox`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
struct PodSandboxRequest {
    #[prost(string, tag = "1")]
    pod_sandbox_id: String,
}

/// The kubelet's sandboxes, those that have ended among them.
pub async fn list(socket: &str) -> Result<Vec<Sandbox>, Error> {
    let listed = async {
        let cri = Cri::connect(socket).await?;
        cri.call("ListPodSandbox", "/runtime.v1.RuntimeService/ListPodSandbox", Empty {}).await
    };
    let answer: ListPodSandboxResponse =
        listed.await.map_err(|source| Error { action: "list the kubelet's pods".to_owned(), source })?;
    Ok(of_kubelet(answer))
}

fn of_kubelet(answer: ListPodSandboxResponse) -> Vec<Sandbox> {
    let ours = answer.items.into_iter().filter(|sandbox| sandbox.labels.contains_key(POD_UID));
    let mut ours: Vec<Sandbox> = ours
        .map(|sandbox| {
            let label = |key| sandbox.labels.get(key).map_or("?", String::as_str);
            Sandbox { pod: format!("{}/{}", label(POD_NAMESPACE), label(POD_NAME)), id: sandbox.id.clone() }
        })
        .collect();
    ours.sort_by(|one, other| (&one.pod, &one.id).cmp(&(&other.pod, &other.id)));
    ours
}

/// Stops a sandbox with its containers, and removes it. The runtime takes both calls again for one that is gone.
pub async fn remove(socket: &str, sandbox: &Sandbox) -> Result<(), Error> {
    let request = PodSandboxRequest { pod_sandbox_id: sandbox.id.clone() };
    let removed = async {
        let cri = Cri::connect(socket).await?;
        let _: Empty = cri
            .call_within(STOP_TIMEOUT, "StopPodSandbox", "/runtime.v1.RuntimeService/StopPodSandbox", request.clone())
            .await?;
        let _: Empty = cri
            .call_within(STOP_TIMEOUT, "RemovePodSandbox", "/runtime.v1.RuntimeService/RemovePodSandbox", request)
            .await?;
        Ok(())
    };
    removed.await.map_err(|source| Error { action: format!("remove pod {}", sandbox.pod), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sandbox(id: &str, labels: &[(&str, &str)]) -> PodSandbox {
        let labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        PodSandbox { id: id.to_owned(), labels }
    }

    #[test]
    fn only_the_kubelets_sandboxes_are_taken() {
        let items = vec![
            sandbox("2", &[(POD_UID, "u"), (POD_NAMESPACE, "kube-system"), (POD_NAME, "proxy")]),
            sandbox("1", &[(POD_NAME, "made-by-hand")]),
            sandbox("3", &[(POD_UID, "v")]),
        ];
        let found = of_kubelet(ListPodSandboxResponse { items });
        let shown: Vec<_> = found.iter().map(|sandbox| (sandbox.id.as_str(), sandbox.pod.as_str())).collect();
        assert_eq!(shown, [("3", "?/?"), ("2", "kube-system/proxy")]);
    }

    #[tokio::test]
    async fn a_runtime_that_is_gone_is_told_with_the_way_out() {
        let error = list("unix:///nonexistent/runtime.sock").await.unwrap_err().to_string();
        for expected in ["/nonexistent/runtime.sock", "systemctl start containerd", "--keep-pods"] {
            assert!(error.contains(expected), "{error}");
        }
    }
}
