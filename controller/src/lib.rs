//! The controller of join-operator: it turns a `NodeJoinRequest` into a Node.
//!
//! Decisions are pure functions in [`plan`]; [`act`] carries them out; [`cache`] holds what is known of the cluster;
//! [`record`] is what the controller itself remembers. [`run`](mod@run) puts them together.

pub mod act;
pub mod cache;
pub mod check;
pub mod cli;
pub mod client;
pub mod clock;
pub mod feeds;
pub mod lease;
pub mod metrics;
pub mod plan;
pub mod reconcile;
pub mod record;
pub mod run;
pub mod serve;
pub mod sweep;
pub mod telemetry;
pub mod world;
