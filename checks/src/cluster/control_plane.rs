//! The cluster's own part of a join: API server, cluster-info, signer.

use join_crds::vocabulary::{CLUSTER_INFO_ROLE, KUBE_PUBLIC, Reason, SIGNER_KUBELET_CLIENT, SIGNER_KUBELET_SERVING};
use join_trust::ca_bundle::CaTrust;
use join_trust::cluster_info::{ClusterInfo, ClusterInfoError, KUBECONFIG_KEY};
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::jiff::Timestamp;

use super::facts::{Facts, Look, Server, Signature};
use super::freshness::{Held, held, seconds_since, span};
use super::ids;
use super::shell::some_of;
use crate::Finding;

/// The oldest minor version of Kubernetes 1 that is supported.
const OLDEST_MINOR: u32 = 35;
/// The newest minor version that this was tried with.
const NEWEST_MINOR: u32 = 37;
/// A token that was made for this many seconds may still be without signature: a controller has to see it first.
const SIGNATURE_GRACE_SECONDS: i64 = 30;
/// An approved request that has no certificate after this many seconds will not get one.
const SIGNER_GRACE_SECONDS: i64 = 60;
/// Clocks that differ by more seconds make certificates and tokens that are not valid yet, or not any more.
const MAX_SKEW_SECONDS: i64 = 60;

pub(super) fn reachable(facts: &Facts) -> Finding {
    const EXPECTED: &str = "the API server answers";
    match &facts.server {
        Look::Found(server) => Finding::passed(ids::API_REACHABLE, EXPECTED, format!("{} answers", server.url)),
        other => Finding::failed(
            ids::API_REACHABLE,
            EXPECTED,
            other.obstacle().unwrap_or("the API server has no /version"),
            "look at the address and the credentials of the context: kubectl config view --minify, then kubectl version",
        ),
    }
}

pub(super) fn version(server: &Server) -> Finding {
    let expected = format!("Kubernetes 1.{OLDEST_MINOR} to 1.{NEWEST_MINOR}");
    match server.number {
        Some((1, OLDEST_MINOR..=NEWEST_MINOR, _)) => Finding::passed(ids::API_VERSION, expected, &server.version),
        Some((1, minor, _)) if minor < OLDEST_MINOR => Finding::failed(
            ids::API_VERSION,
            expected,
            format!("{} is older, and out of its own support", server.version),
            "upgrade the control plane: kubeadm upgrade plan",
        ),
        Some(_) => Finding::failed(
            ids::API_VERSION,
            expected,
            format!("{} is newer than what this version was tried with", server.version),
            "upgrade join-operator when there is a version for it",
        )
        .as_warning(),
        None => Finding::failed(
            ids::API_VERSION,
            expected,
            format!("{:?} is no version of the form v1.37.2", server.version),
            "find out what answers at this address: kubectl version --output=yaml",
        )
        .as_warning(),
    }
}

pub(super) fn clock(server: &Server) -> Finding {
    let expected = format!("the API server's clock and this machine's differ by {MAX_SKEW_SECONDS} seconds at most");
    let Some(skew) = server.skew_seconds else {
        return Finding::skipped(ids::CLOCK_SKEW, expected, "the API server's answers carry no date");
    };
    let observed = match skew {
        -1..=1 => "they agree to a second or two".to_owned(),
        2.. => format!("the API server's is {} before this machine's", span(skew)),
        _ => format!("the API server's is {} behind this machine's", span(-skew)),
    };
    if skew.abs() <= MAX_SKEW_SECONDS {
        return Finding::passed(ids::CLOCK_SKEW, expected, observed);
    }
    let remedy =
        "compare both with a third and correct the wrong one: timedatectl timesync-status, or chronyc tracking";
    Finding::failed(ids::CLOCK_SKEW, expected, observed, remedy).as_warning()
}

/// cluster-info. Before the first join it may be missing where kubeadm did not make it; the controller then does.
pub(super) fn cluster_info(facts: &Facts) -> Finding {
    const EXPECTED: &str = "kube-public/cluster-info names this cluster's address and certificate authority";
    const REMEDY: &str = "on a control plane: kubeadm init phase bootstrap-token; or, if the controller runs with --cluster-endpoint, delete it, and it is written anew: kubectl -n kube-public delete configmap cluster-info";
    let failed = |observed: String| Finding::failed(ids::CLUSTER_INFO, EXPECTED, observed, REMEDY);
    let map = match &facts.cluster_info {
        Look::Found(map) => map,
        Look::Absent => {
            let remedy = "nothing to do: the controller makes it for the first join, if it runs with --cluster-endpoint; or on a control plane: kubeadm init phase bootstrap-token";
            return Finding::failed(ids::CLUSTER_INFO, EXPECTED, "there is none", remedy).as_warning();
        }
        other => return Finding::skipped(ids::CLUSTER_INFO, EXPECTED, other.obstacle().unwrap_or_default()),
    };
    let info = match parsed(map) {
        Ok(info) => info,
        Err(error) => return failed(error.to_string()),
    };
    let pins = info.ca_pins();
    let listed: Vec<String> = pins.iter().map(ToString::to_string).collect();
    if !facts.trusted.is_empty() && !facts.trusted.iter().any(|pin| pins.matches(pin)) {
        let trusted: Vec<String> = facts.trusted.iter().map(ToString::to_string).collect();
        return failed(format!(
            "its certificate authority has pin {}, and this connection was verified with {}: it is another cluster's, or somebody changed it",
            some_of(&listed),
            some_of(&trusted)
        ));
    }
    Finding::passed(
        ids::CLUSTER_INFO,
        EXPECTED,
        format!("{}, certificate authority {}", info.endpoint().url(), some_of(&listed)),
    )
}

fn parsed(map: &ConfigMap) -> Result<ClusterInfo, ClusterInfoError> {
    let text = map.data.as_ref().and_then(|data| data.get(KUBECONFIG_KEY)).ok_or(ClusterInfoError::NoKubeconfig)?;
    // Nobody trusts it here: what it holds is compared with what this connection was verified with.
    ClusterInfo::parse(text, &CaTrust::UnsafeAny)
}

pub(super) fn anonymous(facts: &Facts) -> Finding {
    const EXPECTED: &str = "a machine without credentials can read kube-public/cluster-info";
    let grant = format!(
        "kubectl -n {KUBE_PUBLIC} create role {CLUSTER_INFO_ROLE} --verb=get --resource=configmaps --resource-name=cluster-info; kubectl -n {KUBE_PUBLIC} create rolebinding {CLUSTER_INFO_ROLE} --role={CLUSTER_INFO_ROLE} --user=system:anonymous"
    );
    let failed =
        |observed: &str, remedy: &str| Finding::failed(ids::CLUSTER_INFO_ANONYMOUS, EXPECTED, observed, remedy);
    match &facts.anonymous {
        Look::Found(200) => {
            Finding::passed(ids::CLUSTER_INFO_ANONYMOUS, EXPECTED, "it is answered without credentials")
        }
        Look::Found(401) => failed(
            "401 Unauthorized: the API server refuses everybody without credentials",
            "allow this one path in the API server's AuthenticationConfiguration (anonymous.conditions.path), or give agents a kubeconfig instead of a token",
        ),
        Look::Found(403) => failed("403 Forbidden: no Role and RoleBinding allow it", &grant),
        Look::Found(404) => {
            Finding::skipped(ids::CLUSTER_INFO_ANONYMOUS, EXPECTED, "404 Not Found: there is no cluster-info yet")
        }
        Look::Found(status) => failed(
            &format!("the answer is {status}"),
            "look what stands before the API server: a proxy, or a load balancer",
        ),
        other => Finding::skipped(ids::CLUSTER_INFO_ANONYMOUS, EXPECTED, other.obstacle().unwrap_or_default()),
    }
}

pub(super) fn signatures(facts: &Facts) -> Finding {
    const EXPECTED: &str = "cluster-info has the right signature of every live token";
    let tokens = match &facts.tokens {
        Look::Found(tokens) => tokens,
        other => return Finding::skipped(ids::CLUSTER_INFO_SIGNATURES, EXPECTED, other.obstacle().unwrap_or_default()),
    };
    if facts.cluster_info.found().is_none() {
        return Finding::skipped(ids::CLUSTER_INFO_SIGNATURES, EXPECTED, "there is no cluster-info to look into");
    }
    let lives = |expires: Option<Timestamp>| expires.is_none_or(|expires| expires > facts.now);
    let old =
        |created: Option<Timestamp>| created.is_none_or(|at| seconds_since(at, facts.now) > SIGNATURE_GRACE_SECONDS);
    let signing = tokens.iter().filter(|token| token.signature != Signature::NotApplicable && lives(token.expires));
    let (good, bad): (Vec<_>, Vec<_>) =
        signing.partition(|token| token.signature == Signature::Valid || !old(token.created));
    let Some(first) = bad.first() else {
        let observed = if good.is_empty() {
            "there is no live token".to_owned()
        } else {
            format!("{} live, each signed", good.len())
        };
        return Finding::passed(ids::CLUSTER_INFO_SIGNATURES, EXPECTED, observed);
    };
    let shown: Vec<String> = bad
        .iter()
        .map(|token| {
            format!("{} ({})", token.id, if token.signature == Signature::Wrong { "wrong" } else { "missing" })
        })
        .collect();
    Finding::failed(
        ids::CLUSTER_INFO_SIGNATURES,
        EXPECTED,
        format!("no right signature of {}", some_of(&shown)),
        format!(
            "look whether kube-controller-manager runs its bootstrapsigner (--controllers=*,bootstrapsigner); machines cannot use the token until then: kubectl -n kube-system get secret {}",
            first.secret_name
        ),
    )
}

/// Whether what is approved gets signed.
pub(super) fn signer(facts: &Facts) -> Finding {
    const EXPECTED: &str = "kube-controller-manager signs the certificate requests of kubelets once they are approved";
    let remedy = || Reason::SignerMissing.next_step().to_owned();
    let failed = |observed: String| Finding::failed(ids::SIGNER, EXPECTED, observed, remedy());
    let requests = match &facts.certificate_requests {
        Look::Found(requests) => requests,
        other => return Finding::skipped(ids::SIGNER, EXPECTED, other.obstacle().unwrap_or_default()),
    };
    let ours: Vec<&CertificateSigningRequest> = requests.iter().filter(|request| is_kubelets(request)).collect();
    let unsigned: Vec<String> = ours.iter().filter_map(|request| unsigned(request, facts.now)).collect();
    if !unsigned.is_empty() {
        return failed(format!("approved and without a certificate: {}", some_of(&unsigned)));
    }
    if let Some(observed) = manager_flags(facts) {
        return failed(observed);
    }
    let lease = facts.manager_lease.found().map(|lease| held(lease, facts.now));
    if let Some(Held::Stale(holder, age)) = lease {
        return failed(format!("kube-controller-manager's lease was last renewed {} ago, by {holder}", span(age)));
    }
    let last = ours.iter().filter(|request| has_certificate(request)).filter_map(|request| approved_at(request)).max();
    let signed = last.map(|at| format!("the last certificate was signed {} ago", span(seconds_since(at, facts.now))));
    let alive = match lease {
        Some(Held::Fresh(holder, age)) => {
            Some(format!("kube-controller-manager ({holder}) renewed its lease {} ago", span(age)))
        }
        _ => None,
    };
    match (alive, signed) {
        (None, None) => Finding::skipped(
            ids::SIGNER,
            EXPECTED,
            "no certificate was signed lately, and the lease of kube-controller-manager cannot be seen: the first join will tell",
        ),
        (alive, signed) => {
            let parts: Vec<String> = [alive, signed].into_iter().flatten().collect();
            Finding::passed(ids::SIGNER, EXPECTED, parts.join("; "))
        }
    }
}

fn is_kubelets(request: &CertificateSigningRequest) -> bool {
    matches!(request.spec.signer_name.as_str(), SIGNER_KUBELET_CLIENT | SIGNER_KUBELET_SERVING)
}

fn has_certificate(request: &CertificateSigningRequest) -> bool {
    request.status.as_ref().and_then(|status| status.certificate.as_ref()).is_some_and(|bytes| !bytes.0.is_empty())
}

fn approved_at(request: &CertificateSigningRequest) -> Option<Timestamp> {
    let conditions = request.status.as_ref()?.conditions.as_ref()?;
    let approved = conditions.iter().find(|condition| condition.type_ == "Approved")?;
    approved.last_update_time.as_ref().or(approved.last_transition_time.as_ref()).map(|time| time.0)
}

/// The name of a request that was approved and not signed, with what its signer said if it did.
fn unsigned(request: &CertificateSigningRequest, now: Timestamp) -> Option<String> {
    let age = seconds_since(approved_at(request)?, now);
    if has_certificate(request) || age <= SIGNER_GRACE_SECONDS {
        return None;
    }
    let name = request.metadata.name.clone().unwrap_or_default();
    let conditions = request.status.as_ref()?.conditions.as_deref().unwrap_or_default();
    let said =
        conditions.iter().find(|condition| condition.type_ == "Failed").and_then(|failed| failed.message.clone());
    Some(said.map_or_else(|| format!("{name} (for {})", span(age)), |said| format!("{name} ({said})")))
}

/// What stands in the way in kube-controller-manager's flags, where it runs as a pod.
fn manager_flags(facts: &Facts) -> Option<String> {
    let flags = component_flags(facts, "kube-controller-manager")?;
    let off = |controllers: &str| {
        controllers.split(',').any(|controller| controller == "-csrsigning" || controller == "-csrsigning-controller")
    };
    if flags.iter().any(|flag| flag.strip_prefix("--controllers=").is_some_and(off)) {
        return Some("kube-controller-manager runs with its csrsigning controller off".to_owned());
    }
    let signs = flags.iter().any(|flag| flag.starts_with("--cluster-signing-") && flag.contains("cert-file="));
    (!signs).then(|| "kube-controller-manager runs without --cluster-signing-cert-file".to_owned())
}

/// The command line of a component that runs as a static pod of kubeadm's kind; none where it does not.
pub(super) fn component_flags(facts: &Facts, component: &str) -> Option<Vec<String>> {
    let is_it = |pod: &&k8s_openapi::api::core::v1::Pod| {
        let labels = pod.metadata.labels.as_ref();
        labels.and_then(|labels| labels.get("component")).is_some_and(|name| name == component)
    };
    let pod = facts.components.found()?.iter().find(is_it)?;
    let container = pod.spec.as_ref()?.containers.first()?;
    let words = container.command.iter().flatten().chain(container.args.iter().flatten());
    Some(words.cloned().collect())
}

pub(super) fn bootstrap_authentication(facts: &Facts) -> Finding {
    const EXPECTED: &str = "the API server accepts bootstrap tokens (--enable-bootstrap-token-auth)";
    const FLAG: &str = "--enable-bootstrap-token-auth";
    if let Some(obstacle) = facts.components.obstacle() {
        return Finding::skipped(ids::BOOTSTRAP_AUTHENTICATION, EXPECTED, obstacle);
    }
    let Some(flags) = component_flags(facts, "kube-apiserver") else {
        let why = "kube-apiserver does not run as a pod in kube-system, so its flags cannot be seen";
        return Finding::skipped(ids::BOOTSTRAP_AUTHENTICATION, EXPECTED, why);
    };
    // With a configuration file for authentication, the flag still decides about bootstrap tokens.
    let is_on = flags.iter().any(|flag| flag == FLAG || flag == "--enable-bootstrap-token-auth=true");
    if is_on {
        return Finding::passed(ids::BOOTSTRAP_AUTHENTICATION, EXPECTED, "it runs with that flag");
    }
    Finding::failed(
        ids::BOOTSTRAP_AUTHENTICATION,
        EXPECTED,
        "it runs without that flag",
        format!("add {FLAG}=true to /etc/kubernetes/manifests/kube-apiserver.yaml on every control plane"),
    )
}
