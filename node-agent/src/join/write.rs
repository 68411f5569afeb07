//! Writing the files of a join, in the order that makes a crash harmless.

use std::path::{Path, PathBuf};

use join_trust::machine_key::MachineKey;
use k8s_openapi::jiff::Zoned;
use zeroize::Zeroizing;

use super::Error;
use crate::atomic_file::{self, PUBLIC, SECRET};
use crate::files::{self, Rendered};
use crate::member::Membership;

/// Writes everything. The kubelet's kubeconfig comes last: where it is, all is there.
pub fn all(
    rendered: &Rendered,
    certificate: &str,
    key: &MachineKey,
    membership: &Membership,
    state_directory: &Path,
) -> Result<(), Error> {
    for (folder, mode) in [
        ("/etc/kubernetes", 0o755),
        ("/etc/kubernetes/pki", 0o755),
        ("/var/lib/kubelet", 0o700),
        (files::PKI_FOLDER, 0o755),
    ] {
        atomic_file::folder(Path::new(folder), mode)?;
    }
    write_client_pem(certificate, key)?;
    for (path, content) in [
        (files::CA_CRT, &rendered.ca_crt),
        (files::INSTANCE_CONFIG_YAML, &rendered.instance_config_yaml),
        (files::CONFIG_YAML, &rendered.config_yaml),
        (files::KUBEADM_FLAGS_ENV, &rendered.kubeadm_flags_env),
    ] {
        atomic_file::write(Path::new(path), content.as_bytes(), PUBLIC)?;
    }
    membership.write(state_directory)?;
    atomic_file::write(Path::new(files::KUBELET_CONF), rendered.kubelet_conf.as_bytes(), SECRET)?;
    Ok(())
}

/// Certificate and key in one file with a date in its name, and the link to it, as the kubelet's own store has them.
fn write_client_pem(certificate: &str, key: &MachineKey) -> Result<(), Error> {
    let mut content = Zeroizing::new(String::with_capacity(16 * 1024));
    content.push_str(certificate);
    content.push_str(&key.to_sec1_pem()?);
    let path = client_pem_path(&Zoned::now());
    atomic_file::write(&path, content.as_bytes(), SECRET)?;
    atomic_file::link(Path::new(files::CLIENT_PEM), &path)?;
    Ok(())
}

/// The kubelet names the file by local time, to the second.
fn client_pem_path(now: &Zoned) -> PathBuf {
    Path::new(files::PKI_FOLDER).join(format!("kubelet-client-{}.pem", now.strftime("%Y-%m-%d-%H-%M-%S")))
}

#[cfg(test)]
mod tests {
    use k8s_openapi::jiff::Timestamp;
    use k8s_openapi::jiff::tz::TimeZone;

    use super::*;

    #[test]
    fn the_file_is_named_as_the_kubelet_names_it() {
        let instant: Timestamp = "2026-11-24T09:35:42Z".parse().unwrap();
        let now = instant.to_zoned(TimeZone::UTC);
        let expected = Path::new("/var/lib/kubelet/pki/kubelet-client-2026-11-24-09-35-42.pem");
        assert_eq!(client_pem_path(&now), expected);
    }
}
