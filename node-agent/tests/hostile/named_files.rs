//! Files that a discovery file names: what is secret in them must be its owner's alone.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use join_agent::discovery::{self, Origin};
use join_trust::kubeconfig::DiscoveryFile;
use rcgen::{CertificateParams, KeyPair};

use crate::authority::Authority;

/// Others on the machine could take the token or the key, and announce machines.
#[tokio::test]
async fn a_token_or_a_key_that_others_can_read() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let (real, key) = (Authority::new(), KeyPair::generate().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let certificate = CertificateParams::default().self_signed(&key).unwrap();
    for (name, content) in [
        ("ca.crt", real.pem.clone()),
        ("token", "abcdef.0123456789abcdef\n".to_owned()),
        ("client.crt", certificate.pem()),
        ("client.key", key.serialize_pem()),
    ] {
        fs::write(folder.path().join(name), content).unwrap();
    }
    let path = folder.path().join("discovery.conf");
    for (secret, user) in
        [("token", "tokenFile: token"), ("client.key", "client-certificate: client.crt\n    client-key: client.key")]
    {
        let text = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: c\nclusters:\n- name: c\n  cluster:\n    server: \
             https://127.0.0.1:6443\n    certificate-authority: ca.crt\nusers:\n- name: u\n  user:\n    {user}\ncontexts:\n- \
             name: c\n  context: {{cluster: c, user: u}}\n"
        );
        let file = DiscoveryFile::parse(&text).unwrap();
        for (mode, is_safe) in [(0o600, true), (0o400, true), (0o640, false), (0o604, false)] {
            fs::set_permissions(folder.path().join(secret), Permissions::from_mode(mode)).unwrap();
            let made = discovery::client_of_file(Origin::Path(&path), &file, None).map(drop);
            assert_eq!(made.is_ok(), is_safe, "{secret} {mode:o}: {made:?}");
            let Err(failure) = made else { continue };
            let said = failure.to_string();
            assert!(said.contains(&format!("chmod 600 {}", folder.path().join(secret).display())), "{said}");
        }
    }
}
