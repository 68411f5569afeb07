//! Every name that two programs, or a program and a person, must agree on.
//!
//! Group and kinds, object names, signers, groups of identities, labels, field managers, condition types, reasons
//! and event reasons. A reason carries its meaning and the next step for a person, so that status messages, the
//! kubectl plugin and `docs/reasons.md` say the same.

mod condition_types;
mod documentation;
mod events;
mod names;
mod reasons;
mod recovery;
#[cfg(test)]
mod tests;

pub use condition_types::ConditionType;
pub use documentation::reasons_markdown;
pub use events::{EventReason, EventSeverity};
pub use names::*;
pub use reasons::{Reason, UnknownReason};
pub use recovery::Recovery;
