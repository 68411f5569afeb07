//! Every failure that is told apart: what the documentation calls it, its reason, and the test that provokes it.
//!
//! The book's tests compare this table with `docs/troubleshooting.md` and with the names of the suite's tests.

use join_crds::vocabulary::Reason;

/// One failure.
pub struct Row {
    /// What a person sees, as the page has it.
    pub seen: &'static str,
    /// The one word for it.
    pub reason: Reason,
    /// The test that provokes it.
    pub test: &'static str,
}

const fn row(seen: &'static str, reason: Reason, test: &'static str) -> Row {
    Row { seen, reason, test }
}

const WAY: &str = "each_fault_on_the_way_to_the_api_server_has_its_reason";
const CLOCK: &str = "a_clock_that_is_off_is_told_in_seconds";
const CLUSTER: &str = "each_fault_of_cluster_info_and_of_a_token_has_its_reason";

/// The way to the API server, in the order in which it is gone.
pub const ROWS: &[Row] = &[
    row("the API server's name does not resolve", Reason::NameNotResolved, WAY),
    row("there is no route to the API server", Reason::NetworkUnreachable, WAY),
    row("nobody answers: a firewall drops the packets", Reason::ConnectionTimedOut, WAY),
    row("the connection is refused", Reason::ConnectionRefused, WAY),
    row("TLS: another certificate authority", Reason::ServerAuthorityUnknown, WAY),
    row("TLS: a certificate that has expired", Reason::ServerCertificateExpired, WAY),
    row("TLS: a certificate that is not valid yet", Reason::ServerCertificateNotYetValid, WAY),
    row("TLS: a certificate for other names", Reason::ServerNameMismatch, WAY),
    row("the machine's clock is minutes or days off", Reason::ClockSkew, CLOCK),
    row("cluster-info does not exist", Reason::ClusterInfoMissing, CLUSTER),
    row("cluster-info cannot be read without credentials", Reason::ClusterInfoForbidden, CLUSTER),
    row("cluster-info has no kubeconfig", Reason::ClusterInfoWithoutKubeconfig, CLUSTER),
    row("the authority in cluster-info is none of the pinned ones", Reason::CAPinMismatch, CLUSTER),
    row("the token's signature is wrong", Reason::SignatureMismatch, CLUSTER),
    row("the token's signature is not there yet", Reason::SignatureMissing, CLUSTER),
    row("the token has expired", Reason::TokenExpired, CLUSTER),
    row("the token was deleted while it was in use", Reason::TokenRevoked, CLUSTER),
    row("the token is not known", Reason::TokenUnknown, CLUSTER),
];
