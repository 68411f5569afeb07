//! The certificates of one control plane (kubeadm's `phases/certs/certlist.go` and `util/pkiutil`).
//!
//! kubeadm keeps certificates that are there already. That is the caller's to decide: these are always new.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use join_trust::machine_key::sec1_pem;
use join_trust::names::is_dns1123_subdomain;
use pkcs8::der::Document;
use pkcs8::der::pem::LineEnding;
use rcgen::{
    CertificateParams, DistinguishedName, DnType, DnValue, ExtendedKeyUsagePurpose, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, SanType, SignatureAlgorithm,
};
use time::OffsetDateTime;
use zeroize::Zeroizing;

use crate::authority::{Authority, Key};
use crate::configuration::{ClusterConfiguration, KeyAlgorithm};
use crate::file::File;
use crate::member::Member;

/// How long before now a certificate begins to be valid, for clocks that are behind (`CertificateBackdate`).
const BACKDATE: Duration = Duration::from_mins(5);

/// A certificate cannot be made. No variant holds any part of a key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// A file of an authority is not among those that were given.
    #[error("{path} is not among the shared files of the cluster", path = path.display())]
    NotGiven {
        /// The path.
        path: PathBuf,
    },
    /// An authority's certificate cannot be used.
    #[error("{path} {reason}", path = path.display())]
    Authority {
        /// The path.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// An authority's key cannot be used.
    #[error(
        "{path} holds no key that join-agent can sign with, expected RSA of 2048 to 4096 bits or ECDSA with P-256 or P-384, \
         in PEM of PKCS#1, SEC 1 or PKCS#8 without a passphrase",
        path = path.display()
    )]
    Key {
        /// The path.
        path: PathBuf,
    },
    /// A key could not be made or written down.
    #[error("cannot make a private key: {reason}")]
    Generate {
        /// What the cryptography library says.
        reason: String,
    },
    /// A certificate could not be signed.
    #[error("cannot sign a certificate with the authority of {path}: {reason}", path = path.display())]
    Sign {
        /// The path of the authority's certificate.
        path: PathBuf,
        /// What went wrong.
        reason: String,
    },
    /// A name cannot stand in a certificate.
    #[error("a certificate cannot name {name:?}")]
    Name {
        /// The name.
        name: String,
    },
    /// The time is out of bounds.
    #[error("a certificate's time is out of bounds: {validity:?} from now; is the machine's clock right?")]
    Time {
        /// How long the certificate was to be valid.
        validity: Duration,
    },
    /// The kubeconfig could not be written down.
    #[error(transparent)]
    Write(#[from] join_trust::go_yaml::WriteError),
}

const SERVER: &[ExtendedKeyUsagePurpose] = &[ExtendedKeyUsagePurpose::ServerAuth];
const CLIENT: &[ExtendedKeyUsagePurpose] = &[ExtendedKeyUsagePurpose::ClientAuth];
/// etcd's servers call themselves with their own certificates.
const BOTH: &[ExtendedKeyUsagePurpose] = &[ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
/// The group of a cluster's administrators.
pub(crate) const CLUSTER_ADMINS: &str = "kubeadm:cluster-admins";

/// What a certificate says of its owner.
pub(crate) struct Leaf<'a> {
    pub common_name: &'a str,
    pub organization: Option<&'static str>,
    pub usages: &'static [ExtendedKeyUsagePurpose],
    pub names: Names,
}

impl<'a> Leaf<'a> {
    pub(crate) fn client(common_name: &'a str, organization: Option<&'static str>) -> Self {
        Self { common_name, organization, usages: CLIENT, names: Names::default() }
    }

    /// Makes a key and signs the certificate: both as PEM, the key as kubeadm writes one of an elliptic curve.
    pub(crate) fn issue(
        self,
        authority: &Authority,
        algorithm: KeyAlgorithm,
        valid: (OffsetDateTime, OffsetDateTime),
    ) -> Result<(String, Zeroizing<String>), CertificateError> {
        let key = Key::generate(signature_algorithm(algorithm))?;
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        // In this order, as Go has it.
        let subject = [(DnType::OrganizationName, self.organization), (DnType::CommonName, Some(self.common_name))];
        for (kind, value) in subject.into_iter().filter_map(|(kind, value)| Some((kind, value?))) {
            params.distinguished_name.push(kind, printable(value));
        }
        params.subject_alt_names = self.names.into_sans()?;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
        params.extended_key_usages = self.usages.to_vec();
        (params.not_before, params.not_after) = valid;
        let certificate = certificate_pem(&authority.sign(params, &key)?)?;
        let key = sec1_pem(key.pair()).map_err(|error| CertificateError::Generate { reason: error.to_string() })?;
        Ok((certificate, key))
    }
}

/// A value as PrintableString where it can be one, Go's first choice, else as UTF8String.
fn printable(text: &str) -> DnValue {
    text.try_into().map_or_else(|_| DnValue::Utf8String(text.to_owned()), DnValue::PrintableString)
}

pub(crate) fn certificate_pem(der: &[u8]) -> Result<String, CertificateError> {
    let document = Document::try_from(der).and_then(|document| document.to_pem("CERTIFICATE", LineEnding::LF));
    document.map_err(|error| CertificateError::Generate { reason: error.to_string() })
}

fn signature_algorithm(algorithm: KeyAlgorithm) -> &'static SignatureAlgorithm {
    match algorithm {
        KeyAlgorithm::EcdsaP256 => &PKCS_ECDSA_P256_SHA256,
        KeyAlgorithm::EcdsaP384 => &PKCS_ECDSA_P384_SHA384,
    }
}

/// The names and addresses of a server, each once.
#[derive(Default)]
pub(crate) struct Names {
    dns: BTreeSet<String>,
    addresses: BTreeSet<IpAddr>,
}

impl Names {
    fn new<const D: usize, const A: usize>(dns: [&str; D], addresses: [IpAddr; A]) -> Self {
        Self {
            dns: dns.map(str::to_owned).into(),
            addresses: addresses.into_iter().map(|address| address.to_canonical()).collect(),
        }
    }

    /// Adds an administrator's names. What is neither an address nor a DNS name, also with a `*` as its first label, is
    /// left out, as kubeadm does with a warning.
    fn and(mut self, names: &[String]) -> Self {
        for name in names {
            if let Ok(address) = name.parse::<IpAddr>() {
                self.addresses.insert(address.to_canonical());
            } else if is_dns1123_subdomain(name.strip_prefix("*.").unwrap_or(name)) {
                self.dns.insert(name.clone());
            }
        }
        self
    }

    fn into_sans(self) -> Result<Vec<SanType>, CertificateError> {
        let dns = |name: String| match name.as_str().try_into() {
            Ok(text) => Ok(SanType::DnsName(text)),
            Err(_) => Err(CertificateError::Name { name }),
        };
        let names = self.dns.into_iter().map(dns);
        names.chain(self.addresses.into_iter().map(|address| Ok(SanType::IpAddress(address)))).collect()
    }
}

/// When a certificate ends that is valid for a time from now on.
pub(crate) fn not_after(now: SystemTime, validity: Duration) -> Result<OffsetDateTime, CertificateError> {
    let since = now.duration_since(SystemTime::UNIX_EPOCH).ok().and_then(|since| since.checked_add(validity));
    moment(since).ok_or(CertificateError::Time { validity })
}

/// When a certificate begins that is made now.
fn not_before(now: SystemTime) -> Result<OffsetDateTime, CertificateError> {
    let since = now.duration_since(SystemTime::UNIX_EPOCH).ok().and_then(|since| since.checked_sub(BACKDATE));
    moment(since).ok_or(CertificateError::Time { validity: Duration::ZERO })
}

/// A time since 1970 in whole seconds, if X.509 can express it: the year has four digits.
fn moment(since: Option<Duration>) -> Option<OffsetDateTime> {
    let seconds = i64::try_from(since?.as_secs()).ok()?;
    OffsetDateTime::from_unix_timestamp(seconds).ok().filter(|moment| moment.year() <= 9999)
}

/// The certificates of a control plane and their keys: files below the configuration's `certificatesDir`.
///
/// `authorities` are the shared files (see [`crate::shared::decrypt`]), and `now` the moment at which the join began.
pub fn certificates(
    configuration: &ClusterConfiguration,
    member: &Member,
    authorities: &[File],
    now: SystemTime,
) -> Result<Vec<File>, CertificateError> {
    let folder = Path::new(&configuration.certificates_dir);
    let valid = (not_before(now)?, not_after(now, configuration.certificate_validity)?);
    let mut files = Vec::new();
    for (name, leaves) in leaves(configuration, member) {
        let path = |ending| folder.join(format!("{name}.{ending}"));
        let authority = Authority::find(authorities, &path("crt"), &path("key"))?;
        for (name, leaf) in leaves {
            let (certificate, key) = leaf.issue(&authority, configuration.key_algorithm, valid)?;
            files.push(File::new(folder.join(format!("{name}.crt")), File::PUBLIC, certificate));
            files.push(File::new(folder.join(format!("{name}.key")), File::PRIVATE, key));
        }
    }
    Ok(files)
}

type Leaves<'a> = Vec<(&'static str, Leaf<'a>)>;

/// The certificates by authority, each with its file's name without ending.
fn leaves<'a>(configuration: &'a ClusterConfiguration, member: &'a Member) -> Vec<(&'static str, Leaves<'a>)> {
    let minor = configuration.version.minor();
    let administrator = Some(CLUSTER_ADMINS).filter(|_| minor.kubelet_client_is_administrator());
    let api_server = Leaf {
        common_name: "kube-apiserver",
        organization: None,
        usages: SERVER,
        names: api_server_names(configuration, member),
    };
    let mut leaves = vec![
        (
            "ca",
            vec![
                ("apiserver", api_server),
                ("apiserver-kubelet-client", Leaf::client("kube-apiserver-kubelet-client", administrator)),
            ],
        ),
        ("front-proxy-ca", vec![("front-proxy-client", Leaf::client("front-proxy-client", None))]),
    ];
    if let Some(etcd) = configuration.local_etcd() {
        let member_of_etcd = |sans: &[String]| Leaf {
            common_name: member.node_name.as_str(),
            organization: None,
            usages: BOTH,
            names: Names::new(
                [member.node_name.as_str(), "localhost"],
                [member.advertise_address, Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()],
            )
            .and(sans),
        };
        leaves.push((
            "etcd/ca",
            vec![
                ("etcd/server", member_of_etcd(&etcd.server_sans)),
                ("etcd/peer", member_of_etcd(&etcd.peer_sans)),
                ("etcd/healthcheck-client", Leaf::client("kube-etcd-healthcheck-client", None)),
                ("apiserver-etcd-client", Leaf::client("kube-apiserver-etcd-client", None)),
            ],
        ));
    }
    leaves
}

fn api_server_names(configuration: &ClusterConfiguration, member: &Member) -> Names {
    let networking = &configuration.networking;
    let in_cluster = format!("kubernetes.default.svc.{}", networking.dns_domain);
    let dns = [member.node_name.as_str(), "kubernetes", "kubernetes.default", "kubernetes.default.svc", &in_cluster];
    Names::new(dns, [networking.service_address, member.advertise_address])
        .and(&[configuration.control_plane_endpoint.host().to_owned()])
        .and(&configuration.api_server_sans)
}

#[cfg(test)]
#[path = "certificates_tests.rs"]
mod tests;
