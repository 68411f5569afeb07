//! `kubectl njr`: what an administrator does with join-operator, in kubectl's manner.
//!
//! Each command is a module. What it decides and what it shows are pure functions; what it asks the cluster goes
//! through a [`session::Session`], and what it shows through [`output`].
//!
//! Conventions, for every command: exit code 0 when it did what was asked, 1 when it did not, 2 when the command line was
//! not understood (as clap has it). Results go to standard output, everything else to standard error, errors as
//! `error: …`. Text from the cluster is never shown before its control characters are made visible. Secrets are shown
//! only where they are asked for.
//!
//! The program is given away linked statically. Its glibc then resolves the API server's name by files and DNS, on every
//! system; names that only another module of `/etc/nsswitch.conf` knows (mDNS, sssd) are not found.
#![warn(missing_docs)]

pub mod accept;
pub mod ca_hash;
pub mod check;
pub mod cli;
pub mod cluster_info;
pub mod completion;
pub mod create;
pub mod doctor;
pub mod enroll;
pub mod join_command;
pub mod join_configuration;
pub mod join_line;
pub mod machines;
pub mod options;
pub mod output;
pub mod request;
pub mod retry;
pub mod run;
pub mod secret_text;
pub mod session;
pub mod spec_options;
pub mod status;
pub mod token;
pub mod version;
