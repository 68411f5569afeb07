//! The protocols that carry a machine into a cluster, as pure code.
//!
//! Nothing here opens a file or a socket, reads a clock or knows a Kubernetes client: the controller and the agent
//! both call it with what they have read, and carry out what it answers. That keeps every decision of the chain of
//! trust in one crate that can be tested with vectors, properties and fuzzers.
//!
//! | module | question it answers |
//! |---|---|
//! | [`token`] | is this a bootstrap token, and what does its Secret hold? |
//! | [`jws`] | did somebody who knows the token sign this cluster-info? |
//! | [`pin`] | is this the public key that was promised? |
//! | [`ca_bundle`], [`endpoint`] | which certificates and which address may be trusted from here on? |
//! | [`cluster_info`] | what may a machine believe of an anonymous answer from an unverified server? |
//! | [`kubeconfig`] | what does a discovery file say? |
//! | [`join_configuration`] | what does a file that was written for `kubeadm join` say? |
//! | [`yaml`], [`go_yaml`] | how is YAML read within limits, and written as Go writes it? |
//! | [`machine_key`], [`announcement`] | which machine is this, and does it hold its key? |
//! | [`sealing`], [`credentials`] | how do credentials reach exactly one machine through a public object? |
//! | [`pkcs10`], [`policy`] | may this certificate signing request be approved? |
//!
//! Every parser here takes hostile input: it cuts by size first (see [`limits`]), it never panics, and its errors
//! never contain a secret. Each has a fuzz target in the repository's `fuzz/` directory.
#![deny(missing_docs)]

pub mod announcement;
pub mod ca_bundle;
pub mod certificate_key;
pub mod cluster_info;
pub mod credentials;
pub mod endpoint;
pub mod go_yaml;
pub mod join_configuration;
pub mod jws;
pub mod kubeconfig;
pub mod kubeconfig_url;
pub mod limits;
pub mod machine_key;
pub mod names;
mod pem_text;
pub mod pin;
pub mod pkcs10;
pub mod policy;
pub mod sealing;
#[cfg(test)]
mod test_support;
pub mod token;
pub mod yaml;

/// Seconds since 1970-01-01T00:00:00Z, the one form in which times cross this crate's border.
///
/// The Kubernetes client and the X.509 libraries use different time types; whole seconds are what both have.
pub type UnixSeconds = i64;
