//! What lies on a machine after a join, beside what kubeadm of the same version leaves on another one.

use join_e2e::lab::Machine;
use libtest_mimic::Failed;

use super::kubeadm;
use join_e2e::suite::joining::Suite;

/// Compared byte for byte, after the machine's own name and address are replaced.
const SAME: &[&str] = &[
    "/etc/kubernetes/kubelet.conf",
    "/etc/kubernetes/pki/ca.crt",
    "/var/lib/kubelet/config.yaml",
    "/var/lib/kubelet/instance-config.yaml",
    "/var/lib/kubelet/kubeadm-flags.env",
];

pub fn are_those_of_kubeadm(suite: &Suite) -> Result<(), Failed> {
    let (theirs, ours) = ("files-kubeadm", "files-agent");
    kubeadm::join(suite, theirs)?;
    let machine = suite.machine(ours)?;
    suite.request(
        ours,
        &serde_json::json!({
            "role": "Worker", "machine": {"trust": "FirstUse"}, "addresses": [machine.address()],
        }),
    )?;
    suite.wait_until_joined(ours)?;

    let theirs = suite.lab().machine(theirs)?;
    let ours = suite.lab().machine(ours)?;
    for path in SAME {
        assert_eq!(normalised(&theirs, path)?, normalised(&ours, path)?, "{path}: kubeadm's is on the left");
    }
    assert_eq!(modes(&theirs)?, modes(&ours)?, "files and their modes: kubeadm's are on the left");
    assert_eq!(client_certificate(&theirs)?, client_certificate(&ours)?, "kubelet-client-current.pem");
    Ok(())
}

fn normalised(machine: &Machine<'_>, path: &str) -> Result<String, Failed> {
    let text = machine.run(&["cat", path])?.stdout;
    Ok(text.replace(machine.name(), "<name>").replace(&machine.address().to_string(), "<address>"))
}

/// Kind, mode, owner and path of everything that a join makes. Dates in names are replaced; what a running kubelet
/// makes for itself (plugins, pods, checkpoints) is left out.
fn modes(machine: &Machine<'_>) -> Result<Vec<String>, Failed> {
    let list = machine.run(&[
        "find",
        "/etc/kubernetes",
        "/var/lib/kubelet",
        "-maxdepth",
        "2",
        "(",
        "-path",
        "/etc/kubernetes*",
        "-o",
        "-path",
        "/var/lib/kubelet/pki*",
        "-o",
        "-path",
        "/var/lib/kubelet/*.*",
        ")",
        "-printf",
        "%y %m %u %p %l\n",
    ])?;
    let digits_away = |line: &str| line.replace(|letter: char| letter.is_ascii_digit(), "#");
    let mut lines: Vec<String> = list
        .stdout
        .lines()
        // The serving certificate comes when it comes; how it is stored is the kubelet's own affair.
        .filter(|line| !line.contains("kubelet-server-") && !line.contains("/device-plugins"))
        .map(|line| if line.contains("kubelet-client-2") { digits_away(line) } else { line.to_owned() })
        .collect();
    lines.sort();
    Ok(lines)
}

/// The kinds of the PEM blocks and the subject's shape; the keys and serial numbers must differ.
fn client_certificate(machine: &Machine<'_>) -> Result<(Vec<String>, String), Failed> {
    let path = "/var/lib/kubelet/pki/kubelet-client-current.pem";
    let text = machine.run(&["cat", path])?.stdout;
    let blocks = pem::parse_many(text)?;
    let subject = machine.run(&["openssl", "x509", "-noout", "-subject", "-in", path])?.stdout;
    Ok((blocks.iter().map(|block| block.tag().to_owned()).collect(), subject.replace(machine.name(), "<name>")))
}
