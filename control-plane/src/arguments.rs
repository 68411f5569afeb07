//! The command line of a program: kubeadm's arguments and an administrator's (kubeadm's `util/arguments.go`).

use crate::configuration::{Argument, Merge};

/// kubeadm's own arguments of a program.
#[derive(Debug, Default)]
pub(crate) struct Arguments(Vec<(&'static str, String)>);

impl Arguments {
    pub(crate) fn add(&mut self, name: &'static str, value: impl Into<String>) {
        self.0.push((name, value.into()));
    }

    /// The whole command line. kubeadm's arguments come first, sorted by name. An administrator's argument without a way to
    /// merge takes the place of kubeadm's of its name, behind them all, as often as it is given; of one that is merged the
    /// last counts, and only where kubeadm has an argument of the name.
    pub(crate) fn command(mut self, program: &str, extra: &[Argument]) -> Vec<String> {
        self.0.sort();
        let own = self.0.into_iter().filter_map(|(name, value)| match last(extra, name) {
            None => Some((name, value)),
            Some(Argument { merge: None, .. }) => None,
            Some(argument) => Some((name, merged(&value, argument))),
        });
        let own = own.map(|(name, value)| flag(name, &value));
        let replacing = extra.iter().filter(|argument| argument.merge.is_none());
        let replacing = replacing.map(|argument| flag(&argument.name, &argument.value));
        std::iter::once(program.to_owned()).chain(own).chain(replacing).collect()
    }
}

impl<const N: usize> From<[(&'static str, String); N]> for Arguments {
    fn from(arguments: [(&'static str, String); N]) -> Self {
        Self(arguments.into())
    }
}

fn flag(name: &str, value: &str) -> String {
    format!("--{name}={value}")
}

/// The argument of a name that counts: the last one.
pub(crate) fn last<'a>(arguments: &'a [Argument], name: &str) -> Option<&'a Argument> {
    arguments.iter().rev().find(|argument| argument.name == name)
}

/// kubeadm's value with an administrator's argument.
pub(crate) fn merged(own: &str, argument: &Argument) -> String {
    match argument.merge {
        None => argument.value.clone(),
        Some(Merge::Append) => format!("{own}{}", argument.value),
        Some(Merge::Prepend) => format!("{}{own}", argument.value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn argument(name: &str, value: &str, merge: Option<Merge>) -> Argument {
        Argument { name: name.to_owned(), value: value.to_owned(), merge }
    }

    /// Compare `TestArgumentsToCommand` of kubeadm 1.37.
    #[rstest]
    #[case::none(vec![], &["--a=1", "--b=2"])]
    #[case::replaced(vec![argument("a", "3", None)], &["--b=2", "--a=3"])]
    #[case::twice(vec![argument("a", "4", None), argument("a", "3", None)], &["--b=2", "--a=4", "--a=3"])]
    #[case::unsorted(vec![argument("z", "", None), argument("c", "3", None)], &["--a=1", "--b=2", "--z=", "--c=3"])]
    #[case::appended(vec![argument("a", ",3", Some(Merge::Append))], &["--a=1,3", "--b=2"])]
    #[case::prepended(vec![argument("b", "3,", Some(Merge::Prepend))], &["--a=1", "--b=3,2"])]
    #[case::nothing_to_merge(vec![argument("c", "3", Some(Merge::Append))], &["--a=1", "--b=2"])]
    #[case::last_merges(vec![argument("a", "4", None), argument("a", "3", Some(Merge::Append))], &["--a=13", "--b=2", "--a=4"])]
    #[case::last_replaces(vec![argument("a", "3", Some(Merge::Append)), argument("a", "4", None)], &["--b=2", "--a=4"])]
    fn an_administrators_arguments_go_before_kubeadms(#[case] extra: Vec<Argument>, #[case] expected: &[&str]) {
        let own = Arguments::from([("b", "2".to_owned()), ("a", "1".to_owned())]);
        assert_eq!(own.command("program", &extra)[1..], *expected);
    }
}
