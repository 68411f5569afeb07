//! What `kubeadm join --control-plane` needs: a machine with the images of the static pods, the address of an etcd
//! member, and the certificates in the cluster.
//!
//! From then on etcd has two members and needs both: when the machine ends, so does the lab's API. Such a lab is for
//! one test.

use std::fs;
use std::time::Duration;

use k8s_openapi::api::core::v1::PodSchedulingGate;
use secrecy::SecretString;
use serde_json::json;

use super::control_plane::{AUDIT_POLICY, AUDIT_POLICY_PLACE};
use super::error::{Error, at};
use super::layout::CONTROL_PLANE_MEMBER;
use super::{Lab, Machine, images, wait_until};

/// The programs of the one binary that kubeadm has images of.
const KUBERNETES_PROGRAMS: [&str; 4] = ["kube-apiserver", "kube-controller-manager", "kube-proxy", "kube-scheduler"];

impl Lab {
    /// Makes a machine as [`Lab::add_machine`] does, and puts there what a machine of a control plane needs besides: every
    /// image that kubeadm asks for and the policy of the audit log.
    ///
    /// It takes about 0.95 GB of the disk when its pods run, since each has its own copy of its image, and the lab 0.2 GB
    /// more for the first such machine.
    pub fn add_control_plane_machine(&self, name: &str) -> Result<Machine<'_>, Error> {
        let machine = self.add_machine(name)?;
        self.import_control_plane_images(&machine)?;
        // The host's, where the first control plane binds its own: etcd's folder is kubeadm's to make.
        let data = machine.path("/var/lib/etcd")?;
        if data.exists() {
            fs::remove_dir(&data).map_err(at(&data))?;
        }
        let policy = machine.path(AUDIT_POLICY_PLACE)?;
        let folder = policy.parent().unwrap_or(&policy);
        fs::create_dir_all(folder).map_err(at(folder))?;
        fs::write(&policy, AUDIT_POLICY).map_err(at(&policy))?;
        Ok(machine)
    }

    fn import_control_plane_images(&self, machine: &Machine<'_>) -> Result<(), Error> {
        let printed = self.kubeadm(&["config", "images", "list"])?;
        let of = |wanted: &str| printed.lines().filter(|image| image.contains(wanted)).collect::<Vec<_>>();
        let (kubernetes, etcd) = (self.components.kubernetes.join("kubernetes"), self.components.etcd.join("etcd"));
        for (names, program, links) in [(of("/kube-"), kubernetes, &KUBERNETES_PROGRAMS[..]), (of("/etcd:"), etcd, &[])]
        {
            let Some((first, others)) = names.split_first() else { continue };
            let name = program.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let archive = self.image_archive(&name);
            if !archive.exists() {
                images::write_static_pod_archive(&archive, first, &program, links)?;
            }
            // Unpacked once here: the kubelet starts all pods at once, and each would unpack the image for itself.
            machine.import(&archive, &["--local", "--snapshotter=native"])?;
            tag(machine, first, others)?;
        }
        tag(machine, images::PAUSE, &of("/pause:"))?;
        // kubeadm asks for it before it joins, though the lab has no name server and no pod is made of it.
        tag(machine, images::POD, &of("/coredns:"))
    }

    /// Makes a stub of the pod that the kubelet of the first control plane, which has none, would show for etcd: kubeadm
    /// reads the addresses of etcd's members from such pods (`getRawEtcdEndpointsFromPodAnnotation` in
    /// cmd/kubeadm/app/util/etcd).
    ///
    /// It is the pod of kubeadm's manifest with a scheduling gate, so that it has no node: of a Node that nobody keeps
    /// Ready, kube-controller-manager makes the pods not Ready, or removes them.
    pub fn add_etcd_pod_stub(&self) -> Result<(), Error> {
        let mut pod = self.manifest("etcd")?;
        let name = format!("etcd-{CONTROL_PLANE_MEMBER}");
        pod.metadata.name = Some(name.clone());
        if let Some(spec) = &mut pod.spec {
            spec.scheduling_gates = Some(vec![PodSchedulingGate { name: "lab.nodejoin.dev/stub".to_owned() }]);
        }
        wait_until("the ServiceAccount of pods in kube-system", Duration::from_mins(1), || {
            let account = ["get", "serviceaccount", "default", "--namespace=kube-system"];
            self.kubectl_output(&account).map(drop).map_err(|failure| failure.to_string())
        })?;
        let file = self.layout.folder().join("etcd-pod-stub.json");
        fs::write(&file, json!(pod).to_string()).map_err(at(&file))?;
        self.kubectl_output(&["create", "--filename", &file.display().to_string()])?;
        let status = json!({"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}});
        let patch = format!("--patch={status}");
        let pod = ["patch", "pod", &name, "--namespace=kube-system", "--subresource=status"];
        self.kubectl_output(&[&pod[..], &["--type=strategic", &patch]].concat()).map(drop)
    }

    /// Uploads the certificates of the control plane anew, for two hours, and returns the key that opens them. The keys
    /// of uploads before are worth nothing from then on.
    pub fn upload_certificates(&self) -> Result<SecretString, Error> {
        let printed = self.kubeadm(&["init", "phase", "upload-certs", "--upload-certs"])?;
        // An AES-256 key in hexadecimal, on a line of its own.
        let key = printed.lines().find(|line| line.len() == 64 && line.bytes().all(|byte| byte.is_ascii_hexdigit()));
        key.map(SecretString::from).ok_or(Error::NoCertificateKey)
    }
}

/// Gives an image of a machine more names.
fn tag(machine: &Machine<'_>, image: &str, names: &[&str]) -> Result<(), Error> {
    if names.is_empty() {
        return Ok(());
    }
    let tag = ["ctr", "--namespace=k8s.io", "images", "tag", "--local", image];
    machine.run(&[&tag[..], names].concat()).map(drop)
}
