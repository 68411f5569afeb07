//! Checks of a cluster: is it fit for joins, is the operator well, and what weakens it.
//!
//! [`observe`](observe::observe) looks, and writes what it saw into [`Facts`]; the judges are pure functions from
//! there to findings. What may not be read is no failure: the finding then says which right was missing. The same
//! judges serve `kubectl njr check`, `kubectl njr doctor` and the controller's own check, whose rights differ.

mod approvers;
mod control_plane;
pub mod facts;
pub mod fix;
mod freshness;
pub mod ids;
mod installed;
mod judge;
mod leftovers;
pub mod observe;
mod policies;
mod rbac;
pub mod rights;
mod security;
mod shell;
#[cfg(test)]
mod tests;

pub use facts::{Facts, Look};
pub use judge::{Scope, check, doctor};
