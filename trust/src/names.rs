//! Names that both sides must spell the same way: nodes, signers, groups, and our objects.

use std::fmt;
use std::str::FromStr;

use crate::limits::MAX_NODE_NAME_BYTES;
use crate::pin::PublicKeyPin;

/// Group of tokens with which an agent waits for a request: it may announce a machine and read requests.
pub const ENROLL_GROUP: &str = "system:bootstrappers:nodejoin:enroll";
/// Group of tokens with which one machine carries out its request.
pub const JOIN_GROUP: &str = "system:bootstrappers:nodejoin:join";
/// Group that the token of a joining control plane has beside [`JOIN_GROUP`]: it may read the certificates that control
/// planes share, which are encrypted.
pub const CONTROL_PLANE_GROUP: &str = "system:bootstrappers:nodejoin:control-plane";
/// Group that the API server gives to every bootstrap token.
pub const BOOTSTRAPPERS_GROUP: &str = "system:bootstrappers";
/// Group that the API server gives to every authenticated identity.
pub const AUTHENTICATED_GROUP: &str = "system:authenticated";
/// Group of all nodes; the organisation of every kubelet's certificate.
pub const NODES_GROUP: &str = "system:nodes";
/// What a node's user name and its certificate's common name begin with.
pub const NODE_USER_PREFIX: &str = "system:node:";
/// What the user name of a bootstrap token begins with; the token id follows.
pub const BOOTSTRAP_USER_PREFIX: &str = "system:bootstrap:";

/// Signer of kubelets' client certificates.
pub const CLIENT_SIGNER: &str = "kubernetes.io/kube-apiserver-client-kubelet";
/// Signer of kubelets' serving certificates.
pub const SERVING_SIGNER: &str = "kubernetes.io/kubelet-serving";
/// Signer name of machine announcements, for which nothing is ever issued.
pub const ANNOUNCEMENT_SIGNER: &str = "nodejoin.dev/machine";

/// A string is not the name of a node.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// It is empty or longer than Kubernetes allows.
    #[error("node name has {length} bytes, expected 1 to {MAX_NODE_NAME_BYTES}")]
    Length {
        /// Its length in bytes.
        length: usize,
    },
    /// It is not a DNS-1123 subdomain.
    #[error(
        "node name is not a DNS-1123 subdomain: expected lower-case letters, digits, '-' and '.', with a letter or digit \
         at both ends of each label"
    )]
    Shape,
}

/// The name of a node: a DNS-1123 subdomain, as the API server requires of `metadata.name`.
///
/// Having been checked once, it can be put into user names, common names and object names without any escaping.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeName(String);

impl NodeName {
    /// Checks a name.
    ///
    /// Unlike Kubernetes' check of the whole string, every label must begin and end with a letter or digit; the
    /// same rule is what the API server applies (`[a-z0-9]([-a-z0-9]*[a-z0-9])?` joined by dots).
    pub fn parse(name: &str) -> Result<Self, NameError> {
        if name.is_empty() || name.len() > MAX_NODE_NAME_BYTES {
            return Err(NameError::Length { length: name.len() });
        }
        if is_dns1123_subdomain(name) { Ok(Self(name.to_owned())) } else { Err(NameError::Shape) }
    }

    /// The name of the node whose user name or common name this is, or none if it is no node's.
    pub fn from_user_name(user: &str) -> Option<Self> {
        user.strip_prefix(NODE_USER_PREFIX).and_then(|name| Self::parse(name).ok())
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The node's user name, which is also the common name of its certificates.
    pub fn user_name(&self) -> String {
        format!("{NODE_USER_PREFIX}{}", self.0)
    }
}

impl fmt::Display for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for NodeName {
    type Err = NameError;

    fn from_str(name: &str) -> Result<Self, NameError> {
        Self::parse(name)
    }
}

/// Whether a text is a DNS-1123 subdomain: labels of lower-case letters, digits and inner hyphens, joined by dots.
pub fn is_dns1123_subdomain(text: &str) -> bool {
    let alphanumeric = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    text.len() <= MAX_NODE_NAME_BYTES
        && text.split('.').all(|label| {
            let bytes = label.as_bytes();
            bytes.first().is_some_and(alphanumeric)
                && bytes.last().is_some_and(alphanumeric)
                && bytes.iter().all(|byte| alphanumeric(byte) || *byte == b'-')
        })
}

/// The name of the `CertificateSigningRequest` by which a machine announces itself.
///
/// It depends on the node name and the machine key alone, so that an agent that starts again finds its announcement
/// instead of making another. The name proves nothing: readers must take the node name and the key from the signed
/// request inside (compare KubeUser#114, where an object was believed because of its name).
///
/// The hash is cut to 64 bits and the node name to what still fits into the 253 bytes of an object name.
pub fn announcement_object_name(node: &NodeName, pin: &PublicKeyPin) -> String {
    const PREFIX: &str = "nodejoin-machine-";
    let hash = &pin.to_hex()[..16];
    let room = MAX_NODE_NAME_BYTES - PREFIX.len() - 1 - hash.len();
    let mut name = node.as_str();
    if name.len() > room {
        // A label must not end with the cut's leftover dot or hyphen, because a hyphen and the hash follow.
        name = name[..room].trim_end_matches(['.', '-']);
    }
    format!("{PREFIX}{name}-{hash}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("a")]
    #[case("worker-7")]
    #[case("worker-7.example.org")]
    #[case("0")]
    #[case("a--b")]
    fn node_names_are_accepted(#[case] name: &str) {
        assert_eq!(NodeName::parse(name).unwrap().as_str(), name);
    }

    #[rstest]
    #[case("Worker", NameError::Shape)]
    #[case("-a", NameError::Shape)]
    #[case("a-", NameError::Shape)]
    #[case("a..b", NameError::Shape)]
    #[case(".a", NameError::Shape)]
    #[case("a.", NameError::Shape)]
    #[case("a-.b", NameError::Shape)]
    #[case("a_b", NameError::Shape)]
    #[case("a/b", NameError::Shape)]
    #[case("a b", NameError::Shape)]
    #[case("a\n", NameError::Shape)]
    #[case("knöten", NameError::Shape)]
    #[case("", NameError::Length { length: 0 })]
    fn other_names_are_refused(#[case] name: &str, #[case] expected: NameError) {
        assert_eq!(NodeName::parse(name), Err(expected));
    }

    #[test]
    fn the_longest_node_name_has_253_bytes() {
        assert!(NodeName::parse(&"a".repeat(253)).is_ok());
        assert_eq!(NodeName::parse(&"a".repeat(254)), Err(NameError::Length { length: 254 }));
    }

    #[rstest]
    #[case("system:node:worker-7", Some("worker-7"))]
    #[case("system:node:", None)]
    #[case("system:node:Worker", None)]
    #[case("system:nodes:worker-7", None)]
    #[case("worker-7", None)]
    #[case("xsystem:node:worker-7", None)]
    fn the_user_name_of_a_node_is_recognised_as_a_whole(#[case] user: &str, #[case] expected: Option<&str>) {
        assert_eq!(NodeName::from_user_name(user).as_ref().map(NodeName::as_str), expected);
    }

    #[test]
    fn announcements_of_the_longest_node_names_still_have_valid_object_names() {
        let pin = PublicKeyPin::of_spki(b"any key");
        for length in 200..=253 {
            let long = format!("{}.{}", "a".repeat(210), "b".repeat(60));
            let Ok(node) = NodeName::parse(long[..length].trim_end_matches('.')) else { continue };
            let name = announcement_object_name(&node, &pin);
            assert!(is_dns1123_subdomain(&name), "{name}");
        }
        let node = NodeName::parse("worker-7").unwrap();
        assert_eq!(announcement_object_name(&node, &pin), format!("nodejoin-machine-worker-7-{}", &pin.to_hex()[..16]));
    }
}
