use join_checks::Verdict::{self, Failed, Passed, Warning};

use super::*;

pub fn sound() -> Facts {
    let options = REQUIRED.iter().chain(REQUIRED_V2).map(|names| (names[0].to_owned(), 'y')).collect();
    let (required, optional) = CONTROLLERS_V2;
    let controllers = required.iter().chain(optional).map(|name| (*name).to_owned()).collect();
    Facts {
        release: "6.1.0-44-amd64".to_owned(),
        configuration: Ok(options),
        cgroups: Ok(Cgroups { is_v2: true, controllers }),
    }
}

fn v1() -> Facts {
    let (required, optional) = CONTROLLERS_V1;
    let controllers = required.iter().chain(optional).map(|name| (*name).to_owned()).collect();
    let mut facts = sound();
    for names in REQUIRED_V1 {
        facts.configuration.as_mut().unwrap().insert(names[0].to_owned(), 'm');
    }
    Facts { cgroups: Ok(Cgroups { is_v2: false, controllers }), ..facts }
}

fn told(facts: &Facts) -> Verdict {
    judge(facts, Some("v1.37.2"), None).verdict
}

#[test]
fn a_usual_kernel_passes() {
    let finding = judge(&sound(), Some("v1.37.2"), None);
    assert_eq!((finding.verdict, finding.observed.as_str()), (Passed, "kernel 6.1.0-44-amd64, cgroup v2"));
}

#[test]
fn every_required_option_and_controller_counts() {
    for names in REQUIRED.iter().chain(REQUIRED_V2) {
        let mut facts = sound();
        facts.configuration.as_mut().unwrap().remove(names[0]);
        let finding = judge(&facts, Some("v1.37.2"), None);
        assert_eq!(finding.verdict, Failed, "{names:?}");
        assert!(finding.observed.contains(&format!("CONFIG_{}", names[0])), "{finding:?}");
    }
    for names in REQUIRED_V1 {
        let mut facts = v1();
        facts.configuration.as_mut().unwrap().remove(names[0]);
        assert!(judge(&facts, Some("v1.37.2"), None).observed.contains(names[0]));
    }
    // Another name of the same thing.
    let mut facts = sound();
    let options = facts.configuration.as_mut().unwrap();
    options.remove("NETFILTER_XT_TARGET_REDIRECT");
    options.insert("IP_NF_TARGET_REDIRECT".to_owned(), 'm');
    assert_eq!(told(&facts), Passed);
    for (names, expected) in [(CONTROLLERS_V2.0, Failed), (CONTROLLERS_V2.1, Warning)] {
        for name in names {
            let mut facts = sound();
            facts.cgroups.as_mut().unwrap().controllers.retain(|controller| controller != name);
            assert_eq!(told(&facts), expected, "{name}");
        }
    }
}

#[test]
fn cgroup_v1_is_refused_by_new_kubelets_unless_the_cluster_admits_it() {
    let admits = KubeletSettings::parse("failCgroupV1: false").unwrap();
    let silent = KubeletSettings::parse("kind: KubeletConfiguration").unwrap();
    let facts = v1();
    for (kubelet_version, settings, expected) in [
        (Some("v1.34.4"), None, Warning),
        (Some("v1.35.0"), None, Failed),
        (Some("v1.37.2"), Some(&silent), Failed),
        (Some("v1.37.2"), Some(&admits), Warning),
        (None, None, Failed),
    ] {
        assert_eq!(judge(&facts, kubelet_version, settings).verdict, expected, "{kubelet_version:?} {settings:?}");
    }
}

#[test]
fn what_cannot_be_read_is_told() {
    let unreadable = || Err("permission denied".to_owned());
    let finding = judge(&Facts { configuration: unreadable(), ..sound() }, Some("v1.37.2"), None);
    assert_eq!(finding.verdict, Warning);
    assert!(finding.observed.contains("permission denied"));
    assert_eq!(told(&Facts { cgroups: Err("no".to_owned()), ..sound() }), Failed);
}

#[test]
fn kernels_are_supported_as_by_kubeadm() {
    for (release, expected) in [
        ("5.4.0-150-generic", true),
        ("5.10.209", true),
        ("5.15.0", true),
        ("6.0.0", true),
        ("6.18.3-cloud", true),
        ("10.1.2", true),
        ("6.1", false),
        ("6.x.1", false),
        ("5.14.0-503.el9", false),
        ("4.19.0", false),
        ("", false),
    ] {
        assert_eq!(is_supported(release), expected, "{release}");
    }
    assert_eq!(told(&Facts { release: "5.14.0".to_owned(), ..sound() }), Warning);
}

#[test]
fn configurations_and_tables_of_the_kernel_are_read() {
    let text =
        "# CONFIG_A is not set\nCONFIG_B=y\nCONFIG_C=m\nCONFIG_D=n\nCONFIG_E=\"y\"\nCONFIG_F=100\n  CONFIG_G=y\n";
    let options: Vec<(String, char)> = parse_configuration(text).into_iter().collect();
    assert_eq!(options, [("B".to_owned(), 'y'), ("C".to_owned(), 'm'), ("G".to_owned(), 'y')]);
    let table = "#subsys_name\thierarchy\tnum_cgroups\tenabled\ncpu\t1\t2\t1\nmemory\t3\t4\t0\n";
    assert_eq!(parse_v1_controllers(table), ["cpu"]);
}

#[test]
fn the_freezer_is_found_wherever_this_process_stands() {
    for (files, expected) in [
        (&["system.slice/cgroup.freeze", "cgroup.procs"][..], true),
        (&["cgroup.freeze"], true),
        (&["system.slice/cgroup.procs", "cgroup.procs"], false),
        (&[], false),
    ] {
        let root = tempfile::tempdir().unwrap();
        for file in files {
            let path = root.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "0\n").unwrap();
        }
        assert_eq!(has_freezer(root.path()), expected, "{files:?}");
    }
}

#[test]
fn the_cgroups_that_count_are_found_as_kubeadm_finds_them() {
    let usual = |v2| Some((PathBuf::from("/sys/fs/cgroup"), v2));
    for (mounts, has_v1_memory, expected) in [
        ("cgroup2 /sys/fs/cgroup cgroup2 rw 0 0", false, usual(true)),
        ("tmpfs /sys/fs/cgroup tmpfs rw 0 0\ncgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0", true, usual(false)),
        ("tmpfs /sys/fs/cgroup tmpfs rw 0 0", false, usual(true)),
        (
            "cgroup /cgroups/cpu cgroup rw 0 0\ncgroup2 /unified cgroup2 rw 0 0",
            true,
            Some((PathBuf::from("/unified"), true)),
        ),
        ("cgroup /cgroups/cpu cgroup rw 0 0", true, Some((PathBuf::from("/cgroups/cpu"), false))),
        ("proc /proc proc rw 0 0", false, None),
    ] {
        assert_eq!(unified(mounts, has_v1_memory), expected, "{mounts}");
    }
}
