//! Conditions: how a status tells what has been done, what is under way and what is wrong.
//!
//! Every condition is there from the first visit, in the order of [`ConditionType::ALL`], each with the generation
//! that it answers; `lastTransitionTime` changes only when the status does. Tools such as `kubectl wait` and Helm
//! rely on all three.

use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::Timestamp;

use crate::vocabulary::{ConditionType, Reason};

/// Bytes of a message that are kept. metav1 allows 32 KiB; people read one screen.
pub const MAX_MESSAGE_BYTES: usize = 2048;

/// Whether a condition holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ConditionStatus {
    /// It holds.
    True,
    /// It does not hold.
    False,
    /// It has not been looked at, or cannot be told.
    Unknown,
}

impl ConditionStatus {
    /// The status as the API has it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}

impl From<bool> for ConditionStatus {
    fn from(holds: bool) -> Self {
        if holds { Self::True } else { Self::False }
    }
}

impl fmt::Display for ConditionStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Every condition as it is on the first visit: Unknown, with reason [`Reason::Progressing`].
pub fn initial(generation: i64, now: Timestamp) -> Vec<Condition> {
    ConditionType::ALL
        .into_iter()
        .map(|condition_type| Condition {
            type_: condition_type.as_str().to_owned(),
            status: ConditionStatus::Unknown.as_str().to_owned(),
            reason: Reason::Progressing.as_str().to_owned(),
            message: String::new(),
            observed_generation: Some(generation),
            last_transition_time: whole_seconds(now),
        })
        .collect()
}

/// Adds the conditions that are missing, as [`initial`] has them, and puts all of ours into their order.
///
/// Conditions of types that are not ours stay, behind ours.
pub fn complete(conditions: &mut Vec<Condition>, generation: i64, now: Timestamp) {
    for missing in initial(generation, now) {
        if !conditions.iter().any(|condition| condition.type_ == missing.type_) {
            conditions.push(missing);
        }
    }
    conditions.sort_by_key(|condition| position(&condition.type_));
}

/// Sets one condition, and tells whether anything in it changed.
///
/// The message is cut and cleaned as [`clean_message`] does it.
pub fn set(
    conditions: &mut Vec<Condition>,
    condition_type: ConditionType,
    status: ConditionStatus,
    reason: Reason,
    message: &str,
    generation: i64,
    now: Timestamp,
) -> bool {
    let message = clean_message(message);
    let Some(condition) = conditions.iter_mut().find(|condition| condition.type_ == condition_type.as_str()) else {
        conditions.push(Condition {
            type_: condition_type.as_str().to_owned(),
            status: status.as_str().to_owned(),
            reason: reason.as_str().to_owned(),
            message,
            observed_generation: Some(generation),
            last_transition_time: whole_seconds(now),
        });
        conditions.sort_by_key(|condition| position(&condition.type_));
        return true;
    };
    let before = condition.clone();
    if condition.status != status.as_str() {
        status.as_str().clone_into(&mut condition.status);
        condition.last_transition_time = whole_seconds(now);
    }
    reason.as_str().clone_into(&mut condition.reason);
    condition.message = message;
    condition.observed_generation = Some(generation);
    *condition != before
}

/// The condition of this type, if it is there.
pub fn get(conditions: &[Condition], condition_type: ConditionType) -> Option<&Condition> {
    conditions.iter().find(|condition| condition.type_ == condition_type.as_str())
}

/// Whether the condition of this type is there and True.
pub fn is_true(conditions: &[Condition], condition_type: ConditionType) -> bool {
    get(conditions, condition_type).is_some_and(|condition| condition.status == ConditionStatus::True.as_str())
}

/// The reason of the condition of this type, if it is there and of this version.
pub fn reason(conditions: &[Condition], condition_type: ConditionType) -> Option<Reason> {
    get(conditions, condition_type).and_then(|condition| condition.reason.parse().ok())
}

/// A message that is safe to store and to print: at most [`MAX_MESSAGE_BYTES`], no control characters.
///
/// Messages quote what agents and certificate requests say; an escape sequence in them would reach the terminals of
/// admins.
pub fn clean_message(message: &str) -> String {
    const ELLIPSIS: char = '…';
    let cleaned = message.chars().map(|character| if character.is_control() { ' ' } else { character });
    let mut kept = String::with_capacity(message.len().min(MAX_MESSAGE_BYTES));
    for character in cleaned {
        if kept.len() + character.len_utf8() > MAX_MESSAGE_BYTES - ELLIPSIS.len_utf8() {
            kept.push(ELLIPSIS);
            break;
        }
        kept.push(character);
    }
    kept
}

/// Place of a condition type in a status; foreign types come last.
fn position(condition_type: &str) -> usize {
    ConditionType::ALL.iter().position(|known| known.as_str() == condition_type).unwrap_or(ConditionType::ALL.len())
}

/// The API keeps whole seconds: with fractions, what is written would differ from what is read back.
fn whole_seconds(now: Timestamp) -> Time {
    let seconds = Timestamp::from_second(now.as_second()).unwrap_or(now);
    Time(seconds)
}
