//! The versions of Kubernetes whose control planes are known, and in what kubeadm of one differs from another.

use semver::Version;

use crate::configuration::ConfigurationError;

/// A minor version whose kubeadm's files are known. All that differs from one to the next is asked of this type.
///
/// Taken from kubeadm 1.35.4, 1.36.3 and 1.37.2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Minor {
    /// 1.35
    V1_35,
    /// 1.36
    V1_36,
    /// 1.37
    V1_37,
}

impl Minor {
    /// The minor versions, as an error names them.
    pub(crate) const KNOWN: &'static str = "1.35, 1.36 or 1.37";

    fn of(version: &Version) -> Option<Self> {
        match (version.major, version.minor) {
            (1, 35) => Some(Self::V1_35),
            (1, 36) => Some(Self::V1_36),
            (1, 37) => Some(Self::V1_37),
            _ => None,
        }
    }

    /// The tag of etcd's image where the configuration has none (`SupportedEtcdVersion`).
    pub(crate) fn etcd_tag(self) -> &'static str {
        match self {
            Self::V1_35 => "3.6.6-0",
            Self::V1_36 => "3.6.8-0",
            Self::V1_37 => "3.7.0-0",
        }
    }

    /// Whether an image of etcd may be older than 3.6, whose flags are others.
    pub(crate) fn knows_etcd_before_3_6(self) -> bool {
        self == Self::V1_35
    }

    /// Whether kube-controller-manager gets the folder of FlexVolume plugins.
    pub(crate) fn has_flex_volumes(self) -> bool {
        self == Self::V1_35
    }

    /// Whether the certificate with which an API server calls kubelets is an administrator's. Since 1.36 a
    /// ClusterRoleBinding of its own gives it its rights.
    pub(crate) fn kubelet_client_is_administrator(self) -> bool {
        self == Self::V1_35
    }

    /// Whether the feature gate PublicKeysECDSA exists, which goes before `encryptionAlgorithm`.
    pub(crate) fn has_public_keys_ecdsa(self) -> bool {
        self < Self::V1_37
    }

    /// Whether kubeadm.k8s.io/v1 exists, an experiment.
    pub(crate) fn has_v1(self) -> bool {
        self >= Self::V1_37
    }
}

/// The cluster's version, whose images the static pods run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KubernetesVersion {
    version: Version,
    minor: Minor,
}

impl KubernetesVersion {
    /// Reads `v1.37.2`, also without the `v`. Labels such as `stable-1` would have to be looked up on the Internet.
    pub(crate) fn parse(text: &str) -> Result<Self, ConfigurationError> {
        let version = Version::parse(text.strip_prefix('v').unwrap_or(text));
        let version = version.map_err(|_| ConfigurationError::Field {
            field: "kubernetesVersion",
            reason: format!("{text:?} is no version, expected one like v1.37.2"),
        })?;
        match Minor::of(&version) {
            Some(minor) => Ok(Self { version, minor }),
            None => Err(ConfigurationError::KubernetesVersion { version: format!("v{version}") }),
        }
    }

    /// The minor version.
    pub fn minor(&self) -> Minor {
        self.minor
    }

    /// The tag of the control plane's images; a tag has no `+` (`KubernetesVersionToImageTag`).
    pub fn image_tag(&self) -> String {
        format!("v{}", self.version).replace('+', "_")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("v1.37.2", Minor::V1_37, "v1.37.2")]
    #[case("1.35.0", Minor::V1_35, "v1.35.0")]
    #[case("v1.36.0-rc.1+k3s1", Minor::V1_36, "v1.36.0-rc.1_k3s1")]
    fn versions_of_known_minors_are_read(#[case] text: &str, #[case] minor: Minor, #[case] tag: &str) {
        let version = KubernetesVersion::parse(text).unwrap();
        assert_eq!((version.minor(), version.image_tag().as_str()), (minor, tag));
    }

    #[rstest]
    #[case("v1.34.9", "v1.34.9")]
    #[case("v1.38.0", "v1.38.0")]
    #[case("v2.37.0", "v2.37.0")]
    fn other_minors_are_refused_as_kubeadm_refuses_them(#[case] text: &str, #[case] version: &str) {
        let expected = ConfigurationError::KubernetesVersion { version: version.to_owned() };
        assert_eq!(KubernetesVersion::parse(text), Err(expected));
    }

    #[rstest]
    #[case("stable-1")]
    #[case("ci/latest")]
    #[case("v1.37")]
    #[case("")]
    fn what_is_no_version_is_refused(#[case] text: &str) {
        assert!(matches!(KubernetesVersion::parse(text), Err(ConfigurationError::Field { .. })));
    }
}
