//! The policy without one of its rules: what shows that a rule's tests would miss it.

use std::cell::Cell;

use crate::policy::Rule;

thread_local! {
    static REMOVED: Cell<Option<Rule>> = const { Cell::new(None) };
}

/// Whether the policy is without this rule just now.
pub(in crate::policy) fn is_removed(rule: Rule) -> bool {
    REMOVED.get() == Some(rule)
}

/// Does something with a policy that lacks one rule.
pub(super) fn without<T>(rule: Rule, work: impl FnOnce() -> T) -> T {
    REMOVED.set(Some(rule));
    let result = work();
    REMOVED.set(None);
    result
}
