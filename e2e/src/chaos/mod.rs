//! Chaos: joins that are disturbed at random moments, and what must hold after each of them.
//!
//! [`plan`] draws the faults from a seed, [`fault`] carries them out in a lab, [`supervisor`] brings back what died as
//! a real host does, [`observe`] looks at what is there afterwards, [`judge`] says what of it must not be, and
//! [`report`] writes the tables of `docs/reliability.md`. Only `plan`, `judge`, `members` and `report` decide anything,
//! and they do no IO.

mod etcd;
mod fault;
mod join;
pub mod judge;
pub mod members;
mod observe;
pub mod plan;
pub mod report;
mod run;
mod supervisor;

pub use run::{Joins, Settings, run};
