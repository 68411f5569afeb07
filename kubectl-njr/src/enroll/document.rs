//! The agent's configuration file, and user data that puts it onto a machine.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::ValueEnum;
use join_trust::endpoint::Endpoint;
use join_trust::names::NodeName;
use join_trust::pin::PinSet;
use join_trust::token::BootstrapToken;
use serde::Serialize;
use zeroize::Zeroizing;

use crate::output;

/// Where the agent's configuration is on a machine.
pub const PATH: &str = "/etc/join-agent/config.yaml";
/// The agent's unit.
const UNIT: &str = "join-agent.service";
/// The mode of a file with a token in it; Ignition has it in decimal digits.
const MODE: u32 = 0o600;

/// What is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// The agent's configuration file
    Yaml,
    /// User data for cloud-init that writes the file and starts the agent
    CloudInit,
    /// Configuration for Ignition (specification 3.4.0) that writes the file and enables the agent
    Ignition,
}

/// The agent's configuration, as `join-agent` reads it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AgentConfiguration {
    api_version: &'static str,
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    node_name: Option<String>,
    discovery: Discovery,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Discovery {
    bootstrap_token: TokenDiscovery,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct TokenDiscovery {
    api_server_endpoint: String,
    token: Zeroizing<String>,
    token_expiration: String,
    ca_cert_hashes: Vec<String>,
}

#[derive(Serialize)]
struct CloudConfig<'a> {
    write_files: [CloudFile<'a>; 1],
    runcmd: [[&'static str; 4]; 1],
}

#[derive(Serialize)]
struct CloudFile<'a> {
    path: &'static str,
    owner: &'static str,
    permissions: String,
    content: &'a str,
}

#[derive(Serialize)]
struct IgnitionConfig {
    ignition: IgnitionVersion,
    storage: IgnitionStorage,
    systemd: IgnitionSystemd,
}

#[derive(Serialize)]
struct IgnitionVersion {
    version: &'static str,
}

#[derive(Serialize)]
struct IgnitionStorage {
    files: [IgnitionFile; 1],
}

#[derive(Serialize)]
struct IgnitionFile {
    path: &'static str,
    mode: u32,
    overwrite: bool,
    contents: IgnitionContents,
}

#[derive(Serialize)]
struct IgnitionContents {
    source: Zeroizing<String>,
}

#[derive(Serialize)]
struct IgnitionSystemd {
    units: [IgnitionUnit; 1],
}

#[derive(Serialize)]
struct IgnitionUnit {
    name: &'static str,
    enabled: bool,
}

impl AgentConfiguration {
    /// The configuration for a machine; without a name it is the one of its host name. `expires` is when the token ends.
    pub fn new(
        node_name: Option<&NodeName>,
        endpoint: &Endpoint,
        token: &BootstrapToken,
        expires: &str,
        pins: &PinSet,
    ) -> Self {
        Self {
            api_version: "agent.nodejoin.dev/v1alpha1",
            kind: "AgentConfiguration",
            node_name: node_name.map(ToString::to_string),
            discovery: Discovery {
                bootstrap_token: TokenDiscovery {
                    api_server_endpoint: endpoint.to_string(),
                    token: token.expose(),
                    token_expiration: expires.to_owned(),
                    ca_cert_hashes: pins.iter().map(ToString::to_string).collect(),
                },
            },
        }
    }

    /// The configuration in a format. `expires` is when its token ends, for who finds the file.
    pub fn render(&self, format: Format, expires: &str) -> Result<Zeroizing<String>, output::Error> {
        let body = Zeroizing::new(output::yaml_as_written(self)?);
        let file =
            Zeroizing::new(format!("# {PATH}, mode 0600: it holds a token, which ends at {expires}.\n{}", &*body));
        match format {
            Format::Yaml => Ok(file),
            Format::CloudInit => cloud_config(&file),
            Format::Ignition => ignition(&file),
        }
    }
}

fn cloud_config(file: &str) -> Result<Zeroizing<String>, output::Error> {
    let config = CloudConfig {
        write_files: [CloudFile { path: PATH, owner: "root:root", permissions: format!("0{MODE:o}"), content: file }],
        runcmd: [["systemctl", "enable", "--now", UNIT]],
    };
    let body = Zeroizing::new(output::yaml_as_written(&config)?);
    // cloud-init takes user data for what its first line says.
    Ok(Zeroizing::new(format!("#cloud-config\n{}", &*body)))
}

fn ignition(file: &str) -> Result<Zeroizing<String>, output::Error> {
    let encoded = Zeroizing::new(STANDARD.encode(file));
    let config = IgnitionConfig {
        ignition: IgnitionVersion { version: "3.4.0" },
        storage: IgnitionStorage {
            files: [IgnitionFile {
                path: PATH,
                mode: MODE,
                // The package brings a file of its own.
                overwrite: true,
                contents: IgnitionContents { source: Zeroizing::new(format!("data:;base64,{}", &*encoded)) },
            }],
        },
        systemd: IgnitionSystemd { units: [IgnitionUnit { name: UNIT, enabled: true }] },
    };
    Ok(Zeroizing::new(output::json(&config)?))
}

#[cfg(test)]
mod tests {
    use join_trust::pin::PublicKeyPin;

    use super::*;

    fn render(node_name: Option<&str>, format: Format) -> String {
        let name = node_name.map(|name| NodeName::parse(name).unwrap());
        let pins = [PublicKeyPin::parse(&format!("sha256:{}", "ab".repeat(32))).unwrap()].into_iter().collect();
        let endpoint = Endpoint::parse("[2001:db8::1]:6443").unwrap();
        let token = BootstrapToken::parse("000000.0000000000000000").unwrap();
        let configuration = AgentConfiguration::new(name.as_ref(), &endpoint, &token, "2026-07-01T12:00:00Z", &pins);
        configuration.render(format, "2026-07-01T12:00:00Z").unwrap().to_string()
    }

    const FILE: &str = "\
# /etc/join-agent/config.yaml, mode 0600: it holds a token, which ends at 2026-07-01T12:00:00Z.
apiVersion: agent.nodejoin.dev/v1alpha1
kind: AgentConfiguration
nodeName: \"1234\"
discovery:
  bootstrapToken:
    apiServerEndpoint: \"[2001:db8::1]:6443\"
    token: 000000.0000000000000000
    tokenExpiration: \"2026-07-01T12:00:00Z\"
    caCertHashes:
    - sha256:abababababababababababababababababababababababababababababababab
";

    #[test]
    fn the_configuration_is_one_that_the_agent_reads() {
        // A name and a token of digits must stay texts.
        let text = render(Some("1234"), Format::Yaml);
        let read: serde_json::Value = serde_saphyr::from_str(&text).unwrap();
        assert_eq!(read["nodeName"], "1234");
        assert_eq!(read["discovery"]["bootstrapToken"]["token"], "000000.0000000000000000");
        assert_eq!(text.replace("\"000000.0000000000000000\"", "000000.0000000000000000"), FILE);
        assert!(!render(None, Format::Yaml).contains("nodeName"));
    }

    #[test]
    fn cloud_config_has_the_very_file() {
        let text = render(Some("1234"), Format::CloudInit);
        assert!(text.starts_with("#cloud-config\nwrite_files:\n- path: /etc/join-agent/config.yaml\n"), "{text}");
        let read: serde_json::Value = serde_saphyr::from_str(&text).unwrap();
        assert_eq!(read["write_files"][0]["content"], render(Some("1234"), Format::Yaml));
        assert_eq!(read["write_files"][0]["permissions"], "0600");
        assert_eq!(read["runcmd"], serde_json::json!([["systemctl", "enable", "--now", "join-agent.service"]]));
    }

    #[test]
    fn ignition_has_the_very_file() {
        let read: serde_json::Value = serde_json::from_str(&render(None, Format::Ignition)).unwrap();
        let file = &read["storage"]["files"][0];
        let source = file["contents"]["source"].as_str().unwrap().strip_prefix("data:;base64,").unwrap();
        assert_eq!(STANDARD.decode(source).unwrap(), render(None, Format::Yaml).as_bytes());
        assert_eq!((file["mode"].as_u64(), file["path"].as_str()), (Some(0o600), Some(PATH)));
        assert_eq!(read["ignition"], serde_json::json!({"version": "3.4.0"}));
        let units = serde_json::json!([{"name": "join-agent.service", "enabled": true}]);
        assert_eq!(read["systemd"]["units"], units);
    }
}
