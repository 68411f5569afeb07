//! The certificate of the metrics: the controller's own, or one that others put into a folder.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use rcgen::{CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, KeyPair};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ServerConfig, version};
use sha2::{Digest as _, Sha256};
use time::OffsetDateTime;
use tokio::io::AsyncReadExt as _;
use zeroize::Zeroizing;

/// File of the chain in a folder, as in a Secret of type kubernetes.io/tls.
const CHAIN: &str = "tls.crt";
/// File of the key in a folder.
const KEY: &str = "tls.key";
/// How often a folder is looked at. The kubelet takes up to a minute to put a new Secret there.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// The most that is read of a file, in bytes.
const MAX_FILE_BYTES: u64 = 256 * 1024;
/// How long a certificate of our own is valid.
const OWN_VALIDITY: time::Duration = time::Duration::days(365);
/// How far before its making it begins, since clocks differ.
const OWN_BEGINS_BEFORE: time::Duration = time::Duration::hours(1);

/// There is no certificate to serve metrics with. No variant holds a key.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// A file cannot be read.
    #[error(
        "cannot read {path} of --metrics-certificate-dir: {source}; expected a certificate chain in {CHAIN} and its key in {KEY}, as in a Secret of type kubernetes.io/tls"
    )]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A file is too long.
    #[error("{path} is longer than {MAX_FILE_BYTES} bytes, expected PEM of a few KiB")]
    TooLong {
        /// The file.
        path: PathBuf,
    },
    /// A file is no PEM of the right kind.
    #[error("{path} cannot be used: {reason}; expected {expected}")]
    Content {
        /// The file.
        path: PathBuf,
        /// Why not.
        reason: String,
        /// What it should be.
        expected: &'static str,
    },
    /// The key is another certificate's, or of an unknown kind.
    #[error("the key in {folder} cannot be used with its certificate: {source}")]
    Pair {
        /// The folder.
        folder: PathBuf,
        /// Why not.
        source: rustls::Error,
    },
    /// A certificate of our own cannot be made.
    #[error("cannot make a certificate for /metrics: {0}")]
    Make(#[from] rcgen::Error),
    /// TLS cannot be set up.
    #[error("cannot set up TLS for /metrics: {0}")]
    Tls(#[from] rustls::Error),
}

/// The present certificate. Cloning shares it.
#[derive(Clone)]
pub struct Certificate(Arc<Held>);

struct Held {
    folder: Option<PathBuf>,
    /// What is served.
    present: RwLock<Arc<CertifiedKey>>,
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate").field("folder", &self.folder).finish_non_exhaustive()
    }
}

impl ResolvesServerCert for Held {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.present.read().unwrap_or_else(PoisonError::into_inner)))
    }
}

impl Certificate {
    /// Makes a key (ECDSA P-256) and a certificate that it signs itself. Both are in memory alone and end with the process.
    pub fn own(names: Vec<String>) -> Result<Self, CertificateError> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(names)?;
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, "join-controller");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let now = OffsetDateTime::now_utc();
        params.not_before = now - OWN_BEGINS_BEFORE;
        params.not_after = now + OWN_VALIDITY;
        let certificate = params.self_signed(&key)?;
        let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
        let pair = CertifiedKey::from_der(vec![certificate.der().clone()], key, &provider())?;
        Ok(Self(Arc::new(Held { folder: None, present: RwLock::new(Arc::new(pair)) })))
    }

    /// Reads a chain and its key from a folder.
    pub async fn read(folder: &Path) -> Result<Self, CertificateError> {
        let files = Files::read(folder).await?;
        let present = RwLock::new(Arc::new(files.pair(folder)?));
        Ok(Self(Arc::new(Held { folder: Some(folder.to_owned()), present })))
    }

    /// What a server needs: TLS 1.3 and HTTP/1.1, no client certificates.
    pub fn server_config(&self) -> Result<ServerConfig, CertificateError> {
        let held: Arc<Held> = Arc::clone(&self.0);
        let builder = ServerConfig::builder_with_provider(Arc::new(provider()))
            .with_protocol_versions(&[&version::TLS13])?
            .with_no_client_auth();
        let mut config = builder.with_cert_resolver(held);
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(config)
    }

    /// The certificate that is served now.
    #[cfg(test)]
    pub(super) fn first(&self) -> CertificateDer<'static> {
        self.0.present.read().unwrap_or_else(PoisonError::into_inner).cert[0].clone()
    }

    /// Looks at the folder for ever. What cannot be used is told of once, and the present certificate stays.
    ///
    /// The folder is looked at instead of watched: the kubelet replaces a Secret's files by renaming a link above them,
    /// which file watches see differently on each file system.
    pub async fn follow(self) {
        let Some(folder) = self.0.folder.clone() else { return std::future::pending().await };
        let mut seen = None;
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            self.look(&folder, &mut seen).await;
        }
    }

    /// Looks at the folder once. `seen` is the hash of what was found there last.
    async fn look(&self, folder: &Path, seen: &mut Option<[u8; 32]>) {
        let files = match Files::read(folder).await {
            Ok(files) => files,
            Err(error) => return tell(&error, seen, [0; 32]),
        };
        let hash = files.hash();
        if *seen == Some(hash) {
            return;
        }
        match files.pair(folder) {
            Ok(pair) => {
                let changed = self.0.replace(pair);
                *seen = Some(hash);
                if changed {
                    tracing::info!(folder = %folder.display(), "the certificate of /metrics has changed");
                }
            }
            Err(error) => tell(&error, seen, hash),
        }
    }
}

fn tell(error: &CertificateError, seen: &mut Option<[u8; 32]>, hash: [u8; 32]) {
    if seen.replace(hash) != Some(hash) {
        tracing::error!(%error, "the new certificate of /metrics cannot be used, the old one stays");
    }
}

impl Held {
    /// Serves this from now on. Tells whether it is another certificate than before.
    fn replace(&self, pair: CertifiedKey) -> bool {
        let mut present = self.present.write().unwrap_or_else(PoisonError::into_inner);
        let changed = present.cert != pair.cert;
        *present = Arc::new(pair);
        changed
    }
}

fn provider() -> CryptoProvider {
    ring::default_provider()
}

/// The two files of a folder.
struct Files {
    chain: Vec<u8>,
    key: Zeroizing<Vec<u8>>,
}

impl Files {
    async fn read(folder: &Path) -> Result<Self, CertificateError> {
        Ok(Self { chain: read(&folder.join(CHAIN)).await?.to_vec(), key: read(&folder.join(KEY)).await? })
    }

    fn hash(&self) -> [u8; 32] {
        Sha256::new().chain_update(&self.chain).chain_update([0]).chain_update(&*self.key).finalize().into()
    }

    fn pair(&self, folder: &Path) -> Result<CertifiedKey, CertificateError> {
        let content = |file: &str, reason: String, expected| CertificateError::Content {
            path: folder.join(file),
            reason,
            expected,
        };
        let expected = "PEM blocks CERTIFICATE, the server's own first";
        let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&self.chain)
            .collect::<Result<_, _>>()
            .map_err(|error| content(CHAIN, error.to_string(), expected))?;
        if chain.is_empty() {
            return Err(content(CHAIN, "there is no certificate in it".to_owned(), expected));
        }
        let key = PrivateKeyDer::from_pem_slice(&self.key)
            .map_err(|error| content(KEY, error.to_string(), "one PEM block with an unencrypted private key"))?;
        CertifiedKey::from_der(chain, key, &provider())
            .map_err(|source| CertificateError::Pair { folder: folder.to_owned(), source })
    }
}

async fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, CertificateError> {
    let failed = |source| CertificateError::Read { path: path.to_owned(), source };
    let file = tokio::fs::File::open(path).await.map_err(failed)?;
    let mut content = Zeroizing::new(Vec::new());
    let length = file.take(MAX_FILE_BYTES + 1).read_to_end(&mut content).await.map_err(failed)?;
    if length as u64 > MAX_FILE_BYTES {
        return Err(CertificateError::TooLong { path: path.to_owned() });
    }
    Ok(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(folder: &Path, chain: &str, key: &str) {
        std::fs::write(folder.join(CHAIN), chain).unwrap();
        std::fs::write(folder.join(KEY), key).unwrap();
    }

    fn pair() -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(vec!["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
        (certificate.pem(), key.serialize_pem())
    }

    fn block(chain: &str) -> CertificateDer<'static> {
        CertificateDer::from_pem_slice(chain.as_bytes()).unwrap()
    }

    #[test]
    fn a_certificate_of_our_own_is_p256_names_the_host_and_ends() {
        let certificate = Certificate::own(vec!["localhost".to_owned()]).unwrap();
        let der = certificate.first();
        let (_, parsed) = x509_parser::parse_x509_certificate(&der).unwrap();
        assert_eq!(parsed.subject().to_string(), "CN=join-controller");
        assert_eq!(parsed.subject_pki.subject_public_key.data.len(), 65, "an uncompressed point of P-256");
        let validity = parsed.validity();
        assert_eq!(validity.not_after.timestamp() - validity.not_before.timestamp(), 365 * 86_400 + 3600);
        assert!(!parsed.is_ca());
        assert_ne!(der, Certificate::own(vec!["localhost".to_owned()]).unwrap().first(), "each start has its own");
    }

    #[tokio::test]
    async fn a_folder_is_read_again_when_it_changes_and_what_is_broken_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let (first, first_key) = pair();
        write(folder.path(), &first, &first_key);
        let certificate = Certificate::read(folder.path()).await.unwrap();
        assert_eq!(certificate.first(), block(&first));
        let mut seen = None;
        certificate.look(folder.path(), &mut seen).await;
        assert_eq!(certificate.first(), block(&first));

        // The kubelet changes both files at once, others do not: between the two the old pair stays.
        let (second, second_key) = pair();
        write(folder.path(), &second, &first_key);
        certificate.look(folder.path(), &mut seen).await;
        assert_eq!(certificate.first(), block(&first));
        write(folder.path(), &second, &second_key);
        certificate.look(folder.path(), &mut seen).await;
        assert_eq!(certificate.first(), block(&second));

        std::fs::remove_file(folder.path().join(KEY)).unwrap();
        certificate.look(folder.path(), &mut seen).await;
        assert_eq!(certificate.first(), block(&second));
    }

    #[tokio::test]
    async fn what_is_wrong_with_a_folder_is_said_without_the_key() {
        let folder = tempfile::tempdir().unwrap();
        let (chain, key) = pair();
        let (_, other) = pair();
        let secret = key.lines().nth(1).unwrap().to_owned();
        for (chain, key, expected) in [
            ("", key.as_str(), "there is no certificate in it"),
            (chain.as_str(), "nonsense", "an unencrypted private key"),
            (chain.as_str(), other.as_str(), "cannot be used with its certificate"),
            (chain.as_str(), &"x".repeat(300_000), "longer than"),
        ] {
            write(folder.path(), chain, key);
            let error = Certificate::read(folder.path()).await.map(drop).unwrap_err().to_string();
            assert!(error.contains(expected) && !error.contains(&secret), "{error}");
        }
        std::fs::remove_file(folder.path().join(CHAIN)).unwrap();
        let error = Certificate::read(folder.path()).await.map(drop).unwrap_err().to_string();
        assert!(error.contains("tls.crt") && error.contains("kubernetes.io/tls"), "{error}");
    }
}
