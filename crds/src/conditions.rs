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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn ready(conditions: &[Condition]) -> &Condition {
        get(conditions, ConditionType::Ready).unwrap()
    }

    #[test]
    fn the_first_visit_knows_every_condition_and_claims_nothing() {
        let conditions = initial(3, at(100));
        let types: Vec<&str> = conditions.iter().map(|condition| condition.type_.as_str()).collect();
        assert_eq!(types, ConditionType::ALL.map(ConditionType::as_str));
        for condition in &conditions {
            assert_eq!((condition.status.as_str(), condition.reason.as_str()), ("Unknown", "Progressing"));
            assert_eq!(condition.observed_generation, Some(3));
        }
    }

    #[test]
    fn the_transition_time_changes_with_the_status_and_with_nothing_else() {
        let mut conditions = initial(1, at(100));
        let mut step = |status, reason, message: &str, generation, second| {
            let changed = set(&mut conditions, ConditionType::Ready, status, reason, message, generation, at(second));
            let condition = ready(&conditions).clone();
            (changed, condition.last_transition_time.0.as_second(), condition.observed_generation)
        };
        let (no, yes) = (ConditionStatus::False, ConditionStatus::True);
        assert_eq!(step(no, Reason::WaitingForMachine, "a", 1, 200), (true, 200, Some(1)));
        assert_eq!(step(no, Reason::WaitingForMachine, "a", 1, 300), (false, 200, Some(1)));
        assert_eq!(step(no, Reason::WaitingForMachine, "b", 1, 300), (true, 200, Some(1)));
        assert_eq!(step(no, Reason::Joining, "b", 1, 300), (true, 200, Some(1)));
        assert_eq!(step(no, Reason::Joining, "b", 2, 300), (true, 200, Some(2)));
        assert_eq!(step(yes, Reason::Joined, "", 2, 400), (true, 400, Some(2)));
    }

    #[test]
    fn a_fraction_of_a_second_is_no_change_when_it_is_read_back() {
        let mut conditions = Vec::new();
        let now = Timestamp::from_millisecond(1_700_000_000_750).unwrap();
        set(&mut conditions, ConditionType::Ready, ConditionStatus::True, Reason::Joined, "", 1, now);
        let text = serde_json::to_string(&conditions).unwrap();
        assert_eq!(serde_json::from_str::<Vec<Condition>>(&text).unwrap(), conditions);
        assert!(text.contains("\"2023-11-14T22:13:20Z\""), "{text}");
    }

    #[test]
    fn conditions_set_in_any_order_stand_in_the_order_of_a_join() {
        let mut conditions = Vec::new();
        for condition_type in ConditionType::ALL.into_iter().rev() {
            assert!(set(&mut conditions, condition_type, ConditionStatus::False, Reason::Progressing, "", 1, at(100)));
        }
        let types: Vec<&str> = conditions.iter().map(|condition| condition.type_.as_str()).collect();
        assert_eq!(types, ConditionType::ALL.map(ConditionType::as_str));
    }

    #[test]
    fn completing_keeps_what_is_there_and_puts_foreign_conditions_last() {
        let mut conditions = Vec::new();
        let foreign = Condition { type_: "example.com/Audited".to_owned(), ..initial(1, at(50))[0].clone() };
        conditions.push(foreign.clone());
        set(
            &mut conditions,
            ConditionType::Stalled,
            ConditionStatus::True,
            Reason::DeadlineExceeded,
            "late",
            1,
            at(60),
        );
        complete(&mut conditions, 2, at(100));
        assert_eq!(conditions.len(), ConditionType::ALL.len() + 1);
        assert_eq!(conditions.last(), Some(&foreign));
        assert!(is_true(&conditions, ConditionType::Stalled));
        assert_eq!(reason(&conditions, ConditionType::Stalled), Some(Reason::DeadlineExceeded));
        assert_eq!(ready(&conditions).observed_generation, Some(2));
        let again = conditions.clone();
        complete(&mut conditions, 2, at(200));
        assert_eq!(conditions, again);
    }

    #[test]
    fn absent_conditions_and_unknown_reasons_are_told_apart_from_true_ones() {
        assert!(!is_true(&[], ConditionType::Ready));
        assert_eq!(get(&[], ConditionType::Ready), None);
        let mut conditions = initial(1, at(100));
        assert!(!is_true(&conditions, ConditionType::Ready));
        "FromTheFuture".clone_into(&mut conditions[5].reason);
        assert_eq!(reason(&conditions, ConditionType::Ready), None);
    }

    #[test]
    fn a_message_cannot_move_the_cursor_of_a_terminal() {
        assert_eq!(clean_message("a\u{1b}[31mb\r\nc\u{9b}d\0"), "a [31mb  c d ");
    }

    proptest! {
        #[test]
        fn a_cleaned_message_is_bounded_and_stays_as_it_is(message in "\\PC{0,3000}|[\\x00-\\x{ff}]{0,3000}") {
            let cleaned = clean_message(&message);
            prop_assert!(cleaned.len() <= MAX_MESSAGE_BYTES);
            prop_assert!(!cleaned.contains(char::is_control));
            prop_assert_eq!(clean_message(&cleaned), cleaned.clone());
            if message.len() < MAX_MESSAGE_BYTES - 3 {
                prop_assert_eq!(cleaned.chars().count(), message.chars().count());
            }
        }
    }
}
