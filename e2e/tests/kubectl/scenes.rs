//! What there is before a command is typed.

use std::fs;

use join_crds::vocabulary::{CLUSTER_INFO, GROUP_JOIN, KUBE_PUBLIC, SIGNER_KUBELET_CLIENT};
use join_e2e::suite::csr;
use join_trust::machine_key::MachineKey;
use join_trust::names::NodeName;
use libtest_mimic::Failed;

use crate::check;
use crate::support::Suite;

/// The machine, node and request of every scene.
const NAME: &str = "worker-1";
/// The file in the scratch folder in which cluster-info is kept while it is gone or wrong.
const KEPT: &str = "cluster-info.json";

/// What there is beside the cluster and the operator in it, which have nothing of their own.
#[derive(Debug, Clone, Copy)]
pub enum Scene {
    Nothing,
    Announced,
    Requested,
    Stalled,
    Refused,
    JoinCommand,
    Token,
    UnendingToken,
    Well,
    NoClusterInfo,
    WrongClusterInfo,
}

impl Scene {
    /// The scene as a snapshot's heading has it.
    pub const fn in_words(self) -> &'static str {
        match self {
            Self::Nothing => "no machine, no request, no token",
            Self::Announced => "worker-1 has announced itself",
            Self::Requested => "worker-1 is requested and has not announced itself",
            Self::Stalled => "two machines have announced themselves as worker-1, which is requested",
            Self::Refused => "a certificate was asked for with another key than that of worker-1, and denied",
            Self::JoinCommand => "worker-1 is requested for stock kubeadm, and has its token",
            Self::Token => "there is one token",
            Self::UnendingToken => "there is a token without an end",
            Self::Well => "every check passes",
            Self::NoClusterInfo => "there is no cluster-info",
            Self::WrongClusterInfo => "cluster-info names no cluster",
        }
    }

    /// Makes it.
    pub fn set(self, suite: &Suite) -> Result<(), Failed> {
        match self {
            Self::Nothing => Ok(()),
            Self::Announced => suite.announce(NAME, "key").map(drop),
            Self::Requested => {
                request(suite, &[])?;
                until(suite, "Ready", "WaitingForMachine")
            }
            Self::Stalled => {
                suite.announce(NAME, "key")?;
                suite.announce(NAME, "key")?;
                request(suite, &[])?;
                until(suite, "Stalled", "MachineConflict")
            }
            Self::Refused => refused(suite),
            Self::JoinCommand => {
                request(suite, &["--delivery", "token"])?;
                until(suite, "CredentialIssued", "TokenIssued")
            }
            Self::Token => token(suite, "24h"),
            Self::UnendingToken => token(suite, "0"),
            Self::Well => check::make_well(suite),
            Self::NoClusterInfo => {
                keep_cluster_info(suite)?;
                cluster_info(suite, &["delete"]).map(drop)
            }
            Self::WrongClusterInfo => {
                keep_cluster_info(suite)?;
                let patch = r#"{"data": {"kubeconfig": "apiVersion: v1\nkind: Config\nclusters: []\n"}}"#;
                cluster_info(suite, &["patch", "--type=merge", "--patch", patch]).map(drop)
            }
        }
    }
}

/// Takes away what a scene has made and [`Suite::clean_up`] leaves.
pub fn clear(suite: &Suite) -> Result<(), Failed> {
    let kept = suite.scratch()?.join(KEPT);
    if kept.is_file() {
        suite.operator().kubectl(&["replace", "--force", "--filename", &kept.display().to_string()])?;
        fs::remove_file(&kept)?;
    }
    Ok(())
}

fn request(suite: &Suite, more: &[&str]) -> Result<(), Failed> {
    suite.njr(&[&["create", NAME, "--first-use"], more].concat())?.good().map(drop)
}

/// Waits until a condition of the request has a reason.
fn until(suite: &Suite, condition: &str, reason: &str) -> Result<(), Failed> {
    suite.wait(&format!("the reason {reason} of {condition}"), || {
        let seen = suite.reason(NAME, condition).map_err(|failure| format!("{failure:?}"))?;
        if seen == reason { Ok(()) } else { Err(seen) }
    })
}

/// Somebody has the token of a machine, and asks for a certificate with a key of his own.
fn refused(suite: &Suite) -> Result<(), Failed> {
    suite.announce(NAME, "key")?;
    request(suite, &[])?;
    until(suite, "CredentialIssued", "TokenIssued")?;
    let id = suite.operator().kubectl(&["get", "njr", NAME, "--output=jsonpath={.status.credential.tokenID}"])?;
    suite.stands_for("<id>", &id);
    let key = MachineKey::generate()?;
    suite.stands_for("sha256:<another key>", &key.pin().to_string());
    let asked = key.client_csr(&NodeName::parse(NAME)?)?.into_bytes();
    let object = csr("of-a-thief", SIGNER_KUBELET_CLIENT, &["digital signature", "client auth"], asked);
    suite.create_csr(&id, GROUP_JOIN, &object)?;
    until(suite, "Stalled", "CertificateRequestDenied")
}

fn token(suite: &Suite, ttl: &str) -> Result<(), Failed> {
    let created = suite.kubeadm(&["token", "create", "--ttl", ttl])?;
    let token = created.trim();
    let (id, _) = token.split_once('.').ok_or_else(|| format!("kubeadm has made no token: {created:?}"))?;
    suite.stands_for("<id>.<secret>", token);
    suite.stands_for("<id>", id);
    Ok(())
}

fn keep_cluster_info(suite: &Suite) -> Result<(), Failed> {
    fs::write(suite.scratch()?.join(KEPT), cluster_info(suite, &["get", "--output=json"])?)?;
    Ok(())
}

fn cluster_info(suite: &Suite, arguments: &[&str]) -> Result<String, Failed> {
    let namespace = format!("--namespace={KUBE_PUBLIC}");
    Ok(suite.operator().kubectl(&[arguments, &["configmap", CLUSTER_INFO, &namespace]].concat())?)
}
