//! Names of others inside commands that people paste.

/// A word that a shell takes as it is. Names of bindings may hold spaces, dollar signs and semicolons.
pub(super) fn word(name: &str) -> String {
    // Only a NUL cannot be quoted, and no name of the API has one.
    shlex::try_quote(name).map_or_else(|_| "''".to_owned(), std::borrow::Cow::into_owned)
}

/// The first few of many names, and how many there are besides.
pub(super) fn some_of(names: &[String]) -> String {
    const SHOWN: usize = 5;
    let shown = names.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}
