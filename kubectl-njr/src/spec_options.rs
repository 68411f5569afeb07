//! Flags for the fields of a request, named as kubeadm and kubectl name them.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use join_checks::duration;
use join_crds::spec::{DEFAULT_BIND_PORT, DEFAULT_DEADLINE_SECONDS, DEFAULT_TOKEN_TTL_SECONDS};
use join_crds::{
    ControlPlane, Delivery, KubeletArg, LocalApiEndpoint, Machine, NodeJoinRequestSpec, NodeRegistration, Removal,
    Role, Taint, TaintEffect,
};
use join_trust::names::NodeName;

use crate::join_configuration::{self, Defaults};

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
    #[error(
        "--certificate-key-secret, --apiserver-advertise-address and --apiserver-bind-port need --role control-plane"
    )]
    OnlyControlPlane,
    /// A control plane without the key to the certificates that it shares.
    #[error(
        "a control plane needs --certificate-key-secret NAME: a Secret in the controller's namespace with the key that `kubeadm \
         init phase upload-certs --upload-certs` prints; type: kubectl -n join-system create secret generic NAME \
         --from-file=certificateKey=/dev/stdin"
    )]
    NoCertificateKey,
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
    /// JoinConfiguration of kubeadm, from which nodeRegistration and controlPlane are taken; flags given beside it win
    #[arg(long, value_name = "FILE")]
    join_configuration: Option<PathBuf>,

    /// What the machine becomes [default: worker]
    #[arg(long, value_enum, ignore_case = true)]
    role: Option<RoleOption>,

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
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    token_ttl: Option<Duration>,

    /// How long the join may take from the machine's appearance [default: 1h]
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    deadline: Option<Duration>,

    /// Secret in the controller's namespace with the certificate key of a control plane, under certificateKey
    #[arg(long, value_name = "NAME")]
    certificate_key_secret: Option<String>,

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
    /// What holds where no flag is given: what the file says that a flag names, if one does.
    pub fn defaults(&self, name: &NodeName) -> Result<Defaults, join_configuration::Error> {
        self.join_configuration.as_deref().map_or(Ok(Defaults::default()), |path| Defaults::read(path, name))
    }

    /// The specification of a request for this machine.
    pub fn spec(
        &self,
        machine: Machine,
        delivery: Delivery,
        defaults: &Defaults,
    ) -> Result<NodeJoinRequestSpec, Error> {
        let node = &defaults.node_registration;
        Ok(NodeJoinRequestSpec {
            role: self.role(defaults),
            machine,
            delivery,
            token_ttl_seconds: seconds("token-ttl", self.token_ttl, DEFAULT_TOKEN_TTL_SECONDS)?,
            deadline_seconds: seconds("deadline", self.deadline, DEFAULT_DEADLINE_SECONDS)?,
            addresses: given_or(&self.addresses, &defaults.addresses),
            node_registration: NodeRegistration {
                cri_socket: self.cri_socket.clone().or_else(|| node.cri_socket.clone()),
                kubelet_extra_args: given_or(&self.kubelet_extra_args, &node.kubelet_extra_args),
                labels: self.labels()?,
                taints: if self.no_taints || !self.taints.is_empty() {
                    Some(self.taints.clone())
                } else {
                    node.taints.clone()
                },
                ignore_preflight_errors: given_or(&self.ignore_preflight_errors, &node.ignore_preflight_errors),
            },
            control_plane: self.control_plane(defaults)?,
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

    fn role(&self, defaults: &Defaults) -> Role {
        match self.role {
            None => defaults.role,
            Some(RoleOption::Worker) => Role::Worker,
            Some(RoleOption::ControlPlane) => Role::ControlPlane,
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

    fn control_plane(&self, defaults: &Defaults) -> Result<Option<ControlPlane>, Error> {
        let (address, port) = (self.apiserver_advertise_address, self.apiserver_bind_port);
        if self.role(defaults) != Role::ControlPlane {
            // What the file says of a control plane is overruled with its role.
            let is_none = address.is_none() && port.is_none() && self.certificate_key_secret.is_none();
            return if is_none { Ok(None) } else { Err(Error::OnlyControlPlane) };
        }
        let (address, port) = (address.or(defaults.advertise_address), port.or(defaults.bind_port));
        let local_api_endpoint = (address.is_some() || port.is_some()).then(|| LocalApiEndpoint {
            advertise_address: address,
            bind_port: port.map_or(DEFAULT_BIND_PORT, i32::from),
        });
        let certificate_key_secret = self.certificate_key_secret.clone().ok_or(Error::NoCertificateKey)?;
        Ok(Some(ControlPlane { certificate_key_secret, local_api_endpoint }))
    }
}

/// What the flags say, or else what the file does: never a mixture of both.
fn given_or<T: Clone>(given: &[T], default: &[T]) -> Vec<T> {
    if given.is_empty() { default.to_vec() } else { given.to_vec() }
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
    let effect = TaintEffect::parse(effect).ok_or("expected an effect of NoSchedule, PreferNoSchedule or NoExecute")?;
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
#[path = "spec_options_tests.rs"]
mod tests;
