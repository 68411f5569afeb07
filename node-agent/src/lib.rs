//! The agent on a machine that is to become a node.
//!
//! ```text
//!  configuration ─▶ discovery ─▶ announcement ─▶ watch of its own request
//!                   (is this API server            │ sealed credentials
//!                    the right one?)               ▼
//!                                   preflight ∥ discovery with the token
//!                                                  │ both passed: from here on the machine is changed
//!                                                  ▼
//!                     certificate ─▶ files ─▶ kubelet ─▶ healthz ─▶ the node's own identity
//! ```
//!
//! What is decided or rendered is in pure code ([`files`], [`config`], [`decision`], the `judge` of each of [`checks`]);
//! what touches the API, the disk or systemd is apart from it.

pub mod announce;
pub mod atomic_file;
pub mod check;
pub mod checks;
pub mod cli;
pub mod config;
pub mod connection;
pub mod control_plane;
pub mod cri;
pub mod decision;
pub mod discovery;
pub mod etcd;
pub mod files;
pub mod grpc;
pub mod host;
pub mod identity;
pub mod join;
pub mod journal;
pub mod kubelet;
pub mod local_status;
pub mod lock;
pub mod member;
pub mod mounts;
pub mod once;
pub mod own_request;
pub mod rejoin;
pub mod removal;
pub mod report;
pub mod reset;
pub mod run;
pub mod tls;
