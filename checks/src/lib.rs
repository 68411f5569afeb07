//! What a check found, and how that is shown.
//!
//! The agent's checks of a machine and the checks of a cluster have one shape: a stable id, what was expected, what was
//! seen and the command that mends it. Looking and judging are the callers'; this crate only holds and shows.

#![warn(missing_docs)]

pub mod clock;
#[cfg(feature = "cluster")]
pub mod cluster;
pub mod duration;
mod finding;
pub mod pauses;
mod report;
pub mod terminal;

pub use finding::{Finding, MACHINE_CHECKS, TROUBLESHOOTING, Verdict};
pub use report::{Format, Report};
