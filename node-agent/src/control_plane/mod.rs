//! A machine that becomes a control plane.
//!
//! ```text
//!  prepare   read kubeadm-config and kubeadm-certs ─▶ certificates, kubeconfigs        nothing is written yet
//!     │
//!     ▼      (the join goes on as a worker's: certificate, files, kubelet)
//!  start     a member of etcd ─▶ etcd.yaml ─▶ it votes ─▶ the other manifests ─▶ all are Ready
//! ```
//!
//! What is written is computed by `join-control-plane`, as kubeadm of the cluster's minor version writes it. Unlike kubeadm,
//! the manifests of API server, controller manager and scheduler are written when etcd votes: they would only fail before.
//! The kubelet speaks to the API server of its own machine, as with kubeadm, and so registers its Node when that one is up.
//!
//! [`start`] goes by what lies on the machine alone, so that it can be gone on with after a kill.

mod error;
mod prepare;
mod start;

pub use self::error::Error;
pub use self::prepare::{Asked, Intended, Planned, prepare};
pub use self::start::{Started, start};
