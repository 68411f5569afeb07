//! A real Kubernetes in network namespaces, for end-to-end tests, the demo and the benchmarks.
//!
//! Nothing here stands in for a part of Kubernetes: etcd, kube-apiserver, kube-controller-manager, kube-scheduler,
//! kubelet, kube-proxy, containerd and systemd are the real programs ([`components`] builds them from their Go
//! modules). What is made small is the hardware: a machine is a set of Linux namespaces ([`lab`]). The one exception is
//! asked for by name: [`lab::Lab::add_etcd_pod_stub`]. Where thousands of machines are needed, or one that an attacker has, they
//! are nothing but keys ([`stub_machine`])

pub mod bench;
pub mod chaos;
pub mod chart;
pub mod components;
pub mod demo;
pub mod helm;
pub mod host;
pub mod interrupt;
pub mod kubeadm;
pub mod lab;
pub mod operator;
pub mod prerequisites;
pub mod process;
pub mod progress;
pub mod snapshot;
pub mod stub_machine;
pub mod suite;
