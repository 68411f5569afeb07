use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use super::*;
use crate::files;
use crate::journal::{ETCD_FOLDER, EtcdMember};

const NODE: &str = "a";

/// A machine and an agent's state directory, both in a folder.
struct Place {
    folder: tempfile::TempDir,
    root: Root,
    crash: CrashSwitch,
}

fn member() -> EtcdMember {
    EtcdMember { peer_url: "https://192.0.2.2:2380".to_owned(), endpoints: vec!["https://192.0.2.1:2379".to_owned()] }
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::at(&folder.path().join("machine"));
        for path in ["/etc", "/var/lib", "/state"] {
            fs::create_dir_all(root.place(path)).unwrap();
        }
        Self { folder, root, crash: CrashSwitch::default() }
    }

    fn state(&self) -> PathBuf {
        self.root.place("/state")
    }

    fn open(&self) -> Journal {
        Journal::open(&self.state(), self.root.clone(), NODE, CrashSwitch::default()).unwrap()
    }

    /// Everything on the machine: path, kind, mode, owner and content.
    fn snapshot(&self) -> BTreeMap<PathBuf, String> {
        let mut found = BTreeMap::new();
        let mut open = vec![self.folder.path().join("machine")];
        while let Some(folder) = open.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                let metadata = fs::symlink_metadata(&path).unwrap();
                let content = if metadata.is_dir() {
                    open.push(path.clone());
                    "folder".to_owned()
                } else if metadata.is_symlink() {
                    fs::read_link(&path).unwrap().display().to_string()
                } else {
                    fs::read_to_string(&path).unwrap()
                };
                let mode = if metadata.is_symlink() { 0 } else { metadata.permissions().mode() };
                found.insert(path, format!("{mode:o} {}:{} {content}", metadata.uid(), metadata.gid()));
            }
        }
        found
    }

    fn write(&self, path: &str, content: &str, mode: u32) {
        let place = self.root.place(path);
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        fs::write(&place, content).unwrap();
        fs::set_permissions(&place, fs::Permissions::from_mode(mode)).unwrap();
    }

    /// What a join does to files, and then a kubelet.
    fn join(&self) {
        let mut journal = self.open();
        let folders = [
            ("/etc/kubernetes", 0o755),
            ("/etc/kubernetes/pki", 0o755),
            ("/var/lib/kubelet", 0o700),
            (files::PKI_FOLDER, 0o755),
        ];
        let dated = "/var/lib/kubelet/pki/kubelet-client-2026-01-01-00-00-00.pem";
        let written = [(files::CA_CRT, 0o644), (files::CONFIG_YAML, 0o644), (dated, 0o600), (KUBELET_CONF, 0o600)];
        let mut paths: Vec<String> = folders.iter().chain(&written).map(|(path, _)| (*path).to_owned()).collect();
        paths.push(CLIENT_PEM.to_owned());
        journal.before_writing("u", &paths, None).unwrap();
        for (path, mode) in folders {
            journal.folder(path, mode).unwrap();
        }
        for (path, mode) in written {
            journal.file(path, b"of the join", mode).unwrap();
        }
        journal.link(CLIENT_PEM, dated).unwrap();
        journal.step(journal::JoinStep::Joined, "u").unwrap();

        fs::set_permissions(self.root.place("/var/lib/kubelet"), fs::Permissions::from_mode(0o750)).unwrap();
        self.write("/var/lib/kubelet/pods/1/volumes/file", "of a pod", 0o644);
        self.write("/var/lib/kubelet/cpu_manager_state", "of the kubelet", 0o600);
        self.write("/var/lib/kubelet/pki/kubelet.key", "of the kubelet", 0o600);
        // There already, after the first join of two.
        let _ = symlink("/etc/passwd", self.root.place("/var/lib/kubelet/pods/1/link"));
        self.write("/etc/kubernetes/.kubelet.conf.join-agent", "half", 0o600);
    }

    /// The same of a control plane, and then its etcd.
    fn join_as_control_plane(&self) {
        let mut journal = self.open();
        let written = [("/etc/kubernetes/pki/etcd/healthcheck-client.crt", 0o644), (CONTROL_PLANE[0], 0o600)];
        let folders =
            ["/etc/kubernetes", "/etc/kubernetes/manifests", "/etc/kubernetes/pki", "/etc/kubernetes/pki/etcd"];
        let paths = folders.into_iter().chain(written.map(|(path, _)| path)).chain([ETCD_FOLDER]);
        journal.before_writing("u", &paths.map(str::to_owned).collect::<Vec<_>>(), None).unwrap();
        for folder in folders {
            journal.folder(folder, 0o755).unwrap();
        }
        for (path, mode) in written {
            journal.file(path, b"of the join", mode).unwrap();
        }
        journal.etcd(member()).unwrap();
        self.write("/var/lib/etcd/member/snap/db", "of etcd", 0o600);
        self.write("/var/lib/etcd/snapshot.db", "made in etcd's pod", 0o600);
        drop(journal);
        self.join();
    }

    fn machine<'a>(&'a self, state_directory: &'a Path) -> act::Machine<'a> {
        act::Machine { root: &self.root, systemd: None, state_directory, cri_socket: "", crash: &self.crash }
    }

    fn plan(&self) -> Option<Plan> {
        let journal = Journal::read(&self.state()).unwrap()?;
        let mut observed = Observed::default();
        observe::of_files(&mut observed, &journal, &self.root).unwrap();
        Some(plan::undo(&journal, &observed, Wishes::default()))
    }

    /// Carries out so many actions at most.
    fn reset(&self, most: usize) {
        let Some(plan) = self.plan() else { return };
        let state = self.state();
        let machine = self.machine(&state);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        for action in plan.actions.iter().take(most) {
            runtime.block_on(machine.act(action)).unwrap();
        }
    }
}

#[test]
fn a_machine_that_had_nothing_has_nothing_again() {
    let place = Place::new();
    let before = place.snapshot();
    place.join();
    assert_ne!(place.snapshot(), before);
    place.reset(usize::MAX);
    assert_eq!(place.snapshot(), before);
}

fn with_files_of_its_own() -> Place {
    let place = Place::new();
    place.write("/etc/kubernetes/pki/ca.crt", "older", 0o640);
    place.write("/etc/kubernetes/manifests/own.yaml", "mine", 0o600);
    place.write("/var/lib/kubelet/config.yaml", "mine", 0o600);
    place.write("/var/lib/kubelet/seccomp/profile.json", "mine", 0o644);
    // What a kubelet overwrites, deletes or replaces with something else.
    place.write("/var/lib/kubelet/cpu_manager_state", "mine", 0o600);
    fs::create_dir(place.root.place("/var/lib/kubelet/empty")).unwrap();
    symlink("seccomp", place.root.place("/var/lib/kubelet/link")).unwrap();
    place
}

fn spoil(place: &Place) {
    fs::remove_file(place.root.place("/var/lib/kubelet/link")).unwrap();
    place.write("/var/lib/kubelet/link", "a file now", 0o644);
    fs::remove_dir(place.root.place("/var/lib/kubelet/empty")).unwrap();
    fs::remove_file(place.root.place("/var/lib/kubelet/seccomp/profile.json")).unwrap();
    place.write("/var/lib/kubelet/seccomp/added", "of the kubelet", 0o644);
}

#[test]
fn a_machine_with_files_of_its_own_has_them_again() {
    let place = with_files_of_its_own();
    let before = place.snapshot();
    place.join();
    spoil(&place);
    place.reset(usize::MAX);
    assert_eq!(place.snapshot(), before);
    place.reset(usize::MAX);
    assert_eq!(place.snapshot(), before, "there is nothing left to undo");
}

/// Killed after each number of actions, a reset that is begun again ends where an undisturbed one ends.
#[test]
fn a_reset_that_was_killed_is_completed_by_the_next() {
    let reference = with_files_of_its_own();
    reference.join();
    spoil(&reference);
    let actions = reference.plan().unwrap().actions.len();
    assert!(actions > 8, "{actions}");
    for killed_after in 1..actions {
        let place = with_files_of_its_own();
        let before = place.snapshot();
        place.join();
        spoil(&place);
        place.reset(killed_after);
        assert_ne!(place.snapshot(), before, "killed after {killed_after}");
        place.reset(usize::MAX);
        assert_eq!(place.snapshot(), before, "killed after {killed_after}");
    }
}

/// A second join over the first one does not take the first one's files for what was there before.
#[test]
fn a_join_that_was_repeated_is_undone_to_the_very_beginning() {
    let place = with_files_of_its_own();
    let before = place.snapshot();
    place.join();
    place.join();
    place.reset(usize::MAX);
    assert_eq!(place.snapshot(), before);
}

#[test]
fn what_somebody_put_into_a_folder_of_the_join_stays() {
    let place = Place::new();
    place.join();
    place.write("/etc/kubernetes/manifests/own.yaml", "mine", 0o600);
    place.reset(usize::MAX);
    assert_eq!(fs::read_to_string(place.root.place("/etc/kubernetes/manifests/own.yaml")).unwrap(), "mine");
    assert!(!place.root.place(KUBELET_CONF).exists());
}

#[test]
fn a_content_that_is_not_the_one_that_was_kept_is_not_restored() {
    let place = with_files_of_its_own();
    place.join();
    for backup in fs::read_dir(place.state().join("backup")).unwrap() {
        fs::write(backup.unwrap().path(), "another").unwrap();
    }
    let plan = place.plan().unwrap();
    let state = place.state();
    let machine = place.machine(&state);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let restore =
        plan.actions.iter().find(|action| matches!(action, Action::Restore { path, .. } if path == files::CA_CRT));
    let error = runtime.block_on(machine.act(restore.unwrap())).unwrap_err().to_string();
    assert!(error.contains("ca.crt") && error.contains("not the one that was kept"), "{error}");
}

/// Without a certificate etcd is not asked, and nothing else is done; once the member is gone, none is needed.
#[test]
fn a_control_plane_is_what_it_was_whatever_was_in_etcds_folder() {
    for own in [&[][..], &["/var/lib/etcd"], &["/var/lib/etcd", "/var/lib/etcd/lost+found"]] {
        let place = Place::new();
        for folder in own {
            fs::create_dir(place.root.place(folder)).unwrap();
        }
        let before = place.snapshot();
        place.join_as_control_plane();
        let joined = place.snapshot();

        let plan = place.plan().unwrap();
        let state = place.state();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let error = runtime.block_on(place.machine(&state).act(&plan.actions[0])).unwrap_err().to_string();
        for expected in ["pki/etcd/ca.crt", "https://192.0.2.2:2380", "--keep-etcd-member", "etcdctl member remove"] {
            assert!(error.contains(expected), "{error}");
        }
        assert_eq!(place.snapshot(), joined);

        Journal::left_etcd(&state, CrashSwitch::default()).unwrap();
        place.reset(usize::MAX);
        assert_eq!(place.snapshot(), before, "{own:?}");
    }
}

fn options(all: bool) -> Options {
    Options {
        dry_run: false,
        all,
        yes: true,
        forget_keys: false,
        keep_etcd_member: false,
        keep_pods: false,
        start_agent: false,
        state_directory: "/state".into(),
        crash: CrashSwitch::default(),
    }
}

#[test]
fn only_a_control_plane_of_this_agent_is_reset_and_not_as_a_worker() {
    let [api_server, etcd] = CONTROL_PLANE;
    let noted = |paths: &[(&str, Before)], etcd: Option<EtcdMember>| State {
        node: Some(NODE.to_owned()),
        before: paths.iter().map(|(path, was)| ((*path).to_owned(), was.clone())).collect(),
        etcd,
        ..State::default()
    };
    let ours = noted(&[(api_server, Before::Absent), (etcd, Before::Absent)], Some(member()));
    let external = noted(&[(api_server, Before::Absent)], None);
    let earlier = noted(&[(api_server, Before::Link { target: "x".to_owned() })], None);
    let worker = noted(&[(KUBELET_CONF, Before::Absent)], None);
    let both = &CONTROL_PLANE[..];
    let refused = Some("Run `kubeadm reset`");
    let without_all = Some("without --all");
    for (found, journal, all, expected) in [
        (&[][..], None, false, None),
        (&[], None, true, None),
        (&[], Some(&worker), true, None),
        (both, None, false, refused),
        (both, None, true, refused),
        (both, Some(&worker), false, refused),
        (both, Some(&worker), true, refused),
        (&[api_server], Some(&earlier), false, refused),
        (both, Some(&external), false, refused),
        (both, Some(&ours), false, None),
        (&[api_server], Some(&external), false, None),
        (both, Some(&ours), true, without_all),
        (&[api_server], Some(&external), true, without_all),
        // Its manifests are gone already, and its member is not.
        (&[], Some(&ours), false, None),
        (&[], Some(&ours), true, without_all),
    ] {
        let outcome = refuse_control_plane(found.iter().copied(), journal, &options(all));
        let error = outcome.err().map(|error| error.to_string());
        let is_right = match (&error, expected) {
            (None, None) => true,
            (Some(error), Some(expected)) => error.contains(expected),
            _ => false,
        };
        assert!(is_right, "{found:?} {journal:?} {all}: {error:?}");
    }
}

#[test]
fn what_is_left_is_told_with_a_command_each() {
    let worker = text::left(&Left { node: Some("worker-1"), ..Left::default() });
    for expected in ["kubectl delete njr/worker-1 node/worker-1", "/etc/cni/net.d", "crictl rmi", "--forget-keys"] {
        assert!(worker.contains(expected), "{worker}");
    }
    assert!(!worker.contains("etcd") && !worker.contains("load balancer"), "{worker}");
    assert!(!text::left(&Left { forget_keys: true, ..Left::default() }).contains("--forget-keys"));
    let member = member();
    let kept = text::left(&Left { is_control_plane: true, etcd_member: Some(&member), ..Left::default() });
    for expected in ["load balancer", "etcdctl member remove", "https://192.0.2.2:2380"] {
        assert!(kept.contains(expected), "{kept}");
    }
}
