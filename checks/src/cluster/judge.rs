//! Which checks are made for whom, and in which order.

use super::facts::Facts;
use super::{approvers, control_plane, installed, leftovers, policies, security};
use crate::Report;

/// For whom a cluster is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// For somebody who is about to install the operator.
    BeforeInstallation,
    /// For somebody who runs it.
    Installed,
    /// For the controller itself, inside the cluster.
    Controller,
}

/// Judges whether a cluster is fit for joins and the operator is well.
///
/// When the API server does not answer, that is the only finding.
pub fn check(facts: &Facts, scope: Scope) -> Report {
    let mut checks = vec![control_plane::reachable(facts)];
    let Some(server) = facts.server.found() else { return Report { checks } };
    checks.extend([
        control_plane::version(server),
        control_plane::clock(server),
        installed::own_rights(facts, scope == Scope::Controller),
        control_plane::cluster_info(facts),
        control_plane::anonymous(facts),
        control_plane::signatures(facts),
        control_plane::signer(facts),
        control_plane::bootstrap_authentication(facts),
        approvers::other_approvers(facts),
    ]);
    if scope != Scope::BeforeInstallation {
        checks.extend([
            installed::crd(facts),
            policies::policies(facts),
            policies::bindings(facts),
            installed::deployment(facts),
            installed::lease(facts),
            leftovers::tokens(facts),
            leftovers::signatures(facts),
            leftovers::certificate_requests(facts),
            leftovers::records(facts),
        ]);
    }
    Report { checks }
}

/// Judges what weakens a cluster, whether or not machines join it.
pub fn doctor(facts: &Facts) -> Report {
    let mut checks = vec![control_plane::reachable(facts)];
    let Some(server) = facts.server.found() else { return Report { checks } };
    checks.extend([
        security::auto_approve(facts),
        security::renewal(facts),
        security::unexpiring(facts),
        security::long_lived(facts),
        security::unbound(facts),
        security::bootstrappers(facts),
        security::anonymous_rights(facts),
        security::node_restriction(server, facts),
        policies::policies(facts),
        policies::bindings(facts),
        approvers::other_approvers(facts),
    ]);
    Report { checks }
}
