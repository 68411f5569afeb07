//! What a machine with a token meets in cluster-info, and what becomes of tokens.

use std::time::Instant;

use join_crds::vocabulary::{CLUSTER_INFO, CLUSTER_INFO_ROLE, GROUP_ENROLL, KUBE_PUBLIC, KUBE_SYSTEM};
use join_e2e::lab::layout::{API_PORT, CONTROL_PLANE};
use join_e2e::suite::joining::Suite;
use join_trust::cluster_info::KUBECONFIG_KEY;
use join_trust::token::BootstrapToken;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use k8s_openapi::api::rbac::v1::RoleBinding;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::api::{DeleteParams, ObjectMeta, Patch, PatchParams, PostParams};
use kube::{Api, Resource, ResourceExt};
use libtest_mimic::Failed;
use serde_json::json;

use super::agent::Scene;

const KCM: &str = "kube-controller-manager";
/// Begins to work at once, instead of waiting for the lease of the one that was killed.
const AT_ONCE: &str = "--leader-elect=false";
const API_SERVER: &str = "kube-apiserver";

/// Each is made for real in the cluster, and mended again.
pub fn each_fault_of_cluster_info_and_of_a_token_has_its_reason(suite: &Suite) -> Result<(), Failed> {
    let scene = Scene::new(suite, "info-1")?;
    states_of_cluster_info(&scene)?;
    pins_and_signatures(&scene)?;
    tokens(&scene)
}

fn states_of_cluster_info(scene: &Scene<'_>) -> Result<(), Failed> {
    let suite = scene.suite;
    let configuration = scene.configuration(&json!({}))?;
    let maps: Api<ConfigMap> = Api::namespaced(suite.client(), KUBE_PUBLIC);
    let map = suite.block_on(maps.get(CLUSTER_INFO))?;
    suite.block_on(maps.delete(CLUSTER_INFO, &DeleteParams::default()))?;
    let absent = scene.fails(&configuration, "cluster-info does not exist", &["HTTP 404"]);
    suite.block_on(maps.create(&PostParams::default(), &anew(map.clone())))?;
    absent?;
    scene.goes_on()?;

    let without = json!({"data": {KUBECONFIG_KEY: null}});
    suite.block_on(maps.patch(CLUSTER_INFO, &PatchParams::default(), &Patch::Merge(&without)))?;
    let without = scene.fails(&configuration, "cluster-info has no kubeconfig", &["kubeconfig"]);
    let with = json!({"data": map.data});
    suite.block_on(maps.patch(CLUSTER_INFO, &PatchParams::default(), &Patch::Merge(&with)))?;
    without?;
    scene.goes_on()?;

    let bindings: Api<RoleBinding> = Api::namespaced(suite.client(), KUBE_PUBLIC);
    let binding = suite.block_on(bindings.get(CLUSTER_INFO_ROLE))?;
    suite.block_on(bindings.delete(CLUSTER_INFO_ROLE, &DeleteParams::default()))?;
    let hidden = scene.fails(
        &configuration,
        "cluster-info cannot be read without credentials",
        &["HTTP 403", "system:anonymous"],
    );
    suite.block_on(bindings.create(&PostParams::default(), &anew(binding)))?;
    hidden?;
    scene.goes_on()
}

/// An object that is to be created again.
fn anew<K: Resource>(mut object: K) -> K {
    object.meta_mut().resource_version = None;
    object.meta_mut().uid = None;
    object.managed_fields_mut().clear();
    object
}

fn pins_and_signatures(scene: &Scene<'_>) -> Result<(), Failed> {
    let suite = scene.suite;
    let other = format!("sha256:{}", "0".repeat(64));
    let ours = suite.operator().ca_pin()?;
    let configuration = scene.configuration(&json!({"caCertHashes": [other]}))?;
    scene.fails(&configuration, "the authority in cluster-info is none of the pinned ones", &[&other, &ours])?;

    // The right name of a token with another secret: what is signed in cluster-info is not for it.
    let token = suite.enrollment().token();
    let id = token.split_once('.').map_or(token.as_str(), |(id, _)| id);
    let configuration = scene.configuration(&json!({"token": format!("{id}.0123456789abcdef")}))?;
    scene.fails(&configuration, "the token's signature is wrong", &[id])?;

    // A token that nobody has signed yet, since the signer does not run.
    suite.lab().kill_process(KCM)?;
    let outcome = (|| {
        let token = make_token(suite, SignedDuration::from_hours(1))?;
        let configuration = scene.configuration(&json!({"token": token.expose().to_string()}))?;
        scene.fails(
            &configuration,
            "the token's signature is not there yet",
            &[token.id().as_str(), "accepts the token"],
        )
    })();
    suite.lab().start_process(KCM, &[AT_ONCE])?;
    outcome?;
    scene.goes_on()
}

fn tokens(scene: &Scene<'_>) -> Result<(), Failed> {
    let suite = scene.suite;
    let unknown = "abcdef.0123456789abcdef";
    let configuration = scene.configuration(&json!({"token": unknown}))?;
    scene.fails(&configuration, "the token is not known", &["abcdef", "HTTP 401"])?;
    let server = format!("{CONTROL_PLANE}:{API_PORT}");
    let beside_a_file = scene.with_file_and_token(&server, &scene.pki("ca.crt")?, unknown)?;
    scene.fails(&beside_a_file, "the token is not known", &["announcing", "HTTP 401"])?;

    let expired = make_token(suite, SignedDuration::from_secs(-5))?;
    let configuration = scene.configuration(&json!({
        "token": expired.expose().to_string(), "tokenExpiration": Timestamp::now().to_string(),
    }))?;
    scene.fails(&configuration, "the token has expired", &[expired.id().as_str(), "HTTP 401"])?;

    let revoked = make_token(suite, SignedDuration::from_hours(1))?;
    let configuration = scene.configuration(&json!({"token": revoked.expose().to_string()}))?;
    scene.start(&configuration)?;
    scene.goes_on()?;
    let secrets: Api<Secret> = Api::namespaced(suite.client(), KUBE_SYSTEM);
    suite.block_on(secrets.delete(&revoked.id().secret_name(), &DeleteParams::default()))?;
    // A connection that is open stays so: the token is looked at when the next one is made.
    suite.lab().kill_process(API_SERVER)?;
    suite.lab().start_process(API_SERVER, &[])?;
    suite.lab().wait_for_api_server()?;
    scene.says(Instant::now(), "the token was deleted while it was in use", &["HTTP 401"])?;
    Ok(())
}

/// A token for enrollment that ends after `validity`.
fn make_token(suite: &Suite, validity: SignedDuration) -> Result<BootstrapToken, Failed> {
    let token = BootstrapToken::generate()?;
    let expiration = Timestamp::now().checked_add(validity)?;
    let data = [
        ("token-id", token.id().as_str().to_owned()),
        ("token-secret", token.secret().expose().to_string()),
        ("expiration", expiration.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()),
        ("usage-bootstrap-authentication", "true".to_owned()),
        ("usage-bootstrap-signing", "true".to_owned()),
        ("auth-extra-groups", GROUP_ENROLL.to_owned()),
    ];
    let secret = Secret {
        metadata: ObjectMeta { name: Some(token.id().secret_name()), ..ObjectMeta::default() },
        type_: Some("bootstrap.kubernetes.io/token".to_owned()),
        string_data: Some(data.map(|(key, value)| (key.to_owned(), value)).into()),
        ..Secret::default()
    };
    let secrets: Api<Secret> = Api::namespaced(suite.client(), KUBE_SYSTEM);
    suite.block_on(secrets.create(&PostParams::default(), &secret))?;
    Ok(token)
}
