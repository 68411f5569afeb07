//! The ClusterConfigurations that are tried.

use join_control_plane::Member;
use join_e2e::components::KubernetesMinor;
use libtest_mimic::Failed;

/// A ClusterConfiguration, and the machine that joins.
pub struct Case {
    pub name: &'static str,
    /// The only version that takes it; none: all of them.
    pub only: Option<KubernetesMinor>,
    pub api_version: &'static str,
    pub advertise_address: &'static str,
    pub bind_port: u16,
    /// Everything but its head and version.
    pub body: &'static str,
}

const DEFAULTS: Case = Case {
    name: "defaults",
    only: None,
    api_version: "kubeadm.k8s.io/v1beta4",
    advertise_address: "192.0.2.10",
    bind_port: 6443,
    body: "controlPlaneEndpoint: cp.example.org:6443\n",
};

/// Keys of an elliptic curve take kubeadm the least time; the defaults have the other ones.
pub const CASES: &[Case] = &[
    DEFAULTS,
    Case {
        name: "everything_extra",
        bind_port: 7443,
        body: "\
controlPlaneEndpoint: 203.0.113.5
clusterName: production
encryptionAlgorithm: ECDSA-P256
certificateValidityPeriod: 100h30m0s
networking: {podSubnet: 10.244.0.0/16, serviceSubnet: 10.20.0.0/16, dnsDomain: k8s.example.org}
apiServer:
  certSANs: [API.Example.Org, 203.0.113.6, '*.api.example.org']
  extraArgs:
  - {name: v, value: '4'}
  - {name: authorization-mode, value: 'Node,RBAC,Webhook'}
  - {name: audit-log-path, value: /var/log/audit.log}
  - {name: audit-log-path, value: /var/log/other.log}
  extraVolumes:
  - {name: audit, hostPath: /var/log, mountPath: /var/log/host, pathType: Directory}
  - {name: ca-certs, hostPath: /opt/certs, mountPath: /etc/ssl/certs, readOnly: true}
  extraEnvs:
  - {name: GOGC, value: '50'}
  - {name: HTTPS_PROXY, value: 'http://other:3128'}
  - {name: EMPTY}
  - {name: NODE_IP, valueFrom: {fieldRef: {fieldPath: status.hostIP}}}
controllerManager:
  extraArgs:
  - {name: bind-address, value: 0.0.0.0}
  - {name: flex-volume-plugin-dir, value: /opt/flex}
  extraVolumes: [{name: one, hostPath: /opt/one, mountPath: /one, readOnly: true, pathType: FileOrCreate}]
  extraEnvs: [{name: B, value: 'yes'}, {name: A, value: '1e3'}]
scheduler:
  extraArgs: [{name: bind-address, value: 192.0.2.10}]
etcd:
  local:
    dataDir: /etc/kubernetes/data
    imageRepository: registry.example.org/etcd
    imageTag: 3.5.21-0
    serverCertSANs: [etcd.example.org, 203.0.113.7, '*.etcd.example.org']
    peerCertSANs: [peer.example.org]
    extraArgs:
    - {name: listen-metrics-urls, value: 'https://0.0.0.0:2391,http://127.0.0.1:2381'}
    - {name: advertise-client-urls, value: 'https://192.0.2.10:2379'}
    extraEnvs: [{name: ETCD_QUOTA, value: '1'}]
",
        ..DEFAULTS
    },
    Case {
        name: "authorization_from_a_file",
        body: "\
controlPlaneEndpoint: cp.example.org
encryptionAlgorithm: ECDSA-P256
apiServer: {extraArgs: [{name: authorization-config, value: /etc/authorization.yaml}]}
etcd: {local: {dataDir: /var/lib/etcd, imageTag: custom}}
",
        ..DEFAULTS
    },
    Case {
        name: "ipv6",
        advertise_address: "fd00::10",
        body: "\
controlPlaneEndpoint: '[fd00::1]:8443'
encryptionAlgorithm: ECDSA-P384
networking: {podSubnet: 'fd00:244::/56', serviceSubnet: 'fd00:96::/112'}
etcd: {local: {dataDir: /var/lib/etcd, extraArgs: [{name: listen-metrics-urls, value: 'http://[::]:2381'}]}}
",
        ..DEFAULTS
    },
    Case {
        name: "two_families",
        body: "\
controlPlaneEndpoint: cp.example.org:6443
encryptionAlgorithm: ECDSA-P256
networking: {podSubnet: '10.244.0.0/16,fd00:244::/56', serviceSubnet: '10.96.0.0/16,fd00:96::/112'}
",
        ..DEFAULTS
    },
    Case {
        name: "external_etcd",
        body: "\
controlPlaneEndpoint: cp.example.org:6443
encryptionAlgorithm: ECDSA-P256
etcd:
  external:
    endpoints: ['https://192.0.2.21:2379', 'https://192.0.2.22:2379']
    caFile: /etc/etcd/ca/ca.crt
    certFile: /etc/etcd/client.crt
    keyFile: /etc/kubernetes/pki/etcd-client.key
",
        ..DEFAULTS
    },
    Case {
        name: "external_etcd_without_certificates",
        body: "\
controlPlaneEndpoint: cp.example.org:6443
encryptionAlgorithm: ECDSA-P256
etcd: {external: {endpoints: ['http://192.0.2.21:2379'], caFile: '', certFile: '', keyFile: ''}}
",
        ..DEFAULTS
    },
    Case {
        name: "other_folder_and_repository",
        body: "\
controlPlaneEndpoint: cp.example.org:6443
encryptionAlgorithm: ECDSA-P256
certificatesDir: /etc/kubernetes/other/pki
imageRepository: registry.example.org/mirror
",
        ..DEFAULTS
    },
    Case {
        name: "v1beta3",
        only: Some(KubernetesMinor::V1_35),
        api_version: "kubeadm.k8s.io/v1beta3",
        body: "\
controlPlaneEndpoint: cp.example.org:6443
apiServer: {timeoutForControlPlane: 4m0s, extraArgs: {v: '4', audit-log-path: /var/log/audit.log}}
etcd: {local: {extraArgs: {election-timeout: '2000'}}}
",
        ..DEFAULTS
    },
];

impl Case {
    /// The ClusterConfiguration.
    pub fn configuration(&self, version: &str) -> String {
        let Self { api_version, body, .. } = self;
        format!("apiVersion: {api_version}\nkind: ClusterConfiguration\nkubernetesVersion: {version}\n{body}")
    }

    /// What `kubeadm init` reads beside it.
    pub fn init_configuration(&self) -> String {
        let Self { api_version, advertise_address, bind_port, .. } = self;
        format!(
            "\
apiVersion: {api_version}
kind: InitConfiguration
localAPIEndpoint: {{advertiseAddress: '{advertise_address}', bindPort: {bind_port}}}
nodeRegistration: {{name: {NODE}, criSocket: unix:///run/containerd/containerd.sock}}
---
"
        )
    }

    /// The machine.
    pub fn member(&self) -> Result<Member, Failed> {
        Ok(Member {
            node_name: NODE.parse()?,
            advertise_address: self.advertise_address.parse()?,
            bind_port: self.bind_port,
        })
    }
}

const NODE: &str = "cp-2.example.org";
