//! Every failure that is told apart: what the documentation calls it, its reason, within which time it is told, and the
//! test that provokes it.
//!
//! The book's tests compare these tables with `docs/troubleshooting.md` and with the suites. The suites wait for no failure
//! longer than its row says, from what provokes it on.

use join_crds::vocabulary::Reason;

/// One failure.
pub struct Row {
    /// What a person sees, as the page has it.
    pub seen: &'static str,
    /// The one word for it.
    pub reason: Reason,
    /// Within how many seconds it is told.
    pub within: u32,
    /// Why it takes longer than [`SOON`], if it may.
    pub because: Option<&'static str>,
    /// The test that provokes it.
    pub test: &'static str,
}

/// Within how many seconds a failure is told that needs no time of its own.
pub const SOON: u32 = 10;

const fn row(seen: &'static str, reason: Reason, test: &'static str) -> Row {
    Row { seen, reason, within: SOON, because: None, test }
}

const fn later(seen: &'static str, reason: Reason, within: u32, because: &'static str, test: &'static str) -> Row {
    Row { seen, reason, within, because: Some(because), test }
}

const WAY: &str = "each_fault_on_the_way_to_the_api_server_has_its_reason";
const WEB: &str = "a_discovery_file_at_a_url_is_fetched_or_told";
const CLOCK: &str = "a_clock_that_is_off_is_told_in_seconds";
const CLUSTER: &str = "each_fault_of_cluster_info_and_of_a_token_has_its_reason";
const WAITS: &str = "what_nobody_but_the_machine_can_tell_is_told_by_the_machine";
const LIFE: &str = "a_request_that_is_deleted_or_late_says_so";
const CERTIFICATE: &str = "each_fate_of_a_certificate_request_has_its_reason";
const NAME: &str = "machines_that_claim_one_name_are_told";
const TAKEN: &str = "a_node_of_the_same_name_is_told";
const UNFIT: &str = "an_unfit_machine_says_which_check_failed";
const DISK: &str = "a_disk_that_cannot_be_written_to_is_told_whenever_it_is_met";
const NEWER: &str = "a_kubelet_newer_than_the_control_plane_is_told";
const KUBELET: &str = "each_trouble_of_a_kubelet_is_told_until_it_is_mended";
const CONTROL_PLANE: &str = "each_obstacle_to_a_control_plane_is_told_until_it_is_mended";

/// Those of every join, in its order: the suite `failures` provokes them.
pub const ROWS: &[Row] = &[
    row("the API server's name does not resolve", Reason::NameNotResolved, WAY),
    row("there is no route to the API server", Reason::NetworkUnreachable, WAY),
    row("nobody answers: a firewall drops the packets", Reason::ConnectionTimedOut, WAY),
    row("the connection is refused", Reason::ConnectionRefused, WAY),
    row("TLS: another certificate authority", Reason::ServerAuthorityUnknown, WAY),
    row("TLS: a certificate that has expired", Reason::ServerCertificateExpired, WAY),
    row("TLS: a certificate that is not valid yet", Reason::ServerCertificateNotYetValid, WAY),
    row("TLS: a certificate for other names", Reason::ServerNameMismatch, WAY),
    row("the discovery file cannot be fetched from its URL", Reason::DiscoveryFileNotFetched, WEB),
    row("what the discovery file's URL answers with cannot be used", Reason::DiscoveryFileUnusable, WEB),
    row("the machine's clock is minutes or days off", Reason::ClockSkew, CLOCK),
    row("cluster-info does not exist", Reason::ClusterInfoMissing, CLUSTER),
    row("cluster-info cannot be read without credentials", Reason::ClusterInfoForbidden, CLUSTER),
    row("cluster-info has no kubeconfig", Reason::ClusterInfoWithoutKubeconfig, CLUSTER),
    row("the authority in cluster-info is none of the pinned ones", Reason::CAPinMismatch, CLUSTER),
    row("the token's signature is wrong", Reason::SignatureMismatch, CLUSTER),
    row("the token's signature is not there yet", Reason::SignatureMissing, CLUSTER),
    row("the token has expired", Reason::TokenExpired, CLUSTER),
    later(
        "the token was deleted while it was in use",
        Reason::TokenRevoked,
        30,
        "it is noticed with the next connection, and shown again for 5 s first",
        CLUSTER,
    ),
    row("the token is not known", Reason::TokenUnknown, CLUSTER),
    row("there is no request", Reason::RequestAbsent, WAITS),
    row("the request is being deleted", Reason::RequestDeleted, LIFE),
    row("the request was changed while it was carried out", Reason::RequestChanged, CERTIFICATE),
    row("the request's time has passed", Reason::DeadlineExceeded, LIFE),
    later("the controller does not run", Reason::ControllerSilent, 15, "it has 8 s to look at what it is asked", WAITS),
    row("the certificate request waits for what a rule needs", Reason::CertificateRequestWaiting, CERTIFICATE),
    row("the certificate request breaks a rule", Reason::CertificateRequestDenied, CERTIFICATE),
    row("a person denied the certificate request", Reason::CertificateRequestDenied, WAITS),
    row("somebody deleted the certificate request", Reason::CertificateRequestDeleted, CERTIFICATE),
    later(
        "nobody signs the certificate",
        Reason::SignerMissing,
        30,
        "the signer has `--signer-timeout-seconds`",
        CERTIFICATE,
    ),
    row("two machines have announced one name", Reason::MachineConflict, NAME),
    row("another machine than the pinned one has announced the name", Reason::MachineKeyMismatch, NAME),
    row("a Ready Node has the name", Reason::NodeAlreadyExists, TAKEN),
    row("the container runtime does not run", Reason::PreflightFailed, UNFIT),
    row("the container runtime does not speak CRI v1", Reason::PreflightFailed, UNFIT),
    row("there is no kubelet", Reason::PreflightFailed, UNFIT),
    row("the kubelet is newer than the control plane", Reason::PreflightFailed, NEWER),
    row("a file system of the node is read-only", Reason::PreflightFailed, UNFIT),
    row("the disk is full before the join", Reason::PreflightFailed, UNFIT),
    row("the disk is full, and its check is waived", Reason::MachineNotWritable, UNFIT),
    row("the disk fills while the kubelet starts", Reason::MachineNotWritable, DISK),
    row("the disk is full when the agent first starts", Reason::MachineNotWritable, DISK),
    row("the disk is read-only when the agent first starts", Reason::MachineNotWritable, DISK),
    row("the kubelet ends again and again", Reason::KubeletNotStarted, KUBELET),
    later(
        "the kubelet runs and is not healthy",
        Reason::KubeletUnhealthy,
        15,
        "one that starts has 8 s to be healthy",
        KUBELET,
    ),
    row("the Node has an address that was not asked for", Reason::NodeAddressMismatch, KUBELET),
    later(
        "the Node is not Ready, for example without a network plugin",
        Reason::NodeNotReady,
        20,
        "the condition says so at once, the Event after 10 s, since each join passes such a Node",
        KUBELET,
    ),
];

/// Those of a control plane's join, in its order: the suite `control_plane` provokes them.
pub const ROWS_OF_CONTROL_PLANES: &[Row] = &[
    row("the Secret with the certificate key is missing", Reason::CertificateKeyMissing, CONTROL_PLANE),
    later(
        "the shared certificates were encrypted with another key",
        Reason::SharedCertificatesUnreadable,
        20,
        "the controller looks at the Secret with the key every 10 s",
        CONTROL_PLANE,
    ),
    row("the shared certificates are not in the cluster any more", Reason::SharedCertificatesMissing, CONTROL_PLANE),
    row("the cluster has no `controlPlaneEndpoint`", Reason::ControlPlaneUnsuitable, CONTROL_PLANE),
    later("etcd does not answer the machine", Reason::EtcdNotJoined, 20, "etcd has 10 s to answer", CONTROL_PLANE),
    later(
        "the machine's own etcd does not start",
        Reason::EtcdNotJoined,
        40,
        "it has 30 s to start, since its image is unpacked meanwhile",
        CONTROL_PLANE,
    ),
    later(
        "the API server of the machine does not start",
        Reason::ControlPlaneNotHealthy,
        40,
        "it has 30 s to start, since its image is unpacked meanwhile",
        CONTROL_PLANE,
    ),
    later(
        "the scheduler of the machine does not start, or its controller manager",
        Reason::ControlPlaneNotHealthy,
        40,
        "it has 30 s to start once the API server runs",
        CONTROL_PLANE,
    ),
];
