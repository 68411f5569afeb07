use std::net::TcpListener;

use join_checks::Verdict::{self, Failed, Passed, Skipped};

use super::*;
use crate::checks::tests::verdict;

pub(crate) fn own() -> NewControlPlane {
    NewControlPlane {
        advertise_address: "10.0.0.5".parse().unwrap(),
        bind_port: 6443,
        bind_addresses: BindAddresses::default(),
        with_etcd: true,
    }
}

pub(crate) fn sound() -> Facts {
    Facts { processors: Some(2), mebibytes: 1700, taken: Vec::new(), etcd_folder: Ok(Vec::new()) }
}

fn taken(port: u16, address: Option<&str>, kind: ErrorKind) -> Taken {
    Taken { port, address: address.map(|text| text.parse().unwrap()), kind, error: format!("{kind}") }
}

#[test]
fn what_is_missing_is_told_by_its_own_check() {
    type Break = fn(&mut Facts);
    const IN_USE: ErrorKind = ErrorKind::AddrInUse;
    let table: [(&str, Break, Verdict, &str); 15] = [
        ("NumCPU", |f| f.processors = Some(1), Failed, "the number of processors, 1, is less than 2"),
        ("NumCPU", |f| f.processors = None, Skipped, "does not tell"),
        ("Mem", |f| f.mebibytes = 1699, Failed, "1699 MiB"),
        ("Port-6443", |f| f.taken = vec![taken(6443, None, IN_USE)], Failed, "port 6443 is in use"),
        ("Port-6443", |f| f.taken = vec![taken(6443, None, ErrorKind::PermissionDenied)], Skipped, "rights"),
        ("Port-10259", |f| f.taken = vec![taken(10259, None, IN_USE)], Failed, "port 10259 is in use"),
        ("Port-10257", |f| f.taken = vec![taken(10257, None, IN_USE)], Failed, "port 10257 is in use"),
        ("Port-10257", |f| f.taken = vec![taken(10257, None, ErrorKind::Other)], Failed, "cannot be taken: other"),
        (
            "Port-2379",
            |f| f.taken = vec![taken(2379, Some("127.0.0.1"), IN_USE)],
            Failed,
            "2379 of 127.0.0.1 is in use",
        ),
        ("Port-2380", |f| f.taken = vec![taken(2380, Some("10.0.0.5"), IN_USE)], Failed, "2380 of 10.0.0.5 is in use"),
        // What is behind another address tells more than an address that is elsewhere.
        (
            "Port-2379",
            |f| {
                let elsewhere = taken(2379, Some("10.0.0.5"), ErrorKind::AddrNotAvailable);
                f.taken = vec![elsewhere, taken(2379, Some("127.0.0.1"), IN_USE)];
            },
            Failed,
            "127.0.0.1 is in use",
        ),
        (
            "Port-2380",
            |f| f.taken = vec![taken(2380, Some("10.0.0.5"), ErrorKind::AddrNotAvailable)],
            Failed,
            "10.0.0.5, on which port 2380 is needed, is on no interface",
        ),
        ("DirAvailable--var-lib-etcd", |f| f.etcd_folder = Ok(vec!["member".to_owned()]), Failed, "it has member"),
        (
            "DirAvailable--var-lib-etcd",
            |f| f.etcd_folder = Ok(["a", "b", "c", "d", "e"].map(str::to_owned).to_vec()),
            Failed,
            "it has a, b, c, d and more",
        ),
        ("DirAvailable--var-lib-etcd", |f| f.etcd_folder = Err("no folder".to_owned()), Failed, "no folder"),
    ];
    for (id, break_it, expected, seen) in table {
        assert_eq!(verdict(&judge(Some(&sound()), &own()), id), Passed, "{id}");
        let mut facts = sound();
        break_it(&mut facts);
        for finding in judge(Some(&facts), &own()) {
            if finding.id == id {
                assert_eq!(finding.verdict, expected, "{finding:?}");
                assert!(finding.observed.contains(seen), "{finding:?}");
            } else {
                assert_eq!(finding.verdict, Passed, "{id}: {finding:?}");
            }
        }
    }
}

#[test]
fn an_etcd_elsewhere_needs_neither_ports_nor_a_folder() {
    let own = NewControlPlane { with_etcd: false, ..own() };
    let occupied = taken(2379, None, ErrorKind::AddrInUse);
    let facts = Facts { etcd_folder: Ok(vec!["member".to_owned()]), taken: vec![occupied], ..sound() };
    let findings = judge(Some(&facts), &own);
    let told: Vec<(&str, Verdict)> = findings.iter().map(|finding| (&*finding.id, finding.verdict)).collect();
    assert_eq!(told, ["NumCPU", "Mem", "Port-6443", "Port-10259", "Port-10257"].map(|id| (id, Passed)));
}

#[test]
fn the_api_servers_port_is_named_as_kubeadm_names_it_unless_another_program_has_it() {
    for (bind_port, with_etcd, id, expected) in [
        (6443, true, "Port-6443", Passed),
        (8443, true, "Port-8443", Passed),
        (2380, false, "Port-2380", Passed),
        // Two findings of one name would make the request's status invalid.
        (10250, true, "Port-6443", Failed),
        (10257, true, "Port-6443", Failed),
        (10259, true, "Port-6443", Failed),
        (2379, true, "Port-6443", Failed),
    ] {
        let own = NewControlPlane { bind_port, with_etcd, ..own() };
        for facts in [Some(&sound()), None] {
            let findings = judge(facts, &own);
            let expected = if facts.is_none() && expected == Passed { Skipped } else { expected };
            let finding = findings.iter().find(|finding| finding.section == "Port-6443").unwrap();
            assert_eq!((&*finding.id, finding.verdict), (id, expected), "{bind_port} {with_etcd}");
            let names: std::collections::BTreeSet<&str> = findings.iter().map(|finding| &*finding.id).collect();
            assert_eq!(names.len(), findings.len(), "{bind_port} {with_etcd}: {findings:?}");
            assert_eq!(findings.len(), if with_etcd { 8 } else { 5 });
        }
    }
}

#[test]
fn ports_are_looked_at_where_the_programs_listen() {
    let loopback: IpAddr = "::1".parse().unwrap();
    let advertise_address: IpAddr = "fd00::5".parse().unwrap();
    let bind_addresses = BindAddresses { scheduler: Some(loopback), ..BindAddresses::default() };
    let own = NewControlPlane { advertise_address, bind_addresses, bind_port: 7443, with_etcd: true };
    let places: Vec<(u16, Vec<IpAddr>)> = own.ports().into_iter().map(|port| (port.number, port.addresses)).collect();
    let expected = [
        (7443, vec![]),
        (10259, vec![loopback]),
        (10257, vec![]),
        (2379, vec![advertise_address, loopback]),
        (2380, vec![advertise_address]),
    ];
    assert_eq!(places, expected);
}

#[test]
fn the_machine_is_looked_at() {
    let somebody = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let bind_port = somebody.local_addr().unwrap().port();
    let elsewhere: IpAddr = "192.0.2.1".parse().unwrap();
    let facts = observe(&NewControlPlane { bind_port, advertise_address: elsewhere, ..own() });
    let kinds = |port| facts.taken.iter().filter(move |taken| taken.port == port).map(|taken| taken.kind);
    assert_eq!(kinds(bind_port).collect::<Vec<_>>(), [ErrorKind::AddrInUse]);
    assert!(kinds(2380).eq([ErrorKind::AddrNotAvailable]));
    assert!(facts.processors.is_some_and(|count| count > 0));
    // /proc/meminfo has it in KiB; a container's own may have less.
    let table = std::fs::read_to_string("/proc/meminfo").unwrap();
    let line = table.lines().find(|line| line.starts_with("MemTotal:")).unwrap();
    let kibibytes: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    assert!(facts.mebibytes >= kibibytes / 1024, "{facts:?} {line}");
}

#[test]
fn memory_is_counted_in_the_kernels_own_unit() {
    assert_eq!(bytes(3_u32, 4096), 12_288);
    assert_eq!(bytes(3_u64, 0), 3);
    assert_eq!(bytes(u64::MAX, 2), u64::MAX);
}

#[test]
fn a_folder_is_empty_absent_or_has_names() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(names_in(folder.path()), Ok(Vec::new()));
    assert_eq!(names_in(&folder.path().join("none")), Ok(Vec::new()));
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    assert_eq!(names_in(folder.path()), Ok(vec!["file".to_owned()]));
    assert!(names_in(&file).is_err());
    for number in 0..10 {
        std::fs::write(folder.path().join(number.to_string()), "").unwrap();
    }
    assert_eq!(names_in(folder.path()).unwrap().len(), MOST_NAMES + 1);
}
