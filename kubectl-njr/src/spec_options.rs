//! Flags for the fields of a request, named as kubeadm and kubectl name them.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use clap::{Args, ValueEnum};
use join_crds::spec::{DEFAULT_BIND_PORT, DEFAULT_DEADLINE_SECONDS, DEFAULT_TOKEN_TTL_SECONDS};
use join_crds::{
    ControlPlane, Delivery, KubeletArg, LocalApiEndpoint, Machine, NodeJoinRequestSpec, NodeRegistration, Removal,
    Role, Taint, TaintEffect,
};

use crate::options::duration;

/// A flag has a value that no request can have.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A duration is not one of whole seconds, or longer than the field can hold.
    #[error("--{flag} is {given:?}, expected whole seconds, at most {maximum}", maximum = i32::MAX)]
    Seconds {
        /// The flag.
        flag: &'static str,
        /// Its value.
        given: Duration,
    },
    /// One key was given two values.
    #[error("--label has the key {key:?} twice, expected each key once")]
    LabelTwice {
        /// The key.
        key: String,
    },
    /// Flags that only a control plane can have.
    #[error("--apiserver-advertise-address and --apiserver-bind-port need --role control-plane")]
    OnlyControlPlane,
}

/// What a node becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum RoleOption {
    Worker,
    #[value(alias = "controlplane")]
    ControlPlane,
}

/// What happens to the node when its request is deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum RemovalOption {
    Retain,
    Drain,
}

/// Flags for the fields of a request, except those that say which machine may carry it out.
#[derive(Debug, Clone, Args)]
pub struct SpecOptions {
    /// What the machine becomes
    #[arg(long, value_enum, ignore_case = true, default_value_t = RoleOption::Worker)]
    role: RoleOption,

    /// IP address that the node may have and its serving certificate may name; may be given more than once
    #[arg(long = "address", value_name = "IP", value_delimiter = ',')]
    addresses: Vec<IpAddr>,

    /// Label of the Node; may be given more than once
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = label)]
    labels: Vec<(String, String)>,

    /// Taint of the Node; may be given more than once
    #[arg(long = "taint", value_name = "KEY[=VALUE]:EFFECT", value_parser = taint)]
    taints: Vec<Taint>,

    /// No taint, also on a control plane
    #[arg(long, conflicts_with = "taints")]
    no_taints: bool,

    /// Flag for the kubelet; may be given more than once
    #[arg(long = "kubelet-extra-arg", value_name = "NAME=VALUE", value_parser = kubelet_arg)]
    kubelet_extra_args: Vec<KubeletArg>,

    /// Socket of the container runtime [default: the one that is found]
    #[arg(long, value_name = "URL")]
    cri_socket: Option<String>,

    /// Check whose failure is only a warning, by kubeadm's name, or all; may be given more than once
    #[arg(long, value_name = "CHECK", value_delimiter = ',')]
    ignore_preflight_errors: Vec<String>,

    /// How long the bootstrap token lives once the machine is there [default: 15m]
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    token_ttl: Option<Duration>,

    /// How long the join may take from the machine's appearance [default: 1h]
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    deadline: Option<Duration>,

    /// Address that a control plane's API server advertises [default: that of its default route]
    #[arg(long, value_name = "IP")]
    apiserver_advertise_address: Option<IpAddr>,

    /// Port that a control plane's API server listens on [default: 6443]
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    apiserver_bind_port: Option<u16>,

    /// What happens to the node when the request is deleted
    #[arg(long, value_enum, ignore_case = true, default_value_t = RemovalOption::Retain)]
    removal: RemovalOption,

    /// UID of the Node of this name that the machine replaces; that Node is deleted once the machine is there
    #[arg(long, value_name = "UID")]
    replaces_node_uid: Option<String>,
}

impl SpecOptions {
    /// The specification of a request for this machine. `more_addresses` are added to those of the flags.
    pub fn spec(
        &self,
        machine: Machine,
        delivery: Delivery,
        more_addresses: &[IpAddr],
    ) -> Result<NodeJoinRequestSpec, Error> {
        let mut addresses = self.addresses.clone();
        addresses.extend(more_addresses.iter().filter(|address| !self.addresses.contains(address)));
        Ok(NodeJoinRequestSpec {
            role: self.role(),
            machine,
            delivery,
            token_ttl_seconds: seconds("token-ttl", self.token_ttl, DEFAULT_TOKEN_TTL_SECONDS)?,
            deadline_seconds: seconds("deadline", self.deadline, DEFAULT_DEADLINE_SECONDS)?,
            addresses,
            node_registration: NodeRegistration {
                cri_socket: self.cri_socket.clone(),
                kubelet_extra_args: self.kubelet_extra_args.clone(),
                labels: self.labels()?,
                taints: (self.no_taints || !self.taints.is_empty()).then(|| self.taints.clone()),
                ignore_preflight_errors: self.ignore_preflight_errors.clone(),
            },
            control_plane: self.control_plane()?,
            removal: match self.removal {
                RemovalOption::Retain => Removal::Retain,
                RemovalOption::Drain => Removal::Drain,
            },
            replaces_node_uid: self.replaces_node_uid.clone(),
        })
    }

    /// Whether the machine takes the place of a Node that is there.
    pub fn replaces(&self) -> bool {
        self.replaces_node_uid.is_some()
    }

    /// What the machine becomes.
    pub fn role(&self) -> Role {
        match self.role {
            RoleOption::Worker => Role::Worker,
            RoleOption::ControlPlane => Role::ControlPlane,
        }
    }

    fn labels(&self) -> Result<BTreeMap<String, String>, Error> {
        let mut labels = BTreeMap::new();
        for (key, value) in &self.labels {
            if labels.insert(key.clone(), value.clone()).is_some() {
                return Err(Error::LabelTwice { key: key.clone() });
            }
        }
        Ok(labels)
    }

    fn control_plane(&self) -> Result<Option<ControlPlane>, Error> {
        let (address, port) = (self.apiserver_advertise_address, self.apiserver_bind_port);
        if address.is_none() && port.is_none() {
            return Ok(None);
        }
        if self.role != RoleOption::ControlPlane {
            return Err(Error::OnlyControlPlane);
        }
        let local_api_endpoint =
            Some(LocalApiEndpoint { advertise_address: address, bind_port: port.map_or(DEFAULT_BIND_PORT, i32::from) });
        Ok(Some(ControlPlane { local_api_endpoint }))
    }
}

fn seconds(flag: &'static str, given: Option<Duration>, default: i32) -> Result<i32, Error> {
    let Some(given) = given else { return Ok(default) };
    let whole = (given.subsec_nanos() == 0).then(|| i32::try_from(given.as_secs()).ok()).flatten();
    whole.ok_or(Error::Seconds { flag, given })
}

fn label(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("expected KEY=VALUE")?;
    if key.is_empty() {
        Err("expected KEY=VALUE with a key".to_owned())
    } else {
        Ok((key.to_owned(), value.to_owned()))
    }
}

/// kubectl's form: `key=value:Effect` or `key:Effect`.
fn taint(text: &str) -> Result<Taint, String> {
    let expected = "expected KEY=VALUE:EFFECT or KEY:EFFECT";
    let (name, effect) = text.rsplit_once(':').ok_or(expected)?;
    let effect = match effect {
        "NoSchedule" => TaintEffect::NoSchedule,
        "PreferNoSchedule" => TaintEffect::PreferNoSchedule,
        "NoExecute" => TaintEffect::NoExecute,
        _ => return Err("expected an effect of NoSchedule, PreferNoSchedule or NoExecute".to_owned()),
    };
    let (key, value) = match name.split_once('=') {
        Some((key, value)) => (key, Some(value.to_owned())),
        None => (name, None),
    };
    if key.is_empty() { Err(expected.to_owned()) } else { Ok(Taint { key: key.to_owned(), value, effect }) }
}

fn kubelet_arg(text: &str) -> Result<KubeletArg, String> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE")?;
    let name = name.trim_start_matches('-');
    if name.is_empty() {
        return Err("expected NAME=VALUE with a name".to_owned());
    }
    Ok(KubeletArg { name: name.to_owned(), value: value.to_owned() })
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use rstest::rstest;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        options: SpecOptions,
    }

    fn parse(arguments: &[&str]) -> Result<SpecOptions, clap::Error> {
        Line::try_parse_from([&["x"], arguments].concat()).map(|line| line.options)
    }

    fn spec(arguments: &[&str]) -> Result<NodeJoinRequestSpec, Error> {
        parse(arguments).unwrap().spec(Machine::default(), Delivery::Sealed, &[])
    }

    #[test]
    fn every_field_has_a_flag() {
        let spec = spec(&[
            "--role=control-plane",
            "--address=192.0.2.1,2001:db8::1",
            "--label=a=1",
            "--label=b=",
            "--taint=k=v:NoSchedule",
            "--taint=k:NoExecute",
            "--kubelet-extra-arg=--v=4",
            "--kubelet-extra-arg=node-labels=x=y",
            "--cri-socket=unix:///run/c.sock",
            "--ignore-preflight-errors=NumCPU,Swap",
            "--token-ttl=10m",
            "--deadline=2h",
            "--apiserver-advertise-address=192.0.2.9",
            "--apiserver-bind-port=7443",
            "--replaces-node-uid=0b5c",
        ]);
        let expected = serde_json::json!({
            "role": "ControlPlane", "machine": {"trust": "Pinned"}, "delivery": "Sealed",
            "tokenTTLSeconds": 600, "deadlineSeconds": 7200, "addresses": ["192.0.2.1", "2001:db8::1"],
            "nodeRegistration": {
                "criSocket": "unix:///run/c.sock",
                "kubeletExtraArgs": [{"name": "v", "value": "4"}, {"name": "node-labels", "value": "x=y"}],
                "labels": {"a": "1", "b": ""},
                "taints": [{"key": "k", "value": "v", "effect": "NoSchedule"}, {"key": "k", "effect": "NoExecute"}],
                "ignorePreflightErrors": ["NumCPU", "Swap"],
            },
            "controlPlane": {"localAPIEndpoint": {"advertiseAddress": "192.0.2.9", "bindPort": 7443}},
            "removal": "Retain", "replacesNodeUID": "0b5c",
        });
        assert_eq!(serde_json::to_value(spec.unwrap()).unwrap(), expected);
    }

    #[test]
    fn no_taints_is_something_else_than_nothing_said_of_taints() {
        assert_eq!(spec(&[]).unwrap().node_registration.taints, None);
        assert_eq!(spec(&["--no-taints"]).unwrap().node_registration.taints, Some(Vec::new()));
    }

    #[test]
    fn addresses_are_added_once() {
        let options = parse(&["--address=192.0.2.1"]).unwrap();
        let more = ["192.0.2.2".parse().unwrap(), "192.0.2.1".parse().unwrap()];
        let spec = options.spec(Machine::default(), Delivery::Sealed, &more).unwrap();
        assert_eq!(spec.addresses.iter().map(ToString::to_string).collect::<Vec<_>>(), ["192.0.2.1", "192.0.2.2"]);
    }

    #[rstest]
    #[case(&["--token-ttl=1500ms"], Error::Seconds { flag: "token-ttl", given: Duration::from_millis(1500) })]
    #[case(&["--deadline=1000000h"], Error::Seconds { flag: "deadline", given: Duration::from_hours(1_000_000) })]
    #[case(&["--label=a=1", "--label=a=2"], Error::LabelTwice { key: "a".to_owned() })]
    #[case(&["--apiserver-bind-port=1"], Error::OnlyControlPlane)]
    fn contradictions_are_told(#[case] arguments: &[&str], #[case] expected: Error) {
        assert_eq!(spec(arguments), Err(expected));
    }

    #[rstest]
    #[case("--role=master")]
    #[case("--address=worker-1")]
    #[case("--label=a")]
    #[case("--label==a")]
    #[case("--taint=k=v")]
    #[case("--taint=k=v:Never")]
    #[case("--taint=:NoSchedule")]
    #[case("--kubelet-extra-arg=--")]
    #[case("--token-ttl=15")]
    #[case("--token-ttl=-15m")]
    #[case("--token-ttl=99999999999999999h")]
    #[case("--token-ttl=")]
    #[case("--apiserver-bind-port=0")]
    fn what_is_no_value_is_a_usage_error(#[case] argument: &str) {
        assert_eq!(parse(&[argument]).map(|_| ()).map_err(|error| error.exit_code()), Err(2));
    }
}
