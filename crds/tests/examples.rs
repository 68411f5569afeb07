//! Every example is a request that a cluster would accept, and says nothing that the type does not know.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may end where it fails")]

mod support;

use join_crds::NodeJoinRequest;
use support::{SCHEMA, refused_by_rules, refused_by_schema, repository, unknown_fields, yaml_documents};

#[test]
fn every_example_is_accepted() {
    let mut seen = Vec::new();
    for entry in std::fs::read_dir(repository().join("examples")).unwrap() {
        let file = entry.unwrap().path();
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        for document in yaml_documents(&file) {
            if document["kind"] != "NodeJoinRequest" {
                continue;
            }
            assert_eq!(document["apiVersion"], "nodejoin.dev/v1alpha1", "{name}");
            assert_eq!(refused_by_schema(&document), [], "{name}");
            assert_eq!(refused_by_rules(&document, None), [], "{name}");
            assert_eq!(unknown_fields("spec", &document["spec"], &SCHEMA["properties"]["spec"]), [""; 0], "{name}");
            let request: NodeJoinRequest = serde_json::from_value(document).unwrap();
            assert!(request.status.is_none(), "{name}: a status is not the admin's to write");
            seen.push(name.clone());
        }
    }
    seen.sort();
    assert_eq!(seen, ["control-plane.yaml", "kubeadm.yaml", "nodejoinrequest.yaml", "pinned.yaml"]);
}

#[test]
fn a_misspelt_field_is_found() {
    let spec = serde_json::json!({"machine": {"publickeyhash": ""}, "nodeRegistration": {"taints": [{"kee": "a"}]}});
    let unknown = unknown_fields("spec", &spec, &SCHEMA["properties"]["spec"]);
    assert_eq!(unknown, ["spec.machine.publickeyhash", "spec.nodeRegistration.taints.kee"]);
}
