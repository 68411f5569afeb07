//! One announcement, verified.

use join_trust::announcement::{self, Announcement, AnnouncementError};
use join_trust::names::ANNOUNCEMENT_SIGNER;
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use k8s_openapi::jiff::Timestamp;

/// An announcement as it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announced {
    /// Name of the object, which proves nothing.
    pub object: String,
    /// When the object was made.
    pub created: Option<Timestamp>,
    /// Who made the object, as the API server knows him.
    pub requested_by: String,
    /// What the machine says of itself, or why it is not believed.
    pub content: Result<Announcement, AnnouncementError>,
}

impl Announced {
    /// Reads and verifies an object; none where it is another signer's.
    pub fn read(object: &CertificateSigningRequest) -> Option<Self> {
        (object.spec.signer_name == ANNOUNCEMENT_SIGNER).then(|| Self {
            object: object.metadata.name.clone().unwrap_or_default(),
            created: object.metadata.creation_timestamp.as_ref().map(|time| time.0),
            requested_by: object.spec.username.clone().unwrap_or_default(),
            content: announcement::verify(&object.spec.request.0),
        })
    }
}
