//! Looking at a cluster. Nothing is changed, and nothing is judged here.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::time::Duration;

use futures::future::join_all;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Limited};
use join_crds::NodeJoinRequest;
use join_crds::vocabulary::{
    CLUSTER_INFO, GROUP, KUBE_PUBLIC, KUBE_SYSTEM, LABEL_NODE_UID, LABEL_REQUEST_UID, MANAGED_BY_CONTROLLER, PLURAL,
    SECRET_TYPE_RECORD,
};
use join_trust::cluster_info::KUBECONFIG_KEY;
use join_trust::jws::{self, JwsError};
use join_trust::pin::PublicKeyPin;
use join_trust::token::{BootstrapToken, SECRET_TYPE, TokenId, TokenSecret};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use k8s_openapi::jiff::{Timestamp, fmt::rfc2822};
use kube::api::{ListParams, PostParams};
use kube::client::{Body, ClientBuilder};
use kube::{Api, Client, Config};
use serde::de::DeserializeOwned;

use super::facts::{Facts, Look, Named, RecordSeen, Server, Signature, Token};
use super::rights::Right;

/// Objects in one answer.
const PAGE: u32 = 500;
/// Answers that are read of one list. What lies behind is not looked at.
const PAGES: usize = 40;
/// Bytes of an answer that is not read by kube's client.
const MAX_ANSWER_BYTES: usize = 2 * 1024 * 1024;
/// How long one answer may take.
const PATIENCE: Duration = Duration::from_secs(15);

/// No connection could be set up.
#[derive(Debug, thiserror::Error)]
pub enum ObserveError {
    /// kube refused the configuration.
    #[error("cannot set up a connection to {url}: {source}")]
    Connect {
        /// The API server.
        url: String,
        /// Why not.
        source: Box<kube::Error>,
    },
}

/// What is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Breadth {
    /// Everything.
    Administrator,
    /// What the controller's ServiceAccount may read; nothing else is tried.
    Controller,
}

/// The two connections that looking takes.
pub struct Access {
    client: Client,
    anonymous: Client,
    url: String,
    trusted: Vec<PublicKeyPin>,
}

impl Access {
    /// Connects with the credentials of this configuration, and a second time without any.
    pub fn new(config: &Config) -> Result<Self, ObserveError> {
        let mut own = config.clone();
        own.connect_timeout = Some(PATIENCE);
        own.read_timeout = Some(PATIENCE);
        let mut bare = Config::new(config.cluster_url.clone());
        bare.root_cert.clone_from(&config.root_cert);
        bare.root_cert_file.clone_from(&config.root_cert_file);
        bare.accept_invalid_certs = config.accept_invalid_certs;
        bare.tls_server_name.clone_from(&config.tls_server_name);
        bare.proxy_url.clone_from(&config.proxy_url);
        bare.headers.extend(config.headers.iter().filter(|(name, _)| name == http::header::USER_AGENT).cloned());
        bare.connect_timeout = Some(PATIENCE);
        bare.read_timeout = Some(PATIENCE);
        let url = config.cluster_url.to_string();
        let connect = |config: Config| {
            ClientBuilder::try_from(config)
                .map(ClientBuilder::build)
                .map_err(|source| ObserveError::Connect { url: url.clone(), source: Box::new(source) })
        };
        let (client, anonymous) = (connect(own)?, connect(bare)?);
        let certificates = config.root_cert.iter().flatten();
        let trusted = certificates.filter_map(|der| PublicKeyPin::of_certificate(der).ok()).collect();
        Ok(Self { client, anonymous, url, trusted })
    }
}

/// Looks at a cluster, and asks for each of the rights.
pub async fn observe(access: &Access, namespace: &str, breadth: Breadth, rights: Vec<Right>) -> Facts {
    let ours = Timestamp::now();
    let (server, theirs) = server(access, ours).await;
    let mut facts = nothing(namespace, theirs.unwrap_or(ours), &access.trusted);
    let reachable = server.found().is_some();
    facts.server = server;
    if !reachable {
        return facts;
    }
    let client = &access.client;
    facts.cluster_info = get(Api::namespaced(client.clone(), KUBE_PUBLIC), "ConfigMap", CLUSTER_INFO).await;
    facts.anonymous = anonymous(access).await;
    facts.requests = listed::<NodeJoinRequest>(Api::all(client.clone()), ListParams::default(), PLURAL)
        .await
        .map(|requests| requests.into_iter().map(|request| named(&request.metadata)).collect());
    facts.served = served(client).await;
    facts.rights = join_all(rights.into_iter().map(|right| may(client, right))).await;
    facts.certificate_requests = all(client, "certificate requests").await;
    facts.controller_lease = get(Api::namespaced(client.clone(), namespace), "lease", MANAGED_BY_CONTROLLER).await;
    facts.records = records(client, namespace).await;
    if breadth == Breadth::Administrator {
        administrator(client, namespace, &mut facts).await;
    }
    facts
}

/// What only an administrator may read.
async fn administrator(client: &Client, namespace: &str, facts: &mut Facts) {
    let name = format!("{PLURAL}.{GROUP}");
    facts.crd = get::<CustomResourceDefinition>(Api::all(client.clone()), "CustomResourceDefinition", &name)
        .await
        .map(Box::new);
    facts.manager_lease = get(Api::namespaced(client.clone(), KUBE_SYSTEM), "lease", "kube-controller-manager").await;
    facts.tokens = tokens(client, facts.cluster_info.found()).await;
    facts.components = listed(
        Api::namespaced(client.clone(), KUBE_SYSTEM),
        ListParams::default().labels("tier=control-plane"),
        "pods of the control plane",
    )
    .await;
    facts.deployment = deployment(client, namespace).await;
    facts.policies = all(client, "admission policies").await;
    facts.policy_bindings = all(client, "bindings of admission policies").await;
    facts.cluster_roles = all(client, "ClusterRoles").await;
    facts.cluster_role_bindings = all(client, "ClusterRoleBindings").await;
    facts.roles = all(client, "Roles").await;
    facts.role_bindings = all(client, "RoleBindings").await;
}

/// Facts of which none was looked at yet.
fn nothing(namespace: &str, now: Timestamp, trusted: &[PublicKeyPin]) -> Facts {
    const NOT: &str = "this is not looked at with the controller's rights; kubectl njr check looks";
    Facts {
        namespace: namespace.to_owned(),
        now,
        server: Look::NotLooked(NOT),
        trusted: trusted.to_vec(),
        rights: Vec::new(),
        served: Look::NotLooked(NOT),
        crd: Look::NotLooked(NOT),
        cluster_info: Look::NotLooked(NOT),
        anonymous: Look::NotLooked(NOT),
        tokens: Look::NotLooked(NOT),
        requests: Look::NotLooked(NOT),
        records: Look::NotLooked(NOT),
        certificate_requests: Look::NotLooked(NOT),
        manager_lease: Look::NotLooked(NOT),
        controller_lease: Look::NotLooked(NOT),
        deployment: Look::NotLooked(NOT),
        components: Look::NotLooked(NOT),
        policies: Look::NotLooked(NOT),
        policy_bindings: Look::NotLooked(NOT),
        cluster_roles: Look::NotLooked(NOT),
        cluster_role_bindings: Look::NotLooked(NOT),
        roles: Look::NotLooked(NOT),
        role_bindings: Look::NotLooked(NOT),
    }
}

/// Asks for the version, and takes the time from the answer's head.
async fn server(access: &Access, ours: Timestamp) -> (Look<Server>, Option<Timestamp>) {
    let failed = |why: String| (Look::Failed(format!("GET {}version: {why}", access.url)), None);
    let request = match Request::get("/version").body(Body::empty()) {
        Ok(request) => request,
        Err(error) => return failed(error.to_string()),
    };
    let answer = match access.client.send(request).await {
        Ok(answer) => answer,
        Err(error) => return failed(causes(&error)),
    };
    let status = answer.status();
    if !status.is_success() {
        return failed(format!("the answer is {status}"));
    }
    let date = answer.headers().get(http::header::DATE).and_then(|date| date.to_str().ok());
    let theirs = date.and_then(|date| rfc2822::DateTimeParser::new().parse_timestamp(date).ok());
    let body = match Limited::new(answer.into_body(), MAX_ANSWER_BYTES).collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) => return failed(error.to_string()),
    };
    let Ok(version) = serde_json::from_slice::<k8s_openapi::apimachinery::pkg::version::Info>(&body) else {
        return failed("the answer is no version: is this a Kubernetes API server?".to_owned());
    };
    let server = Server {
        url: access.url.clone(),
        number: number(&version.git_version),
        version: version.git_version,
        skew_seconds: theirs.map(|theirs| theirs.as_second() - ours.as_second()),
    };
    (Look::Found(server), theirs)
}

/// `v1.37.2-alpha.1+eks-abc` is 1.37.2.
pub(super) fn number(version: &str) -> Option<(u32, u32, u32)> {
    let mut parts = version.strip_prefix('v')?.split(['.', '-', '+']).map(str::parse);
    Some((parts.next()?.ok()?, parts.next()?.ok()?, parts.next()?.ok()?))
}

/// Reads cluster-info as a machine does that has nothing yet.
async fn anonymous(access: &Access) -> Look<u16> {
    let path = format!("/api/v1/namespaces/{KUBE_PUBLIC}/configmaps/{CLUSTER_INFO}");
    let failed = |why: String| Look::Failed(format!("GET {path} without credentials: {why}"));
    let request = match Request::get(&path).body(Body::empty()) {
        Ok(request) => request,
        Err(error) => return failed(error.to_string()),
    };
    match access.anonymous.send(request).await {
        Ok(answer) => Look::Found(answer.status().as_u16()),
        Err(error) => failed(causes(&error)),
    }
}

async fn served(client: &Client) -> Look<()> {
    let api: Api<NodeJoinRequest> = Api::all(client.clone());
    looked(&format!("list {PLURAL}.{GROUP}"), api.list_metadata(&ListParams::default().limit(1)).await).map(drop)
}

async fn may(client: &Client, right: Right) -> (Right, Look<bool>) {
    let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let review = SelfSubjectAccessReview {
        spec: SelfSubjectAccessReviewSpec {
            resource_attributes: Some(ResourceAttributes {
                verb: some(right.verb),
                group: some(right.group),
                resource: some(right.resource),
                subresource: some(right.subresource),
                namespace: some(&right.namespace),
                name: some(right.name),
                ..ResourceAttributes::default()
            }),
            ..SelfSubjectAccessReviewSpec::default()
        },
        ..SelfSubjectAccessReview::default()
    };
    let api: Api<SelfSubjectAccessReview> = Api::all(client.clone());
    let answer = looked("ask for its own rights", api.create(&PostParams::default(), &review).await);
    (right, answer.map(|review| review.status.is_some_and(|status| status.allowed)))
}

/// Bootstrap tokens. Their secrets are used to look at their signatures, and dropped here.
async fn tokens(client: &Client, cluster_info: Option<&ConfigMap>) -> Look<Vec<Token>> {
    let of_type = ListParams::default().fields(&format!("type={SECRET_TYPE}"));
    let secrets = listed::<Secret>(Api::namespaced(client.clone(), KUBE_SYSTEM), of_type, "bootstrap tokens").await;
    secrets.map(|secrets| secrets.iter().map(|secret| token(secret, cluster_info)).collect())
}

/// Reads a token's Secret.
pub(super) fn token(secret: &Secret, cluster_info: Option<&ConfigMap>) -> Token {
    let text = |key: &str| {
        let value = secret.data.as_ref().and_then(|data| data.get(key));
        value.and_then(|value| std::str::from_utf8(&value.0).ok()).unwrap_or_default()
    };
    let secret_name = secret.metadata.name.clone().unwrap_or_default();
    let groups = text("auth-extra-groups").split(',').filter(|group| !group.is_empty());
    let whole = TokenId::parse(text("token-id"))
        .and_then(|id| Ok(BootstrapToken::new(id, TokenSecret::parse(text("token-secret"))?)));
    let signature = match (whole, cluster_info) {
        (Ok(whole), Some(info)) if text("usage-bootstrap-signing") == "true" => signature(&whole, info),
        _ => Signature::NotApplicable,
    };
    let labels = secret.metadata.labels.as_ref();
    Token {
        uid: secret.metadata.uid.clone().unwrap_or_default(),
        id: secret_name.strip_prefix("bootstrap-token-").unwrap_or_default().to_owned(),
        created: secret.metadata.creation_timestamp.as_ref().map(|time| time.0),
        expires: text("expiration").parse().ok(),
        authenticates: text("usage-bootstrap-authentication") == "true",
        groups: groups.map(str::to_owned).collect(),
        request_uid: labels.and_then(|labels| labels.get(LABEL_REQUEST_UID)).cloned(),
        signature,
        secret_name,
    }
}

fn signature(token: &BootstrapToken, info: &ConfigMap) -> Signature {
    let empty = BTreeMap::new();
    let data = info.data.as_ref().unwrap_or(&empty);
    let Some(payload) = data.get(KUBECONFIG_KEY) else { return Signature::NotApplicable };
    match jws::verify_in(token, payload, data) {
        Ok(()) => Signature::Valid,
        Err(JwsError::Missing { .. }) => Signature::Missing,
        Err(JwsError::PayloadSize { .. }) => Signature::NotApplicable,
        Err(_) => Signature::Wrong,
    }
}

/// The records by their metadata: their content holds tokens.
async fn records(client: &Client, namespace: &str) -> Look<Vec<RecordSeen>> {
    let api: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let params = ListParams::default().fields(&format!("type={SECRET_TYPE_RECORD}")).limit(PAGE * 20);
    let what = format!("list the records in namespace {namespace}");
    looked(&what, api.list_metadata(&params).await).map(|list| {
        let labelled = |metadata: &kube::api::ObjectMeta, label: &str| {
            metadata.labels.as_ref().and_then(|labels| labels.get(label)).cloned()
        };
        let seen = |metadata: &kube::api::ObjectMeta| RecordSeen {
            name: metadata.name.clone().unwrap_or_default(),
            request_uid: labelled(metadata, LABEL_REQUEST_UID).unwrap_or_default(),
            of_node: labelled(metadata, LABEL_NODE_UID).is_some(),
            created: metadata.creation_timestamp.as_ref().map(|time| time.0),
        };
        list.items.iter().map(|record| seen(&record.metadata)).collect()
    })
}

/// The Deployment that runs the controller, whatever the release is called.
async fn deployment(client: &Client, namespace: &str) -> Look<Box<Deployment>> {
    let api: Api<Deployment> = Api::namespaced(client.clone(), namespace);
    match listed(api, ListParams::default(), &format!("Deployments in namespace {namespace}")).await {
        Look::Found(deployments) => {
            let ours = deployments.into_iter().find(runs_controller);
            ours.map_or(Look::Absent, |deployment| Look::Found(Box::new(deployment)))
        }
        other => other.map(|_| Box::default()),
    }
}

fn runs_controller(deployment: &Deployment) -> bool {
    let pod = deployment.spec.as_ref().and_then(|spec| spec.template.spec.as_ref());
    pod.is_some_and(|pod| {
        pod.containers
            .iter()
            .any(|container| container.image.as_deref().is_some_and(|image| image.contains(MANAGED_BY_CONTROLLER)))
    })
}

fn named(metadata: &kube::api::ObjectMeta) -> Named {
    Named { name: metadata.name.clone().unwrap_or_default(), uid: metadata.uid.clone().unwrap_or_default() }
}

async fn get<K>(api: Api<K>, what: &str, name: &str) -> Look<K>
where
    K: Clone + DeserializeOwned + Debug,
{
    looked(&format!("read {what} {name}"), api.get(name).await)
}

async fn all<K>(client: &Client, what: &str) -> Look<Vec<K>>
where
    K: kube::Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug,
{
    listed(Api::all(client.clone()), ListParams::default(), what).await
}

async fn listed<K>(api: Api<K>, params: ListParams, what: &str) -> Look<Vec<K>>
where
    K: Clone + DeserializeOwned + Debug,
{
    let what = format!("list {what}");
    let mut params = params.limit(PAGE);
    let mut items = Vec::new();
    for _ in 0..PAGES {
        let page = match looked(&what, api.list(&params).await) {
            Look::Found(page) => page,
            other => return other.map(|_| Vec::new()),
        };
        items.extend(page.items);
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => params = params.continue_token(&token),
            None => break,
        }
    }
    Look::Found(items)
}

impl<T> Look<T> {
    /// Changes what was seen, if something was.
    fn map<U>(self, change: impl FnOnce(T) -> U) -> Look<U> {
        match self {
            Self::Found(seen) => Look::Found(change(seen)),
            Self::Absent => Look::Absent,
            Self::Forbidden(why) => Look::Forbidden(why),
            Self::Failed(why) => Look::Failed(why),
            Self::NotLooked(why) => Look::NotLooked(why),
        }
    }
}

fn looked<T>(what: &str, answer: Result<T, kube::Error>) -> Look<T> {
    match answer {
        Ok(seen) => Look::Found(seen),
        Err(kube::Error::Api(status)) if status.code == StatusCode::NOT_FOUND.as_u16() => Look::Absent,
        Err(kube::Error::Api(status)) if status.code == StatusCode::FORBIDDEN.as_u16() => {
            Look::Forbidden(format!("not allowed to {what}"))
        }
        Err(kube::Error::Api(status)) => Look::Failed(format!("cannot {what}: {}", status.message)),
        Err(error) => Look::Failed(format!("cannot {what}: {}", causes(&error))),
    }
}

/// An error with what caused it: kube's outermost message says little.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}
