//! Who may do what, from the golden file with which the tests compare the chart's roles.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use super::table::{code, head, row};
use super::{Error, note};
use crate::markdown::read;

/// Who has what, one line for each right: `who: where: verb group/resource[ only names]`.
const GOLDEN: &str = "crds/tests/golden/rights.txt";
/// What is in each role, in the same form.
const GOLDEN_ROLES: &str = "e2e/tests/chart/golden/roles.txt";
/// Roles that the chart binds to machines and to the controller: what they have is told under their own names.
const BOUND: [&str; 5] =
    ["nodejoin:controller", "nodejoin:enroll", "nodejoin:join", "nodejoin:metrics-authentication", "nodejoin:node"];

const INTRODUCTION: &str = "\
# Rights

What the chart gives to whom, all of it. The lists are taken from the files with which the tests compare the chart's roles,
so that a right cannot be added without being seen here.

What the controller may not do is as much a part of its design: it cannot read Secrets in `kube-system`, cannot sign
certificates, cannot change a request's specification, and cannot bind or escalate roles. Admission policies narrow what it
may do further; [Architecture](../architecture.md#who-writes-what) says which.
";

/// The page.
pub fn page() -> Result<String, Error> {
    let golden = read(Path::new(GOLDEN))?;
    let mut page = note(&format!("{GOLDEN} and {GOLDEN_ROLES}"));
    page.push_str(INTRODUCTION);
    page.push_str("\n## Machines and the controller\n");
    for (who, rights) in grouped(&golden)? {
        section(&who, rights, &mut page);
    }
    page.push_str(PEOPLE);
    for (role, rights) in grouped(&read(Path::new(GOLDEN_ROLES))?)? {
        if !BOUND.contains(&role.as_str()) {
            section(&role, rights, &mut page);
        }
    }
    Ok(page)
}

const PEOPLE: &str = "
## Roles for people and for Prometheus

The chart makes these roles, and binds them to whom its values name (`roles.viewers`, `roles.requesters`,
`roles.enrollers`, `metrics.scrapers`), or to nobody. What an enroller may create in `kube-system` is limited by an admission
policy to enrollment tokens that end. The two roles to aggregate become part of everyone's `view` and `edit`; the second
one only when it is asked for.
";

fn section(name: &str, rights: BTreeMap<Target, Vec<String>>, page: &mut String) {
    // Writing to a String cannot fail.
    let _ = write!(page, "\n### {name}\n\n{}", head(&["Where", "What", "Verbs", "Only these"]));
    for ((place, what, only), verbs) in rights {
        let only: Vec<String> = only.split(", ").map(code).collect();
        page.push_str(&row(&[&place, &code(&what), &verbs.join(", "), &only.join(", ")]));
    }
}

/// Where, what, and which of them only.
type Target = (String, String, String);

/// For each subject the verbs on each target.
fn grouped(golden: &str) -> Result<BTreeMap<String, BTreeMap<Target, Vec<String>>>, Error> {
    let mut grouped: BTreeMap<String, BTreeMap<Target, Vec<String>>> = BTreeMap::new();
    for line in golden.lines() {
        let parsed = parse(line).ok_or_else(|| Error::Right { line: line.to_owned() })?;
        let (who, target, verb) = parsed;
        grouped.entry(who).or_default().entry(target).or_default().push(verb);
    }
    Ok(grouped)
}

fn parse(line: &str) -> Option<(String, Target, String)> {
    let (who, rest) = line.split_once(": ")?;
    let (place, rest) = rest.split_once(": ")?;
    let (verb, rest) = rest.split_once(' ')?;
    let (what, only) = rest.split_once(" only ").unwrap_or((rest, ""));
    let what = what.strip_prefix("core/").unwrap_or(what);
    Some((who.to_owned(), (place.to_owned(), what.to_owned(), only.to_owned()), verb.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verbs_on_one_target_are_one_row() {
        let golden = "Group g: everywhere: get core/nodes\nGroup g: everywhere: list core/nodes\n\
                      Group g: kube-system: get core/configmaps only a, b\n";
        let grouped = grouped(golden).unwrap();
        let rows: Vec<_> = grouped["Group g"].iter().collect();
        assert_eq!(rows.len(), 2);
        assert_eq!(rows[0].1, &["get", "list"]);
        assert_eq!(rows[1].0, &("kube-system".to_owned(), "configmaps".to_owned(), "a, b".to_owned()));
    }

    #[test]
    fn a_line_that_is_no_right_is_refused() {
        assert!(matches!(grouped("nonsense"), Err(Error::Right { .. })));
    }
}
