//! The agent on a machine that is to become a node.
pub mod atomic_file;
pub mod config;
pub mod files;
pub mod identity;
