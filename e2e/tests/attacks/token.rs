//! A thief of a join token, sealed to a machine or handed over for stock kubeadm.

use std::net::IpAddr;

use join_crds::vocabulary;
use join_crds::{ConditionType, Reason};
use join_e2e::lab::wait_until;
use join_e2e::suite::csr;
use join_e2e::suite::joining::{CONTROLLER, PATIENCE, Suite};
use join_trust::machine_key::MachineKey;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::jiff::Timestamp;
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams};
use libtest_mimic::Failed;
use rcgen::SanType;
use rustix::process::Signal;
use serde_json::json;

use super::thief::{
    CLIENT_USAGES, Delivery, Forged, Invited, ask, decided, denied, dns, events, invite, ip, undecided,
};

const SIGNER: &str = vocabulary::SIGNER_KUBELET_CLIENT;

/// Each is denied with the rule that stands beside it.
pub fn a_token_is_worth_one_name_and_one_shape(suite: &Suite) -> Result<(), Failed> {
    let addresses: Vec<IpAddr> = vec![[192, 0, 2, 31].into()];
    let sealed = invite(suite, "shapes-1", &Delivery::Sealed(addresses.clone()))?;
    let token = invite(suite, "shapes-2", &Delivery::Token(addresses))?;
    another_key(suite, &sealed)?;
    for stolen in [sealed, token] {
        for (index, attempt) in attempts(&stolen)?.into_iter().enumerate() {
            let name = format!("{}-attempt-{index}", stolen.name);
            let mut object = csr(&name, SIGNER, &attempt.usages, attempt.request);
            object.spec.expiration_seconds = attempt.seconds;
            let outcome = denied(suite, &stolen.client, &object, attempt.rule);
            outcome.map_err(|failure| format!("{}: {}", attempt.what, failure.message().unwrap_or_default()))?;
        }
        let notes = events(suite, &stolen.uid(), "CertificateDenied")?;
        assert!(notes.iter().any(|note| note.contains("rule Organization")), "{notes:?}");
        let status = suite.wait_for(
            &stolen.name,
            ConditionType::ClientCertificateIssued,
            "False",
            Reason::CertificateRequestDenied,
        )?;
        assert!(status.status.is_some_and(|status| status.node.is_none()));
        second_certificate(suite, &stolen)?;
    }
    Ok(())
}

/// One attempt of a thief, and the rule that it breaks.
struct Attempt {
    what: &'static str,
    rule: &'static str,
    request: Vec<u8>,
    usages: Vec<&'static str>,
    seconds: Option<i32>,
}

fn attempts(stolen: &Invited) -> Result<Vec<Attempt>, Failed> {
    let (name, key) = (stolen.name.as_str(), stolen.key()?);
    let good = || Forged::of_node(name);
    let organizations = |all: &[&str]| Forged {
        organizations: all.iter().map(|one| (*one).to_owned()).collect(),
        ..Forged::of_node(name)
    };
    let plain = good().sign(&key)?;
    let signed = |what, rule, forged: Forged| {
        let request = forged.sign(&key)?;
        Ok::<_, Failed>(Attempt { what, rule, request, usages: CLIENT_USAGES.to_vec(), seconds: None })
    };
    let as_is = |what, rule, request: &[u8]| Attempt {
        what,
        rule,
        request: request.to_vec(),
        usages: CLIENT_USAGES.to_vec(),
        seconds: None,
    };
    let two_names =
        Forged { common_names: vec![vocabulary::node_user(name), vocabulary::node_user("another-1")], ..good() };
    Ok(vec![
        signed("another name", "TokenNode", Forged::of_node("another-1"))?,
        signed("an empty name", "CommonName", good().named("system:node:"))?,
        signed("upper case", "CommonName", good().named(&format!("system:node:{}", name.to_uppercase())))?,
        signed("two names", "CommonName", two_names)?,
        signed("a person's name", "CommonName", good().named("kubernetes-admin"))?,
        signed("system:masters", "Organization", organizations(&["system:masters"]))?,
        signed("system:masters as well", "Organization", organizations(&["system:nodes", "system:masters"]))?,
        signed("no organisation", "Organization", organizations(&[]))?,
        signed("a unit", "SubjectAttributes", Forged { unit: Some("system:masters"), ..good() })?,
        signed("a DNS name", "ClientNames", good().with(&[dns("kubernetes.default.svc")?]))?,
        signed("an address", "ClientNames", good().with(&[ip("10.96.0.1")?]))?,
        signed("an e-mail address", "NameTypes", good().with(&[SanType::Rfc822Name("root@example.org".try_into()?)]))?,
        signed("a URI", "NameTypes", good().with(&[SanType::URI("spiffe://cluster/admin".try_into()?)]))?,
        signed("to be an authority", "Extensions", Forged { authority: true, ..good() })?,
        as_is("RSA with 1024 bits", "KeyType", include_bytes!("../../../trust/testdata/rsa1024-client.csr.pem")),
        as_is("ECDSA P-521", "KeyType", include_bytes!("../../../trust/testdata/p521-client.csr.pem")),
        as_is("a signature with SHA-1", "Signature", include_bytes!("../../../trust/testdata/sha1-client.csr.pem")),
        as_is("two PEM blocks", "Encoding", &[plain.as_slice(), plain.as_slice()].concat()),
        as_is("text behind the PEM block", "Encoding", &[plain.as_slice(), b"x"].concat()),
        Attempt { usages: vec!["digital signature", "server auth"], ..as_is("server auth", "Usages", &plain) },
        Attempt {
            usages: vec!["digital signature", "client auth", "cert sign"],
            ..as_is("cert sign", "Usages", &plain)
        },
        Attempt { usages: vec!["client auth"], ..as_is("too few usages", "Usages", &plain) },
        Attempt { seconds: Some(366 * 24 * 3600), ..as_is("more than a year", "Validity", &plain) },
    ])
}

/// What is sealed to a machine is of use with that machine's key alone.
fn another_key(suite: &Suite, stolen: &Invited) -> Result<(), Failed> {
    let foreign = MachineKey::generate()?.to_pem()?;
    let request = Forged::of_node(&stolen.name).sign(&foreign)?;
    denied(suite, &stolen.client, &csr("with-another-key", SIGNER, &CLIENT_USAGES, request), "PinnedKey")
}

/// All that was denied does not keep the machine itself from joining, and what comes after it is denied, too.
fn second_certificate(suite: &Suite, stolen: &Invited) -> Result<(), Failed> {
    let (name, uid) = (stolen.name.clone(), stolen.uid());
    ask(suite, &stolen.client, &stolen.own_csr(&format!("{name}-first"))?)?;
    let (kind, reason, _) = decided(suite, &format!("{name}-first"))?;
    assert_eq!((kind.as_str(), reason.as_str()), ("Approved", "NodeJoinPolicy"));
    suite.wait_for(&name, ConditionType::ClientCertificateIssued, "True", Reason::CertificateIssued)?;
    denied(suite, &stolen.client, &stolen.own_csr(&format!("{name}-same-key"))?, "SecondCertificate")?;
    let foreign = MachineKey::generate()?.to_pem()?;
    let request = csr(&format!("{name}-other-key"), SIGNER, &CLIENT_USAGES, Forged::of_node(&name).sign(&foreign)?);
    let other = stolen.request.spec.delivery == join_crds::Delivery::Token;
    denied(suite, &stolen.client, &request, if other { "SecondCertificate" } else { "PinnedKey" })?;
    wait_until("the Event", PATIENCE, || match events(suite, &uid, "TokenReused") {
        Ok(notes) if !notes.is_empty() => Ok(()),
        other => Err(format!("{other:?}")),
    })?;
    Ok(())
}

/// A token asks one signer, under one name of the names that machines use.
pub fn a_token_asks_one_signer(suite: &Suite) -> Result<(), Failed> {
    let stolen = invite(suite, "signers-1", &Delivery::Token(Vec::new()))?;
    let other = invite(suite, "signers-2", &Delivery::Token(Vec::new()))?;
    let id = |invited: &Invited| invited.token.split('.').next().unwrap_or_default().to_owned();
    let request = Forged::of_node("signers-1").sign(&stolen.key()?)?;
    for signer in
        [vocabulary::SIGNER_MACHINE, vocabulary::SIGNER_KUBELET_SERVING, "kubernetes.io/kube-apiserver-client"]
    {
        let refusal = ask(suite, &stolen.client, &csr("elsewhere", signer, &CLIENT_USAGES, request.clone())).err();
        let refusal = refusal.ok_or_else(|| format!("{signer} was asked"))?;
        assert!(refusal.contains("nodejoin-certificate-requests") && refusal.contains(signer), "{refusal}");
    }
    // The name that another machine's agent will use: its token's identifier is public.
    let guessed = csr(&vocabulary::client_csr_name(&id(&other)), SIGNER, &CLIENT_USAGES, request.clone());
    let refusal = ask(suite, &stolen.client, &guessed).err().ok_or("another machine's name was taken")?;
    assert!(refusal.contains("nodejoin-client-"), "{refusal}");
    Ok(())
}

/// Before it is made a token authenticates nobody; after the deadline, or outside of its life, it is worth nothing. The
/// controller's record is made older here instead of waiting.
pub fn a_token_outside_its_time_gets_nothing(suite: &Suite) -> Result<(), Failed> {
    let early = suite.client_with_token("abcdef.0123456789abcdef")?;
    let request = Forged::of_node("early-1").sign(&MachineKey::generate()?.to_pem()?)?;
    let refusal = ask(suite, &early, &csr("too-early", SIGNER, &CLIENT_USAGES, request)).err();
    assert!(refusal.as_ref().is_some_and(|refusal| refusal.contains("Unauthorized")), "{refusal:?}");

    let now = Timestamp::now().as_second();
    for (name, changes, rule) in [
        ("late-1", vec![("first-seen", now - 7200)], "Deadline"),
        ("late-2", vec![("token-minted", now - 7200), ("token-expires", now - 3600)], "CreationWindow"),
        ("late-3", vec![("token-minted", now + 3600), ("token-expires", now + 7200)], "CreationWindow"),
    ] {
        let stolen = invite(suite, name, &Delivery::Token(Vec::new()))?;
        suite.lab().signal_process(CONTROLLER, Signal::STOP)?;
        let outcome = (|| {
            ask(suite, &stolen.client, &stolen.own_csr(name)?)?;
            let data: serde_json::Map<String, serde_json::Value> = changes
                .iter()
                .map(|(key, seconds)| ((*key).to_owned(), json!(ByteString(seconds.to_string().into_bytes()))))
                .collect();
            let records: Api<Secret> = Api::namespaced(suite.client(), join_e2e::operator::NAMESPACE);
            let patch = Patch::Merge(json!({"data": data}));
            let record = vocabulary::record_name(&stolen.uid());
            suite.block_on(records.patch(&record, &PatchParams::default(), &patch))?;
            Ok::<_, Failed>(())
        })();
        suite.lab().kill_process(CONTROLLER)?;
        suite.operator().start_controller(CONTROLLER, &[])?;
        outcome?;
        let (kind, reason, issued) = decided(suite, name)?;
        assert_eq!((kind.as_str(), reason.as_str(), issued), ("Denied", rule, false), "{name}");
    }
    Ok(())
}

/// Deleting a request takes its token back, also for a request of the same name that follows at once: even while the
/// controller hangs, so that the token still lives, and when it goes on and hears of the certificate request first.
pub fn a_token_of_a_deleted_request_gets_nothing(suite: &Suite) -> Result<(), Failed> {
    for (name, asks_first) in [("again-1", false), ("again-2", true)] {
        let stolen = invite(suite, name, &Delivery::Token(Vec::new()))?;
        let csr = format!("with-the-old-token-of-{name}");
        suite.lab().signal_process(CONTROLLER, Signal::STOP)?;
        let outcome = (|| {
            let ask = || Ok::<_, Failed>(ask(suite, &stolen.client, &stolen.own_csr(&csr)?)?);
            if asks_first {
                ask()?;
            }
            suite.block_on(suite.requests_api().delete(name, &DeleteParams::default()))?;
            let spec = json!({"role": "Worker", "machine": {"trust": "FirstUse"}, "delivery": "Token"});
            suite.request(name, &spec)?;
            if asks_first { Ok(()) } else { ask() }
        })();
        suite.lab().signal_process(CONTROLLER, Signal::CONT)?;
        outcome?;
        is_worth_nothing(suite, &stolen, &csr)?;
    }
    Ok(())
}

/// The token of a request that is gone authenticates nobody, and what was asked with it is approved by nobody.
fn is_worth_nothing(suite: &Suite, stolen: &Invited, csr: &str) -> Result<(), Failed> {
    let request = suite.wait_for(&stolen.name, ConditionType::CredentialIssued, "True", Reason::TokenIssued)?;
    assert_ne!(request.metadata.uid, stolen.request.metadata.uid);
    wait_until("the old token to be worth nothing", PATIENCE, || {
        let refusal = ask(suite, &stolen.client, &stolen.own_csr("later").map_err(|failure| format!("{failure:?}"))?);
        match refusal {
            Err(refusal) if refusal.contains("Unauthorized") => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })?;
    // The controller's log says that it is nobody's.
    let told = wait_until("the controller to tell of what was asked with the old token", PATIENCE * 2, || {
        let log = std::fs::read_to_string(suite.lab().log_file(CONTROLLER)).map_err(|failure| failure.to_string())?;
        let lines = log.lines().filter(|line| line.contains(&format!("\"csr\":\"{csr}\"")));
        let lines: Vec<String> = lines.map(str::to_owned).collect();
        if lines.is_empty() { Err("nothing".to_owned()) } else { Ok(lines) }
    })?;
    assert!(told.iter().all(|line| !line.contains("\"decision\":\"approve\"")), "{told:?}");
    assert!(decided_or_left(suite, csr)?, "somebody approved what was asked with the token of a deleted request");
    Ok(())
}

/// Whether a request is denied or was left undecided.
fn decided_or_left(suite: &Suite, name: &str) -> Result<bool, Failed> {
    Ok(undecided(suite, name)? || decided(suite, name)?.0 == "Denied")
}
