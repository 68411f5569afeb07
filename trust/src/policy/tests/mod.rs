//! Tests of the policy: each rule both ways, the incidents it was made of, and properties over mutated requests.

mod details;
mod hostile;
mod incidents;
mod mutations;
mod rules;
mod scene;
mod siblings;
mod subjects;
pub(super) mod without;
