//! What an earlier cluster, or an interrupted join, left on the machine.

use std::path::Path;

use join_checks::Finding;
use join_control_plane::manifests::MANIFESTS_FOLDER;
use join_trust::ca_bundle::CaBundle;
use join_trust::pin::PublicKeyPin;

use super::catalogue::control_plane::{
    API_SERVER_MANIFEST, CONTROLLER_MANAGER_MANIFEST, ETCD_MANIFEST, SCHEDULER_MANIFEST,
};
use super::catalogue::{BOOTSTRAP_CONF, CA_CRT, CLIENT_PEM, KUBELET_CONF, Kind, MANIFESTS};
use super::cluster::{Authorities, Expected};
use crate::files;

/// A kubeconfig with a token, which kubeadm leaves when it is interrupted.
const BOOTSTRAP_CONF_PATH: &str = "/etc/kubernetes/bootstrap-kubelet.conf";
/// The static pods of a control plane, as kubeadm names their files, and the check of each where the machine becomes one.
const CONTROL_PLANE: [(&str, Kind); 4] = [
    ("kube-apiserver.yaml", API_SERVER_MANIFEST),
    ("kube-controller-manager.yaml", CONTROLLER_MANAGER_MANIFEST),
    ("kube-scheduler.yaml", SCHEDULER_MANIFEST),
    ("etcd.yaml", ETCD_MANIFEST),
];
/// No more names than this are shown.
const MOST_NAMES: usize = 8;

/// What was seen.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Facts {
    /// Whether [`files::KUBELET_CONF`] exists.
    pub kubelet_conf: bool,
    /// Whether there is a kubeconfig with which a kubelet would ask for a certificate itself.
    pub bootstrap_conf: bool,
    /// The content of [`files::CA_CRT`].
    pub ca_crt: Option<Vec<u8>>,
    /// The key of the certificate in [`files::CLIENT_PEM`]; `Some(None)` when there is a file without one.
    pub client_key: Option<Option<PublicKeyPin>>,
    /// The names of the files in the folder of static pods, sorted.
    pub manifests: Vec<String>,
}

/// Looks at the machine.
pub fn observe() -> Facts {
    let exists = |path: &str| std::fs::symlink_metadata(path).is_ok();
    let client = || match std::fs::read(files::CLIENT_PEM) {
        Ok(pem) => Some(crate::member::key_of(&pem)),
        // A link that leads nowhere is no certificate, and is in the way all the same.
        Err(_) => exists(files::CLIENT_PEM).then_some(None),
    };
    Facts {
        kubelet_conf: exists(files::KUBELET_CONF),
        bootstrap_conf: exists(BOOTSTRAP_CONF_PATH),
        ca_crt: exists(files::CA_CRT).then(|| std::fs::read(files::CA_CRT).unwrap_or_default()),
        client_key: client(),
        manifests: names_in(Path::new(MANIFESTS_FOLDER)),
    }
}

fn names_in(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    // The kubelet ignores files whose names begin with a dot.
    let mut names: Vec<String> = names.filter(|name| !name.starts_with('.')).collect();
    names.sort();
    names
}

/// Judges what was seen.
pub fn judge(facts: &Facts, expected: &Expected<'_>) -> Vec<Finding> {
    let exists = |path: &str, is_there: bool| is_there.then(|| format!("{path} exists"));
    let mut findings = vec![
        KUBELET_CONF.unless(exists(files::KUBELET_CONF, facts.kubelet_conf), "none"),
        BOOTSTRAP_CONF.unless(exists(BOOTSTRAP_CONF_PATH, facts.bootstrap_conf), "none"),
        ca_crt(facts.ca_crt.as_deref(), expected.authorities),
        client_pem(facts, expected.machine_key),
        manifests(&facts.manifests, expected.new_control_plane.is_some()),
    ];
    if expected.new_control_plane.is_some() {
        findings.extend(CONTROL_PLANE.map(|(name, kind)| {
            let is_there = facts.manifests.iter().any(|found| found == name);
            kind.unless(is_there.then(|| format!("{MANIFESTS_FOLDER}/{name} exists")), "none")
        }));
    }
    findings
}

fn ca_crt(found: Option<&[u8]>, authorities: Authorities<'_>) -> Finding {
    let Some(found) = found else { return CA_CRT.passed("none") };
    let Ok(found) = CaBundle::parse_pem(found) else {
        return CA_CRT.failed(format!("{} exists, and holds no certificate authority", files::CA_CRT));
    };
    let is_ours = match authorities {
        Authorities::Unknown => {
            return CA_CRT.failed(format!("{} exists; whose it is cannot be told without a cluster", files::CA_CRT));
        }
        Authorities::Pinned(pins) => found.pins().iter().all(|pin| pins.matches(pin)),
        // More trust than the cluster has is what must not stay; the join writes the file anew.
        Authorities::Known(ca) => {
            let ours = ca.pins();
            found.pins().iter().all(|pin| ours.matches(pin))
        }
    };
    if is_ours {
        CA_CRT.passed("this cluster's")
    } else {
        CA_CRT.failed(format!("{} is another cluster's", files::CA_CRT))
    }
}

/// A certificate for this machine's own key is what an interrupted join of ours left.
fn client_pem(facts: &Facts, machine_key: Option<PublicKeyPin>) -> Finding {
    let path = files::CLIENT_PEM;
    match (&facts.client_key, machine_key) {
        (None, _) => CLIENT_PEM.passed("none"),
        (Some(Some(found)), Some(ours)) if *found == ours => CLIENT_PEM.passed("for this machine's own key"),
        (Some(Some(_)), Some(_)) => CLIENT_PEM
            .failed(format!("{path} is a certificate for another key than this machine's, of an earlier join")),
        (Some(Some(_)), None) => {
            CLIENT_PEM.failed(format!("{path} exists, and this machine has no key of the agent's"))
        }
        (Some(None), _) => CLIENT_PEM.failed(format!("{path} exists, and holds no certificate")),
    }
}

/// Where the machine becomes a control plane, one's files are judged each by itself, as kubeadm does, and waived so.
fn manifests(names: &[String], becomes_control_plane: bool) -> Finding {
    let is_control_planes = |name: &str| CONTROL_PLANE.iter().any(|(known, _)| *known == name);
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let (of_control_plane, others): (Vec<&str>, Vec<&str>) =
        names.iter().copied().partition(|name| is_control_planes(name));
    let names = if becomes_control_plane { others } else { names };
    if names.is_empty() {
        let only = "none but a control plane's, each of which has a check of its own";
        return MANIFESTS.passed(if of_control_plane.is_empty() { "none" } else { only });
    }
    let shown: Vec<&str> = names.iter().take(MOST_NAMES).copied().collect();
    let more = names.len().saturating_sub(MOST_NAMES);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let seen = format!("{MANIFESTS_FOLDER} has {}{more}", shown.join(", "));
    if of_control_plane.is_empty() || becomes_control_plane {
        return MANIFESTS
            .failed_with(seen, "move the files away, unless these pods are meant to run here")
            .as_warning();
    }
    MANIFESTS.failed(seen)
}

#[cfg(test)]
mod tests {
    use join_checks::Verdict::{self, Failed, Passed, Warning};
    use join_trust::pin::PinSet;

    use super::*;
    use crate::checks::tests::{authority, verdict};

    fn key(byte: u8) -> PublicKeyPin {
        PublicKeyPin::of_spki(&[byte])
    }

    #[test]
    fn a_machine_without_leftovers_passes() {
        let findings = judge(&Facts::default(), &Expected::default());
        assert_eq!(findings.len(), 5);
        assert!(findings.iter().all(|finding| finding.verdict == Passed), "{findings:?}");
    }

    #[test]
    fn each_leftover_fails_its_own_check() {
        type Break = fn(&mut Facts);
        let table: [(&str, Break); 5] = [
            ("FileAvailable--etc-kubernetes-kubelet.conf", |f| f.kubelet_conf = true),
            ("FileAvailable--etc-kubernetes-bootstrap-kubelet.conf", |f| f.bootstrap_conf = true),
            ("FileAvailable--etc-kubernetes-pki-ca.crt", |f| f.ca_crt = Some(b"text".to_vec())),
            ("FileAvailable--var-lib-kubelet-pki-kubelet-client-current.pem", |f| f.client_key = Some(None)),
            ("DirAvailable--etc-kubernetes-manifests", |f| f.manifests = vec!["etcd.yaml".to_owned()]),
        ];
        for (id, break_it) in table {
            let mut facts = Facts::default();
            break_it(&mut facts);
            let findings = judge(&facts, &Expected::default());
            for finding in findings {
                let expected = if finding.id == id { Failed } else { Passed };
                assert_eq!(finding.verdict, expected, "{id}: {finding:?}");
            }
        }
    }

    #[test]
    fn a_ca_is_compared_by_what_is_known_of_the_cluster() {
        let (ours, theirs) = (authority("ours"), authority("theirs"));
        let bundle = CaBundle::parse_pem(ours.as_bytes()).unwrap();
        let pins: PinSet = bundle.pins();
        let told = |found: &str, authorities| ca_crt(Some(found.as_bytes()), authorities).verdict;
        assert_eq!(told(&ours, Authorities::Known(&bundle)), Passed);
        assert_eq!(told(&format!("# a comment\n{ours}"), Authorities::Known(&bundle)), Passed);
        assert_eq!(told(&theirs, Authorities::Known(&bundle)), Failed);
        assert_eq!(told(&format!("{ours}{theirs}"), Authorities::Known(&bundle)), Failed);
        assert_eq!(told(&ours, Authorities::Pinned(&pins)), Passed);
        assert_eq!(told(&theirs, Authorities::Pinned(&pins)), Failed);
        // As kubeadm, where nothing is known.
        assert_eq!(told(&ours, Authorities::Unknown), Failed);
    }

    #[test]
    fn a_certificate_is_compared_with_the_machines_key() {
        let told = |client_key, machine_key| {
            let facts = Facts { client_key, ..Facts::default() };
            client_pem(&facts, machine_key).verdict
        };
        assert_eq!(told(Some(Some(key(1))), Some(key(1))), Passed);
        assert_eq!(told(Some(Some(key(2))), Some(key(1))), Failed);
        assert_eq!(told(Some(Some(key(1))), None), Failed);
        assert_eq!(told(Some(None), Some(key(1))), Failed);
    }

    #[test]
    fn static_pods_that_are_no_control_planes_are_told() {
        let told = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            judge(&Facts { manifests: names, ..Facts::default() }, &Expected::default())
        };
        let id = "DirAvailable--etc-kubernetes-manifests";
        let of = |names: &[&str]| -> Verdict { verdict(&told(names), id) };
        assert_eq!(of(&[]), Passed);
        assert_eq!(of(&["haproxy.yaml"]), Warning);
        assert_eq!(of(&["haproxy.yaml", "kube-apiserver.yaml"]), Failed);
        let many: Vec<String> = (0..12).map(|number| format!("{number:02}.yaml")).collect();
        assert!(manifests(&many, false).observed.ends_with("07.yaml and 4 more"));
    }

    #[test]
    fn a_new_control_plane_is_told_each_of_anothers_files_by_one_check() {
        let own = crate::checks::control_plane::tests::own();
        let expected = Expected { new_control_plane: Some(&own), ..Expected::default() };
        let told = |names: &[&str]| {
            let manifests = names.iter().map(|name| (*name).to_owned()).collect();
            let findings = judge(&Facts { manifests, ..Facts::default() }, &expected);
            assert_eq!(findings.len(), 9);
            let wrong = findings.into_iter().filter(|finding| finding.verdict != Passed);
            wrong.map(|finding| (finding.id.into_owned(), finding.verdict)).collect::<Vec<_>>()
        };
        let file = |name: &str| (format!("FileAvailable--etc-kubernetes-manifests-{name}.yaml"), Failed);
        let folder = ("DirAvailable--etc-kubernetes-manifests".to_owned(), Warning);
        assert_eq!(told(&[]), []);
        for name in ["kube-apiserver", "kube-controller-manager", "kube-scheduler", "etcd"] {
            assert_eq!(told(&[&format!("{name}.yaml")]), [file(name)]);
        }
        // A load balancer before the API servers runs like that.
        assert_eq!(told(&["kube-vip.yaml"]), std::slice::from_ref(&folder));
        assert_eq!(told(&["etcd.yaml", "kube-vip.yaml"]), [folder, file("etcd")]);
    }
}
