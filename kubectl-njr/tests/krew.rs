//! The manifest for krew is one that krew takes.
//!
//! Source: krew's developer guide, "Writing Krew plugin manifests", and its naming guide.

use serde_json::Value;

const MANIFEST: &str = include_str!("../packaging/krew/njr.yaml");

fn released() -> Result<Value, serde_saphyr::Error> {
    let version = env!("CARGO_PKG_VERSION");
    let text = MANIFEST.replace("VERSION", version).replace("SHA256_AMD64", &"a".repeat(64));
    serde_saphyr::from_str(&text.replace("SHA256_ARM64", &"b".repeat(64)))
}

#[test]
fn the_plugin_is_the_program_of_this_crate() {
    let manifest = released().unwrap();
    assert_eq!(manifest["apiVersion"], "krew.googlecontainertools.github.com/v1alpha2");
    assert_eq!(manifest["metadata"]["name"], "njr");
    assert_eq!(manifest["spec"]["version"], concat!("v", env!("CARGO_PKG_VERSION")));
    assert_eq!(manifest["spec"]["homepage"], env!("CARGO_PKG_REPOSITORY"));
    // The list of plugins cuts what is longer.
    let short = manifest["spec"]["shortDescription"].as_str().unwrap();
    assert!(short.len() <= 50 && !short.ends_with('.'), "{short:?}");
}

#[test]
fn each_platform_has_its_archive_as_it_is_packed() {
    let manifest = released().unwrap();
    let platforms = manifest["spec"]["platforms"].as_array().unwrap();
    let version = env!("CARGO_PKG_VERSION");
    let mut seen = Vec::new();
    for platform in platforms {
        let labels = &platform["selector"]["matchLabels"];
        let (os, arch) = (labels["os"].as_str().unwrap(), labels["arch"].as_str().unwrap());
        let archive = format!("releases/download/v{version}/kubectl-njr-{version}-{os}-{arch}.tar.gz");
        assert_eq!(platform["uri"], format!("{}/{archive}", env!("CARGO_PKG_REPOSITORY")));
        assert_eq!(platform["sha256"].as_str().unwrap().len(), 64);
        assert_eq!(platform["bin"], env!("CARGO_BIN_EXE_kubectl-njr").rsplit('/').next().unwrap());
        let files: Vec<_> = platform["files"].as_array().unwrap().iter().map(|file| file["from"].clone()).collect();
        assert_eq!(files, ["kubectl-njr", "LICENSE"]);
        seen.push((os, arch));
    }
    assert_eq!(seen, [("linux", "amd64"), ("linux", "arm64")]);
}

#[test]
fn every_command_that_the_description_names_is_there() {
    use clap::CommandFactory as _;

    let commands = join_kubectl::cli::Cli::command();
    let manifest = released().unwrap();
    let description = manifest["spec"]["description"].as_str().unwrap();
    let named: Vec<_> = description.lines().filter_map(|line| line.strip_prefix("kubectl njr ")).collect();
    assert_eq!(named.len(), 5);
    for line in named {
        let name = line.split_whitespace().next().unwrap();
        assert!(commands.find_subcommand(name).is_some(), "there is no command {name}");
    }
}
