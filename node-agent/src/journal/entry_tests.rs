use proptest::prelude::*;

use super::*;

fn line(entry: Entry) -> Line {
    Line { at: "2026-01-01T00:00:00Z".parse().unwrap(), entry }
}

fn begin() -> Entry {
    Entry::Begin { version: VERSION, agent: "0.1.0".to_owned(), node: "a".to_owned() }
}

fn before(path: &str, was: Before) -> Entry {
    Entry::Before { path: path.to_owned(), was }
}

fn text(entries: &[Entry]) -> Vec<u8> {
    let lines = entries.iter().map(|entry| serde_json::to_string(&line(entry.clone())).unwrap() + "\n");
    lines.collect::<String>().into_bytes()
}

fn file() -> Before {
    let access = Access { mode: Mode(0o644), uid: 0, gid: 0 };
    Before::File { access, sha256: "ab".repeat(32), backup: true }
}

/// The format is in the documentation: a change of it is a new version.
#[test]
fn lines_look_as_they_are_documented() {
    let access = Access { mode: Mode(0o755), uid: 0, gid: 0 };
    let entries = [
        begin(),
        Entry::Step { step: JoinStep::WriteFiles, request: "u".to_owned() },
        before("/etc/kubernetes", Before::Folder { access }),
        before("/etc/kubernetes/pki/ca.crt", file()),
        before("/var/lib/kubelet/pki/kubelet-client-current.pem", Before::Absent),
        Entry::Listing(Listing { complete: true, mounts: vec!["/var/lib/kubelet/a".to_owned()] }),
        Entry::Kubelet(UnitState { active_state: "activating".to_owned(), unit_file_state: "enabled".to_owned() }),
        Entry::Etcd(EtcdMember { peer_url: "https://p:2380".to_owned(), endpoints: vec!["https://e:2379".to_owned()] }),
        Entry::Reset,
        Entry::EtcdLeft,
    ];
    let hash = "ab".repeat(32);
    let expected = [
        r#""entry":"begin","version":1,"agent":"0.1.0","node":"a""#.to_owned(),
        r#""entry":"step","step":"writeFiles","request":"u""#.to_owned(),
        r#""entry":"before","path":"/etc/kubernetes","was":{"kind":"folder","mode":"0755","uid":0,"gid":0}"#.to_owned(),
        format!(
            r#""entry":"before","path":"/etc/kubernetes/pki/ca.crt","was":{{"kind":"file","mode":"0644","uid":0,"gid":0,"sha256":"{hash}","backup":true}}"#
        ),
        r#""entry":"before","path":"/var/lib/kubelet/pki/kubelet-client-current.pem","was":{"kind":"absent"}"#
            .to_owned(),
        r#""entry":"listing","complete":true,"mounts":["/var/lib/kubelet/a"]"#.to_owned(),
        r#""entry":"kubelet","activeState":"activating","unitFileState":"enabled""#.to_owned(),
        r#""entry":"etcd","peerUrl":"https://p:2380","endpoints":["https://e:2379"]"#.to_owned(),
        r#""entry":"reset""#.to_owned(),
        r#""entry":"etcdLeft""#.to_owned(),
    ];
    let expected = expected.map(|rest| format!("{{\"at\":\"2026-01-01T00:00:00Z\",{rest}}}\n")).concat();
    assert_eq!(String::from_utf8(text(&entries)).unwrap(), expected);
    let (state, whole) = State::parse(expected.as_bytes()).unwrap();
    assert_eq!(whole, expected.len() as u64);
    assert_eq!(state.before.len(), 3);
    assert_eq!(state.etcd, None, "it has left");
    assert!(state.reset_since.is_some() && state.has_come_to(JoinStep::WriteFiles, "u") && state.has_touched());
}

#[test]
fn a_step_has_been_come_to_by_its_own_request_only() {
    let at = |step| State { step: Some((step, "u".to_owned(), Timestamp::UNIX_EPOCH)), ..State::default() };
    for (at, step, request, expected) in [
        (at(JoinStep::WriteFiles), JoinStep::AskForCertificate, "u", true),
        (at(JoinStep::WriteFiles), JoinStep::WriteFiles, "u", true),
        (at(JoinStep::WriteFiles), JoinStep::StartKubelet, "u", false),
        (at(JoinStep::Left), JoinStep::AskForCertificate, "v", false),
        (State::default(), JoinStep::AskForCertificate, "u", false),
    ] {
        assert_eq!(at.has_come_to(step, request), expected, "{at:?} {step:?}");
    }
}

#[test]
fn what_was_said_first_of_a_path_counts() {
    let entries = [begin(), before("/etc/kubernetes/a", Before::Absent), before("/etc/kubernetes/a", file())];
    let (state, _) = State::parse(&text(&entries)).unwrap();
    assert_eq!(state.before["/etc/kubernetes/a"], Before::Absent);
}

#[test]
fn what_is_not_ours_to_touch_is_refused_with_its_line() {
    let link = |target: &str| Before::Link { target: target.to_owned() };
    let bad_hash = |sha256: &str| match file() {
        Before::File { access, backup, .. } => Before::File { access, sha256: sha256.to_owned(), backup },
        other => other,
    };
    for (entry, expected) in [
        (before("/etc/passwd", Before::Absent), "no join touches it"),
        (before("/etc/kubernetes-other/x", Before::Absent), "no join touches it"),
        (before("/var/lib/kubelet/../../etc/passwd", Before::Absent), "no plain absolute path"),
        (before("/var/lib/kubelet//x", Before::Absent), "no plain absolute path"),
        (before("/var/lib/kubelet/x/", Before::Absent), "no plain absolute path"),
        (before("etc/kubernetes/x", Before::Absent), "no plain absolute path"),
        (before("", Before::Absent), "no plain absolute path"),
        (before("/etc/kubernetes/x", bad_hash("../../../etc/shadow")), "no SHA-256"),
        (before("/etc/kubernetes/x", bad_hash(&"AB".repeat(32))), "no SHA-256"),
        (Entry::Listing(Listing { complete: true, mounts: vec!["relative".to_owned()] }), "no plain absolute path"),
        (begin(), "the first line"),
    ] {
        let error = State::parse(&text(&[begin(), entry.clone()])).unwrap_err();
        assert_eq!(error.line, 2, "{entry:?}");
        assert!(error.to_string().contains(expected), "{entry:?}: {error}");
    }
    // Where a link points to is nobody's business: it is made, never followed.
    State::parse(&text(&[begin(), before("/var/lib/kubelet/x", link("/etc/passwd"))])).unwrap();
}

#[test]
fn what_is_no_journal_is_refused() {
    let newer = String::from_utf8(text(&[begin()])).unwrap().replace("\"version\":1", "\"version\":2");
    for (bytes, expected) in [
        (newer.as_bytes(), "version is 2"),
        (b"\n", "line 1"),
        (b"{}\n", "line 1"),
        (b"\xff\xfe\n", "line 1"),
        (b"{\"at\":\"2026-01-01T00:00:00Z\",\"entry\":\"reset\"}\n", "the first line"),
        (b"{\"at\":\"2026-01-01T00:00:00Z\",\"entry\":\"other\"}\n", "unknown variant"),
    ] {
        let error = State::parse(bytes).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    assert_eq!(State::parse(b"").unwrap(), (State::default(), 0));
}

#[test]
fn modes_are_octal() {
    for (text, expected) in [("\"0644\"", Some(0o644)), ("\"4755\"", Some(0o4755)), ("\"644\"", Some(0o644))] {
        assert_eq!(serde_json::from_str::<Mode>(text).ok().map(|mode| mode.0), expected, "{text}");
    }
    for text in ["\"0999\"", "\"17777\"", "\"\"", "\"-1\"", "420"] {
        assert!(serde_json::from_str::<Mode>(text).is_err(), "{text}");
    }
}

proptest! {
    /// However much of the last write reached the disk, what came before it is read, and it is not.
    #[test]
    fn a_torn_end_is_left_out(cut in 1_usize..400) {
        let whole = text(&[begin(), before("/etc/kubernetes/a", Before::Absent)]);
        let last = text(&[before("/etc/kubernetes/b", file())]);
        let cut = cut.min(last.len() - 1);
        let torn = [whole.as_slice(), &last[..cut]].concat();
        let (state, length) = State::parse(&torn).unwrap();
        prop_assert_eq!(length, whole.len() as u64);
        prop_assert_eq!(state, State::parse(&whole).unwrap().0);
    }

    /// No bytes make the reader fail in another way than with an error that names a line.
    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        if let Err(error) = State::parse(&bytes) {
            prop_assert!(error.line >= 1);
        }
    }

    /// A path that is accepted stays below one of the roots, whatever it is made of.
    #[test]
    fn accepted_paths_stay_below_the_roots(parts in proptest::collection::vec("[./a-c]{0,4}", 0..6)) {
        let path = format!("/var/lib/kubelet/{}", parts.join("/"));
        if check_path(&path).is_ok() {
            prop_assert!(!path.contains("..") || !path.split('/').any(|part| part == ".."));
            prop_assert!(Path::new(&path).starts_with(KUBELET_FOLDER));
        }
    }
}
