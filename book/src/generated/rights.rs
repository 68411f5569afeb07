//! Who may do what, from the golden file with which the tests compare the chart's roles.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use super::table::{code, head, row};
use super::{Error, note};
use crate::markdown::read;

/// One line for each right: `who: where: verb group/resource[ only names]`.
const GOLDEN: &str = "crds/tests/golden/rights.txt";

const INTRODUCTION: &str = "\
# Rights

What the chart gives to whom, all of it. The list is taken from the file with which the tests compare the chart's roles, so
that a right cannot be added without being seen here.

What the controller may not do is as much a part of its design: it cannot read Secrets in `kube-system`, cannot sign
certificates, cannot change a request's specification, and cannot bind or escalate roles. Admission policies narrow what it
may do further; [Architecture](../architecture.md#who-writes-what) says which.
";

/// The page.
pub fn page() -> Result<String, Error> {
    let golden = read(Path::new(GOLDEN))?;
    let mut page = note(GOLDEN);
    page.push_str(INTRODUCTION);
    for (who, rights) in grouped(&golden)? {
        // Writing to a String cannot fail.
        let _ = write!(page, "\n## {who}\n\n{}", head(&["Where", "What", "Verbs", "Only these"]));
        for ((place, what, only), verbs) in rights {
            let only: Vec<String> = only.split(", ").map(code).collect();
            page.push_str(&row(&[&place, &code(&what), &verbs.join(", "), &only.join(", ")]));
        }
    }
    Ok(page)
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
