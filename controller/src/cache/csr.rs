//! Certificate requests and announcements, as the controller keeps them.

use join_crds::vocabulary::ANNOUNCEMENT_PREFIX;
use join_trust::UnixSeconds;
use join_trust::announcement::{self, Announcement};
use join_trust::limits::MAX_CSR_PEM_BYTES;
use join_trust::names::{ANNOUNCEMENT_SIGNER, CLIENT_SIGNER, NODE_USER_PREFIX, SERVING_SIGNER};
use join_trust::policy::CertificateRequest;
use join_trust::token::TokenId;
use k8s_openapi::api::certificates::v1::{CertificateSigningRequest, CertificateSigningRequestCondition};
use x509_parser::pem::parse_x509_pem;

use super::{Entry, version_number};

/// The most that is read of an issued certificate. A kubelet's has about 1 KiB.
const MAX_CERTIFICATE_BYTES: usize = 64 * 1024;

/// What was announced, or why it is not believed.
pub type Announced = Result<Announcement, String>;

/// One announcement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnnouncementEntry {
    /// `metadata.name`
    pub name: String,
    /// `metadata.uid`
    pub uid: String,
    /// `metadata.creationTimestamp`
    pub created_at: UnixSeconds,
    /// The node name that it claims.
    pub claimed: Option<String>,
    /// What it says, after everything about it was verified.
    pub announced: Announced,
}

impl AnnouncementEntry {
    /// Reads and verifies an announcement; none for other signers' objects.
    ///
    /// Only the signed request inside is believed. The object's name merely tells whom to show an announcement to
    /// that does not hold.
    pub fn read(object: &CertificateSigningRequest) -> Option<Self> {
        if object.spec.signer_name != ANNOUNCEMENT_SIGNER {
            return None;
        }
        let name = object.metadata.name.clone().unwrap_or_default();
        let announced: Announced = announcement::verify(&object.spec.request.0).map_err(|error| error.to_string());
        Some(Self {
            claimed: announced
                .as_ref()
                .map_or_else(|_| node_in_name(&name), |announcement| Some(announcement.node_name.as_str().to_owned())),
            uid: object.metadata.uid.clone().unwrap_or_default(),
            created_at: created_at(object),
            announced,
            name,
        })
    }
}

/// The node name in the name of an announcement: `nodejoin-machine-<node>-<16 hex digits>`.
fn node_in_name(name: &str) -> Option<String> {
    let (node, _) = name.strip_prefix(ANNOUNCEMENT_PREFIX)?.rsplit_once('-')?;
    Some(node.to_owned())
}

impl Entry for AnnouncementEntry {
    type Key = String;

    fn name(&self) -> &str {
        &self.name
    }

    /// The node name.
    fn keys(&self) -> Vec<String> {
        self.claimed.iter().cloned().collect()
    }

    fn version(&self) -> Option<u64> {
        None
    }
}

/// How a certificate request is found.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum CsrKey {
    /// By the id of the token that its requester authenticated with.
    Token(String),
    /// By the node that its requester is.
    Node(String),
}

/// An issued certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issued {
    /// When it ends.
    pub not_after: UnixSeconds,
    /// Its serial number in lower-case hexadecimal digits.
    pub serial: String,
}

/// One request for one of the two kubelet signers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CsrEntry {
    /// `metadata.resourceVersion`
    pub version: String,
    /// What the policy looks at.
    pub request: CertificateRequest,
    /// Reason and message of a denial or failure.
    pub verdict: Option<String>,
    /// Reason of its approval or denial.
    pub decided_for: Option<String>,
    /// When it was approved.
    pub approved_at: Option<UnixSeconds>,
    /// The certificate.
    pub certificate: Option<Issued>,
}

impl CsrEntry {
    /// Reads a request; none for other signers' objects.
    pub fn read(object: CertificateSigningRequest) -> Option<Self> {
        let spec = object.spec;
        if spec.signer_name != CLIENT_SIGNER && spec.signer_name != SERVING_SIGNER {
            return None;
        }
        let status = object.status.unwrap_or_default();
        let conditions = status.conditions.unwrap_or_default();
        let of_type = |kind: &str| conditions.iter().find(|condition| condition.type_ == kind);
        let (approved, denied, failed) = (of_type("Approved"), of_type("Denied"), of_type("Failed"));
        let certificate = status.certificate.filter(|certificate| !certificate.0.is_empty());
        Some(Self {
            version: object.metadata.resource_version.unwrap_or_default(),
            verdict: denied.or(failed).map(describe),
            decided_for: denied.or(approved).and_then(|condition| condition.reason.clone()),
            approved_at: approved
                .and_then(|condition| condition.last_update_time.as_ref())
                .map(|time| time.0.as_second()),
            certificate: certificate.as_ref().and_then(|certificate| read_certificate(&certificate.0)),
            request: CertificateRequest {
                created_at: object.metadata.creation_timestamp.map_or(0, |time| time.0.as_second()),
                name: object.metadata.name.unwrap_or_default(),
                uid: object.metadata.uid.unwrap_or_default(),
                signer_name: spec.signer_name,
                request: cut(spec.request.0),
                usages: spec.usages.unwrap_or_default(),
                expiration_seconds: spec.expiration_seconds.map(i64::from),
                username: spec.username.unwrap_or_default(),
                user_uid: spec.uid.unwrap_or_default(),
                groups: spec.groups.unwrap_or_default(),
                extra: spec.extra.unwrap_or_default(),
                approved: approved.is_some(),
                denied: denied.is_some(),
                failed: failed.is_some(),
                issued: certificate.is_some(),
            },
        })
    }

    /// Whether it is for the client signer.
    pub fn is_client(&self) -> bool {
        self.request.signer_name == CLIENT_SIGNER
    }

    /// Whether it was approved more than so many seconds ago, and has neither a certificate nor a failure.
    pub fn is_unsigned(&self, now: UnixSeconds, timeout: i64) -> bool {
        let request = &self.request;
        let open = request.approved && !request.issued && !request.denied && !request.failed;
        open && self.approved_at.is_some_and(|at| now.saturating_sub(at) > timeout)
    }

    /// Who is asking.
    pub fn requester(&self) -> Option<CsrKey> {
        let user = &self.request.username;
        if let Some(id) = TokenId::from_user_name(user) {
            return Some(CsrKey::Token(id.as_str().to_owned()));
        }
        user.strip_prefix(NODE_USER_PREFIX).map(|node| CsrKey::Node(node.to_owned()))
    }
}

impl Entry for CsrEntry {
    type Key = CsrKey;

    fn name(&self) -> &str {
        &self.request.name
    }

    fn keys(&self) -> Vec<CsrKey> {
        self.requester().into_iter().collect()
    }

    fn version(&self) -> Option<u64> {
        version_number(Some(&self.version))
    }
}

/// What is too long is refused for its length alone, so one byte more than the limit is all that is kept of it.
fn cut(mut request: Vec<u8>) -> Vec<u8> {
    request.truncate(MAX_CSR_PEM_BYTES + 1);
    request.shrink_to_fit();
    request
}

fn created_at(object: &CertificateSigningRequest) -> UnixSeconds {
    object.metadata.creation_timestamp.as_ref().map_or(0, |time| time.0.as_second())
}

fn describe(condition: &CertificateSigningRequestCondition) -> String {
    let reason = condition.reason.as_deref().unwrap_or("no reason");
    let message = condition.message.as_deref().unwrap_or_default();
    format!("{}: {reason}: {message}", condition.type_)
}

/// The end and the serial of the first certificate; none if it cannot be read, which only makes them unknown.
fn read_certificate(text: &[u8]) -> Option<Issued> {
    if text.len() > MAX_CERTIFICATE_BYTES {
        return None;
    }
    let (_, pem) = parse_x509_pem(text).ok()?;
    let certificate = pem.parse_x509().ok()?;
    let digits = hex::encode(certificate.raw_serial());
    let serial = digits.trim_start_matches('0');
    Some(Issued {
        not_after: certificate.validity().not_after.timestamp(),
        serial: if serial.is_empty() { "0".to_owned() } else { serial.to_owned() },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::ByteString;
    use rstest::rstest;

    fn object(signer: &str, user: &str, request: Vec<u8>) -> CertificateSigningRequest {
        let mut object = CertificateSigningRequest::default();
        object.spec.signer_name = signer.to_owned();
        object.spec.username = Some(user.to_owned());
        object.spec.request = ByteString(request);
        object
    }

    #[test]
    fn a_huge_request_is_cut_and_still_too_long() {
        let entry = CsrEntry::read(object(CLIENT_SIGNER, "system:bootstrap:abcdef", vec![b'x'; 1_000_000])).unwrap();
        assert_eq!(entry.request.request.len(), MAX_CSR_PEM_BYTES + 1);
    }

    #[rstest]
    #[case("system:bootstrap:abcdef", Some(CsrKey::Token("abcdef".to_owned())))]
    #[case("system:node:worker-7", Some(CsrKey::Node("worker-7".to_owned())))]
    #[case("system:bootstrap:abcdefg", None)]
    #[case("kubernetes-admin", None)]
    fn requests_are_found_by_their_requester(#[case] user: &str, #[case] expected: Option<CsrKey>) {
        assert_eq!(CsrEntry::read(object(SERVING_SIGNER, user, Vec::new())).unwrap().requester(), expected);
    }

    #[test]
    fn other_signers_are_passed_over() {
        assert_eq!(CsrEntry::read(object("kubernetes.io/kube-apiserver-client", "a", Vec::new())), None);
        assert_eq!(AnnouncementEntry::read(&object(CLIENT_SIGNER, "a", Vec::new())), None);
    }

    #[test]
    fn an_announcement_that_does_not_hold_is_shown_where_its_name_points_and_binds_nothing() {
        let mut broken = object(ANNOUNCEMENT_SIGNER, "a", b"nonsense".to_vec());
        broken.metadata.name = Some("nodejoin-machine-worker-7-0123456789abcdef".to_owned());
        let entry = AnnouncementEntry::read(&broken).unwrap();
        assert_eq!(entry.claimed.as_deref(), Some("worker-7"));
        assert!(entry.announced.is_err());
    }
}
