//! Certificates, field by field. Only keys and what is made of them differ, and their kind where kubeadm's is RSA.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, SystemTime};

use join_control_plane::{ClusterConfiguration, Member};
use libtest_mimic::Failed;
use x509_parser::prelude::{FromDer, ParsedExtension, X509Certificate};

use super::kubeadm::Kubeadm;
use super::same;

pub fn compare(kubeadm: &Kubeadm, configuration: &ClusterConfiguration, member: &Member) -> Result<(), Failed> {
    let folder = Path::new(&configuration.certificates_dir);
    let first = Fields::of(&kubeadm.read(&folder.join("apiserver.crt"))?)?;
    let now = first.began(configuration.certificate_validity)?;
    let ours = join_control_plane::certificates(configuration, member, &kubeadm.shared_files(configuration)?, now)?;
    let paths: BTreeSet<_> = ours.iter().map(|file| file.path.clone()).collect();
    same(folder, "files", &made(kubeadm, folder, configuration)?, &paths)?;
    for file in ours {
        let content = kubeadm.read(&file.path)?;
        let mode =
            std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(kubeadm.outside(&file.path))?.permissions());
        same(&file.path, "mode", &(mode & 0o777), &file.mode)?;
        if file.path.extension().is_some_and(|ending| ending == "crt") {
            let (kubeadms, ours) = (Fields::of(&content)?, Fields::of(file.content.expose())?);
            kubeadms.compare(&file.path, &ours)?;
        } else if !is_rsa(&content) {
            same(&file.path, "PEM tag", &tag(&content)?, &tag(file.content.expose())?)?;
        }
    }
    Ok(())
}

/// What kubeadm has made that a join makes, too: not the authorities and the key of ServiceAccounts.
fn made(
    kubeadm: &Kubeadm,
    folder: &Path,
    configuration: &ClusterConfiguration,
) -> Result<BTreeSet<std::path::PathBuf>, Failed> {
    let shared = ["ca.crt", "ca.key", "front-proxy-ca.crt", "front-proxy-ca.key", "sa.key", "sa.pub"];
    let mut found = BTreeSet::new();
    let below = configuration.local_etcd().map(|_| folder.join("etcd"));
    for folder in std::iter::once(folder.to_owned()).chain(below) {
        for entry in std::fs::read_dir(kubeadm.outside(&folder))? {
            let entry = entry?;
            if entry.file_type()?.is_file() && !shared.iter().any(|name| entry.file_name() == *name) {
                found.insert(folder.join(entry.file_name()));
            }
        }
    }
    Ok(found)
}

fn is_rsa(pem: &[u8]) -> bool {
    pem.starts_with(b"-----BEGIN RSA")
}

fn tag(pem: &[u8]) -> Result<String, Failed> {
    Ok(pem::parse(pem)?.tag().to_owned())
}

/// What a certificate says.
#[derive(Debug)]
pub struct Fields {
    subject: Vec<u8>,
    issuer: Vec<u8>,
    names: BTreeSet<String>,
    /// Object identifier, whether it is critical, and value; without names, which have no order.
    extensions: BTreeSet<(String, bool, String)>,
    signed_with: String,
    /// The kind of the key; none for RSA, which is not made here.
    key: Option<String>,
    not_before: i64,
    not_after: i64,
}

impl Fields {
    pub fn of(pem: &[u8]) -> Result<Self, Failed> {
        let pem = pem::parse(pem)?;
        let (_, parsed) = X509Certificate::from_der(pem.contents())?;
        let names = parsed.subject_alternative_name()?.into_iter().flat_map(|names| &names.value.general_names);
        let is_name = |extension: &&x509_parser::extensions::X509Extension<'_>| {
            matches!(extension.parsed_extension(), ParsedExtension::SubjectAlternativeName(_))
        };
        let extensions = parsed.extensions().iter().filter(|extension| !is_name(extension));
        let curve = parsed.public_key().algorithm.parameters.as_ref().and_then(|any| any.as_oid().ok());
        Ok(Self {
            subject: parsed.subject().as_raw().to_vec(),
            issuer: parsed.issuer().as_raw().to_vec(),
            names: names.map(ToString::to_string).collect(),
            extensions: extensions.map(|one| (one.oid.to_id_string(), one.critical, hex::encode(one.value))).collect(),
            signed_with: parsed.signature_algorithm.algorithm.to_id_string(),
            key: curve.map(|curve| curve.to_id_string()).filter(|curve| !curve.is_empty()),
            not_before: parsed.validity().not_before.timestamp(),
            not_after: parsed.validity().not_after.timestamp(),
        })
    }

    /// When kubeadm was started, by the end of what it made.
    pub fn began(&self, validity: Duration) -> Result<SystemTime, Failed> {
        let end = SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(self.not_after)?);
        Ok(end - validity)
    }

    pub fn compare(&self, path: &Path, ours: &Self) -> Result<(), Failed> {
        same(path, "subject", &self.subject, &ours.subject)?;
        same(path, "issuer", &self.issuer, &ours.issuer)?;
        same(path, "alternative names", &self.names, &ours.names)?;
        same(path, "extensions", &self.extensions, &ours.extensions)?;
        same(path, "signature algorithm", &self.signed_with, &ours.signed_with)?;
        same(path, "begin", &self.not_before, &ours.not_before)?;
        same(path, "end", &self.not_after, &ours.not_after)?;
        if self.key.is_some() { same(path, "curve", &self.key, &ours.key) } else { Ok(()) }
    }
}
