//! The command line that others on the machine can read, and a token in it.

use std::convert::Infallible;
use std::ffi::OsString;
use std::io::Write as _;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::process::CommandExt;
use std::process::Command;

use zeroize::Zeroizing;

use super::flags::{STANDARD_INPUT, TOKEN_FLAGS};

/// A command line without its tokens, and the first of them.
struct Hidden {
    arguments: Vec<OsString>,
    token: Zeroizing<Vec<u8>>,
}

/// Starts this program anew without the tokens of its command line, which every process can read in `/proc`; the token
/// comes by standard input then. Does nothing if there is none.
///
/// The flags must have been [checked](super::flags::JoinArguments::check): where several have a token, it is the same one.
pub fn hide_token() -> std::io::Result<()> {
    match without_tokens(std::env::args_os()) {
        Some(hidden) => Err(start_anew(hidden).map_or_else(|error| error, |never| match never {})),
        None => Ok(()),
    }
}

/// The token fits into the pipe's buffer, so that it can be written before anybody reads.
fn start_anew(hidden: Hidden) -> std::io::Result<Infallible> {
    let (reader, mut writer) = std::io::pipe()?;
    writer.write_all(&hidden.token)?;
    drop(writer);
    let mut arguments = hidden.arguments.into_iter();
    let mut command = Command::new(std::env::current_exe()?);
    if let Some(name) = arguments.next() {
        command.arg0(name);
    }
    Err(command.args(arguments).stdin(reader).exec())
}

fn without_tokens(arguments: impl IntoIterator<Item = OsString>) -> Option<Hidden> {
    let mut arguments = arguments.into_iter();
    let (mut kept, mut found) = (Vec::new(), None);
    while let Some(argument) = arguments.next() {
        let token = match value_of_token_flag(argument.as_bytes()) {
            Some(Value::Here(token)) => token.to_vec(),
            Some(Value::Next) => arguments.next().map(OsStringExt::into_vec).unwrap_or_default(),
            None => {
                kept.push(argument);
                continue;
            }
        };
        found.get_or_insert(Zeroizing::new(token));
    }
    let token = found?;
    kept.extend(["--token-file", STANDARD_INPUT].map(OsString::from));
    Some(Hidden { arguments: kept, token })
}

/// Where the value of a flag stands.
enum Value<'a> {
    /// Behind its `=`.
    Here(&'a [u8]),
    /// In the next argument.
    Next,
}

fn value_of_token_flag(argument: &[u8]) -> Option<Value<'_>> {
    let flag = argument.strip_prefix(b"--")?;
    TOKEN_FLAGS.iter().find_map(|name| match flag.strip_prefix(name.as_bytes())? {
        [] => Some(Value::Next),
        [b'=', value @ ..] => Some(Value::Here(value)),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::apart("a join e:1 --token T --node-name n", "a join e:1 --node-name n --token-file -")]
    #[case::together("a join --token=T e:1", "a join e:1 --token-file -")]
    #[case::several("a join --tls-bootstrap-token T --discovery-token=T e:1", "a join e:1 --token-file -")]
    fn no_token_is_left(#[case] given: &str, #[case] expected: &str) {
        let hidden = without_tokens(given.split(' ').map(OsString::from)).unwrap();
        assert_eq!(hidden.arguments, expected.split(' ').map(OsString::from).collect::<Vec<_>>());
        assert_eq!(hidden.token.as_slice(), b"T");
    }

    #[rstest]
    #[case::from_a_file("a join e:1 --token-file T")]
    #[case::flags_that_begin_alike("a join e:1 --discovery-token-ca-cert-hash sha256:00 --token-x=1")]
    fn without_a_token_nothing_is_changed(#[case] given: &str) {
        assert!(without_tokens(given.split(' ').map(OsString::from)).is_none());
    }

    /// clap refuses such a command line before anything is hidden.
    #[test]
    fn a_flag_without_its_value_is_no_reason_to_panic() {
        assert!(without_tokens(["a", "join", "--token"].map(OsString::from)).unwrap().token.is_empty());
    }
}
