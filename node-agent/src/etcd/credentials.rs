//! With what a control plane asks etcd: files that its join has written.

use std::path::PathBuf;

use secrecy::SecretString;
use zeroize::Zeroizing;

/// The certificate of a client of etcd that a join writes, in the folder of etcd's authority.
pub const CLIENT_CRT: &str = "healthcheck-client.crt";
/// The key of [`CLIENT_CRT`].
const CLIENT_KEY: &str = "healthcheck-client.key";

/// etcd's authority, and the certificate and key of one of its clients, in PEM.
pub struct Credentials {
    /// Whom to believe.
    pub ca: Zeroizing<String>,
    /// What to show.
    pub certificate: Zeroizing<String>,
    /// Its key.
    pub key: SecretString,
}

impl Credentials {
    /// Reads them from a folder; `place` says where a path of the machine is to be found.
    ///
    /// # Errors
    /// With the path that cannot be read, and why.
    pub fn read(folder: &str, place: impl Fn(&str) -> PathBuf) -> Result<Self, (String, std::io::Error)> {
        let read = |name: &str| {
            let path = format!("{folder}/{name}");
            std::fs::read_to_string(place(&path)).map(Zeroizing::new).map_err(|error| (path, error))
        };
        let (ca, certificate, key) = (read("ca.crt")?, read(CLIENT_CRT)?, read(CLIENT_KEY)?);
        Ok(Self { ca, certificate, key: SecretString::from(key.as_str()) })
    }
}
