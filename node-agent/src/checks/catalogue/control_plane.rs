//! The checks of a machine that becomes a control plane, besides those of every machine. kubeadm's names and verdicts.

use join_checks::Verdict;

use super::{Kind, Moment, Origin};

/// These, in the order in which they are shown.
pub(super) fn all() -> std::slice::Iter<'static, Kind> {
    LIST.iter()
}

checks! {
    /// Processors.
    NUM_CPU = "NumCPU", Kubeadm, BeforeControlPlane, Failed,
        wants: "a control plane has at least 2 processors",
        why: "API server, etcd, controller manager and scheduler share them with everything else on the machine. As for \
              kubeadm, those count that the program may run on.",
        mend: "give the machine another processor, or waive the check where the cluster is for trying things out";
    /// Memory.
    MEM = "Mem", Kubeadm, BeforeControlPlane, Failed,
        wants: "a control plane has at least 1700 MiB of memory",
        why: "With less, the control plane's programs are ended for want of memory.",
        mend: "give the machine more memory, or waive the check where the cluster is for trying things out";
    /// The API server's port.
    PORT_API_SERVER = "Port-6443", Kubeadm, BeforeControlPlane, Failed,
        wants: "the API server's port is free",
        why: "The API server does not start without it. The check is named after the request's bindPort: Port-8443 where \
              that is 8443. As for kubeadm 1.37, bind-address in extraArgs of the cluster's configuration counts.",
        mend: "run `ss -ltnp sport = 6443` (or the bindPort) to see who has it, or choose another \
               controlPlane.localAPIEndpoint.bindPort in the request";
    /// The scheduler's port.
    PORT_SCHEDULER = "Port-10259", Kubeadm, BeforeControlPlane, Failed,
        wants: "kube-scheduler's port 10259 is free",
        why: "kube-scheduler does not start without it.",
        mend: "run `ss -ltnp sport = 10259` to see who has it";
    /// The controller manager's port.
    PORT_CONTROLLER_MANAGER = "Port-10257", Kubeadm, BeforeControlPlane, Failed,
        wants: "kube-controller-manager's port 10257 is free",
        why: "kube-controller-manager does not start without it.",
        mend: "run `ss -ltnp sport = 10257` to see who has it";
    /// etcd's port for clients.
    PORT_ETCD_CLIENT = "Port-2379", Kubeadm, BeforeControlPlane, Failed,
        wants: "etcd's port 2379 is free on the advertised address and on the loopback address",
        why: "etcd listens on both, and does not start without them. kubeadm looks at the advertised address alone. \
              Made where the control planes run etcd, as the next two are.",
        mend: "run `ss -ltnp sport = 2379` to see who has it";
    /// etcd's port for its other members.
    PORT_ETCD_PEER = "Port-2380", Kubeadm, BeforeControlPlane, Failed,
        wants: "etcd's port 2380 is free on the advertised address",
        why: "The other members reach this one there; etcd does not start without it.",
        mend: "run `ss -ltnp sport = 2380` to see who has it";
    /// etcd's data.
    ETCD_FOLDER = "DirAvailable--var-lib-etcd", Kubeadm, BeforeControlPlane, Failed,
        wants: "/var/lib/etcd is empty or does not exist",
        why: "etcd goes on with the data that it finds, which belongs to another member: it does not start, or starts \
              as that one.",
        mend: "if nobody needs the data any more, remove it: `kubeadm reset` does; `lost+found` of a file system of its \
               own can be removed, or the check waived";
    /// kube-apiserver's static pod.
    API_SERVER_MANIFEST = "FileAvailable--etc-kubernetes-manifests-kube-apiserver.yaml",
        Kubeadm, BeforeControlPlane, Failed,
        wants: "there is no /etc/kubernetes/manifests/kube-apiserver.yaml",
        why: "It is an earlier control plane's, which the kubelet would start before this one's is written.",
        mend: "run `kubeadm reset`, or move the file away";
    /// kube-controller-manager's static pod.
    CONTROLLER_MANAGER_MANIFEST = "FileAvailable--etc-kubernetes-manifests-kube-controller-manager.yaml",
        Kubeadm, BeforeControlPlane, Failed,
        wants: "there is no /etc/kubernetes/manifests/kube-controller-manager.yaml",
        why: "It is an earlier control plane's, which the kubelet would start before this one's is written.",
        mend: "run `kubeadm reset`, or move the file away";
    /// kube-scheduler's static pod.
    SCHEDULER_MANIFEST = "FileAvailable--etc-kubernetes-manifests-kube-scheduler.yaml",
        Kubeadm, BeforeControlPlane, Failed,
        wants: "there is no /etc/kubernetes/manifests/kube-scheduler.yaml",
        why: "It is an earlier control plane's, which the kubelet would start before this one's is written.",
        mend: "run `kubeadm reset`, or move the file away";
    /// etcd's static pod.
    ETCD_MANIFEST = "FileAvailable--etc-kubernetes-manifests-etcd.yaml", Kubeadm, BeforeControlPlane, Failed,
        wants: "there is no /etc/kubernetes/manifests/etcd.yaml",
        why: "It is an earlier control plane's, which the kubelet would start before this one's is written; with an etcd \
              elsewhere, too.",
        mend: "run `kubeadm reset`, or move the file away";
    /// What `kubeadm certs check-expiration` prints.
    CERTIFICATES = "ControlPlaneCertificates", Own, AfterControlPlane, Failed,
        wants: "the control plane's certificates are valid for another 30 days",
        why: "They are valid for a year, unless the cluster's configuration says otherwise, and nothing renews them but \
              `kubeadm upgrade` and `kubeadm certs renew`. With an expired one the API server, etcd or an administrator's \
              kubeconfig stops working. The kubelet's own certificate is KubeletCredential's.",
        mend: "run `kubeadm certs renew all` on the machine, then start its static pods anew: move each manifest out of \
               /etc/kubernetes/manifests, wait until its pod is gone, and move it back";
}
