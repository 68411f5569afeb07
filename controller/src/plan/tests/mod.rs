//! Decisions over whole joins, in a world that a few lines model: every step has exactly the effect that its write has.

mod control_planes;
mod joins;
mod model;
mod refusals;
mod removals;
mod replacements;
mod restarts;
mod retries;

pub(crate) use model::{Machine, Model, request};
