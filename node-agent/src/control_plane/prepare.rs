//! Before anything is written: what the machine's certificates and kubeconfigs are to be.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;
use std::time::SystemTime;

use join_control_plane::configuration::Component;
use join_control_plane::manifests::MANIFESTS_FOLDER;
use join_control_plane::{CertificateError, ClusterConfiguration, File, Member, shared};
use join_crds::spec::LocalApiEndpoint;
use join_trust::ca_bundle::{CaBundle, CaTrust};
use join_trust::certificate_key::CertificateKey;
use join_trust::endpoint::Endpoint;
use join_trust::names::NodeName;
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};

use super::Error;
use crate::checks::control_plane::{BindAddresses, NewControlPlane};
use crate::connection::call;
use crate::files::CA_CRT;
use crate::journal::ETCD_FOLDER;
use crate::member;

/// Where a join writes certificates.
const ETC: &str = "/etc/kubernetes";

/// All that a control plane's join writes before its kubelet is started, but for what a worker's writes too.
pub struct Planned {
    /// The machine, as the others are to see it.
    pub member: member::ControlPlane,
    /// Its own API server, to which its kubelet speaks.
    pub endpoint: Endpoint,
    /// The cluster's authorities, as control planes share them.
    pub ca_crt: String,
    /// Certificates, keys and kubeconfigs.
    pub files: Vec<File>,
    /// What is written later: the manifests.
    pub later: Vec<String>,
    /// The folder of etcd's data; none with an etcd elsewhere.
    pub etcd_folder: Option<&'static str>,
}

/// What is asked for.
pub struct Asked<'a> {
    /// The node.
    pub node_name: &'a NodeName,
    /// What the request says of its API server.
    pub local_api_endpoint: Option<&'a LocalApiEndpoint>,
    /// The machine's address towards the cluster.
    pub address: Option<IpAddr>,
    /// The key to the shared certificates.
    pub certificate_key: Option<&'a CertificateKey>,
    /// The authorities of the cluster that are trusted.
    pub trusted: &'a CaBundle,
}

/// The control plane that the machine is to become, as the request and the cluster's configuration have it.
pub struct Intended {
    configuration: ClusterConfiguration,
    member: Member,
    etcd_folder: Option<&'static str>,
}

impl Intended {
    /// Of kubeadm-config's ClusterConfiguration.
    ///
    /// # Errors
    /// When the cluster's configuration, or the request, does not let this machine become a control plane.
    pub fn new(configuration: &str, asked: &Asked<'_>) -> Result<Self, Error> {
        asked.certificate_key.ok_or(Error::NoCertificateKey)?;
        let configuration = ClusterConfiguration::parse(configuration).map_err(join_control_plane::Error::from)?;
        let etcd_folder = places(&configuration)?;
        let own = asked.local_api_endpoint;
        let advertise_address = own.and_then(|own| own.advertise_address).or(asked.address).ok_or(Error::NoAddress)?;
        let bind_port = own.and_then(|own| u16::try_from(own.bind_port).ok()).unwrap_or(Member::DEFAULT_BIND_PORT);
        let member = Member { node_name: asked.node_name.clone(), advertise_address, bind_port };
        Ok(Self { configuration, member, etcd_folder })
    }

    /// What the machine has to have room for.
    pub fn needs(&self) -> NewControlPlane {
        // The last one counts, as with kubeadm. What is no address keeps the program from starting, whatever is free.
        let bind_address = |component: &Component| {
            let mut arguments = component.extra_args.iter().rev();
            arguments.find(|argument| argument.name == "bind-address")?.value.parse().ok()
        };
        NewControlPlane {
            advertise_address: self.member.advertise_address,
            bind_port: self.member.bind_port,
            bind_addresses: BindAddresses {
                api_server: bind_address(&self.configuration.api_server),
                controller_manager: bind_address(&self.configuration.controller_manager),
                scheduler: bind_address(&self.configuration.scheduler),
            },
            with_etcd: self.etcd_folder.is_some(),
        }
    }
}

/// Reads what control planes share, and makes this one's certificates.
///
/// # Errors
/// When what is shared does not let this machine become a control plane.
pub async fn prepare(client: &Client, intended: &Intended, asked: &Asked<'_>) -> Result<Planned, Error> {
    let Intended { configuration, member, etcd_folder } = intended;
    let key = asked.certificate_key.ok_or(Error::NoCertificateKey)?;
    let shared = shared::decrypt(&shared_certificates(client).await?, key, configuration)
        .map_err(join_control_plane::Error::from)?;
    let ca_crt = authority(&shared, configuration, asked.trusted)?;
    let now = SystemTime::now();
    let certificate = |error: CertificateError| join_control_plane::Error::from(error);
    let mut files = join_control_plane::certificates(configuration, member, &shared, now).map_err(certificate)?;
    files.extend(join_control_plane::kubeconfigs(configuration, member, &shared, now).map_err(certificate)?);
    files.extend(shared);
    // The worker's own list has it.
    files.retain(|file| file.path != Path::new(CA_CRT));
    let endpoint = own_endpoint(member)?;
    Ok(Planned {
        member: member::ControlPlane { advertise_address: member.advertise_address, bind_port: member.bind_port },
        endpoint,
        ca_crt,
        files,
        later: manifests(etcd_folder.is_some()),
        etcd_folder: *etcd_folder,
    })
}

/// The machine's own API server.
pub fn own_endpoint(member: &Member) -> Result<Endpoint, Error> {
    let text = member.api_server().to_string();
    Endpoint::parse(&text).map_err(|source| Error::Endpoint { text, source })
}

async fn shared_certificates(client: &Client) -> Result<BTreeMap<String, Vec<u8>>, Error> {
    let secrets: Api<Secret> = Api::namespaced(client.clone(), "kube-system");
    let found = call("reading Secret kube-system/kubeadm-certs", secrets.get_opt("kubeadm-certs")).await?;
    let data = found.ok_or(Error::NoSharedCertificates)?.data.unwrap_or_default();
    Ok(data.into_iter().map(|(entry, bytes)| (entry, bytes.0)).collect())
}

/// The shared `ca.crt`, which has to be one that is trusted.
fn authority(shared: &[File], configuration: &ClusterConfiguration, trusted: &CaBundle) -> Result<String, Error> {
    let path = Path::new(&configuration.certificates_dir).join("ca.crt");
    let file = shared.iter().find(|file| file.path == path);
    let pem = file.map(|file| file.content.expose()).unwrap_or_default();
    let bundle = CaBundle::parse_pem(pem)?;
    bundle.clone().restrict(&CaTrust::Pinned(trusted.pins()))?;
    Ok(bundle.to_pem())
}

/// Whether everything is to lie where a join writes, and can be undone; and the folder of etcd's data.
fn places(configuration: &ClusterConfiguration) -> Result<Option<&'static str>, Error> {
    let check = |field, value: &str, expected: &'static str| {
        if Path::new(value).starts_with(expected) {
            Ok(())
        } else {
            Err(Error::Place { field, value: value.to_owned(), expected })
        }
    };
    check("certificatesDir", &configuration.certificates_dir, ETC)?;
    match configuration.local_etcd() {
        Some(local) if local.data_dir == ETCD_FOLDER => Ok(Some(ETCD_FOLDER)),
        Some(local) => {
            Err(Error::Place { field: "etcd.local.dataDir", value: local.data_dir.clone(), expected: ETCD_FOLDER })
        }
        None => Ok(None),
    }
}

fn manifests(with_etcd: bool) -> Vec<String> {
    let names = ["kube-apiserver", "kube-controller-manager", "kube-scheduler"];
    let names = with_etcd.then_some("etcd").into_iter().chain(names);
    names.map(|name| format!("{MANIFESTS_FOLDER}/{name}.yaml")).collect()
}

#[cfg(test)]
#[path = "prepare_tests.rs"]
mod tests;
