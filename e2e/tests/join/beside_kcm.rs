//! Beside kube-controller-manager: bootstrapsigner and tokencleaner work on the same tokens and the same cluster-info,
//! people edit it, and kubeadm's default approval is there.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use futures::{StreamExt as _, stream};
use join_crds::vocabulary::{self, CLUSTER_INFO, GROUP_JOIN, KUBE_PUBLIC, KUBE_SYSTEM};
use join_crds::{ConditionType, Reason};
use join_e2e::lab::{command, wait_until};
use join_trust::cluster_info::KUBECONFIG_KEY;
use join_trust::jws;
use join_trust::machine_key::MachineKey;
use join_trust::names::NodeName;
use join_trust::token::BootstrapToken;
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::runtime::watcher::{self, watcher};
use kube::runtime::{WatchStreamExt as _, reflector};
use kube::{Api, Client};
use libtest_mimic::Failed;
use rustix::process::Signal;

use super::kubeadm::secret_of;
use join_e2e::suite::csr;
use join_e2e::suite::joining::{CONTROLLER, PATIENCE, Suite};

const KCM: &str = "kube-controller-manager";
/// Begins to work at once, instead of waiting for the lease of the one that was killed.
const AT_ONCE: &str = "--leader-elect=false";
/// Joins that are begun unless JOIN_E2E_TOKENS says how many. Every second one is withdrawn at once.
const TOKENS: usize = 40;
/// A key that somebody put into cluster-info for a purpose of his own.
const FOREIGN: &str = "example.com-note";

/// Tokens come and go while the signer of kube-controller-manager is killed, taken away and brought back, somebody adds
/// a key to cluster-info, and the kubeconfig in it changes: in the end every live token has its signature, over the
/// present text, none has a wrong one, no signature is left of a token that is gone, and nothing foreign is lost.
pub fn signatures_agree_in_the_end(suite: &Suite) -> Result<(), Failed> {
    let before = cluster_info(suite)?;
    let text = before.get(KUBECONFIG_KEY).cloned().ok_or("cluster-info has no kubeconfig")?;
    let foreign = foreign_token(suite)?;
    let edit = |changes: &BTreeMap<&str, Option<String>>| edit(suite, changes);
    let watch = suite.spawn(longest_gap(suite.client()));

    let number = std::env::var("JOIN_E2E_TOKENS").ok().and_then(|number| number.parse().ok()).unwrap_or(TOKENS);
    let names: Vec<String> = (0..number).map(|number| format!("beside-{number}")).collect();
    let began = Instant::now();
    for (index, name) in names.iter().enumerate() {
        suite.request(
            name,
            &serde_json::json!({"role": "Worker", "machine": {"trust": "FirstUse"}, "delivery": "Token"}),
        )?;
        if index % 2 == 1 {
            suite.block_on(suite.requests_api().delete(name, &DeleteParams::default()))?;
        }
        // What happens on the side, a fifth of the way apart.
        match (index * 5 / number, index * 5 % number < 5) {
            (1, true) => edit(&BTreeMap::from([(FOREIGN, Some("keep me".to_owned()))]))?,
            (2, true) => {
                suite.lab().kill_process(KCM)?;
                suite.lab().start_process(KCM, &[AT_ONCE, "--controllers=*,tokencleaner"])?;
            }
            (3, true) => edit(&BTreeMap::from([(KUBECONFIG_KEY, Some(format!("{text}# edited by hand\n")))]))?,
            (4, true) => {
                suite.lab().kill_process(KCM)?;
                suite.lab().start_process(KCM, &[AT_ONCE])?;
            }
            _ => {}
        }
    }
    let kept: Vec<&String> = names.iter().step_by(2).collect();
    let outcome = (|| {
        for name in &kept {
            suite.wait_for(name, ConditionType::CredentialIssued, "True", Reason::TokenIssued)?;
        }
        settle(suite, kept.len(), &foreign)?;
        println!("{number} tokens, {} of them withdrawn at once: settled after {:?}", number / 2, began.elapsed());
        assert_eq!(cluster_info(suite)?.get(FOREIGN).map(String::as_str), Some("keep me"));

        // The text changes back, with bootstrapsigner there: both sign everything anew.
        edit(&BTreeMap::from([(KUBECONFIG_KEY, Some(text.clone()))]))?;
        settle(suite, kept.len(), &foreign)?;
        for name in &kept {
            suite.block_on(suite.requests_api().delete(name, &DeleteParams::default()))?;
        }
        settle(suite, 0, &foreign)?;
        assert_eq!(cluster_info(suite)?.get(FOREIGN).map(String::as_str), Some("keep me"));
        Ok::<_, Failed>(())
    })();
    watch.abort();
    suite.lab().kill_process(KCM)?;
    suite.lab().start_process(KCM, &[])?;
    edit(&BTreeMap::from([(FOREIGN, None), (KUBECONFIG_KEY, Some(text))]))?;
    remove_token(suite, &foreign)?;
    outcome
}

/// kubeadm's ClusterRoleBinding lets kube-controller-manager approve whatever holders of kubeadm's tokens ask for. Ours
/// are in another group: nobody but our controller decides about them, also while it hangs.
pub fn the_default_approval_does_not_reach_our_tokens(suite: &Suite) -> Result<(), Failed> {
    let name = "unapproved-1";
    let operator = suite.operator();
    let binding = operator.kubectl(&[
        "get",
        "clusterrolebinding",
        "kubeadm:node-autoapprove-bootstrap",
        "--output=jsonpath={.subjects[*].name} {.roleRef.name}",
    ])?;
    assert_eq!(
        binding,
        "system:bootstrappers:kubeadm:default-node-token system:certificates.k8s.io:certificatesigningrequests:nodeclient"
    );
    suite
        .request(name, &serde_json::json!({"role": "Worker", "machine": {"trust": "FirstUse"}, "delivery": "Token"}))?;
    suite.wait_for(name, ConditionType::CredentialIssued, "True", Reason::TokenIssued)?;
    let token = secret_of(suite, name)?.data.unwrap_or_default().remove("token").ok_or("no token in the Secret")?;
    let ours = suite.client_with_token(&String::from_utf8(token.0)?)?;
    let kubeadms = suite.client_with_token(kubeadm_token(suite, &["create", "--ttl=10m"])?.trim())?;

    suite.lab().signal_process(CONTROLLER, Signal::STOP)?;
    let outcome = (|| {
        ask(suite, &ours, "of-ours", name)?;
        ask(suite, &kubeadms, "of-kubeadms", "somebody-else-1")?;
        // Asked for later, decided already: kube-controller-manager has passed over ours.
        let approved = decided(suite, "of-kubeadms")?;
        assert_eq!(approved, ("Approved".to_owned(), "AutoApproved".to_owned()));
        let api: Api<CertificateSigningRequest> = Api::all(suite.client());
        let waiting = suite.block_on(api.get("of-ours"))?.status.unwrap_or_default();
        assert_eq!(waiting.conditions.unwrap_or_default(), [], "somebody decided for us");
        Ok::<_, Failed>(())
    })();
    suite.lab().signal_process(CONTROLLER, Signal::CONT)?;
    outcome?;
    assert_eq!(decided(suite, "of-ours")?, ("Approved".to_owned(), "NodeJoinPolicy".to_owned()));
    Ok(())
}

fn ask(suite: &Suite, client: &Client, name: &str, node: &str) -> Result<(), Failed> {
    let request = MachineKey::generate()?.client_csr(&NodeName::parse(node)?)?;
    let usages = ["digital signature", "client auth"];
    let object = csr(name, vocabulary::SIGNER_KUBELET_CLIENT, &usages, request.into_bytes());
    suite.block_on(Api::all(client.clone()).create(&PostParams::default(), &object))?;
    Ok(())
}

/// Type and reason of a decision, once there is one.
fn decided(suite: &Suite, name: &str) -> Result<(String, String), Failed> {
    let conditions =
        |csr: &CertificateSigningRequest| csr.status.clone().and_then(|status| status.conditions).unwrap_or_default();
    let decided = suite.wait(&Api::all(suite.client()), name, "a decision", |csr| !conditions(csr).is_empty())?;
    let first = conditions(&decided).swap_remove(0);
    Ok((first.type_, first.reason.unwrap_or_default()))
}

fn kubeadm_token(suite: &Suite, arguments: &[&str]) -> Result<String, Failed> {
    let kubeadm: PathBuf = suite.lab().components().kubernetes.join("kubeadm");
    let mut kubeadm = suite.lab().control_plane_command(&kubeadm)?;
    kubeadm.args(["--kubeconfig=/etc/kubernetes/admin.conf", "token"]).args(arguments);
    Ok(command::run(&mut kubeadm)?.stdout)
}

/// A token that kubeadm made, which is none of ours.
fn foreign_token(suite: &Suite) -> Result<BootstrapToken, Failed> {
    Ok(BootstrapToken::parse(kubeadm_token(suite, &["create", "--ttl=1h"])?.trim())?)
}

fn remove_token(suite: &Suite, token: &BootstrapToken) -> Result<(), Failed> {
    kubeadm_token(suite, &["delete", token.id().as_str()]).map(drop)
}

fn cluster_info_api(client: Client) -> Api<ConfigMap> {
    Api::namespaced(client, KUBE_PUBLIC)
}

fn cluster_info(suite: &Suite) -> Result<BTreeMap<String, String>, Failed> {
    let map = suite.block_on(cluster_info_api(suite.client()).get(CLUSTER_INFO))?;
    Ok(map.data.unwrap_or_default())
}

/// Edits cluster-info as a person does.
fn edit(suite: &Suite, changes: &BTreeMap<&str, Option<String>>) -> Result<(), Failed> {
    let patch = Patch::Merge(serde_json::json!({"data": changes}));
    suite.block_on(cluster_info_api(suite.client()).patch(CLUSTER_INFO, &PatchParams::default(), &patch))?;
    Ok(())
}

/// Waits until cluster-info is as it should be, with that many live tokens of ours.
fn settle(suite: &Suite, ours: usize, foreign: &BootstrapToken) -> Result<(), Failed> {
    let secrets: Api<Secret> = Api::namespaced(suite.client(), KUBE_SYSTEM);
    let bootstrap = ListParams::default().fields("type=bootstrap.kubernetes.io/token");
    wait_until("cluster-info to settle", PATIENCE, || {
        let listed = suite.block_on(secrets.list(&bootstrap)).map_err(|failure| failure.to_string())?;
        let live: Vec<Live> = listed.items.iter().filter_map(Live::read).collect();
        let data = cluster_info(suite).map_err(|failure| failure.message().unwrap_or_default().to_owned())?;
        let problems = problems(&live, &data);
        let count = live.iter().filter(|token| token.ours).count();
        if !live.iter().any(|token| token.token.id() == foreign.id()) {
            return Err("the token of kubeadm's is gone".to_owned());
        }
        if count == ours && problems.is_empty() {
            Ok(())
        } else {
            Err(format!(
                "{count} tokens of ours, expected {ours}; {} problems, such as {:?}",
                problems.len(),
                problems.first()
            ))
        }
    })?;
    Ok(())
}

/// A token that somebody may use for discovery now.
struct Live {
    token: BootstrapToken,
    ours: bool,
}

impl Live {
    fn read(secret: &Secret) -> Option<Self> {
        let data = secret.data.as_ref()?;
        let value = |key: &str| data.get(key).and_then(|value| std::str::from_utf8(&value.0).ok());
        (value("usage-bootstrap-signing") == Some("true")).then_some(())?;
        let token = BootstrapToken::parse(&format!("{}.{}", value("token-id")?, value("token-secret")?)).ok()?;
        Some(Self { token, ours: value("auth-extra-groups") == Some(GROUP_JOIN) })
    }
}

/// What is not as it should be: a missing or wrong signature, or one that is left over.
fn problems(live: &[Live], data: &BTreeMap<String, String>) -> Vec<String> {
    let text = data.get(KUBECONFIG_KEY).map(String::as_str).unwrap_or_default();
    let mut problems: Vec<String> = live
        .iter()
        .filter_map(|live| {
            let failure = jws::verify_in(&live.token, text, data).err()?;
            Some(format!("{}: {failure}", live.token.id().as_str()))
        })
        .collect();
    let known: BTreeSet<String> = live.iter().map(|live| jws::data_key(live.token.id())).collect();
    let left_over = data.keys().filter(|key| jws::token_id_of_key(key).is_some() && !known.contains(*key));
    problems.extend(left_over.map(|key| format!("{key} is of no live token")));
    problems
}

/// Watches tokens and cluster-info, and prints the longest time for which a live token of ours had no right signature,
/// whenever it becomes longer.
async fn longest_gap(client: Client) {
    let secrets: Api<Secret> = Api::namespaced(client.clone(), KUBE_SYSTEM);
    let only_tokens = watcher::Config::default().fields("type=bootstrap.kubernetes.io/token");
    let only_cluster_info = watcher::Config::default().fields(&format!("metadata.name={CLUSTER_INFO}"));
    let (tokens, writer) = reflector::store();
    let of_tokens = watcher(secrets, only_tokens).default_backoff().reflect(writer).map(|_| None);
    let of_cluster_info = watcher(cluster_info_api(client), only_cluster_info)
        .default_backoff()
        .applied_objects()
        .map(|map| map.ok().and_then(|map| map.data));
    let mut data = BTreeMap::new();
    let mut since: BTreeMap<String, Instant> = BTreeMap::new();
    let mut longest = Duration::ZERO;
    let mut news = stream::select(of_tokens.boxed(), of_cluster_info.boxed());
    while let Some(changed) = news.next().await {
        if let Some(changed) = changed {
            data = changed;
        }
        let text = data.get(KUBECONFIG_KEY).map(String::as_str).unwrap_or_default();
        let live: Vec<Live> = tokens.state().iter().filter_map(|secret| Live::read(secret)).collect();
        let lacking: BTreeSet<String> = live
            .iter()
            .filter(|live| live.ours && jws::verify_in(&live.token, text, &data).is_err())
            .map(|live| live.token.id().as_str().to_owned())
            .collect();
        let now = Instant::now();
        for (id, began) in &since {
            if !lacking.contains(id) && now - *began > longest {
                longest = now - *began;
                println!("token {id} was without a right signature for {longest:?}, the longest time yet");
            }
        }
        since.retain(|id, _| lacking.contains(id));
        for id in lacking {
            since.entry(id).or_insert(now);
        }
    }
}
