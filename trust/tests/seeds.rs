//! The seeds of the fuzz targets still reach what they are there to reach.
//!
//! A fuzzer that starts from seeds which the first check refuses explores nothing. Files whose names begin with
//! `good-` must be accepted and all others refused, by the parser of the target whose folder they lie in.
#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail the test")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use join_trust::ca_bundle::CaTrust;
use join_trust::cluster_info::ClusterInfo;
use join_trust::credentials::JoinCredentials;
use join_trust::endpoint::Endpoint;
use join_trust::join_configuration::JoinConfiguration;
use join_trust::jws;
use join_trust::kubeconfig::DiscoveryFile;
use join_trust::kubeconfig_url::KubeconfigLocation;
use join_trust::pin::{PinSet, PublicKeyPin};
use join_trust::pkcs10::CertificationRequest;
use join_trust::sealing::{Binding, SealedEnvelope, SealingKey, open};
use join_trust::token::BootstrapToken;

const PIN: &str = "sha256:3b793efefe27a19f93b0fbe6e637e9c41d0dde8a377d6ab1c0f656bf1136dd8a";

fn fuzz() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz")
}

/// The seeds of one target, by name.
fn seeds(target: &str) -> BTreeMap<String, Vec<u8>> {
    let folder = fuzz().join("seeds").join(target);
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    entries
        .map(|entry| {
            let path = entry.unwrap().path();
            (path.file_name().unwrap().to_str().unwrap().to_owned(), fs::read(&path).unwrap())
        })
        .collect()
}

fn check(target: &str, accepts: impl Fn(&[u8]) -> bool) {
    let seeds = seeds(target);
    assert!(seeds.keys().any(|name| name.starts_with("good-")), "{target} has no good seed");
    for (name, content) in &seeds {
        assert_eq!(accepts(content), name.starts_with("good-"), "{target}/{name}");
    }
}

fn text(content: &[u8]) -> &str {
    std::str::from_utf8(content).unwrap()
}

#[test]
fn every_target_has_seeds() {
    let mut targets: Vec<String> = fs::read_dir(fuzz().join("targets"))
        .unwrap()
        .map(|entry| entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    let mut expected = [
        // The seeds of these are tested where their parsers are: in the agent and in the crate `control-plane`.
        "agent_configuration",
        "cluster_configuration",
        "kubelet_configuration",
        "shared_certificates",
        "announcement",
        "cluster_info",
        "credentials",
        "csr_policy",
        "discovery_file",
        "join_configuration",
        "jws",
        "kubeconfig_location",
        "sealed_envelope",
        "token",
    ];
    targets.sort();
    expected.sort_unstable();
    assert_eq!(targets, expected, "a target was added or removed: add its seeds and a test here");
}

#[test]
fn seeds_of_token() {
    check("token", |content| {
        let text = text(content);
        BootstrapToken::parse(text).is_ok()
            || PublicKeyPin::parse(text).is_ok()
            || Endpoint::parse(text).is_ok()
            || Endpoint::parse_url(text).is_ok()
    });
}

#[test]
fn seeds_of_jws() {
    let token = BootstrapToken::parse("abcdef.0123456789abcdef").unwrap();
    let payload = "apiVersion: v1\nkind: Config\n";
    check("jws", |content| {
        let lines = text(content).lines().filter_map(|line| line.split_once(':'));
        let data = lines.map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
        jws::verify(&token, payload, text(content)).is_ok() || jws::verify_in(&token, payload, &data).is_ok()
    });
}

#[test]
fn seeds_of_discovery_file() {
    check("discovery_file", |content| DiscoveryFile::parse(text(content)).is_ok());
    // What may come from elsewhere is refused for what it names, and not by the first look at it.
    for (name, content) in seeds("discovery_file") {
        let fetched = DiscoveryFile::parse_fetched(text(&content));
        assert_eq!(fetched.is_ok(), name.starts_with("good-fetched-") || name == "good-cluster-info.yaml", "{name}");
    }
}

#[test]
fn seeds_of_kubeconfig_location() {
    check("kubeconfig_location", |content| KubeconfigLocation::parse(text(content)).is_ok());
}

#[test]
fn seeds_of_join_configuration() {
    check("join_configuration", |content| JoinConfiguration::parse(text(content)).is_ok());
}

#[test]
fn seeds_of_cluster_info() {
    let trust = CaTrust::Pinned(PinSet::parse([PIN]).unwrap());
    check("cluster_info", |content| ClusterInfo::parse(text(content), &trust).is_ok());
}

#[test]
fn seeds_of_announcement() {
    check("announcement", |content| join_trust::announcement::verify(content).is_ok());
}

#[test]
fn seeds_of_csr_policy() {
    check("csr_policy", |content| {
        CertificationRequest::parse_pem(content).is_ok_and(|request| request.verify_signature().is_ok())
    });
}

#[test]
fn seeds_of_sealed_envelope() {
    let target = fs::read_to_string(fuzz().join("targets/sealed_envelope.rs")).unwrap();
    let begin = target.find("-----BEGIN").unwrap();
    let end = target.rfind("-----END PRIVATE KEY-----\n").unwrap() + "-----END PRIVATE KEY-----\n".len();
    let key = SealingKey::from_pem(&target[begin..end]).unwrap();
    let binding = Binding { uid: "00000000-0000-4000-8000-000000000000", name: "worker-7", generation: 1 };
    check("sealed_envelope", |content| {
        let Some((encapsulated, ciphertext)) = text(content).trim_end().split_once('\n') else { return false };
        let Ok(sealed) = SealedEnvelope::from_base64(encapsulated, ciphertext) else { return false };
        open(&key, &binding, &sealed).is_ok_and(|plaintext| JoinCredentials::parse(&plaintext).is_ok())
    });
}

#[test]
fn seeds_of_credentials() {
    check("credentials", |content| JoinCredentials::parse(content).is_ok());
}
