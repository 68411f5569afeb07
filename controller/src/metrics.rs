//! Prometheus metrics; every name begins with `join_operator_`.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use http::{Method, StatusCode};
use join_crds::vocabulary::{ConditionType, EventReason, Reason};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

use crate::telemetry::VERSION;

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ResultLabel {
    result: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct DecisionLabel {
    signer: String,
    decision: &'static str,
    rule: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct StageLabel {
    stage: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ReasonLabel {
    condition: &'static str,
    reason: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct EventLabel {
    reason: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct WatchLabel {
    watch: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct RequestLabel {
    method: String,
    resource: String,
    code: u16,
}

/// All metrics. Cloning shares them.
#[derive(Clone)]
pub struct Metrics {
    registry: Arc<Registry>,
    reconciles: Family<ResultLabel, Counter>,
    reconcile_seconds: Histogram,
    decisions: Family<DecisionLabel, Counter>,
    stage_seconds: Family<StageLabel, Histogram>,
    requests: Family<ReasonLabel, Gauge>,
    events: Family<EventLabel, Counter>,
    tokens_alive: Gauge,
    csrs_unsigned: Gauge,
    watch_errors: Family<WatchLabel, Counter>,
    api_requests: Family<RequestLabel, Counter>,
    leader: Gauge<i64>,
    clock_ahead: Gauge<i64>,
    cluster_info_writes: Counter<u64, AtomicU64>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// Makes and registers all metrics.
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("join_operator");
        let metrics = Self {
            registry: Arc::default(),
            reconciles: Family::default(),
            reconcile_seconds: Histogram::new(exponential_buckets(0.001, 2.0, 16)),
            decisions: Family::default(),
            stage_seconds: Family::new_with_constructor(stage_histogram),
            requests: Family::default(),
            events: Family::default(),
            tokens_alive: Gauge::default(),
            csrs_unsigned: Gauge::default(),
            watch_errors: Family::default(),
            api_requests: Family::default(),
            leader: Gauge::default(),
            clock_ahead: Gauge::default(),
            cluster_info_writes: Counter::default(),
        };
        registry.register("build", "Version of this binary", Info::new([("version", VERSION)]));
        registry.register("reconciles", "Reconciliations by result", metrics.reconciles.clone());
        registry.register(
            "reconcile_duration_seconds",
            "Duration of reconciliations",
            metrics.reconcile_seconds.clone(),
        );
        registry.register(
            "csr_decisions",
            "Decisions on certificate requests, by the rule that decided",
            metrics.decisions.clone(),
        );
        registry.register(
            "join_stage_duration_seconds",
            "Time from the machine's appearance until a stage of its join was reached",
            metrics.stage_seconds.clone(),
        );
        registry.register(
            "requests",
            "Requests whose condition has this reason; the condition Ready has each request once",
            metrics.requests.clone(),
        );
        registry.register("events", "Events told of requests", metrics.events.clone());
        registry.register(
            "tokens_alive",
            "Bootstrap tokens that exist and have not expired",
            metrics.tokens_alive.clone(),
        );
        registry.register(
            "csrs_unsigned",
            "Approved certificate requests for the kubelet signers that no signer has issued in time",
            metrics.csrs_unsigned.clone(),
        );
        registry.register("watch_errors", "Errors of watches", metrics.watch_errors.clone());
        registry.register("api_requests", "Requests to the API server", metrics.api_requests.clone());
        registry.register(
            "clock_ahead_seconds",
            "By how many seconds the clock of the controller's host is ahead of the API server's; negative when it is behind",
            metrics.clock_ahead.clone(),
        );
        registry.register("leader", "Whether this replica holds the lease", metrics.leader.clone());
        registry.register(
            "cluster_info_writes",
            "Writes of kube-public/cluster-info",
            metrics.cluster_info_writes.clone(),
        );
        Self { registry: Arc::new(registry), ..metrics }
    }

    /// Counts one reconciliation.
    pub fn reconciled(&self, result: &'static str, took: Duration) {
        self.reconciles.get_or_create(&ResultLabel { result }).inc();
        self.reconcile_seconds.observe(took.as_secs_f64());
    }

    /// Counts one decision on a certificate request.
    pub fn decided(&self, signer: &str, decision: &'static str, rule: &str) {
        let label = DecisionLabel { signer: signer.to_owned(), decision, rule: rule.to_owned() };
        self.decisions.get_or_create(&label).inc();
    }

    /// Notes that a stage was reached so many seconds after the machine's appearance.
    #[expect(clippy::cast_precision_loss, reason = "seconds of a join are far below 2^52")]
    pub fn stage_reached(&self, stage: &'static str, seconds: i64) {
        self.stage_seconds.get_or_create(&StageLabel { stage }).observe(seconds.max(0) as f64);
    }

    /// Notes that a request's conditions had some reasons and have others now; a new or deleted request has none.
    pub fn request_moved(&self, before: &[(ConditionType, Reason)], after: &[(ConditionType, Reason)]) {
        let gauge = |(condition, reason): &(ConditionType, Reason)| {
            let label = ReasonLabel { condition: condition.as_str(), reason: reason.as_str() };
            self.requests.get_or_create(&label).clone()
        };
        for one in before.iter().filter(|one| !after.contains(one)) {
            gauge(one).dec();
        }
        for one in after.iter().filter(|one| !before.contains(one)) {
            gauge(one).inc();
        }
    }

    /// Counts one Event.
    pub fn told(&self, reason: EventReason) {
        self.events.get_or_create(&EventLabel { reason: reason.as_str() }).inc();
    }

    /// Sets the number of tokens alive.
    pub fn set_tokens_alive(&self, tokens: usize) {
        self.tokens_alive.set(i64::try_from(tokens).unwrap_or(i64::MAX));
    }

    /// Sets the number of approved certificate requests that no signer has issued in time.
    pub fn set_unsigned(&self, requests: usize) {
        self.csrs_unsigned.set(i64::try_from(requests).unwrap_or(i64::MAX));
    }

    /// Counts one error of a watch.
    pub fn watch_error(&self, watch: &'static str) {
        self.watch_errors.get_or_create(&WatchLabel { watch }).inc();
    }

    /// Counts one request to the API server.
    pub fn api_request(&self, method: &Method, resource: &str, code: StatusCode) {
        let label = RequestLabel { method: method.to_string(), resource: resource.to_owned(), code: code.as_u16() };
        self.api_requests.get_or_create(&label).inc();
    }

    /// Notes by how many seconds this host's clock is ahead of the API server's.
    pub fn set_clock_ahead(&self, seconds: i64) {
        self.clock_ahead.set(seconds);
    }

    /// Notes whether this replica leads.
    pub fn set_leader(&self, leader: bool) {
        self.leader.set(leader.into());
    }

    /// Counts one write of cluster-info.
    pub fn cluster_info_written(&self) {
        self.cluster_info_writes.inc();
    }

    /// Metrics with a sample of each, so that the documentation can list them with their labels: what has no sample is
    /// not encoded.
    pub fn example() -> Self {
        let metrics = Self::new();
        metrics.reconciled("", Duration::ZERO);
        metrics.decided("", "", "");
        metrics.stage_reached("", 0);
        metrics.request_moved(&[], &[(ConditionType::Ready, Reason::Joined)]);
        metrics.told(EventReason::Joined);
        metrics.set_tokens_alive(0);
        metrics.set_unsigned(0);
        metrics.watch_error("");
        metrics.api_request(&Method::GET, "", StatusCode::OK);
        metrics.set_leader(true);
        metrics.set_clock_ahead(0);
        metrics.cluster_info_written();
        metrics
    }

    /// The metrics in OpenMetrics' text format.
    pub fn encode(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

/// From half a second to about four hours.
fn stage_histogram() -> Histogram {
    Histogram::new(exponential_buckets(0.5, 2.0, 15))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_has_every_metric() {
        let text = Metrics::example().encode().unwrap();
        let registered = include_str!("metrics.rs").matches(" registry.register(").count();
        // This line of the test has the words as well.
        assert_eq!(text.lines().filter(|line| line.starts_with("# TYPE ")).count(), registered - 1, "{text}");
    }

    #[test]
    fn each_request_counts_once_for_each_condition() {
        use ConditionType::{CredentialIssued, Ready};
        let metrics = Metrics::new();
        let waits = [(CredentialIssued, Reason::WaitingForMachine), (Ready, Reason::WaitingForMachine)];
        let joined = [(CredentialIssued, Reason::TokenRemoved), (Ready, Reason::Joined)];
        for _ in 0..2 {
            metrics.request_moved(&[], &waits);
        }
        metrics.request_moved(&waits, &waits);
        metrics.request_moved(&waits, &joined);
        metrics.request_moved(&joined, &[]);
        let text = metrics.encode().unwrap();
        for line in [
            "join_operator_requests{condition=\"Ready\",reason=\"WaitingForMachine\"} 1",
            "join_operator_requests{condition=\"Ready\",reason=\"Joined\"} 0",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
    }

    #[test]
    fn metrics_are_encoded_with_their_labels() {
        let metrics = Metrics::new();
        metrics.reconciled("ok", Duration::from_millis(3));
        metrics.decided("kubernetes.io/kubelet-serving", "deny", "CommonName");
        metrics.set_tokens_alive(2);
        metrics.set_unsigned(1);
        metrics.told(EventReason::RequestChanged);
        metrics.stage_reached("Ready", -1);
        let text = metrics.encode().unwrap();
        for line in [
            "join_operator_reconciles_total{result=\"ok\"} 1",
            "join_operator_csr_decisions_total{signer=\"kubernetes.io/kubelet-serving\",decision=\"deny\",rule=\"CommonName\"} 1",
            "join_operator_tokens_alive 2",
            "join_operator_csrs_unsigned 1",
            "join_operator_events_total{reason=\"RequestChanged\"} 1",
            "join_operator_join_stage_duration_seconds_sum{stage=\"Ready\"} 0.0",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
        assert!(text.contains(&format!("join_operator_build_info{{version=\"{VERSION}\"}} 1")), "{text}");
    }
}
