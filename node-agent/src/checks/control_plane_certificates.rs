//! Until when the certificates of a control plane are valid. Nothing renews them by itself: `kubeadm upgrade` does, or
//! `kubeadm certs renew`.

use std::path::Path;

use join_checks::Finding;
use join_control_plane::kubeconfigs::{ADMIN_CONF, CONTROLLER_MANAGER_CONF, SCHEDULER_CONF};
use join_trust::kubeconfig::{Credentials, DiscoveryFile, Material};
use k8s_openapi::jiff::{Timestamp, ToSpan};
use x509_parser::prelude::{FromDer, X509Certificate};
use zeroize::Zeroizing;

use super::catalogue::control_plane::CERTIFICATES;
use crate::member;

/// What a machine that is a control plane has; the manifest outlives the pod.
const MANIFEST: &str = "etc/kubernetes/manifests/kube-apiserver.yaml";
/// kubeadm's certificates, apart from those of the authorities. Which of them a machine has depends on its etcd.
const CERTIFICATE_FILES: [&str; 7] = [
    "etc/kubernetes/pki/apiserver.crt",
    "etc/kubernetes/pki/apiserver-etcd-client.crt",
    "etc/kubernetes/pki/apiserver-kubelet-client.crt",
    "etc/kubernetes/pki/etcd/healthcheck-client.crt",
    "etc/kubernetes/pki/etcd/peer.crt",
    "etc/kubernetes/pki/etcd/server.crt",
    "etc/kubernetes/pki/front-proxy-client.crt",
];
/// Those with a client certificate in them.
const KUBECONFIGS: [&str; 3] = [ADMIN_CONF, CONTROLLER_MANAGER_CONF, SCHEDULER_CONF];
/// How many days before the end of the first certificate that is told.
const SOON_DAYS: i64 = 30;

/// A file, and until when its certificate is valid.
pub type Certificates = Vec<(String, Result<Timestamp, String>)>;

/// Looks at the certificates below the root folder; `None` where the machine is no control plane.
pub fn observe(root: &Path) -> Option<Certificates> {
    if !root.join(MANIFEST).exists() {
        return None;
    }
    let files = CERTIFICATE_FILES.into_iter().map(|path| (path, of_pem as fn(&[u8]) -> Result<Timestamp, String>));
    let kubeconfigs = KUBECONFIGS.into_iter().map(|path| (path.trim_start_matches('/'), of_kubeconfig as _));
    let seen = files.chain(kubeconfigs).filter_map(|(path, end)| match std::fs::read(root.join(path)) {
        Ok(content) => Some((format!("/{path}"), end(&Zeroizing::new(content)))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => Some((format!("/{path}"), Err(error.to_string()))),
    });
    Some(seen.collect())
}

fn of_pem(pem: &[u8]) -> Result<Timestamp, String> {
    let none = || "holds no certificate".to_owned();
    let der = member::certificate(pem).ok_or_else(none)?;
    let (_, certificate) = X509Certificate::from_der(&der).map_err(|_| none())?;
    Timestamp::from_second(certificate.validity().not_after.timestamp()).map_err(|error| error.to_string())
}

fn of_kubeconfig(text: &[u8]) -> Result<Timestamp, String> {
    let file = DiscoveryFile::parse(&String::from_utf8_lossy(text)).map_err(|error| error.to_string())?;
    match file.credentials {
        Credentials::ClientCertificate { certificate: Material::Inline(pem), .. } => of_pem(&pem),
        _ => Err("has no client certificate in it".to_owned()),
    }
}

/// The certificate that ends first counts, and a file that is of no use before all. What is seen of a sound machine does not
/// change from one look to the next.
pub fn judge(certificates: &Certificates, now: Timestamp) -> Finding {
    let mut first: Option<(&str, Timestamp)> = None;
    for (path, end) in certificates {
        match end {
            Err(problem) => return CERTIFICATES.failed(format!("{path}: {problem}")),
            Ok(end) if first.is_none_or(|(_, earliest)| *end < earliest) => first = Some((path, *end)),
            Ok(_) => {}
        }
    }
    let Some((path, end)) = first else { return CERTIFICATES.skipped("none of kubeadm's files is there") };
    if end <= now {
        CERTIFICATES.failed(format!("{path} has expired at {end}"))
    } else if now.checked_add((SOON_DAYS * 24).hours()).is_ok_and(|soon| end < soon) {
        CERTIFICATES.warning(format!("{path} expires at {end}"))
    } else {
        CERTIFICATES.passed(format!("the first to expire is {path}, at {end}"))
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use join_checks::Verdict::{self, Failed, Passed, Skipped, Warning};
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;

    fn time(day: &str) -> Timestamp {
        format!("{day}T00:00:00Z").parse().unwrap()
    }

    fn pem(year: i32) -> String {
        let mut params = CertificateParams::default();
        params.not_after = date_time_ymd(year, 7, 1);
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().pem()
    }

    fn write(root: &Path, path: &str, content: &str) {
        let path = root.join(path.trim_start_matches('/'));
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    #[test]
    fn a_worker_has_none_and_a_control_plane_those_that_are_there() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(observe(root.path()), None);
        write(root.path(), MANIFEST, "");
        assert_eq!(observe(root.path()), Some(Vec::new()));
        write(root.path(), CERTIFICATE_FILES[0], &pem(2030));
        write(root.path(), CERTIFICATE_FILES[4], "no certificate");
        let encoded = STANDARD.encode(pem(2029));
        let kubeconfig = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: c\nclusters: [{{name: c, cluster: {{server: \
             'https://127.0.0.1:6443'}}}}]\nusers: [{{name: u, user: {{client-certificate-data: {encoded}, client-key: \
             x}}}}]\ncontexts: [{{name: c, context: {{cluster: c, user: u}}}}]\n"
        );
        write(root.path(), ADMIN_CONF, &kubeconfig);
        let expected = [
            ("/etc/kubernetes/pki/apiserver.crt".to_owned(), Ok(time("2030-07-01"))),
            ("/etc/kubernetes/pki/etcd/peer.crt".to_owned(), Err("holds no certificate".to_owned())),
            ("/etc/kubernetes/admin.conf".to_owned(), Ok(time("2029-07-01"))),
        ];
        assert_eq!(observe(root.path()).unwrap(), expected);
    }

    #[test]
    fn the_first_to_end_counts() {
        type Ends<'a> = &'a [Result<&'a str, &'a str>];
        let all = |ends: Ends<'_>| -> Certificates {
            let named = ends.iter().enumerate();
            named.map(|(at, end)| (format!("/{at}"), end.map(time).map_err(str::to_owned))).collect()
        };
        let table: [(Ends<'_>, Verdict, &str); 6] = [
            (&[], Skipped, "none"),
            (&[Ok("2027-06-01"), Ok("2027-03-01")], Passed, "the first to expire is /1, at 2027-03-01"),
            (&[Ok("2027-06-01"), Ok("2027-01-30")], Warning, "/1 expires at"),
            (&[Ok("2027-01-31")], Passed, "/0"),
            (&[Ok("2027-01-01"), Ok("2027-06-01")], Failed, "/0 has expired at"),
            (&[Ok("2027-06-01"), Err("is empty")], Failed, "/1: is empty"),
        ];
        for (ends, verdict, observed) in table {
            let finding = judge(&all(ends), time("2027-01-01"));
            assert_eq!(finding.verdict, verdict, "{ends:?}");
            assert!(finding.observed.contains(observed), "{ends:?}: {}", finding.observed);
        }
    }
}
