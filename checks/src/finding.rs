//! The outcome of one check.

use std::borrow::Cow;

use serde::Serialize;

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Verdict {
    /// What was seen is what was expected.
    Passed,
    /// It could not be looked at, or does not apply; `observed` says why.
    Skipped,
    /// Not as expected, but what follows can go on.
    Warning,
    /// It failed, and somebody who knows said by its name that this does not matter.
    Waived,
    /// Not as expected, and nothing should follow before it is mended.
    Failed,
}

/// The page that explains every check of a cluster, with one section for each id.
pub const TROUBLESHOOTING: &str = "docs/troubleshooting.md";
/// The page that explains every check of a machine, with one section for each id.
pub const MACHINE_CHECKS: &str = "docs/checks.md";

/// The page on which a check is explained.
fn page(id: &str) -> &'static str {
    #[cfg(feature = "cluster")]
    if crate::cluster::ids::ALL.contains(&id) {
        return TROUBLESHOOTING;
    }
    let _ = id;
    MACHINE_CHECKS
}

/// What one check found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// The check's stable name. A check that kubeadm has, too, has kubeadm's name.
    pub id: Cow<'static, str>,
    /// The name under which the documentation explains it: `id`, unless that has a value of this cluster's in it.
    #[serde(skip)]
    pub section: &'static str,
    /// How it ended.
    pub verdict: Verdict,
    /// What the check wants, as a statement that is true when it passes: "the kubelet's port 10250 is free".
    pub expected: String,
    /// What was seen.
    pub observed: String,
    /// What to type, or to do, when it has not passed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

impl Finding {
    /// A check that passed.
    pub fn passed(id: &'static str, expected: impl Into<String>, observed: impl Into<String>) -> Self {
        Self::of(id, Verdict::Passed, expected, observed)
    }

    /// A check that failed, with what to type.
    pub fn failed(
        id: &'static str,
        expected: impl Into<String>,
        observed: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self { remedy: Some(remedy.into()), ..Self::of(id, Verdict::Failed, expected, observed) }
    }

    /// A check that was not made, and why.
    pub fn skipped(id: &'static str, expected: impl Into<String>, why: impl Into<String>) -> Self {
        Self::of(id, Verdict::Skipped, expected, why)
    }

    fn of(section: &'static str, verdict: Verdict, expected: impl Into<String>, observed: impl Into<String>) -> Self {
        let id = Cow::Borrowed(section);
        Self { id, section, verdict, expected: expected.into(), observed: observed.into(), remedy: None }
    }

    /// The same finding under another name, which has a value of this cluster's in it. It stays in its section.
    #[must_use]
    pub fn named(self, id: String) -> Self {
        Self { id: Cow::Owned(id), ..self }
    }

    /// The same finding as a warning, when it is a failure.
    #[must_use]
    pub fn as_warning(self) -> Self {
        if self.verdict == Verdict::Failed { Self { verdict: Verdict::Warning, ..self } } else { self }
    }

    /// Where the documentation explains this check: a page and an anchor, which is the section in lower case without
    /// what an anchor cannot have.
    pub fn documentation(&self) -> String {
        let kept = self.section.chars().filter(|one| one.is_ascii_alphanumeric() || matches!(one, '-' | '_'));
        let anchor: String = kept.map(|one| one.to_ascii_lowercase()).collect();
        format!("{}#{anchor}", page(self.section))
    }
}
