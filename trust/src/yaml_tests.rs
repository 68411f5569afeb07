use rstest::rstest;

use super::*;

#[derive(Deserialize, Debug, PartialEq, Eq)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Thing {
    #[serde(default)]
    kind: String,
    #[serde(default)]
    size: u8,
}

fn kinds(text: &str) -> Vec<(String, u64)> {
    Document::all(text).unwrap().into_iter().map(|document| (document.kind, document.line)).collect()
}

#[rstest]
#[case("kind: A\n", &[("A", 1)])]
#[case("---\nkind: A\n---\nkind: B\n", &[("A", 2), ("B", 4)])]
#[case("# of A\nkind: A\n# its end\n--- # of B\n\n  kind: B\n  size: 2\n---\n---\n# nothing\n", &[("A", 2), ("B", 6)])]
#[case("--- {kind: A, size: 1}\n--- {kind: B}\n...\n", &[("A", 1), ("B", 2)])]
#[case("\u{feff}kind: A\r\n---\r\nkind: B\r\n", &[("A", 1), ("B", 3)])]
#[case("kind: A\r---\rkind: B\r", &[("A", 1), ("B", 3)])]
#[case("size: 1\n---\nkind: ~\n", &[("", 1), ("", 3)])]
#[case("%YAML 1.2\n---\nkind: A\n...\n%YAML 1.2\n---\nkind: B\n", &[("A", 3), ("B", 7)])]
#[case("", &[])]
#[case("# nothing\n", &[])]
fn documents_are_found_and_read_apart(#[case] text: &str, #[case] expected: &[(&str, u64)]) {
    let expected: Vec<(String, u64)> = expected.iter().map(|(kind, line)| ((*kind).to_owned(), *line)).collect();
    assert_eq!(kinds(text), expected);
    for document in Document::all(text).unwrap() {
        // `~` is no text for this type.
        if !text.contains('~') {
            assert_eq!(document.read::<Thing>().unwrap().kind, document.kind);
        }
    }
}

#[test]
fn a_mistake_has_its_place_in_the_whole_text() {
    let text = "kind: A\n---\n# two\nkind: B\nsize: 300\n---\nkind: C\n";
    let documents = Document::all(text).unwrap();
    let errors: Vec<Option<u64>> =
        documents.iter().map(|document| document.read::<Thing>().err().map(|error| error.line())).collect();
    assert_eq!(errors, [None, Some(5), None]);
    let error = read::<Thing>("kind: A\ncolour: red\n").unwrap_err();
    assert!(error.to_string().starts_with("line 2, column 1: unknown field `colour`"), "{error}");
}

#[rstest]
#[case("abcdef.0123456789abcdef: 1")]
#[case("size: abcdef.0123456789abcdef")]
#[case("kind: [abcdef.0123456789abcdef]")]
#[case("kind: \"abcdef.0123456789abcdef\\q\"")]
#[case("? abcdef.0123456789abcdef\n: 1\n? abcdef.0123456789abcdef\n: 2")]
#[case("kind: abcdef.0123456789abcdef\n\tsize: 1")]
#[case("abcdef.0123456789abcdef")]
fn a_token_is_never_repeated(#[case] text: &str) {
    let error = read::<Thing>(text).unwrap_err();
    assert!(!format!("{error} {error:?}").contains("0123456789abcdef"), "{error:?}");
}

#[rstest]
#[case("kind: &a A\nsize: *a")]
#[case("- a")]
#[case("kind: A\nkind: B")]
#[case("kind: A\n---\nkind: B")]
fn what_is_no_document_of_its_own_is_refused(#[case] text: &str) {
    assert!(read::<Thing>(text).is_err());
}

#[test]
fn numbers_of_values_and_documents_are_bounded() {
    let many = "- 1\n".repeat(MAX_YAML_EVENTS);
    assert!(read::<Vec<u8>>(&many).unwrap_err().to_string().contains("too large or too complex"));
    let documents = "---\nkind: A\n".repeat(MAX_YAML_DOCUMENTS);
    assert_eq!(kinds(&documents).len(), MAX_YAML_DOCUMENTS);
    assert!(Document::all(&format!("{documents}---\nkind: A\n")).is_err());
    assert!(read::<Thing>(&"[".repeat(10_000)).is_err());
}
