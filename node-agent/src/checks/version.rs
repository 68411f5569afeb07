//! Versions of Kubernetes: `v1.37.2`.

/// The second number of a version.
pub fn minor(version: &str) -> Option<u32> {
    let rest = version.strip_prefix('v').unwrap_or(version).strip_prefix("1.")?;
    rest.split(|letter: char| !letter.is_ascii_digit()).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_minor_is_read_from_every_form_of_a_version() {
        for (text, expected) in [
            ("v1.37.2", Some(37)),
            ("1.35.0-rc.1", Some(35)),
            ("v1.36+build", Some(36)),
            ("v2.0.0", None),
            ("v1.", None),
            ("", None),
        ] {
            assert_eq!(minor(text), expected, "{text}");
        }
    }
}
