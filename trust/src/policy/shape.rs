//! The rules about what stands in the request, which are the same for both signers.

use super::context::Context;
use super::request::CertificateRequest;
use super::rule::Rule;
use super::{Findings, Subject};
use crate::names::{NODE_USER_PREFIX, NODES_GROUP, NodeName};
use crate::pkcs10::{AlternativeName, AttributeKind, CertificationRequest, KeyKind, Pkcs10Error};

/// Moduli of RSA keys, in bits, that are long enough to be safe and short enough to be verified quickly.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

/// Reads the request, or says why it cannot be read.
pub(super) fn read(csr: &CertificateRequest, findings: &mut Findings) -> Option<CertificationRequest> {
    match CertificationRequest::parse_pem(&csr.request) {
        Ok(request) => Some(request),
        Err(error @ (Pkcs10Error::Size { .. } | Pkcs10Error::Names { .. })) => {
            findings.add(Rule::Size, error.to_string());
            None
        }
        Err(error) => {
            findings.add(Rule::Encoding, error.to_string());
            None
        }
    }
}

/// Applies the rules to a request that could be read.
pub(super) fn check(
    csr: &CertificateRequest,
    request: &CertificationRequest,
    context: &Context<'_>,
    findings: &mut Findings,
) {
    check_key(request, findings);
    check_usages(csr, request, context, findings);
    check_subject(request, findings);
    for name in request.names() {
        match name {
            AlternativeName::Dns(_) | AlternativeName::Ip(_) => {}
            AlternativeName::BadIp { length } => {
                findings.add(Rule::NameTypes, format!("has an IP address of {length} bytes, expected 4 or 16"));
            }
            AlternativeName::Other(kind) => {
                findings.add(Rule::NameTypes, format!("has an alternative name of kind {kind}"));
            }
        }
    }
    let oids = request.extensions().iter().map(|extension| &extension.oid).chain(request.other_attributes());
    for oid in oids {
        findings.add(Rule::Extensions, format!("asks for {oid}, expected nothing but alternative names"));
    }
}

fn check_key(request: &CertificationRequest, findings: &mut Findings) {
    let allowed = match request.key_kind() {
        KeyKind::P256 | KeyKind::P384 | KeyKind::Ed25519 => true,
        KeyKind::Rsa { bits } => RSA_BITS.contains(bits),
        KeyKind::Other { .. } => false,
    };
    if !allowed {
        let found = request.key_kind();
        findings.add(
            Rule::KeyType,
            format!("key is {found:?}, expected ECDSA P-256 or P-384, Ed25519 or RSA 2048 to 8192"),
        );
        // The verifier does not know such keys, and would only say so a second time.
        return;
    }
    if let Err(error) = request.verify_signature() {
        findings.add(Rule::Signature, error.to_string());
    }
}

fn check_usages(
    csr: &CertificateRequest,
    request: &CertificationRequest,
    context: &Context<'_>,
    findings: &mut Findings,
) {
    let purpose = if matches!(context.subject, Subject::Serving(_)) { "server auth" } else { "client auth" };
    let rsa = matches!(request.key_kind(), KeyKind::Rsa { .. });
    let mut sorted: Vec<&str> = csr.usages.iter().map(String::as_str).collect();
    sorted.sort_unstable();
    let exact = sorted == [purpose, "digital signature"]
        || sorted == ["digital signature", purpose]
        || (rsa
            && (sorted == [purpose, "digital signature", "key encipherment"]
                || sorted == ["digital signature", "key encipherment", purpose]));
    findings.require(exact, Rule::Usages, || {
        let rsa = if rsa { " (and key encipherment)" } else { "" };
        format!("usages are {:?}, expected digital signature and {purpose}{rsa}", csr.usages)
    });
}

fn check_subject(request: &CertificationRequest, findings: &mut Findings) {
    let organizations: Vec<_> = request.subject_values(&AttributeKind::Organization).collect();
    findings.require(organizations == [Some(NODES_GROUP)], Rule::Organization, || {
        format!("organisations are {organizations:?}, expected {NODES_GROUP} once")
    });
    let names: Vec<_> = request.subject_values(&AttributeKind::CommonName).collect();
    let node = request.common_name().and_then(NodeName::from_user_name);
    findings.require(node.is_some(), Rule::CommonName, || {
        format!("common names are {names:?}, expected {NODE_USER_PREFIX}<DNS-1123 subdomain> once")
    });
    for attribute in request.subject() {
        if let AttributeKind::Other(oid) = &attribute.kind {
            findings.add(Rule::SubjectAttributes, format!("subject has the attribute {oid}, expected only O and CN"));
        }
    }
}
