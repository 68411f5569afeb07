use super::*;
use rstest::rstest;
use serde_json::Value;

fn configuration(version: &str, api: &str, more: &str) -> ClusterConfiguration {
    let text = format!(
        "apiVersion: kubeadm.k8s.io/{api}\nkind: ClusterConfiguration\nkubernetesVersion: {version}\n\
         controlPlaneEndpoint: cp.example.org:6443\n{more}"
    );
    ClusterConfiguration::parse(&text).unwrap()
}

fn member() -> Member {
    Member {
        node_name: "cp-2".parse().unwrap(),
        advertise_address: "192.0.2.10".parse().unwrap(),
        bind_port: Member::DEFAULT_BIND_PORT,
    }
}

fn host() -> Host {
    Host { ca_folders: BTreeSet::new(), environment: Vec::new(), health_check: Host::DEFAULT_HEALTH_CHECK }
}

fn read(file: &File) -> Value {
    join_trust::yaml::read(file.content.text().unwrap()).unwrap()
}

fn etcd(configuration: &ClusterConfiguration) -> Value {
    let members =
        [("cp-1".to_owned(), "https://192.0.2.9:2380".to_owned()), ("cp-2".to_owned(), member().etcd_peer_url())];
    read(&etcd_manifest(configuration, &member(), &host(), &members).unwrap())
}

fn arguments(pod: &Value) -> Vec<&str> {
    let command = pod.pointer("/spec/containers/0/command").and_then(Value::as_array).unwrap();
    command.iter().map(|argument| argument.as_str().unwrap()).collect()
}

#[rstest]
#[case("v1.35.4", "registry.k8s.io/etcd:3.6.6-0")]
#[case("v1.36.3", "registry.k8s.io/etcd:3.6.8-0")]
#[case("v1.37.2", "registry.k8s.io/etcd:3.7.0-0")]
fn etcds_version_is_that_of_kubeadms_table(#[case] version: &str, #[case] expected: &str) {
    let pod = etcd(&configuration(version, "v1beta4", ""));
    assert_eq!(pod["spec"]["containers"][0]["image"], expected);
}

#[test]
fn a_new_member_of_etcd_finds_the_others() {
    let pod = etcd(&configuration("v1.37.2", "v1beta4", ""));
    let arguments = arguments(&pod);
    assert!(arguments.contains(&"--initial-cluster=cp-1=https://192.0.2.9:2380,cp-2=https://192.0.2.10:2380"));
    assert!(arguments.contains(&"--initial-cluster-state=existing"));
}

#[rstest]
#[case::empty(&[])]
#[case::others(&[("cp-1".to_owned(), "https://192.0.2.9:2380".to_owned())])]
fn a_member_that_etcd_does_not_know_gets_no_manifest(#[case] members: &[(String, String)]) {
    let error = etcd_manifest(&configuration("v1.37.2", "v1beta4", ""), &member(), &host(), members).unwrap_err();
    assert!(matches!(error, ManifestError::NotAMember { peer_url, .. } if peer_url == "https://192.0.2.10:2380"));
}

#[test]
fn an_external_etcd_has_no_manifest() {
    let external = configuration("v1.37.2", "v1beta4", "etcd: {external: {endpoints: ['https://e:2379']}}\n");
    assert_eq!(etcd_manifest(&external, &member(), &host(), &[]).unwrap_err(), ManifestError::ExternalEtcd);
}

/// kubeadm takes no file of this version, so that nothing but its source is there to compare with.
#[test]
fn arguments_of_v1_are_merged_with_kubeadms() {
    let more = "\
apiServer: {extraArgs: [{name: authorization-mode, value: ',Webhook', mergeMethod: append}]}
etcd: {local: {extraArgs: [{name: advertise-client-urls, value: 'https://lb:2379,', mergeMethod: prepend}]}}
";
    let configuration = configuration("v1.37.2", "v1", more);
    let made = manifests(&configuration, &member(), &host()).unwrap();
    let api_server = read(&made[0]);
    assert!(arguments(&api_server).contains(&"--authorization-mode=Node,RBAC,Webhook"));
    assert!(arguments(&api_server).contains(&"--etcd-servers=https://lb:2379,https://127.0.0.1:2379"));
    let etcd = etcd(&configuration);
    assert!(arguments(&etcd).contains(&"--advertise-client-urls=https://lb:2379,https://192.0.2.10:2379"));
}

#[rstest]
#[case("v1.35.4", true)]
#[case("v1.36.3", false)]
#[case("v1.37.2", false)]
fn flex_volumes_are_gone_since_1_36(#[case] version: &str, #[case] there: bool) {
    let made = manifests(&configuration(version, "v1beta4", ""), &member(), &host()).unwrap();
    assert_eq!(made[1].content.text().unwrap().contains("flexvolume-dir"), there);
}

#[rstest]
#[case(240, 24)]
#[case(241, 25)]
#[case(1, 1)]
fn startup_has_as_many_tries_as_fit_into_the_time(#[case] seconds: u64, #[case] tries: i64) {
    let host = Host { health_check: Duration::from_secs(seconds), ..host() };
    let made = manifests(&configuration("v1.37.2", "v1beta4", ""), &member(), &host).unwrap();
    for file in &made {
        assert_eq!(read(file)["spec"]["containers"][0]["startupProbe"]["failureThreshold"], tries);
    }
}

#[test]
fn folders_of_the_host_are_mounted_only_where_they_exist() {
    let host = Host { ca_folders: BTreeSet::from([CA_FOLDERS[2].to_owned(), "/etc/other".to_owned()]), ..host() };
    let made = manifests(&configuration("v1.37.2", "v1beta4", ""), &member(), &host).unwrap();
    let volumes = read(&made[0]);
    let names = volumes["spec"]["volumes"].as_array().unwrap().iter().map(|volume| volume["name"].as_str().unwrap());
    assert_eq!(names.collect::<Vec<_>>(), ["ca-certs", "etc-ca-certificates", "k8s-certs"]);
}

/// The folders of an external etcd, by the files of its authority, certificate and key.
#[rstest]
#[case(["/a/ca", "/a/c", "/a/k"], &["/a"])]
#[case(["/a/b/ca", "/a/c", "/a/b/k"], &["/a"])]
#[case(["/a/ca", "/b/c", "/etc/ssl/certs/k"], &["/a", "/b"])]
#[case(["", "/etc/kubernetes/pki/c", "/usr/share/ca-certificates/k"], &[])]
#[case(["/ca", "/a/c", "/a/k"], &["/"])]
fn an_external_etcds_certificates_are_mounted_once(#[case] files: [&str; 3], #[case] expected: &[&str]) {
    let [ca, cert, key] = files;
    let etcd = format!(
        "etcd: {{external: {{endpoints: ['https://e'], caFile: '{ca}', certFile: '{cert}', keyFile: '{key}'}}}}\n"
    );
    let made = manifests(&configuration("v1.37.2", "v1beta4", &etcd), &member(), &host()).unwrap();
    let pod = read(&made[0]);
    let volumes = pod["spec"]["volumes"].as_array().unwrap().iter();
    let paths = volumes.filter(|volume| volume["name"].as_str().unwrap().starts_with("etcd-certs-"));
    assert_eq!(paths.map(|volume| volume["hostPath"]["path"].as_str().unwrap()).collect::<Vec<_>>(), expected);
}
