//! kube-apiserver, kube-controller-manager and kube-scheduler.

use k8s_openapi::api::core::v1::{Container, EnvVar, Pod};

use super::pod::{Probes, environment, pod, probe_host, requests};
use super::volumes::{self, Volumes};
use super::{Host, Member};
use crate::arguments::{Arguments, last, merged};
use crate::configuration::{ClusterConfiguration, Component, Etcd};
use crate::kubeconfigs::{CONTROLLER_MANAGER_CONF, SCHEDULER_CONF};

const API_SERVER: &str = "kube-apiserver";
const CONTROLLER_MANAGER: &str = "kube-controller-manager";
const CONTROLLER_MANAGER_PORT: u16 = 10257;
const SCHEDULER: &str = "kube-scheduler";
const SCHEDULER_PORT: u16 = 10259;
/// kubeadm finds the API servers of a cluster by it.
const ADVERTISE_ADDRESS: &str = "kubeadm.kubernetes.io/kube-apiserver.advertise-address.endpoint";

pub(super) fn pods(configuration: &ClusterConfiguration, member: &Member, host: &Host) -> [Pod; 3] {
    [api_server(configuration, member, host), controller_manager(configuration, host), scheduler(configuration, host)]
}

/// What the three have in common.
fn container(name: &str, configuration: &ClusterConfiguration, component: &Component, host: &Host) -> Container {
    let proxies: Vec<EnvVar> = host.proxies();
    Container {
        name: name.to_owned(),
        image: Some(format!("{}/{name}:{}", configuration.image_repository, configuration.version.image_tag())),
        image_pull_policy: Some("IfNotPresent".to_owned()),
        env: environment(proxies.iter().chain(&component.extra_envs)),
        ..Container::default()
    }
}

fn with(volumes: &Volumes, container: Container) -> Container {
    Container { volume_mounts: Some(volumes.mounts()), ..container }
}

fn api_server(configuration: &ClusterConfiguration, member: &Member, host: &Host) -> Pod {
    let volumes = volumes::api_server(configuration, host);
    let container = Container {
        command: Some(api_server_command(configuration, member)),
        resources: Some(requests([("cpu", "250m")])),
        ..container(API_SERVER, configuration, &configuration.api_server, host)
    };
    let probes = Probes {
        host: probe_host(&member.advertise_address.to_string()),
        port: member.bind_port,
        scheme: "HTTPS",
        live: "/livez",
        ready: Some("/readyz"),
        started: "/livez",
    };
    let annotation = (ADVERTISE_ADDRESS, member.api_server().to_string());
    pod(probes.on(with(&volumes, container), host.health_check), volumes.volumes(), Some(annotation))
}

fn api_server_command(configuration: &ClusterConfiguration, member: &Member) -> Vec<String> {
    let pki = |name: &str| format!("{}/{name}", configuration.certificates_dir);
    let networking = &configuration.networking;
    let extra = &configuration.api_server.extra_args;
    let mut arguments = Arguments::from([
        ("advertise-address", member.advertise_address.to_string()),
        ("enable-admission-plugins", "NodeRestriction".to_owned()),
        ("service-cluster-ip-range", networking.service_subnet.clone()),
        ("service-account-key-file", pki("sa.pub")),
        ("service-account-signing-key-file", pki("sa.key")),
        ("service-account-issuer", format!("https://kubernetes.default.svc.{}", networking.dns_domain)),
        ("client-ca-file", pki("ca.crt")),
        ("tls-cert-file", pki("apiserver.crt")),
        ("tls-private-key-file", pki("apiserver.key")),
        ("kubelet-client-certificate", pki("apiserver-kubelet-client.crt")),
        ("kubelet-client-key", pki("apiserver-kubelet-client.key")),
        ("enable-bootstrap-token-auth", "true".to_owned()),
        ("secure-port", member.bind_port.to_string()),
        ("allow-privileged", "true".to_owned()),
        ("kubelet-preferred-address-types", "InternalIP,ExternalIP,Hostname".to_owned()),
        ("requestheader-username-headers", "X-Remote-User".to_owned()),
        ("requestheader-group-headers", "X-Remote-Group".to_owned()),
        ("requestheader-extra-headers-prefix", "X-Remote-Extra-".to_owned()),
        ("requestheader-client-ca-file", pki("front-proxy-ca.crt")),
        ("requestheader-allowed-names", "front-proxy-client".to_owned()),
        ("proxy-client-cert-file", pki("front-proxy-client.crt")),
        ("proxy-client-key-file", pki("front-proxy-client.key")),
    ]);
    match &configuration.etcd {
        Etcd::External(etcd) => {
            arguments.add("etcd-servers", etcd.endpoints.join(","));
            if !etcd.ca_file.is_empty() {
                arguments.add("etcd-cafile", etcd.ca_file.as_str());
            }
            if !etcd.cert_file.is_empty() && !etcd.key_file.is_empty() {
                arguments.add("etcd-certfile", etcd.cert_file.as_str());
                arguments.add("etcd-keyfile", etcd.key_file.as_str());
            }
        }
        Etcd::Local(etcd) => {
            // Where etcd is told to advertise itself elsewhere, it may not be found on the loopback address.
            let local = member.etcd_local_url();
            let advertised = last(&etcd.extra_args, "advertise-client-urls");
            arguments.add("etcd-servers", advertised.map_or(local.clone(), |argument| merged(&local, argument)));
            arguments.add("etcd-cafile", pki("etcd/ca.crt"));
            arguments.add("etcd-certfile", pki("apiserver-etcd-client.crt"));
            arguments.add("etcd-keyfile", pki("apiserver-etcd-client.key"));
        }
    }
    // The two exclude each other.
    if last(extra, "authorization-config").is_none() {
        arguments.add("authorization-mode", "Node,RBAC");
    }
    arguments.command(API_SERVER, extra)
}

/// The address that a component other than kube-apiserver listens on.
fn bind_address(component: &Component) -> Option<String> {
    probe_host(last(&component.extra_args, "bind-address").map_or("127.0.0.1", |argument| argument.value.as_str()))
}

/// What kube-controller-manager and kube-scheduler have in common.
fn client_arguments(kubeconfig: &str) -> Arguments {
    Arguments::from([
        ("bind-address", "127.0.0.1".to_owned()),
        ("leader-elect", "true".to_owned()),
        ("kubeconfig", kubeconfig.to_owned()),
        ("authentication-kubeconfig", kubeconfig.to_owned()),
        ("authorization-kubeconfig", kubeconfig.to_owned()),
    ])
}

fn controller_manager(configuration: &ClusterConfiguration, host: &Host) -> Pod {
    let component = &configuration.controller_manager;
    let volumes = volumes::controller_manager(configuration, host, CONTROLLER_MANAGER_CONF);
    let pki = |name: &str| format!("{}/{name}", configuration.certificates_dir);
    let mut arguments = client_arguments(CONTROLLER_MANAGER_CONF);
    arguments.add("client-ca-file", pki("ca.crt"));
    arguments.add("requestheader-client-ca-file", pki("front-proxy-ca.crt"));
    arguments.add("root-ca-file", pki("ca.crt"));
    arguments.add("service-account-private-key-file", pki("sa.key"));
    arguments.add("cluster-signing-cert-file", pki("ca.crt"));
    arguments.add("cluster-signing-key-file", pki("ca.key"));
    arguments.add("use-service-account-credentials", "true");
    arguments.add("controllers", "*,bootstrapsigner,tokencleaner");
    arguments.add("cluster-name", configuration.cluster_name.as_str());
    let networking = &configuration.networking;
    if !networking.pod_subnet.is_empty() {
        arguments.add("allocate-node-cidrs", "true");
        arguments.add("cluster-cidr", networking.pod_subnet.as_str());
        arguments.add("service-cluster-ip-range", networking.service_subnet.as_str());
    }
    let container = Container {
        command: Some(arguments.command(CONTROLLER_MANAGER, &component.extra_args)),
        resources: Some(requests([("cpu", "200m")])),
        ..container(CONTROLLER_MANAGER, configuration, component, host)
    };
    let probes = Probes {
        host: bind_address(component),
        port: CONTROLLER_MANAGER_PORT,
        scheme: "HTTPS",
        live: "/healthz",
        ready: None,
        started: "/healthz",
    };
    pod(probes.on(with(&volumes, container), host.health_check), volumes.volumes(), None)
}

fn scheduler(configuration: &ClusterConfiguration, host: &Host) -> Pod {
    let component = &configuration.scheduler;
    let volumes = volumes::scheduler(configuration, SCHEDULER_CONF);
    let container = Container {
        command: Some(client_arguments(SCHEDULER_CONF).command(SCHEDULER, &component.extra_args)),
        resources: Some(requests([("cpu", "100m")])),
        ..container(SCHEDULER, configuration, component, host)
    };
    let probes = Probes {
        host: bind_address(component),
        port: SCHEDULER_PORT,
        scheme: "HTTPS",
        live: "/livez",
        ready: Some("/readyz"),
        started: "/livez",
    };
    pod(probes.on(with(&volumes, container), host.health_check), volumes.volumes(), None)
}
