//! Whom the caller is told to look up.

use rstest::rstest;

use crate::names::{BOOTSTRAPPERS_GROUP, CLIENT_SIGNER, ENROLL_GROUP, JOIN_GROUP, NODES_GROUP, SERVING_SIGNER};
use crate::policy::{CertificateRequest, SubjectOf, subject_of};

#[rstest]
#[case::token(CLIENT_SIGNER, "system:bootstrap:abcdef", JOIN_GROUP, "Token abcdef")]
#[case::enrolled(CLIENT_SIGNER, "system:bootstrap:abcdef", ENROLL_GROUP, "Token abcdef")]
#[case::kubeadms_token(CLIENT_SIGNER, "system:bootstrap:abcdef", BOOTSTRAPPERS_GROUP, "Nobody")]
#[case::no_token(CLIENT_SIGNER, "system:bootstrap:ABCDEF", JOIN_GROUP, "Nobody")]
#[case::renewal(CLIENT_SIGNER, "system:node:worker-7", NODES_GROUP, "Nobody")]
#[case::person(CLIENT_SIGNER, "jane", JOIN_GROUP, "Nobody")]
#[case::node(SERVING_SIGNER, "system:node:worker-7", NODES_GROUP, "Node worker-7")]
#[case::no_node(SERVING_SIGNER, "system:node:", NODES_GROUP, "Nobody")]
#[case::serving_token(SERVING_SIGNER, "system:bootstrap:abcdef", JOIN_GROUP, "TokenForServing")]
#[case::serving_person(SERVING_SIGNER, "jane", NODES_GROUP, "Nobody")]
#[case::other_signer("example.org/x", "system:bootstrap:abcdef", JOIN_GROUP, "Nobody")]
#[case::announcement("nodejoin.dev/machine", "system:bootstrap:abcdef", ENROLL_GROUP, "Nobody")]
fn the_requester_says_whom_to_look_up(
    #[case] signer: &str,
    #[case] username: &str,
    #[case] group: &str,
    #[case] expected: &str,
) {
    let csr = CertificateRequest {
        // Content and name say something else and must not matter.
        name: "nodejoin-client-zzzzzz".to_owned(),
        request: b"anything".to_vec(),
        signer_name: signer.to_owned(),
        username: username.to_owned(),
        groups: vec![group.to_owned()],
        ..CertificateRequest::default()
    };
    let subject = match subject_of(&csr) {
        SubjectOf::Token(id) => format!("Token {id}"),
        SubjectOf::Node(name) => format!("Node {name}"),
        SubjectOf::TokenForServing => "TokenForServing".to_owned(),
        SubjectOf::Nobody => "Nobody".to_owned(),
    };
    assert_eq!(subject, expected);
}
