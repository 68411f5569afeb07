use std::os::unix::fs::PermissionsExt;

use super::*;

struct Place {
    _folder: tempfile::TempDir,
    state: PathBuf,
    root: Root,
}

fn place() -> Place {
    let folder = tempfile::tempdir().unwrap();
    let (state, machine) = (folder.path().join("state"), folder.path().join("machine"));
    fs::create_dir(&state).unwrap();
    fs::create_dir_all(machine.join("etc")).unwrap();
    fs::create_dir_all(machine.join("var/lib")).unwrap();
    Place { state, root: Root::at(&machine), _folder: folder }
}

impl Place {
    fn open(&self, node: &str) -> Result<Journal, Error> {
        Journal::open(&self.state, self.root.clone(), node, CrashSwitch::default())
    }
}

const CONF: &str = "/etc/kubernetes/kubelet.conf";

fn paths() -> Vec<String> {
    vec!["/etc/kubernetes".to_owned(), CONF.to_owned()]
}

#[test]
fn a_join_is_noted_before_it_is_done_and_read_again() {
    let place = place();
    let mut journal = place.open("a").unwrap();
    let error = journal.file(CONF, b"new", 0o600).unwrap_err().to_string();
    assert!(error.contains("was not noted"), "{error}");
    journal.step(JoinStep::AskForCertificate, "u").unwrap();
    journal.before_writing("u", &paths(), None).unwrap();
    assert!(!place.root.place("/etc/kubernetes").exists(), "noting changes nothing");
    journal.folder("/etc/kubernetes", 0o755).unwrap();
    journal.file(CONF, b"new", 0o600).unwrap();
    drop(journal);

    let state = Journal::read(&place.state).unwrap().unwrap();
    assert_eq!(state.before[CONF], Before::Absent);
    assert!(state.has_come_to(JoinStep::WriteFiles, "u"));
    assert_eq!(state.listing, Some(Listing { complete: true, mounts: Vec::new() }));
    let file = place.state.join(FILE);
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);

    // A join that goes on passes again through what it has done, and notes none of it.
    let mut again = place.open("a").unwrap();
    again.step(JoinStep::AskForCertificate, "u").unwrap();
    assert_eq!(Journal::read(&place.state).unwrap().unwrap(), state);

    // What was written once is not noted, nor written, a second time.
    let length = fs::metadata(&file).unwrap().len();
    let written = fs::metadata(place.root.place(CONF)).unwrap().modified().unwrap();
    let mut again = place.open("a").unwrap();
    again.before_writing("u", &paths(), None).unwrap();
    again.file(CONF, b"new", 0o600).unwrap();
    assert_eq!(fs::metadata(&file).unwrap().len(), length);
    assert_eq!(fs::metadata(place.root.place(CONF)).unwrap().modified().unwrap(), written);
}

#[test]
fn what_was_there_is_kept() {
    let place = place();
    let own = "/var/lib/kubelet/own/file";
    fs::create_dir_all(place.root.place("/var/lib/kubelet/own")).unwrap();
    fs::write(place.root.place(own), "mine").unwrap();
    let mut journal = place.open("a").unwrap();
    journal.before_writing("u", &[], None).unwrap();
    let Before::File { sha256, backup: true, .. } = &journal.state().before[own] else {
        panic!("{:?}", journal.state().before)
    };
    let backups = Backups::of(&place.state);
    assert_eq!(backups.get(sha256).unwrap(), b"mine");
    let kept = backups.folder().join(sha256);
    assert_eq!(fs::metadata(&kept).unwrap().permissions().mode() & 0o777, 0o600);
    // A content that has been tampered with is not restored.
    fs::write(kept, "another").unwrap();
    assert!(backups.get(sha256).unwrap_err().to_string().contains("not the one that was kept"));
}

#[test]
fn what_cannot_be_kept_stops_the_join_before_it_writes() {
    let place = place();
    fs::create_dir_all(place.root.place("/etc/kubernetes")).unwrap();
    let large = vec![0; usize::try_from(before::MAX_BACKUP_BYTES).unwrap() + 1];
    fs::write(place.root.place(CONF), &large).unwrap();
    let mut journal = place.open("a").unwrap();
    let error = journal.before_writing("u", &paths(), None).unwrap_err().to_string();
    assert!(error.contains("too many to be kept") && error.contains(CONF), "{error}");
    assert!(!Journal::read(&place.state).unwrap().unwrap().has_touched());
}

#[test]
fn another_node_may_begin_only_where_nothing_was_done() {
    let place = place();
    place.open("a").unwrap().step(JoinStep::AskForCertificate, "u").unwrap();
    let mut journal = place.open("b").unwrap();
    assert_eq!(journal.state().node.as_deref(), Some("b"));
    journal.before_writing("u", &paths(), None).unwrap();
    let error = place.open("a").unwrap_err().to_string();
    assert!(error.contains("node b") && error.contains("join-agent reset"), "{error}");
}

#[test]
fn nothing_is_joined_until_a_reset_has_ended() {
    let place = place();
    Journal::begin_reset(&place.state, CrashSwitch::default()).unwrap();
    assert_eq!(Journal::read(&place.state).unwrap(), None, "there is nothing to reset");
    place.open("a").unwrap();
    Journal::check(&place.state).unwrap();
    Journal::begin_reset(&place.state, CrashSwitch::default()).unwrap();
    Journal::begin_reset(&place.state, CrashSwitch::default()).unwrap();
    for error in [place.open("a").unwrap_err(), Journal::check(&place.state).unwrap_err()] {
        assert!(error.to_string().contains("run `join-agent reset` again"), "{error}");
    }
    Journal::forget(&place.state).unwrap();
    Journal::forget(&place.state).unwrap();
    Journal::check(&place.state).unwrap();
    assert_eq!(fs::read_dir(&place.state).unwrap().count(), 0);
}

#[test]
fn a_member_of_etcd_is_noted_until_it_has_left() {
    let place = place();
    let member = EtcdMember { peer_url: "p".to_owned(), endpoints: vec!["e".to_owned()] };
    let noted = || Journal::read(&place.state).unwrap().unwrap().etcd;
    place.open("a").unwrap().etcd(member.clone()).unwrap();
    assert_eq!(noted(), Some(member));
    let length = |times: usize| {
        (0..times).for_each(|_| Journal::left_etcd(&place.state, CrashSwitch::default()).unwrap());
        fs::metadata(place.state.join(FILE)).unwrap().len()
    };
    assert_eq!(length(1), length(2), "it is noted once");
    assert_eq!(noted(), None);
}

/// What is in etcd's folder is not the join's to change, so it is noted whatever its size, and not kept.
#[test]
fn what_lies_in_etcds_folder_is_noted() {
    let place = place();
    let snapshot = "/var/lib/etcd/snapshot.db";
    fs::create_dir_all(place.root.place("/var/lib/etcd/member/snap")).unwrap();
    let large = vec![0; usize::try_from(before::MAX_BACKUP_BYTES).unwrap() + 1];
    fs::write(place.root.place(snapshot), large).unwrap();
    let mut journal = place.open("a").unwrap();
    journal.before_writing("u", &[ETCD_FOLDER.to_owned()], None).unwrap();
    let before = &journal.state().before;
    let noted: Vec<&str> = before.keys().map(String::as_str).collect();
    assert_eq!(noted, [ETCD_FOLDER, "/var/lib/etcd/member", snapshot]);
    assert!(matches!(before[snapshot], Before::File { backup: false, .. }));
    assert!(!Backups::of(&place.state).folder().exists());
}

#[test]
fn a_torn_end_is_overwritten_and_a_damaged_journal_named() {
    let place = place();
    place.open("a").unwrap();
    let file = place.state.join(FILE);
    let mut text = fs::read(&file).unwrap();
    text.extend_from_slice(b"{\"at\":\"2026-");
    fs::write(&file, &text).unwrap();
    let mut journal = place.open("a").unwrap();
    journal.step(JoinStep::AskForCertificate, "u").unwrap();
    assert!(Journal::read(&place.state).unwrap().unwrap().has_come_to(JoinStep::AskForCertificate, "u"));

    fs::write(&file, "no journal\n").unwrap();
    let error = place.open("a").unwrap_err().to_string();
    for expected in ["journal.jsonl", "line 1", "move it away", "join-agent reset --all"] {
        assert!(error.contains(expected), "{error}");
    }
    let file = OpenOptions::new().write(true).open(&file).unwrap();
    file.set_len(entry::MAX_BYTES + 1).unwrap();
    assert!(place.open("a").unwrap_err().to_string().contains("has more than"));
}
