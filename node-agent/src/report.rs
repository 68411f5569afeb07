//! `status.agent`: what the machine tells the cluster of its own join.

use std::time::Duration;

use join_crds::{AgentStatus, AgentStep, Check, NodeJoinRequest, Observation, Reason, Versions};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};

/// The name of the observation that tells how long the agent's own work took, without waiting for others.
const OWN_TIME: &str = "ownTime";
/// The longest message that the API takes.
const MAX_MESSAGE: usize = 1024;

/// Writes one request's `status.agent`. It replaces the whole of it each time, so nothing stale stays in it.
pub struct Reporter {
    api: Api<NodeJoinRequest>,
    name: String,
    status: AgentStatus,
    /// What the request says already.
    published: Option<AgentStatus>,
}

impl Reporter {
    /// A reporter for one generation of a request, with an identity that may write its status.
    pub fn new(client: Client, request: &NodeJoinRequest, versions: &Versions, addresses: Vec<String>) -> Self {
        let status = AgentStatus {
            observed_generation: request.metadata.generation,
            step: AgentStep::Preflight,
            since: now(),
            reason: None,
            message: None,
            observations: Vec::new(),
            addresses,
            versions: Some(versions.clone()),
            checks: Vec::new(),
        };
        let published = request.status.as_ref().and_then(|status| status.agent.clone());
        Self { api: Api::all(client), name: request.node_name().to_owned(), status, published }
    }

    /// Goes on with another identity: the node's own, once it has one.
    pub fn speak_as(&mut self, client: Client) {
        self.api = Api::all(client);
    }

    /// Whether the request says what holds the agent up, or what it failed at.
    pub fn says_why(&self) -> bool {
        self.published.as_ref().is_some_and(|published| published.reason.is_some())
    }

    /// Keeps what was observed during the join in the report.
    pub fn keep_history(&mut self, request: &NodeJoinRequest) {
        if let Some(agent) = request.status.as_ref().and_then(|status| status.agent.as_ref()) {
            self.checks(&agent.checks);
            self.observations(&agent.observations);
            let versions = agent.versions.as_ref();
            self.container_runtime(versions.and_then(|versions| versions.container_runtime.clone()));
        }
    }

    /// Takes the results of the checks into the next report.
    pub fn checks(&mut self, checks: &[Check]) {
        self.status.checks = checks.to_vec();
    }

    /// Takes the container runtime's name and version into the next report.
    pub fn container_runtime(&mut self, runtime: Option<String>) {
        if let (Some(versions), Some(runtime)) = (&mut self.status.versions, runtime) {
            versions.container_runtime = Some(runtime);
        }
    }

    /// Takes what was observed earlier into the next report.
    pub fn observations(&mut self, observations: &[Observation]) {
        self.status.observations = observations.to_vec();
    }

    /// Takes the agent's own time into the next report.
    pub fn own_time(&mut self, time: Duration) {
        let value = format!("{} ms", time.as_millis());
        self.status.observations = vec![Observation { name: OWN_TIME.to_owned(), value }];
    }

    /// Reports a step, unless that is what the request says already: a try that fails again as it did is no news. A
    /// failure to report is logged and no more: the join does not depend on being told.
    pub async fn step(&mut self, step: AgentStep) {
        self.step_because(step, None, None).await;
    }

    /// Reports a step, and what holds it up or made it fail.
    pub async fn step_because(&mut self, step: AgentStep, reason: Option<Reason>, message: Option<&str>) {
        self.status.step = step;
        self.status.since = now();
        self.status.reason = reason.map(|reason| reason.as_str().to_owned());
        self.status.message = message.map(|text| text.chars().take(MAX_MESSAGE).collect());
        if self.published.as_ref().is_some_and(|published| says_the_same(published, &self.status)) {
            return;
        }
        let patch = Patch::Merge(serde_json::json!({"status": {"agent": patch_of(&self.status)}}));
        let parameters = PatchParams::default();
        let write = self.api.patch_status(&self.name, &parameters, &patch);
        match tokio::time::timeout(crate::connection::CALL_TIMEOUT, write).await {
            Ok(Ok(_)) => self.published = Some(self.status.clone()),
            Ok(Err(error)) => tracing::warn!(%error, ?step, "status.agent could not be written"),
            Err(_elapsed) => tracing::warn!(?step, "status.agent could not be written in time"),
        }
    }
}

/// Whether two reports differ in nothing but their time.
fn says_the_same(one: &AgentStatus, other: &AgentStatus) -> bool {
    AgentStatus { since: other.since.clone(), ..one.clone() } == *other
}

/// A merge patch that replaces every field: those that are not set are removed by `null`.
fn patch_of(status: &AgentStatus) -> serde_json::Value {
    let mut patch = serde_json::json!({
        "observedGeneration": null, "reason": null, "message": null, "observations": null, "addresses": null, "versions": null,
        "checks": null,
    });
    if let (Some(patch), Ok(serde_json::Value::Object(fields))) = (patch.as_object_mut(), serde_json::to_value(status))
    {
        patch.extend(fields);
    }
    patch
}

pub fn now() -> Time {
    Time(Timestamp::now())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_differs_in_more_than_its_time_is_news() {
        let status = |step: &str, since: &str| -> AgentStatus {
            serde_json::from_value(serde_json::json!({"step": step, "since": since, "message": "m"})).unwrap()
        };
        let first = status("Failed", "2026-01-01T00:00:00Z");
        assert!(says_the_same(&first, &status("Failed", "2026-01-02T00:00:00Z")));
        assert!(!says_the_same(&first, &status("Joined", "2026-01-01T00:00:00Z")));
        assert!(!says_the_same(&first, &AgentStatus { message: None, ..first.clone() }));
    }

    #[test]
    fn a_patch_removes_what_is_not_set() {
        let status = AgentStatus {
            observed_generation: Some(1),
            step: AgentStep::Joined,
            since: now(),
            reason: None,
            message: None,
            observations: Vec::new(),
            addresses: vec!["10.0.0.1".to_owned()],
            versions: None,
            checks: Vec::new(),
        };
        let patch = patch_of(&status);
        assert_eq!(patch["message"], serde_json::Value::Null);
        assert_eq!(patch["step"], "Joined");
        assert_eq!(patch["addresses"][0], "10.0.0.1");
        // Every field of the type is in the patch, so that a new one cannot be forgotten here.
        let mut full = status;
        full.reason = Some("AgentFailed".to_owned());
        full.message = Some("m".to_owned());
        full.versions = Some(Versions::default());
        full.observations = vec![Observation { name: "a".to_owned(), value: "b".to_owned() }];
        full.checks = vec![Check { name: "c".to_owned(), result: join_crds::CheckResult::Passed, message: None }];
        let serde_json::Value::Object(fields) = serde_json::to_value(&full).unwrap() else { panic!("no object") };
        for field in fields.keys() {
            assert!(patch.get(field).is_some(), "{field} is not in the patch");
        }
    }
}
