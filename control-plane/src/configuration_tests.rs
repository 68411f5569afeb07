use super::*;
use rstest::rstest;

const HEAD: &str = "apiVersion: kubeadm.k8s.io/v1beta4\nkind: ClusterConfiguration\n";
const SMALLEST: &str = "kubernetesVersion: v1.37.2\ncontrolPlaneEndpoint: cp.example.org:6443\n";

fn parse(text: &str) -> Result<ClusterConfiguration, ConfigurationError> {
    ClusterConfiguration::parse(&format!("{HEAD}{SMALLEST}{text}"))
}

/// What kubeadm 1.37.2 writes after an init with nothing but a controlPlaneEndpoint, put together from its defaults.
const UPLOADED: &str = include_str!("../../fuzz/seeds/cluster_configuration/good-uploaded.yaml");

#[test]
fn what_kubeadm_uploads_is_what_it_takes_as_defaults() {
    let uploaded = ClusterConfiguration::parse(UPLOADED).unwrap();
    assert_eq!(uploaded, parse("").unwrap());
    assert_eq!(uploaded.certificates_dir, "/etc/kubernetes/pki");
    assert_eq!(uploaded.networking.service_address.to_string(), "10.96.0.1");
    assert_eq!(uploaded.certificate_validity, Duration::from_hours(8760));
    assert_eq!(uploaded.local_etcd().unwrap().data_dir, "/var/lib/etcd");
}

#[test]
fn arguments_of_v1beta3_are_sorted_by_name() {
    let text = "\
apiVersion: kubeadm.k8s.io/v1beta3
kind: ClusterConfiguration
kubernetesVersion: v1.35.4
controlPlaneEndpoint: cp.example.org
apiServer:
  extraArgs: {v: \"2\", audit-log-path: /a}
  timeoutForControlPlane: 4m0s
";
    let read = ClusterConfiguration::parse(text).unwrap();
    let names: Vec<_> = read.api_server.extra_args.iter().map(|argument| argument.name.as_str()).collect();
    assert_eq!(names, ["audit-log-path", "v"]);
}

#[rstest]
#[case("cp.example.org:8443", "https://cp.example.org:8443")]
#[case("cp.example.org", "https://cp.example.org:7443")]
#[case("192.0.2.1", "https://192.0.2.1:7443")]
#[case("'[fd00::1]:8443'", "https://[fd00::1]:8443")]
#[case("fd00::1", "https://[fd00::1]:7443")]
fn an_endpoint_without_a_port_has_the_members(#[case] text: &str, #[case] expected: &str) {
    let text = format!("{HEAD}kubernetesVersion: v1.37.2\ncontrolPlaneEndpoint: {text}\n");
    assert_eq!(ClusterConfiguration::parse(&text).unwrap().control_plane_endpoint.url(7443), expected);
}

#[rstest]
#[case::gate("featureGates: {RootlessControlPlane: true}\n", "RootlessControlPlane is true")]
#[case::unknown("clusterNam: x\n", "clusterNam")]
#[case::merge(
    "scheduler: {extraArgs: [{name: v, value: '2', mergeMethod: append}]}\n",
    "scheduler.extraArgs.mergeMethod"
)]
#[case::map("scheduler: {extraArgs: {v: '2'}}\n", "scheduler.extraArgs as a map")]
#[case::climbs("certificatesDir: /etc/../x\n", "certificatesDir")]
#[case::relative("etcd: {local: {dataDir: data}}\n", "etcd.local.dataDir")]
#[case::root("etcd: {local: {dataDir: /}}\n", "etcd.local.dataDir")]
#[case::both("etcd: {local: {dataDir: /d}, external: {endpoints: ['https://e']}}\n", "both local and external")]
#[case::nowhere("etcd: {external: {endpoints: []}}\n", "etcd.external.endpoints")]
#[case::algorithm("encryptionAlgorithm: Ed25519\n", "encryptionAlgorithm")]
#[case::negative("certificateValidityPeriod: -1h0m0s\n", "certificateValidityPeriod")]
#[case::zero("certificateValidityPeriod: 0s\n", "certificateValidityPeriod")]
#[case::subnet("networking: {serviceSubnet: 10.96.0.1/32}\n", "networking.serviceSubnet")]
#[case::second("networking: {serviceSubnet: '10.96.0.0/12,x'}\n", "networking.serviceSubnet")]
fn what_would_make_another_control_plane_is_refused(#[case] text: &str, #[case] named: &str) {
    let error = parse(text).unwrap_err().to_string();
    assert!(error.contains(named), "{error}");
}

#[rstest]
#[case::stale("featureGates: {RootlessControlPlane: false, EtcdLearnerMode: true}\n")]
#[case::nulls("apiServer: null\netcd: null\nfeatureGates: null\n")]
#[case::dual("networking: {serviceSubnet: '10.96.0.0/16,fd00:10::/112'}\n")]
#[case::environment("apiServer: {extraEnvs: [{name: A, valueFrom: {fieldRef: {fieldPath: status.hostIP}}}]}\n")]
fn what_changes_nothing_or_is_known_is_read(#[case] text: &str) {
    parse(text).unwrap();
}

#[test]
fn without_an_endpoint_there_is_no_second_control_plane() {
    let error = ClusterConfiguration::parse(&format!("{HEAD}kubernetesVersion: v1.37.2\n")).unwrap_err();
    assert_eq!(error, ConfigurationError::NoControlPlaneEndpoint);
}

#[rstest]
#[case("v1", "v1.37.2", true)]
#[case("v1", "v1.36.3", false)]
#[case("v1beta3", "v1.36.3", true)]
#[case("v1beta2", "v1.36.3", false)]
fn versions_are_those_of_kubeadms_minor(#[case] api: &str, #[case] kubernetes: &str, #[case] good: bool) {
    let text = format!(
        "apiVersion: kubeadm.k8s.io/{api}\nkind: ClusterConfiguration\nkubernetesVersion: {kubernetes}\n\
         controlPlaneEndpoint: cp:6443\n"
    );
    assert_eq!(ClusterConfiguration::parse(&text).is_ok(), good);
}

#[rstest]
#[case("", "v1.37.2", KeyAlgorithm::EcdsaP256)]
#[case("RSA-4096", "v1.37.2", KeyAlgorithm::EcdsaP256)]
#[case("ECDSA-P384", "v1.37.2", KeyAlgorithm::EcdsaP384)]
fn keys_are_of_an_elliptic_curve(#[case] text: &str, #[case] version: &str, #[case] expected: KeyAlgorithm) {
    let text =
        format!("{HEAD}kubernetesVersion: {version}\ncontrolPlaneEndpoint: cp:6443\nencryptionAlgorithm: '{text}'\n");
    assert_eq!(ClusterConfiguration::parse(&text).unwrap().key_algorithm, expected);
}

#[test]
fn the_gate_of_older_versions_goes_before_the_field() {
    let gate = "encryptionAlgorithm: ECDSA-P384\nfeatureGates: {PublicKeysECDSA: true}\n";
    assert_eq!(parse(gate).unwrap().key_algorithm, KeyAlgorithm::EcdsaP384);
    let older = format!("{HEAD}kubernetesVersion: v1.36.3\ncontrolPlaneEndpoint: cp:6443\n{gate}");
    assert_eq!(ClusterConfiguration::parse(&older).unwrap().key_algorithm, KeyAlgorithm::EcdsaP256);
}

#[test]
fn another_document_is_no_cluster_configuration() {
    let init = format!("{HEAD}{SMALLEST}").replace("ClusterConfiguration", "InitConfiguration");
    assert!(matches!(ClusterConfiguration::parse(&init), Err(ConfigurationError::Kind { .. })));
    let two = format!("{HEAD}{SMALLEST}---\n{HEAD}{SMALLEST}");
    assert!(matches!(ClusterConfiguration::parse(&two), Err(ConfigurationError::Kind { .. })));
    let long = format!("{HEAD}{SMALLEST}#{}", "x".repeat(MAX_BYTES));
    assert!(matches!(ClusterConfiguration::parse(&long), Err(ConfigurationError::Size { .. })));
}

/// A fuzzer that starts from files which the first check refuses explores nothing: `good-*` are accepted, others not.
#[test]
fn seeds_of_the_fuzz_target() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/seeds/cluster_configuration");
    let mut good = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let read = ClusterConfiguration::parse(&std::fs::read_to_string(&path).unwrap());
        let name = path.file_name().unwrap().to_str().unwrap();
        assert_eq!(read.is_ok(), name.starts_with("good-"), "{name}: {read:?}");
        good += usize::from(read.is_ok());
    }
    assert!(good > 0, "no seed is accepted");
}
