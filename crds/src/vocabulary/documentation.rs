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
    page.push_str(
        "\n## Reasons\n\nWhat a machine tells of itself stands in `join-agent status` and in the journal of join-agent too. A machine that\n\
         does not reach the API server, or does not believe it, can tell it nowhere else: its request stays at\n\
         `WaitingForMachine`, without an Event.\n",
    );
    for reason in Reason::ALL {
        let conditions: Vec<String> = reason.conditions().iter().map(|condition| format!("`{condition}`")).collect();
        let seen = if conditions.is_empty() { "the machine alone".to_owned() } else { conditions.join(", ") };
        let _ = write!(
            page,
            "\n### {reason}\n\n{}\n\n- Seen on: {seen}\n- Next step: {}\n",
            reason.meaning(),
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
