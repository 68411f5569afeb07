//! Every check that exists: its id, what it wants, why, and what to do. The one place for their texts, from which
//! `docs/checks.md` is made as well.

use join_checks::{Finding, Verdict};

/// From whom a check's name and verdicts are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// kubeadm has a check of this name, and ours comes to the same verdict.
    Kubeadm,
    /// kubeadm lacks it.
    Own,
}

/// When a check is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// By `join-agent check`, and before anything is written in a join.
    Before,
    /// Before anything is written in the join of a control plane, besides those.
    BeforeControlPlane,
    /// On a machine that is a node, for as long as it is one.
    After,
    /// On a control plane, for as long as it is one, besides those.
    AfterControlPlane,
}

/// A check, apart from what one machine makes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kind {
    /// Its stable name.
    pub id: &'static str,
    /// From whom it is.
    pub origin: Origin,
    /// When it is made.
    pub moment: Moment,
    /// The worst that it can say without a waiver.
    pub worst: Verdict,
    /// A statement that is true when it passes.
    pub wants: &'static str,
    /// What goes wrong otherwise.
    pub why: &'static str,
    /// What to type, or to do.
    pub mend: &'static str,
}

impl Kind {
    /// It passed.
    pub fn passed(&self, observed: impl Into<String>) -> Finding {
        Finding::passed(self.id, self.wants, observed)
    }

    /// It failed; what to do is what the catalogue says.
    pub fn failed(&self, observed: impl Into<String>) -> Finding {
        self.failed_with(observed, self.mend)
    }

    /// It failed, and there is something better to do than what the catalogue says.
    pub fn failed_with(&self, observed: impl Into<String>, mend: impl Into<String>) -> Finding {
        Finding::failed(self.id, self.wants, observed, mend)
    }

    /// Not as it should be, and not in the way.
    pub fn warning(&self, observed: impl Into<String>) -> Finding {
        self.failed(observed).as_warning()
    }

    /// It was not made, and why.
    pub fn skipped(&self, why: impl Into<String>) -> Finding {
        Finding::skipped(self.id, self.wants, why)
    }

    /// Passed when there is no problem, failed with the problem otherwise.
    pub fn unless(&self, problem: Option<String>, well: impl Into<String>) -> Finding {
        match problem {
            None => self.passed(well),
            Some(observed) => self.failed(observed),
        }
    }
}

/// Declares checks: a constant for each, and the list of them.
macro_rules! checks {
    ($($(#[$doc:meta])* $name:ident = $id:literal, $origin:ident, $moment:ident, $worst:ident,
        wants: $wants:literal, why: $why:literal, mend: $mend:literal;)*) => {
        $($(#[$doc])* pub const $name: Kind = Kind {
            id: $id, origin: Origin::$origin, moment: Moment::$moment, worst: Verdict::$worst,
            wants: $wants, why: $why, mend: $mend,
        };)*

        /// They, in the order in which they are shown.
        const LIST: &[Kind] = &[$($name),*];
    };
}

pub mod control_plane;

/// Every check, in the order in which they are shown.
pub fn all() -> impl Iterator<Item = &'static Kind> {
    LIST.iter().chain(control_plane::all())
}

checks! {
    /// `join-agent check` only.
    CONFIGURATION = "Configuration", Own, Before, Failed,
        wants: "the agent's configuration file can be used",
        why: "Without it the agent cannot start. A machine without one can be checked all the same, as far as that \
              does not need to know the cluster.",
        mend: "write it with `kubectl njr enroll` and put it into /etc/join-agent/config.yaml, mode 0600";
    /// `join-agent check` only, and only where the configuration names a URL.
    DISCOVERY_FILE = "DiscoveryFile", Own, Before, Failed,
        wants: "the discovery file can be fetched from its URL, and names the cluster",
        why: "It says where the API server is and by which authority to know it. Without it the agent tries again, and \
              does not announce the machine. A file on the machine itself is read with the configuration.",
        mend: "ask for it on the machine with `curl -v URL > /dev/null`; what does not lead to a cluster is repaired on \
               the web server";
    /// Names in `ignorePreflightErrors` that no check has.
    WAIVERS = "Waivers", Own, Before, Warning,
        wants: "every name in ignorePreflightErrors is the name of a check",
        why: "A misspelt waiver waives nothing, and the join fails as if it were not there.",
        mend: "compare the names with those in docs/checks.md";
    /// kubeadm's first check.
    IS_PRIVILEGED_USER = "IsPrivilegedUser", Kubeadm, Before, Failed,
        wants: "the program runs as root",
        why: "Only root may write the node's files and start the kubelet.",
        mend: "run it as root";
    /// The kubelet's kubeconfig.
    KUBELET_CONF = "FileAvailable--etc-kubernetes-kubelet.conf", Kubeadm, Before, Failed,
        wants: "there is no /etc/kubernetes/kubelet.conf",
        why: "A machine with a kubelet.conf is a node, or was one and still has that node's files.",
        mend: "if this machine is to join anew, run `join-agent reset --all` or `kubeadm reset` first";
    /// A kubeconfig with a token in it.
    BOOTSTRAP_CONF = "FileAvailable--etc-kubernetes-bootstrap-kubelet.conf", Kubeadm, Before, Failed,
        wants: "there is no /etc/kubernetes/bootstrap-kubelet.conf",
        why: "It holds a token in clear. `kubeadm join` leaves it when it is interrupted, and a kubelet that finds it \
              asks for a certificate on its own account.",
        mend: "run `join-agent reset --all` or `kubeadm reset`";
    /// The cluster's authorities.
    CA_CRT = "FileAvailable--etc-kubernetes-pki-ca.crt", Kubeadm, Before, Failed,
        wants: "there is no /etc/kubernetes/pki/ca.crt, or it is that of the cluster to be joined",
        why: "kubeadm leaves a file that it finds there and does not compare it, so the kubelet would let another \
              cluster's API server in. What an interrupted join of this very cluster left is no fault here, whereas \
              kubeadm refuses it.",
        mend: "if this machine is to leave the other cluster, run `join-agent reset --all` or `kubeadm reset`";
    /// The kubelet's certificate.
    CLIENT_PEM = "FileAvailable--var-lib-kubelet-pki-kubelet-client-current.pem", Own, Before, Failed,
        wants: "there is no client certificate of an earlier cluster in /var/lib/kubelet/pki",
        why: "A kubelet that finds a certificate for its name uses it, and does not ask for one of the new cluster. \
              kubeadm does not look there.",
        mend: "run `join-agent reset --all` or `kubeadm reset`";
    /// Static pods.
    MANIFESTS = "DirAvailable--etc-kubernetes-manifests", Own, Before, Failed,
        wants: "there are no static pods of an earlier control plane in /etc/kubernetes/manifests",
        why: "The kubelet starts every pod in that folder. Those of an earlier control plane would come back to life \
              on the worker; any other is told, and does not stop the join. Where the machine becomes a control plane, \
              each file of one has a check of its own.",
        mend: "run `join-agent reset --all` or `kubeadm reset`, or move the files away";
    /// Connect and Status.
    CRI = "CRI", Kubeadm, Before, Failed,
        wants: "the container runtime answers on its socket and says that it is ready",
        why: "The kubelet cannot start without a container runtime that speaks CRI v1.",
        mend: "run `systemctl status containerd` (or crio), and compare criSocket with the runtime's socket";
    /// RuntimeConfig.
    CONTAINER_RUNTIME_VERSION = "ContainerRuntimeVersion", Kubeadm, Before, Failed,
        wants: "the container runtime has the CRI call RuntimeConfig",
        why: "By it the kubelet learns the cgroup driver. Without it (a warning) the kubelet falls back to its own \
              configuration, which Kubernetes 1.38 ends.",
        mend: "upgrade the container runtime: containerd 2.0 or CRI-O 1.28 and later have it";
    /// What Version answers.
    CRI_VERSION = "CRIVersion", Own, Before, Failed,
        wants: "the container runtime speaks CRI v1",
        why: "Kubelets since 1.26 speak no other version.",
        mend: "upgrade the container runtime: containerd 1.6 or CRI-O 1.23 and later speak CRI v1";
    /// The default handler.
    RUNTIME_HANDLER = "RuntimeHandler", Own, Before, Warning,
        wants: "the container runtime has a default runtime handler",
        why: "Pods without a RuntimeClass use the default handler; without one each of them fails.",
        mend: "set the default runtime in the container runtime's configuration";
    /// systemd or cgroupfs.
    CGROUP_DRIVER = "CgroupDriver", Own, Before, Warning,
        wants: "the container runtime and the cluster's kubelet configuration name the same cgroup driver",
        why: "Two drivers on one machine manage the same cgroups against each other. Where the runtime tells its \
              driver, the kubelet takes that one and not the configured one.",
        mend: "set SystemdCgroup in containerd's configuration (cgroup_manager in CRI-O's) to match cgroupDriver in the \
               ConfigMap kube-system/kubelet-config";
    /// Swap devices.
    SWAP = "Swap", Kubeadm, Before, Warning,
        wants: "no swap device is in use",
        why: "Kubernetes supports swap with cgroup v2 only, and only where the kubelet is configured for it.",
        mend: "run `swapoff -a` and take the devices out of /etc/fstab, or configure the kubelet for swap";
    /// failSwapOn.
    FAIL_SWAP_ON = "FailSwapOn", Own, Before, Failed,
        wants: "no swap device is in use, or the cluster's kubelet configuration says failSwapOn: false",
        why: "With swap and failSwapOn, which is true unless set, the kubelet ends at its start.",
        mend: "run `swapoff -a`, or set failSwapOn: false in the ConfigMap kube-system/kubelet-config";
    /// For block volumes.
    LOSETUP = "FileExisting-losetup", Kubeadm, Before, Failed,
        wants: "losetup is in the search path",
        why: "The kubelet starts it for block volumes.",
        mend: "install it: it is in the package util-linux or mount";
    /// For volumes.
    MOUNT = "FileExisting-mount", Kubeadm, Before, Failed,
        wants: "mount is in the search path",
        why: "The kubelet starts it for volumes.",
        mend: "install it: it is in the package util-linux or mount";
    /// kubeadm's own need.
    CP = "FileExisting-cp", Kubeadm, Before, Failed,
        wants: "cp is in the search path",
        why: "kubeadm starts it when it upgrades the machine later.",
        mend: "install it: it is in the package coreutils";
    /// Kernel and cgroups.
    SYSTEM_VERIFICATION = "SystemVerification", Kubeadm, Before, Failed,
        wants: "the kernel's version, its configuration and its cgroup controllers suffice for Kubernetes",
        why: "Pods need the kernel's namespaces, cgroup controllers and packet filters. Kubelets since 1.35 refuse \
              cgroup v1 unless failCgroupV1 is false.",
        mend: "boot a kernel with what is missing; to leave cgroup v1, boot with systemd.unified_cgroup_hierarchy=1";
    /// Format and resolution of the node's name.
    HOSTNAME = "Hostname", Kubeadm, Before, Warning,
        wants: "the node's name has the right form and resolves",
        why: "The API server may reach the kubelet by its host name, and the kubelet looks its own address up by it.",
        mend: "add the name to the network's DNS or to /etc/hosts";
    /// Host name and node name.
    NODE_NAME = "NodeName", Own, Before, Warning,
        wants: "the machine's host name is the node's name",
        why: "The kubelet is told its name with --hostname-override then, which some cloud providers do not honour.",
        mend: "run `hostnamectl set-hostname NAME`, or name the request as the machine is named";
    /// kubelet --version.
    KUBELET_VERSION = "KubeletVersion", Kubeadm, Before, Failed,
        wants: "a kubelet is installed whose version this agent knows how to configure",
        why: "The files that a kubelet starts from differ between versions; one that is more than three minor versions \
              old is supported by no current control plane.",
        mend: "install the kubelet of the control plane's version";
    /// Against the control plane.
    KUBELET_VERSION_SKEW = "KubeletVersionSkew", Own, Before, Failed,
        wants: "the kubelet is not newer than the control plane, and at most three minor versions older",
        why: "Kubernetes' version skew policy. `kubeadm join` does not compare the two.",
        mend: "install the kubelet of the control plane's version, or upgrade the control plane first";
    /// Exists and is enabled.
    SERVICE_KUBELET = "Service-kubelet", Kubeadm, Before, Warning,
        wants: "systemd knows the kubelet's service and starts it at boot",
        why: "A kubelet that is not enabled does not come back after a reboot, unless the agent starts it.",
        mend: "run `systemctl enable kubelet.service`";
    /// Loaded.
    KUBELET_UNIT = "KubeletUnit", Own, Before, Failed,
        wants: "systemd can load kubelet.service",
        why: "The agent starts the kubelet through systemd: without a sound unit the join would fail after the \
              certificate was issued.",
        mend: "install the package kubelet, or run `systemctl unmask kubelet.service`";
    /// The drop-in of the packages.
    KUBELET_DROP_IN = "KubeletDropIn", Own, Before, Failed,
        wants: "the kubelet's unit starts it with the kubeconfig and the configuration file of a joined node",
        why: "A kubelet without --kubeconfig runs by itself: it is healthy and never becomes a node. What it needs is \
              in the drop-in 10-kubeadm.conf of the package kubeadm.",
        mend: "install the package kubeadm, or write /etc/systemd/system/kubelet.service.d/10-kubeadm.conf as the \
               Kubernetes documentation shows it, then run `systemctl daemon-reload`";
    /// The kubelet's own port.
    PORT_10250 = "Port-10250", Kubeadm, Before, Failed,
        wants: "the kubelet's port 10250 is free",
        why: "The kubelet serves logs, exec and metrics there, and does not start without it.",
        mend: "run `ss -ltnp sport = 10250` to see who has it; a running kubelet is ended by `systemctl stop kubelet`";
    /// The API server through a proxy.
    HTTP_PROXY = "HTTPProxy", Kubeadm, Before, Warning,
        wants: "the API server is reached directly, not through a proxy",
        why: "Watches and long requests fail through most proxies.",
        mend: "add the API server to NO_PROXY";
    /// Services and pods through a proxy.
    HTTP_PROXY_CIDR = "HTTPProxyCIDR", Kubeadm, Before, Warning,
        wants: "the cluster's Service and pod networks are reached directly, not through a proxy",
        why: "A proxy outside the cluster cannot reach them. kubeadm makes this check on control planes only.",
        mend: "add the networks to NO_PROXY";
    /// The kubelet's and the runtime's own proxy variables.
    PROXY_VARIABLES = "ProxyVariables", Own, Before, Warning,
        wants: "the kubelet and the container runtime reach the API server directly, not through a proxy",
        why: "Proxy variables in their units count for them, and not those of the shell in which kubeadm runs.",
        mend: "add the API server's host and the cluster's networks to NO_PROXY in the unit's Environment=";
    /// IPv4.
    IP_FORWARD = "FileContent--proc-sys-net-ipv4-ip_forward", Kubeadm, Before, Failed,
        wants: "net.ipv4.ip_forward is 1",
        why: "Without it packets do not get from one pod to the next. kubeadm looks only when the API server is given \
              as an address; here a name is resolved and its address's family counts.",
        mend: "run `sysctl -w net.ipv4.ip_forward=1`, and write it into /etc/sysctl.d/k8s.conf";
    /// IPv6.
    IP6_FORWARD = "FileContent--proc-sys-net-ipv6-conf-default-forwarding", Kubeadm, Before, Failed,
        wants: "net.ipv6.conf.default.forwarding is 1",
        why: "Without it packets do not get from one pod to the next.",
        mend: "run `sysctl -w net.ipv6.conf.default.forwarding=1`, and write it into /etc/sysctl.d/k8s.conf";
    /// node-ip.
    NODE_IP = "NodeIP", Own, Before, Failed,
        wants: "each address that the node is to have is on an interface of this machine",
        why: "A kubelet whose --node-ip is nowhere registers a Node without an address.",
        mend: "correct node-ip in kubeletExtraArgs or nodeAddresses in the agent's configuration: `ip address` shows \
               what there is";
    /// More than one.
    NODE_IP_CANDIDATES = "NodeIPCandidates", Own, Before, Warning,
        wants: "the machine has one address that the node can have, or is told which one to take",
        why: "The kubelet takes the address that the node's name resolves to, else that of the default route. With \
              several networks that is often another one than meant.",
        mend: "add {name: node-ip, value: ADDRESS} to kubeletExtraArgs in the request";
    /// Space and a writable file system.
    DISK_SPACE = "DiskSpace", Own, Before, Failed,
        wants: "the node's file systems can be written and have room",
        why: "Below 10 % of free space, or 5 % of free inodes, a kubelet evicts pods at once; on a full or read-only \
              file system the join's own files cannot be written.",
        mend: "make room, or mount a larger file system: `df -h` and `df -i` show them";
    /// Resolution of the API server's name.
    API_SERVER_DNS = "APIServerDNS", Own, Before, Failed,
        wants: "the API server's name resolves",
        why: "Nothing else can be tried before.",
        mend: "check /etc/resolv.conf and the name in the agent's configuration: `getent hosts NAME`";
    /// Connection.
    API_SERVER_TCP = "APIServerTCP", Own, Before, Failed,
        wants: "the API server's port accepts connections from this machine",
        why: "Refused means that nothing listens there; silence, that a firewall or a route is in the way.",
        mend: "check the address and the port, the firewalls between, and that the API server runs";
    /// TLS.
    API_SERVER_TLS = "APIServerTLS", Own, Before, Failed,
        wants: "the API server proves itself with a certificate of the cluster's authority",
        why: "Without that anybody on the way could pretend to be the API server.",
        mend: "compare caCertHashes with `kubectl njr ca-hash`, and the certificate's names with the address";
    /// Discovery.
    CLUSTER_INFO = "ClusterInfo", Own, Before, Failed,
        wants: "cluster-info is signed with the agent's token and names a pinned authority",
        why: "It is what tells this machine which authority to trust (kubeadm's discovery).",
        mend: "make a new token with `kubectl njr enroll` if the old one has expired, and compare caCertHashes with \
               `kubectl njr ca-hash`";
    /// This machine's clock.
    CLOCK_SKEW = "ClockSkew", Own, Before, Failed,
        wants: "this machine's clock and the API server's differ by less than 5 minutes (10 seconds without a warning)",
        why: "Certificates are valid from 5 minutes before they are issued: a clock that is further behind finds its \
              own certificate not valid yet. Tokens and leases suffer from both directions.",
        mend: "synchronise the clock: `timedatectl set-ntp true`, or chrony";
    /// The Node object.
    NODE_REGISTERED = "NodeRegistered", Own, After, Failed,
        wants: "the cluster has the Node, with an address that the request allows",
        why: "A kubelet that runs and has not registered is no node. An administrator may have deleted the Node.",
        mend: "run `journalctl -u kubelet` on the machine: the kubelet says why it does not register";
    /// The Node's Ready condition.
    NODE_READY = "NodeReady", Own, After, Failed,
        wants: "the Node is Ready",
        why: "No pod is scheduled to a node that is not Ready. The Node's own reason is repeated here.",
        mend: "run `kubectl describe node NAME`; where it names the network plugin, install the cluster's CNI plugin";
    /// The unit.
    KUBELET_SERVICE = "KubeletService", Own, After, Failed,
        wants: "kubelet.service is active, and is started at boot",
        why: "A node without a kubelet becomes NotReady within a minute and its pods are moved away.",
        mend: "run `systemctl enable --now kubelet.service`, and `journalctl -u kubelet` if it does not stay up";
    /// kube-proxy in a pod or a unit.
    KUBE_PROXY = "KubeProxy", Own, After, Failed,
        wants: "kube-proxy runs on this machine, where the cluster uses it",
        why: "Without it no Service is reached from this node. Clusters whose network plugin replaces kube-proxy have \
              none, which is no fault.",
        mend: "run `kubectl -n kube-system get pods -l k8s-app=kube-proxy -o wide`, and look at the logs of this node's";
    /// kubelet.conf and certificate.
    KUBELET_CREDENTIAL = "KubeletCredential", Own, After, Failed,
        wants: "kubelet.conf is there, and its certificate is valid for this node",
        why: "The kubelet cannot speak to the API server without. It renews its certificate by itself while it runs; a \
              machine that was off for longer than the certificate lasts has to join again.",
        mend: "run `join-agent reset` and let the machine join again";
    /// config.yaml.
    KUBELET_CONFIGURATION = "KubeletConfiguration", Own, After, Failed,
        wants: "/var/lib/kubelet/config.yaml is there and can be read",
        why: "The kubelet does not start again without it.",
        mend: "put the file back from another node of the same version, or run `join-agent reset` and join again";
}

/// Whether a waiver of this name means something: a check of ours, or one that kubeadm alone makes (on control planes, in
/// `kubeadm init`). Names are compared without case.
pub fn is_known(name: &str) -> bool {
    /// Those that kubeadm alone makes.
    const ELSEWHERE: [&str; 6] = [
        "KubernetesVersion",
        "Firewalld",
        "ImagePull",
        "ExternalEtcdVersion",
        "ExternalEtcdClientCertificates",
        "FileExisting-conntrack",
    ];
    /// Families whose names are made of a path or a port.
    const FAMILIES: [&str; 5] = ["FileAvailable--", "DirAvailable--", "FileContent--", "FileExisting-", "Port-"];
    let is_same = |known: &str| known.eq_ignore_ascii_case(name);
    let is_of = |family: &&str| name.get(..family.len()).is_some_and(|start| start.eq_ignore_ascii_case(family));
    is_same("all")
        || all().any(|kind| is_same(kind.id))
        || ELSEWHERE.iter().any(|known| is_same(known))
        || (FAMILIES.iter().any(is_of) && !looks_like_one_of_ours(name))
}

/// A name that differs from one of ours in little is a mistake, although its family exists.
fn looks_like_one_of_ours(name: &str) -> bool {
    let stem = |text: &str| text.to_ascii_lowercase().chars().filter(char::is_ascii_alphanumeric).collect::<String>();
    let given = stem(name);
    all().any(|kind| stem(kind.id) == given)
}

#[cfg(test)]
#[path = "catalogue_tests.rs"]
mod tests;
