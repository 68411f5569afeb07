//! The reference page of conditions, reasons and events.

use std::fmt::Write;

use super::{ConditionType, EventReason, Reason};

/// The text of `docs/reasons.md`.
pub fn reasons_markdown() -> String {
    let mut page = String::from(
        "<!-- Generated from crds/src/vocabulary by `cargo xtask generate`. Do not edit. -->\n\
         # Conditions, reasons and events\n\n\
         `kubectl get njr` shows the reason of the Ready condition as STATUS; `kubectl describe njr NAME` shows every\n\
         condition with its message.\n\n\
         ## Conditions\n\n\
         In the order of a join. Each is `Unknown` until the controller has looked at it.\n\n\
         | Condition | True means |\n|---|---|\n",
    );
    // Writing to a String cannot fail.
    for condition in ConditionType::ALL {
        let _ = writeln!(page, "| `{condition}` | {} |", condition.meaning());
    }
    page.push_str("\n## Reasons of conditions\n");
    for reason in Reason::ALL {
        let conditions: Vec<String> = reason.conditions().iter().map(|condition| format!("`{condition}`")).collect();
        let _ = write!(
            page,
            "\n### {reason}\n\n{}\n\n- Seen on: {}\n- Next step: {}\n",
            reason.meaning(),
            conditions.join(", "),
            reason.next_step()
        );
        if reason.conditions().contains(&ConditionType::Stalled) && *reason != Reason::Progressing {
            let _ = writeln!(page, "- Goes on, when it is Stalled: {}", reason.recovery().meaning());
        }
    }
    page.push_str(
        "\n## Events\n\nEvents on a request are kept in the namespace `default`, since a request has none.\n\n\
         | Reason | Type | What happened | Next step |\n|---|---|---|---|\n",
    );
    for event in EventReason::ALL {
        let _ = writeln!(
            page,
            "| `{event}` | {} | {} | {} |",
            event.severity().as_str(),
            event.meaning(),
            event.next_step()
        );
    }
    page
}
