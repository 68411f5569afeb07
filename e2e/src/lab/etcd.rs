//! What etcd says of its members, by the JSON form of its API (etcd's documentation, "gRPC gateway").

use std::fs;
use std::net::Ipv4Addr;

use serde::Deserialize;

use super::Lab;
use super::command;
use super::error::{Error, at};

/// A member of etcd's cluster. Field names are those of etcd's `rpc.proto`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Member {
    /// Empty until the member has started.
    #[serde(default)]
    pub name: String,
    /// Where the other members reach it.
    #[serde(rename = "peerURLs")]
    pub peer_urls: Vec<String>,
    /// Whether it only learns, and has no vote yet.
    #[serde(default)]
    pub is_learner: bool,
}

#[derive(Deserialize)]
struct MemberList {
    members: Vec<Member>,
}

impl Lab {
    /// Asks the member at `address` for all members, in the order of their names. etcd answers only with a quorum.
    pub fn etcd_members(&self, address: Ipv4Addr) -> Result<Vec<Member>, Error> {
        const CERTIFICATES: &str = "/etc/kubernetes/pki/etcd";
        let request = self.layout.folder().join("etcd-request.json");
        fs::write(&request, "{}").map_err(at(&request))?;
        let mut kubectl = self.kubectl()?;
        kubectl
            .env("KUBECONFIG", "/dev/null")
            .arg(format!("--server=https://{address}:2379"))
            .arg(format!("--certificate-authority={CERTIFICATES}/ca.crt"))
            .arg(format!("--client-certificate={CERTIFICATES}/healthcheck-client.crt"))
            .arg(format!("--client-key={CERTIFICATES}/healthcheck-client.key"))
            .args(["create", "--raw=/v3/cluster/member/list", "--filename"])
            .arg(&request);
        let printed = command::run(&mut kubectl)?.stdout;
        let list: MemberList = serde_json::from_str(&printed)
            .map_err(|failure| Error::Etcd { reason: failure.to_string(), answer: printed })?;
        let mut members = list.members;
        members.sort();
        Ok(members)
    }
}
