//! Kubeconfigs: everything but the certificates and keys as it stands, and the certificates field by field.

use std::path::Path;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use join_control_plane::kubeconfigs::{ADMIN_CONF, CONTROLLER_MANAGER_CONF, SCHEDULER_CONF};
use join_control_plane::{ClusterConfiguration, Member};
use libtest_mimic::Failed;
use serde_json::Value;

use super::certificates::Fields;
use super::kubeadm::Kubeadm;
use super::same;

pub fn compare(kubeadm: &Kubeadm, configuration: &ClusterConfiguration, member: &Member) -> Result<(), Failed> {
    let shared = kubeadm.shared_files(configuration)?;
    for path in [ADMIN_CONF, CONTROLLER_MANAGER_CONF, SCHEDULER_CONF].map(Path::new) {
        let (theirs, certificate) = split(&kubeadm.text(path)?)?;
        let now = certificate.began(configuration.certificate_validity)?;
        let ours = join_control_plane::kubeconfigs(configuration, member, &shared, now)?;
        let file = ours.iter().find(|file| file.path == path).ok_or("one of the kubeconfigs is missing")?;
        let (mine, own_certificate) = split(std::str::from_utf8(file.content.expose())?)?;
        same(path, "kubeconfig", &theirs, &mine)?;
        same(path, "mode", &0o600, &file.mode)?;
        certificate.compare(path, &own_certificate)?;
    }
    Ok(())
}

/// A kubeconfig without its user's certificate and key, and what the certificate says.
fn split(text: &str) -> Result<(Value, Fields), Failed> {
    let mut value: Value = serde_saphyr::from_str(text)?;
    // kubeadm 1.35 writes these, which hold nothing.
    value
        .as_object_mut()
        .ok_or("a kubeconfig is no map")?
        .retain(|key, value| key != "preferences" || *value != serde_json::json!({}));
    let user = value.pointer_mut("/users/0/user").and_then(Value::as_object_mut).ok_or("a kubeconfig has no user")?;
    let mut take = |key: &str| {
        let data = user.remove(key).and_then(|data| BASE64_STANDARD.decode(data.as_str()?).ok());
        data.ok_or_else(|| format!("a kubeconfig has no {key}"))
    };
    let (certificate, key) = (take("client-certificate-data")?, take("client-key-data")?);
    pem::parse(key)?;
    Ok((value, Fields::of(&certificate)?))
}
