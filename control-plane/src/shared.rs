//! What all control planes share: the authorities and the key of ServiceAccounts, from Secret kube-system/kubeadm-certs
//! (kubeadm's `phases/copycerts`).
//!
//! Where an entry is empty, because its file was missing on the machine that uploaded it, kubeadm makes a *new* authority
//! without a word, and the control plane that it makes trusts nobody. Here that is an error.

use std::collections::BTreeMap;
use std::path::PathBuf;

use join_trust::certificate_key::CertificateKey;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use zeroize::Zeroizing;

use crate::configuration::{ClusterConfiguration, Etcd};
use crate::file::{Content, File};

/// The longest entry that is read: 128 KiB, twice the longest bundle of authorities.
const MAX_ENTRY_BYTES: usize = 128 * 1024;
/// What makes another Secret with another key.
const UPLOAD: &str = "`kubeadm init phase upload-certs --upload-certs` on a control plane";

/// The shared files cannot be had. No variant holds any part of a key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SharedError {
    /// An entry is missing.
    #[error("has no entry {entry:?}, expected the encrypted {path}; {UPLOAD} writes all of them", path = path.display())]
    Missing {
        /// The entry.
        entry: &'static str,
        /// The file that it is for.
        path: PathBuf,
    },
    /// An entry is empty.
    #[error(
        "entry {entry:?} is empty: {path} was missing where it was uploaded, and kubeadm would make a new one here, which \
         no other control plane knows; put the file there, then {UPLOAD}",
        path = path.display()
    )]
    Empty {
        /// The entry.
        entry: &'static str,
        /// The file that it is for.
        path: PathBuf,
    },
    /// An entry is too large.
    #[error("entry {entry:?} has {length} bytes, expected at most {MAX_ENTRY_BYTES}")]
    Size {
        /// The entry.
        entry: &'static str,
        /// Its length in bytes.
        length: usize,
    },
    /// An entry cannot be decrypted.
    #[error(
        "entry {entry:?} cannot be decrypted with the certificate key: it was uploaded with another one, or is damaged; \
         {UPLOAD} prints a new key"
    )]
    Decrypt {
        /// The entry.
        entry: &'static str,
    },
    /// An entry is something else.
    #[error("entry {entry:?} holds no {expected} in PEM, as {path} has to; put it right there, then {UPLOAD}", path = path.display())]
    Kind {
        /// The entry.
        entry: &'static str,
        /// The file that it is for.
        path: PathBuf,
        /// What was expected.
        expected: &'static str,
    },
}

/// What a shared file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Certificate,
    PrivateKey,
    PublicKey,
}

impl Kind {
    fn expected(self) -> &'static str {
        match self {
            Self::Certificate => "certificate",
            Self::PrivateKey => "private key",
            Self::PublicKey => "public key",
        }
    }

    /// The PEM tags of such a file.
    fn tags(self) -> &'static [&'static str] {
        match self {
            Self::Certificate => &["CERTIFICATE"],
            Self::PrivateKey => crate::pem::PRIVATE_KEYS,
            Self::PublicKey => &["PUBLIC KEY"],
        }
    }

    fn mode(self) -> u32 {
        if self == Self::PrivateKey { File::PRIVATE } else { File::PUBLIC }
    }
}

/// Decrypts the shared files that the configuration asks for: the data of Secret kube-system/kubeadm-certs.
///
/// Entries that are not asked for are not looked at. Neither are those of an external etcd without certificates.
pub fn decrypt(
    data: &BTreeMap<String, Vec<u8>>,
    key: &CertificateKey,
    configuration: &ClusterConfiguration,
) -> Result<Vec<File>, SharedError> {
    wanted(configuration).into_iter().map(|(entry, path, kind)| one(data, key, entry, path, kind)).collect()
}

fn one(
    data: &BTreeMap<String, Vec<u8>>,
    key: &CertificateKey,
    entry: &'static str,
    path: PathBuf,
    kind: Kind,
) -> Result<File, SharedError> {
    let Some(sealed) = data.get(entry) else { return Err(SharedError::Missing { entry, path }) };
    match sealed.len() {
        0 => return Err(SharedError::Empty { entry, path }),
        length if length > MAX_ENTRY_BYTES => return Err(SharedError::Size { entry, length }),
        _ => {}
    }
    let content = Content::from(open(key, sealed).ok_or(SharedError::Decrypt { entry })?);
    let block = content.text().and_then(|text| crate::pem::first_block(text, kind.tags()));
    if block.is_none() {
        return Err(SharedError::Kind { entry, path, expected: kind.expected() });
    }
    Ok(File { path, mode: kind.mode(), content })
}

/// Decrypts what kubeadm encrypted: a nonce of 12 bytes, the text, a tag of 16 bytes (AES-256-GCM, nothing else
/// authenticated; `util/crypto`). None if this is not the key, or the data is damaged.
fn open(key: &CertificateKey, data: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let (nonce, sealed) = data.split_first_chunk::<NONCE_LEN>()?;
    let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key.expose_bytes()).ok()?);
    let mut buffer = Zeroizing::new(sealed.to_vec());
    let nonce = Nonce::assume_unique_for_key(*nonce);
    let length = key.open_in_place(nonce, Aad::empty(), &mut buffer).ok()?.len();
    buffer.truncate(length);
    Some(buffer)
}

/// The entries of the Secret, their files and what is in them (`certsToTransfer`).
fn wanted(configuration: &ClusterConfiguration) -> Vec<(&'static str, PathBuf, Kind)> {
    let folder = PathBuf::from(&configuration.certificates_dir);
    let mut wanted = vec![
        ("ca.crt", folder.join("ca.crt"), Kind::Certificate),
        ("ca.key", folder.join("ca.key"), Kind::PrivateKey),
        ("front-proxy-ca.crt", folder.join("front-proxy-ca.crt"), Kind::Certificate),
        ("front-proxy-ca.key", folder.join("front-proxy-ca.key"), Kind::PrivateKey),
        ("sa.pub", folder.join("sa.pub"), Kind::PublicKey),
        ("sa.key", folder.join("sa.key"), Kind::PrivateKey),
    ];
    match &configuration.etcd {
        Etcd::Local(_) => wanted.extend([
            ("etcd-ca.crt", folder.join("etcd/ca.crt"), Kind::Certificate),
            ("etcd-ca.key", folder.join("etcd/ca.key"), Kind::PrivateKey),
        ]),
        Etcd::External(etcd) => {
            let files = [
                ("external-etcd-ca.crt", &etcd.ca_file, Kind::Certificate),
                ("external-etcd.crt", &etcd.cert_file, Kind::Certificate),
                ("external-etcd.key", &etcd.key_file, Kind::PrivateKey),
            ];
            let set = files.into_iter().filter(|(_, path, _)| !path.is_empty());
            wanted.extend(set.map(|(entry, path, kind)| (entry, PathBuf::from(path), kind)));
        }
    }
    wanted
}

#[cfg(test)]
#[path = "shared_tests.rs"]
mod tests;
