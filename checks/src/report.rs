//! Many findings, and how they are shown.

use std::fmt::Write as _;

use serde::Serialize;

use crate::terminal::printable;
use crate::{Finding, Verdict};

/// How a report is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Every check with what was seen, and what to type under those that did not pass.
    Table,
    /// Only what did not pass, a line each: `verdict<TAB>id<TAB>observed`. Nothing when all is well.
    Short,
    /// The report as JSON.
    Json,
}

/// What a set of checks found, in the order in which they were made.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Report {
    /// Each check's outcome.
    pub checks: Vec<Finding>,
}

impl Report {
    /// Whether nothing failed. Waived failures and warnings do not count.
    pub fn is_good(&self) -> bool {
        self.checks.iter().all(|finding| finding.verdict != Verdict::Failed)
    }

    /// Turns the failures of the named checks into waived ones. Names are compared without case; `all` names every one.
    ///
    /// Returns the names that no check has: a misspelt waiver waives nothing and should be told.
    pub fn waive<'a>(&mut self, names: &'a [String]) -> Vec<&'a str> {
        for finding in &mut self.checks {
            let is_waived = names.iter().any(|name| name == "all" || name.eq_ignore_ascii_case(&finding.id));
            if is_waived && finding.verdict == Verdict::Failed {
                finding.verdict = Verdict::Waived;
            }
        }
        let known = |name: &str| name == "all" || self.checks.iter().any(|check| name.eq_ignore_ascii_case(&check.id));
        names.iter().map(String::as_str).filter(|name| !known(name)).collect()
    }

    /// The report as text, ending with a newline unless it is empty. Control characters are made visible.
    pub fn render(&self, format: Format) -> String {
        match format {
            Format::Table => self.table(),
            Format::Short => self.short(),
            // A report has no maps with other keys than strings, so this cannot fail.
            Format::Json => serde_json::to_string_pretty(&self.explained()).map(|text| text + "\n").unwrap_or_default(),
        }
    }

    fn explained(&self) -> serde_json::Value {
        let checks = self.checks.iter().map(|finding| Explained { finding, documentation: finding.documentation() });
        serde_json::json!({ "success": self.is_good(), "checks": checks.collect::<Vec<_>>() })
    }

    fn table(&self) -> String {
        let width = self.checks.iter().map(|check| check.id.len()).max().unwrap_or_default();
        let mut text = String::new();
        for check in &self.checks {
            let mark = mark(check.verdict);
            let _ = writeln!(text, "{mark} {id:width$}  {seen}", id = check.id, seen = printable(&check.observed));
            if matches!(check.verdict, Verdict::Failed | Verdict::Warning) {
                let _ = writeln!(text, "     expected: {}", printable(&check.expected));
                if let Some(remedy) = &check.remedy {
                    let _ = writeln!(text, "     to mend it: {}", printable(remedy));
                }
                let _ = writeln!(text, "     see: {}", check.documentation());
            }
        }
        text
    }

    fn short(&self) -> String {
        let mut text = String::new();
        for check in self.checks.iter().filter(|check| matches!(check.verdict, Verdict::Failed | Verdict::Warning)) {
            let word = if check.verdict == Verdict::Failed { "failed" } else { "warning" };
            let _ = writeln!(text, "{word}\t{}\t{}", check.id, printable(&check.observed));
        }
        text
    }
}

/// A finding with its place in the documentation, for programs that show it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Explained<'a> {
    #[serde(flatten)]
    finding: &'a Finding,
    documentation: String,
}

/// Plain ASCII, so that it survives serial consoles and logs.
fn mark(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Passed => "[ok]",
        Verdict::Skipped => "[--]",
        Verdict::Warning => "[!!]",
        Verdict::Waived => "[wv]",
        Verdict::Failed => "[XX]",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        Report {
            checks: vec![
                Finding::passed("NumCPU", "at least 1 processor", "2 processors"),
                Finding::failed("Port-10250", "port 10250 is free", "taken by \u{1b}[31mx", "systemctl stop kubelet"),
                Finding::failed("Swap", "no swap", "/dev/sda2", "swapoff -a").as_warning(),
                Finding::skipped("Skew", "a kubelet that is not newer", "the cluster's version is not known yet"),
            ],
        }
    }

    #[test]
    fn the_table_shows_what_to_type_where_something_is_wrong() {
        let expected = "\
[ok] NumCPU      2 processors
[XX] Port-10250  taken by \\u{1b}[31mx
     expected: port 10250 is free
     to mend it: systemctl stop kubelet
     see: docs/checks.md#port-10250
[!!] Swap        /dev/sda2
     expected: no swap
     to mend it: swapoff -a
     see: docs/checks.md#swap
[--] Skew        the cluster's version is not known yet
";
        assert_eq!(report().render(Format::Table), expected);
    }

    #[test]
    fn the_place_in_the_documentation_has_no_character_that_an_anchor_cannot_have() {
        let finding = Finding::passed("FileContent--proc-sys-net.ipv4-ip_forward", "", "");
        assert_eq!(finding.documentation(), "docs/checks.md#filecontent--proc-sys-netipv4-ip_forward");
    }

    #[test]
    fn another_name_is_shown_and_waived_and_stays_in_its_section() {
        let finding =
            Finding::failed("Port-6443", "the port is free", "taken", "free it").named("Port-8443".to_owned());
        assert_eq!(finding.documentation(), "docs/checks.md#port-6443");
        let mut report = Report { checks: vec![finding] };
        assert_eq!(report.render(Format::Short), "failed\tPort-8443\ttaken\n");
        assert_eq!(report.waive(&["Port-6443".to_owned()]), ["Port-6443"]);
        assert!(!report.is_good());
        assert!(report.waive(&["port-8443".to_owned()]).is_empty() && report.is_good());
    }

    #[test]
    fn the_short_form_has_what_is_wrong_only() {
        let expected = "failed\tPort-10250\ttaken by \\u{1b}[31mx\nwarning\tSwap\t/dev/sda2\n";
        assert_eq!(report().render(Format::Short), expected);
        assert_eq!(Report::default().render(Format::Short), "");
    }

    #[test]
    fn the_machine_readable_form_has_the_outcome_and_every_place_in_the_documentation() {
        let shown: serde_json::Value = serde_json::from_str(&report().render(Format::Json)).unwrap();
        assert_eq!(shown["success"], false);
        assert_eq!(shown["checks"][1]["verdict"], "failed");
        assert_eq!(shown["checks"][1]["remedy"], "systemctl stop kubelet");
        assert_eq!(shown["checks"][1]["documentation"], "docs/checks.md#port-10250");
        assert_eq!(shown["checks"][0]["remedy"], serde_json::Value::Null);
    }

    #[test]
    fn a_waiver_names_the_check_and_an_unknown_name_is_told() {
        let mut report = report();
        assert!(!report.is_good());
        let names = ["port-10250".to_owned(), "Prot-10250".to_owned()];
        assert_eq!(report.waive(&names), ["Prot-10250"]);
        assert!(report.is_good());
        assert_eq!(report.checks[1].verdict, Verdict::Waived);
        // A warning needs no waiver.
        assert_eq!(report.checks[2].verdict, Verdict::Warning);
    }
}
