//! Servers that are not the API server, and what the agent says of them.
//!
//! The attacker stands on the way between the machine and the cluster. He has the enrollment token, so he can sign any
//! cluster-info, and he has not the key of the cluster's certificate authority. The agent's own code looks for its
//! cluster here, over real TLS; what answers is a stub.
#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail the test")]

mod authority;
mod beside;
mod between;
mod limits;
mod named_files;
mod stub;
mod watch;
mod web;
