use super::*;
use crate::journal::{Access, Listing, Mode};

fn access(mode: u32) -> Access {
    Access { mode: Mode(mode), uid: 0, gid: 0 }
}

fn file(content: &str, mode: u32) -> Before {
    // A hash is only compared here.
    Before::File { access: access(mode), sha256: content.to_owned(), backup: true }
}

fn folder(mode: u32) -> Before {
    Before::Folder { access: access(mode) }
}

fn unit(active: &str, file: &str) -> UnitState {
    UnitState { active_state: active.to_owned(), unit_file_state: file.to_owned() }
}

fn listing(complete: bool, mounts: &[&str]) -> Listing {
    Listing { complete, mounts: mounts.iter().map(|mount| (*mount).to_owned()).collect() }
}

fn paths<const N: usize>(paths: [(&str, Before); N]) -> BTreeMap<String, Before> {
    paths.into_iter().map(|(path, was)| (path.to_owned(), was)).collect()
}

fn texts(plan: &Plan) -> Vec<String> {
    plan.actions.iter().map(Action::to_string).collect()
}

/// A machine on which there was nothing before, and everything after.
fn fresh() -> (State, Observed) {
    let journal = State {
        node: Some("a".to_owned()),
        before: paths([
            ("/etc/kubernetes", Before::Absent),
            ("/etc/kubernetes/kubelet.conf", Before::Absent),
            ("/etc/kubernetes/pki", Before::Absent),
            ("/etc/kubernetes/pki/ca.crt", Before::Absent),
            ("/var/lib/kubelet", Before::Absent),
            ("/var/lib/kubelet/config.yaml", Before::Absent),
        ]),
        listing: Some(listing(true, &[])),
        kubelet: Some(unit("inactive", "enabled")),
        ..State::default()
    };
    let observed = Observed {
        agent_is_active: true,
        kubelet: Some(unit("active", "enabled")),
        sandboxes: vec![Sandbox { id: "0123456789abcdef".to_owned(), pod: "default/web".to_owned() }],
        mounts: vec!["/var/lib/kubelet/pods/1/volumes/x".to_owned()],
        now: paths([
            ("/etc/kubernetes", folder(0o755)),
            ("/etc/kubernetes/kubelet.conf", file("k", 0o600)),
            ("/etc/kubernetes/pki", folder(0o755)),
            ("/etc/kubernetes/pki/ca.crt", file("c", 0o644)),
            ("/var/lib/kubelet", folder(0o700)),
            ("/var/lib/kubelet/config.yaml", file("y", 0o644)),
        ]),
        ..Observed::default()
    };
    (journal, observed)
}

#[test]
fn a_machine_that_had_nothing_has_nothing_again() {
    let (journal, observed) = fresh();
    let plan = undo(&journal, &observed, Wishes::default());
    assert_eq!(
        texts(&plan),
        [
            "stop join-agent.service",
            "stop kubelet.service",
            "remove pod default/web (sandbox 0123456789abc)",
            "unmount /var/lib/kubelet/pods/1/volumes/x",
            "remove file /etc/kubernetes/kubelet.conf",
            "remove file /etc/kubernetes/pki/ca.crt",
            "remove folder /var/lib/kubelet and all that is in it",
            "remove folder /etc/kubernetes/pki if it is empty",
            "remove folder /etc/kubernetes if it is empty",
            "remove the journal of the join",
        ]
    );
    assert_eq!(plan.remarks, Vec::<String>::new());
    let rest = plan.actions.iter().position(|action| !action.is_quieting()).unwrap();
    assert!(plan.actions[rest..].iter().all(|action| !action.is_quieting()), "the machine rests before it is changed");
}

#[test]
fn what_was_there_is_put_back_and_what_is_right_is_left() {
    let ca = "/etc/kubernetes/pki/ca.crt";
    let (mut journal, mut observed) = fresh();
    observed.agent_is_active = false;
    observed.kubelet = Some(unit("inactive", "enabled"));
    (observed.sandboxes, observed.mounts) = (Vec::new(), Vec::new());
    journal.kubelet = Some(unit("activating", "disabled"));
    journal.before.extend(paths([
        ("/etc/kubernetes", folder(0o755)),
        ("/etc/kubernetes/pki", folder(0o700)),
        (ca, file("c", 0o600)),
        ("/var/lib/kubelet", folder(0o750)),
        ("/var/lib/kubelet/config.yaml", file("old", 0o644)),
        ("/var/lib/kubelet/own", folder(0o755)),
        ("/var/lib/kubelet/own/link", Before::Link { target: "x".to_owned() }),
        ("/var/lib/kubelet/socket", Before::Other),
    ]));
    observed.now.extend(paths([(ca, file("c", 0o644)), ("/var/lib/kubelet/own", folder(0o755))]));
    observed.added =
        BTreeMap::from([("/var/lib/kubelet/own/new".to_owned(), false), ("/var/lib/kubelet/pods".to_owned(), true)]);
    observed.staged = vec!["/etc/kubernetes/.kubelet.conf.join-agent".to_owned()];
    let plan = undo(&journal, &observed, Wishes { forget_keys: true, ..Wishes::default() });
    assert_eq!(
        texts(&plan),
        [
            "remove file /etc/kubernetes/.kubelet.conf.join-agent",
            "remove file /etc/kubernetes/kubelet.conf",
            "restore folder /etc/kubernetes/pki (0700)",
            "restore file /etc/kubernetes/pki/ca.crt (0600)",
            "restore folder /var/lib/kubelet (0750)",
            "restore file /var/lib/kubelet/config.yaml (0644)",
            "restore link /var/lib/kubelet/own/link to x",
            "remove file /var/lib/kubelet/own/new",
            "remove folder /var/lib/kubelet/pods and all that is in it",
            "disable kubelet.service, as it was before",
            "remove the journal of the join",
            "remove the machine's keys: it will announce itself as another machine",
        ]
    );
    let remarks = plan.remarks.join("\n");
    assert!(remarks.contains("/var/lib/kubelet/socket was no plain file"), "{remarks}");
    assert!(remarks.contains("kubelet.service was activating before the join"), "{remarks}");
}

#[test]
fn what_cannot_be_told_apart_or_was_mounted_before_stays() {
    let (mut journal, mut observed) = fresh();
    journal.before.insert("/var/lib/kubelet".to_owned(), folder(0o700));
    journal.listing = Some(listing(false, &["/var/lib/kubelet/disk"]));
    observed.mounts.push("/var/lib/kubelet/disk".to_owned());
    observed.added = BTreeMap::from([("/var/lib/kubelet/pods".to_owned(), true)]);
    let plan = undo(&journal, &observed, Wishes::default());
    let texts = texts(&plan).join("\n");
    assert!(
        !texts.contains("/var/lib/kubelet/disk") && !texts.contains("remove folder /var/lib/kubelet/pods"),
        "{texts}"
    );
    let remarks = plan.remarks.join("\n");
    assert!(remarks.contains("/var/lib/kubelet/disk was mounted before"), "{remarks}");
    assert!(remarks.contains("stays"), "{remarks}");
}

#[test]
fn a_file_that_was_not_kept_is_restored_in_its_mode_only() {
    let (mut journal, mut observed) = fresh();
    let large = |content: &str, mode| Before::File { access: access(mode), sha256: content.to_owned(), backup: false };
    journal.before.extend(paths([
        ("/var/lib/kubelet", folder(0o700)),
        ("/var/lib/kubelet/large", large("l", 0o644)),
        ("/var/lib/kubelet/lost", large("l", 0o644)),
        ("/var/lib/kubelet/same", large("l", 0o644)),
    ]));
    observed.now.extend(paths([
        ("/var/lib/kubelet/large", large("l", 0o600)),
        ("/var/lib/kubelet/lost", large("m", 0o644)),
        ("/var/lib/kubelet/same", large("l", 0o644)),
    ]));
    let plan = undo(&journal, &observed, Wishes::default());
    let texts = texts(&plan).join("\n");
    assert!(texts.contains("restore file /var/lib/kubelet/large (0644)"), "{texts}");
    assert!(!texts.contains("/var/lib/kubelet/lost") && !texts.contains("/var/lib/kubelet/same"), "{texts}");
    assert!(plan.remarks.join("\n").contains("/var/lib/kubelet/lost was changed after the join began"));
}

/// A join that was killed before it changed anything: the kubelet is somebody else's.
#[test]
fn where_nothing_was_touched_only_the_journal_goes() {
    let journal = State { node: Some("a".to_owned()), ..State::default() };
    let (_, mut observed) = fresh();
    observed.agent_is_active = false;
    observed.now.clear();
    assert_eq!(undo(&journal, &observed, Wishes::default()).actions, [Action::Forget]);
}

/// Whatever part of a reset was done before it was killed, the next plan has nothing of it, and no more than before.
#[test]
fn what_is_done_is_not_planned_again() {
    let (journal, mut observed) = fresh();
    let whole = undo(&journal, &observed, Wishes::default()).actions;
    observed.agent_is_active = false;
    observed.kubelet = Some(unit("failed", "enabled"));
    (observed.sandboxes, observed.mounts) = (Vec::new(), Vec::new());
    for path in journal.before.keys().rev() {
        observed.now.insert(path.clone(), Before::Absent);
        let rest = undo(&journal, &observed, Wishes::default()).actions;
        assert!(rest.iter().all(|action| whole.contains(action)), "{rest:?}");
        assert!(!rest.iter().any(|action| matches!(action, Action::Remove(gone) | Action::RemoveTree(gone) | Action::RemoveFolder(gone) if gone == path)));
    }
    assert_eq!(undo(&journal, &observed, Wishes::default()).actions, [Action::Forget]);
}

#[test]
fn all_is_what_kubeadm_empties() {
    let (_, mut observed) = fresh();
    observed.agent_is_active = false;
    observed.now =
        paths([("/etc/kubernetes/admin.conf", Before::Absent), ("/etc/kubernetes/kubelet.conf", file("k", 0o600))]);
    observed.added =
        BTreeMap::from([("/etc/kubernetes/pki/ca.crt".to_owned(), false), ("/var/lib/kubelet/pods".to_owned(), true)]);
    assert_eq!(
        texts(&all(&observed, false)),
        [
            "stop kubelet.service",
            "remove pod default/web (sandbox 0123456789abc)",
            "unmount /var/lib/kubelet/pods/1/volumes/x",
            "remove file /etc/kubernetes/kubelet.conf",
            "remove file /etc/kubernetes/pki/ca.crt",
            "remove folder /var/lib/kubelet/pods and all that is in it",
            "remove the journal of the join",
        ]
    );
}

const PEER_URL: &str = "https://192.0.2.2:2380";

/// The same as a control plane, where etcd's folder was as given.
fn control_plane(etcd_folder: Before) -> (State, Observed) {
    let (mut journal, mut observed) = fresh();
    journal.etcd =
        Some(EtcdMember { peer_url: PEER_URL.to_owned(), endpoints: vec!["https://192.0.2.1:2379".to_owned()] });
    journal.before.extend(paths([
        ("/etc/kubernetes/own/etcd/healthcheck-client.crt", Before::Absent),
        (ETCD_FOLDER, etcd_folder),
    ]));
    observed.now.extend(paths([
        ("/etc/kubernetes/own/etcd/healthcheck-client.crt", file("h", 0o644)),
        (ETCD_FOLDER, folder(0o700)),
    ]));
    (journal, observed)
}

#[test]
fn a_control_plane_leaves_etcd_while_its_own_etcd_runs() {
    let (journal, observed) = control_plane(Before::Absent);
    let plan = undo(&journal, &observed, Wishes::default());
    assert_eq!(
        texts(&plan)[..4],
        [
            "stop join-agent.service",
            "remove member https://192.0.2.2:2380 from etcd",
            "stop kubelet.service",
            "remove pod default/web (sandbox 0123456789abc)",
        ]
    );
    let rest = plan.actions.iter().position(|action| !action.is_quieting()).unwrap();
    assert!(plan.actions[rest..].iter().all(|action| !action.is_quieting()), "its certificates are there until then");
    let Action::LeaveEtcd(leaving) = &plan.actions[1] else { panic!("{:?}", plan.actions) };
    assert_eq!(leaving.certificates, "/etc/kubernetes/own/etcd");
    assert_eq!(Some(&leaving.member), journal.etcd.as_ref());
}

/// The member is gone, its machine cannot ask, or there never was one: an etcd elsewhere, or a join that did not come to it.
#[test]
fn etcd_is_asked_only_where_there_is_a_member_that_shall_go() {
    let kept = Wishes { keep_etcd_member: true, ..Wishes::default() };
    for (is_member, wishes, leaves, told) in [
        (true, Wishes::default(), true, false),
        (true, kept, false, true),
        (false, Wishes::default(), false, false),
        (false, kept, false, false),
    ] {
        let (mut journal, observed) = control_plane(Before::Absent);
        journal.etcd = journal.etcd.filter(|_| is_member);
        let plan = undo(&journal, &observed, wishes);
        let found = plan.actions.iter().any(|action| matches!(action, Action::LeaveEtcd(_)));
        assert_eq!(found, leaves, "{is_member} {wishes:?}");
        assert_eq!(plan.remarks.iter().any(|remark| remark.contains(PEER_URL)), told, "{is_member} {wishes:?}");
        assert!(plan.actions.contains(&Action::StopKubelet), "{is_member} {wishes:?}");
    }
}

#[test]
fn of_etcds_folder_goes_what_was_not_there_before() {
    let added = [("/var/lib/etcd/member", true), ("/var/lib/etcd/snapshot.db", false)];
    let inside = ["remove folder /var/lib/etcd/member and all that is in it", "remove file /var/lib/etcd/snapshot.db"];
    let whole = ["remove folder /var/lib/etcd and all that is in it"];
    for (was, added, complete, expected) in [
        (Before::Absent, &added[..0], true, &whole[..]),
        (Before::Absent, &added[..0], false, &whole[..]),
        (folder(0o700), &added[..], true, &inside[..]),
        (folder(0o700), &added[..], false, &inside[..]),
        (folder(0o700), &added[..0], true, &[]),
        (folder(0o755), &added[..0], true, &["restore folder /var/lib/etcd (0755)"]),
    ] {
        let (mut journal, mut observed) = control_plane(was.clone());
        journal.listing = Some(listing(complete, &[]));
        observed.etcd_data = added.iter().map(|(path, is_folder)| ((*path).to_owned(), *is_folder)).collect();
        let texts = texts(&undo(&journal, &observed, Wishes::default()));
        let of_etcd: Vec<&String> = texts.iter().filter(|text| text.contains("/var/lib/etcd")).collect();
        assert_eq!(of_etcd, expected.iter().collect::<Vec<_>>(), "{was:?} {complete}");
    }
}
