//! Commands of kubectl and helm, those included that cannot be run.

use join_book::blocks::blocks;
use join_book::commands::{Place, calls, lines};
use join_book::markdown::pages;
use libtest_mimic::Failed;

use super::suite::Suite;

/// Asks kubectl and helm for help at the end of every command: a flag or a command that they do not know is refused all
/// the same.
pub fn commands_are_understood(suite: &Suite) -> Result<(), Failed> {
    let mut asked = std::collections::BTreeSet::new();
    let mut broken = Vec::new();
    for page in pages()? {
        for line in blocks(&page.text).iter().flat_map(lines) {
            for call in calls(&line.text).unwrap_or_default() {
                let is_plugin = call.get(1).is_some_and(|word| word == "njr");
                let is_theirs = call.first().is_some_and(|program| program == "kubectl" || program == "helm");
                if !is_theirs || is_plugin {
                    continue;
                }
                // What follows `--` is another program's, in a container that is not here; `--help` there would be, too.
                let own = call.iter().map(String::as_str).take_while(|word| *word != "--");
                let script = shlex::try_join(own.chain(["--help"]))?;
                if asked.insert(script.clone()) {
                    let place = format!("{}:{}", page.path.display(), line.number);
                    let outcome = suite.shell(Place::Administrator, "", &script);
                    broken.extend(
                        outcome.err().map(|failure| format!("{place}: {}", failure.message().unwrap_or_default())),
                    );
                }
            }
        }
    }
    if asked.len() < 10 {
        return Err(format!("only {} commands were found: {asked:?}", asked.len()).into());
    }
    if broken.is_empty() { Ok(()) } else { Err(broken.join("\n").into()) }
}
