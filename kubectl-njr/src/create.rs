//! `kubectl njr create`: a request from flags.

use clap::{Args, ValueEnum};
use join_crds::{Delivery, Machine, NodeJoinRequest, Trust};
use join_trust::names::NodeName;
use join_trust::pin::PublicKeyPin;

use crate::options::{DryRun, DryRunOption, GlobalOptions, ObjectOutput};
use crate::session::{CallError, ConnectError, Session};
use crate::spec_options::{self, SpecOptions};
use crate::{join_configuration, output, request};

/// The request could not be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A flag's value cannot be used.
    #[error(transparent)]
    Spec(#[from] spec_options::Error),
    /// The file of kubeadm's cannot be used.
    #[error(transparent)]
    JoinConfiguration(#[from] join_configuration::Error),
    /// There is a request of this name.
    #[error("there is a request {0} already; see how far it is with: kubectl njr status {0}")]
    Exists(NodeName),
    /// There is no connection to be made.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// A call failed.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The result cannot be shown.
    #[error(transparent)]
    Output(#[from] output::Error),
}

/// How the bootstrap token reaches the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum DeliveryOption {
    /// Encrypted to the machine; for join-agent
    Sealed,
    /// As a Secret with a ready join command; for stock kubeadm
    Token,
}

/// Arguments of `create`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Name of the node, which is the name of the request
    #[arg(value_name = "NAME")]
    name: NodeName,

    /// Hash of the one key that the machine may have, as `join-agent status` prints it on the machine
    #[arg(long, value_name = "SHA256", required_unless_present = "first_use")]
    key: Option<PublicKeyPin>,

    /// Take the one machine that announces itself under this name, whatever its key
    #[arg(long, conflicts_with = "key")]
    first_use: bool,

    /// How the bootstrap token reaches the machine
    #[arg(long, value_enum, ignore_case = true, default_value_t = DeliveryOption::Sealed)]
    delivery: DeliveryOption,

    #[command(flatten)]
    spec: SpecOptions,
    #[command(flatten)]
    dry_run: DryRunOption,
    #[command(flatten)]
    output: ObjectOutput,
}

impl Arguments {
    fn request(&self) -> Result<NodeJoinRequest, Error> {
        let trust = if self.first_use { Trust::FirstUse } else { Trust::Pinned };
        let machine = Machine { public_key_hash: self.key.map(|key| key.to_string()), trust };
        let delivery = match self.delivery {
            DeliveryOption::Sealed => Delivery::Sealed,
            DeliveryOption::Token => Delivery::Token,
        };
        let spec = self.spec.spec(machine, delivery, &self.spec.defaults(&self.name)?)?;
        Ok(NodeJoinRequest::new(self.name.as_str(), spec))
    }
}

/// Makes the request and shows it.
pub async fn run(options: &GlobalOptions, arguments: &Arguments) -> Result<(), Error> {
    let mut made = arguments.request()?;
    let dry_run = arguments.dry_run.dry_run;
    if dry_run != DryRun::Client {
        let session = Session::open(options).await?;
        made = match request::create(&session, made, dry_run).await {
            Err(error) if error.is_conflict() => return Err(Error::Exists(arguments.name.clone())),
            other => other?,
        };
    }
    Ok(output::print(&request::show(&made, "created", dry_run, arguments.output.output)?)?)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Command};
    use crate::options::ObjectFormat;

    fn arguments(line: &[&str]) -> Result<Arguments, clap::Error> {
        match Cli::try_parse_from([&["kubectl-njr", "create"], line].concat())?.command {
            Command::Create(arguments) => Ok(*arguments),
            _ => unreachable!("create is create"),
        }
    }

    const KEY: &str = "sha256:345959acb2c3b2feb87d281961c893f62a314207ef02599f1cc4a5fb255480b3";

    #[test]
    fn a_request_is_shown_as_kubectl_shows_objects() {
        let request = arguments(&["worker-7", "--key", KEY]).unwrap().request().unwrap();
        let line = request::show(&request, "created", DryRun::Client, None).unwrap();
        assert_eq!(line, "nodejoinrequest.nodejoin.dev/worker-7 created (dry run)\n");
        let name = request::show(&request, "created", DryRun::None, Some(ObjectFormat::Name)).unwrap();
        assert_eq!(name, "nodejoinrequest.nodejoin.dev/worker-7\n");
        let yaml = request::show(&request, "created", DryRun::Client, Some(ObjectFormat::Yaml)).unwrap();
        let expected = format!(
            "\
apiVersion: nodejoin.dev/v1alpha1
kind: NodeJoinRequest
metadata:
  name: worker-7
spec:
  deadlineSeconds: 3600
  delivery: Sealed
  machine:
    publicKeyHash: {KEY}
    trust: Pinned
  removal: Retain
  role: Worker
  tokenTTLSeconds: 900
"
        );
        assert_eq!(yaml, expected);
    }

    #[test]
    fn a_file_of_kubeadm_says_what_no_flag_says() {
        const WORKER: &str = include_str!("../../fuzz/seeds/join_configuration/good-worker.yaml");
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), WORKER).unwrap();
        let path = file.path().to_str().unwrap();
        let request = |line: &[&str]| {
            arguments(&[line, &["--key", KEY, "--join-configuration", path]].concat()).unwrap().request()
        };
        let made = request(&["worker-7", "--taint", "a:NoExecute", "--label", "a=b"]).unwrap();
        let yaml = request::show(&made, "created", DryRun::Client, Some(ObjectFormat::Yaml)).unwrap();
        let expected = format!(
            "\
apiVersion: nodejoin.dev/v1alpha1
kind: NodeJoinRequest
metadata:
  name: worker-7
spec:
  addresses:
  - \"192.0.2.17\"
  - 2001:db8::17
  deadlineSeconds: 3600
  delivery: Sealed
  machine:
    publicKeyHash: {KEY}
    trust: Pinned
  nodeRegistration:
    criSocket: unix:///run/containerd/containerd.sock
    ignorePreflightErrors:
    - Swap
    kubeletExtraArgs:
    - name: node-ip
      value: 192.0.2.17,2001:db8::17
    labels:
      a: b
    taints:
    - effect: NoExecute
      key: a
  removal: Retain
  role: Worker
  tokenTTLSeconds: 900
"
        );
        assert_eq!(yaml, expected);
        let refused = request(&["worker-8"]).unwrap_err().to_string();
        assert!(refused.contains("nodeRegistration.name is worker-7, and the request is for worker-8"), "{refused}");
    }

    #[test]
    fn which_machine_has_to_be_said_in_one_way() {
        let exit_code = |line: &[&str]| arguments(line).map(|_| ()).map_err(|error| error.exit_code());
        assert_eq!(exit_code(&["worker-7"]), Err(2));
        assert_eq!(exit_code(&["worker-7", "--first-use", "--key", KEY]), Err(2));
        assert_eq!(exit_code(&["worker-7", "--key", "sha256:12"]), Err(2));
        assert_eq!(exit_code(&["Worker_7", "--first-use"]), Err(2));
        let request = arguments(&["w", "--first-use", "--delivery=token"]).unwrap().request().unwrap();
        assert_eq!((request.spec.machine.trust, request.spec.delivery), (Trust::FirstUse, Delivery::Token));
    }
}
