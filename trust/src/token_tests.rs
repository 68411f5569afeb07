use std::collections::BTreeSet;

use proptest::prelude::*;
use rstest::rstest;

use super::*;

const TOKEN: &str = "abcdef.0123456789abcdef";

#[test]
fn a_token_has_two_parts() {
    let token = BootstrapToken::parse(TOKEN).unwrap();
    assert_eq!(token.id().as_str(), "abcdef");
    assert_eq!(token.secret().expose(), "0123456789abcdef");
    assert_eq!(token.expose().as_str(), TOKEN);
    assert_eq!(token.id().user_name(), "system:bootstrap:abcdef");
    assert_eq!(token.id().secret_name(), "bootstrap-token-abcdef");
}

#[rstest]
#[case("", TokenError::Shape)]
#[case("abcdef", TokenError::Shape)]
#[case("abcdef:0123456789abcdef", TokenError::Shape)]
#[case("abcdef.01234567.9abcdef", TokenError::Shape)]
#[case("abcde.0123456789abcdef", TokenError::Id { length: 5 })]
#[case("abcdefg.0123456789abcdef", TokenError::Id { length: 7 })]
#[case("ABCDEF.0123456789abcdef", TokenError::Id { length: 6 })]
#[case(" abcdef.0123456789abcdef", TokenError::Id { length: 7 })]
#[case("abcdéf.0123456789abcdef", TokenError::Id { length: 7 })]
#[case("abcdef.0123456789abcde", TokenError::Secret { length: 15 })]
#[case("abcdef.0123456789abcdef0", TokenError::Secret { length: 17 })]
#[case("abcdef.0123456789abcdeF", TokenError::Secret { length: 16 })]
#[case("abcdef.0123456789abcdef\n", TokenError::Secret { length: 17 })]
#[case("abcdef.0123456789abcd\0f", TokenError::Secret { length: 16 })]
fn what_is_no_token_is_refused(#[case] text: &str, #[case] expected: TokenError) {
    assert_eq!(BootstrapToken::parse(text), Err(expected));
}

#[test]
fn secrets_are_not_printed() {
    let token = BootstrapToken::parse(TOKEN).unwrap();
    let printed = format!("{token:?} {:?} {token:#?}", token.secret());
    assert!(!printed.contains("0123456789abcdef"), "{printed}");
    assert!(printed.contains("abcdef"), "the id is public: {printed}");
    for text in ["abcdef.SUPERSECRET", "0123456789abcdef", "a.b.c", "abcdef.0123456789abcdeX"] {
        let error = BootstrapToken::parse(text).unwrap_err();
        let printed = format!("{error} {error:?}");
        assert!(!printed.contains("SUPERSECRET") && !printed.contains("0123456789abcde"), "{printed}");
    }
}

#[test]
fn tokens_compare_by_both_parts() {
    let token = BootstrapToken::parse(TOKEN).unwrap();
    assert_eq!(token, BootstrapToken::parse(TOKEN).unwrap());
    assert_ne!(token, BootstrapToken::parse("abcdeg.0123456789abcdef").unwrap());
    assert_ne!(token, BootstrapToken::parse("abcdef.0123456789abcdee").unwrap());
}

#[test]
fn generated_tokens_are_valid_and_differ() {
    let tokens: BTreeSet<String> = (0..500).map(|_| BootstrapToken::generate().unwrap().expose().to_string()).collect();
    assert_eq!(tokens.len(), 500);
    for token in &tokens {
        BootstrapToken::parse(token).unwrap();
    }
}

#[test]
fn every_character_is_drawn_from_equally_many_bytes() {
    // All 256 bytes in order: 252 of them are used, seven for each character.
    let mut counts = BTreeMap::<char, usize>::new();
    for byte in 0..=u8::MAX {
        let mut text = String::new();
        append_uniform(&mut text, &[byte], 1);
        if let Some(character) = text.pop() {
            *counts.entry(character).or_default() += 1;
        }
    }
    assert_eq!(counts.len(), 36);
    assert!(counts.values().all(|count| *count == 7), "{counts:?}");
}

#[test]
fn no_more_characters_are_drawn_than_asked_for() {
    let mut text = String::new();
    append_uniform(&mut text, &[0; 32], 6);
    assert_eq!(text, "aaaaaa");
}

#[rstest]
#[case("system:bootstrap:abcdef", Some("abcdef"))]
#[case("system:bootstrap:abcdefg", None)]
#[case("system:bootstrap:", None)]
#[case("system:bootstrap:ABCDEF", None)]
#[case("xsystem:bootstrap:abcdef", None)]
#[case("system:node:abcdef", None)]
fn user_names_of_tokens_are_recognised_as_a_whole(#[case] user: &str, #[case] expected: Option<&str>) {
    assert_eq!(TokenId::from_user_name(user).as_ref().map(TokenId::as_str), expected);
}

fn spec<'a>() -> SecretSpec<'a> {
    SecretSpec {
        expires_at: 1_782_907_200,
        description: "join of worker-7",
        signing: true,
        authentication: true,
        groups: &[crate::names::JOIN_GROUP],
    }
}

#[test]
fn the_secret_has_what_kubernetes_reads() {
    let token = BootstrapToken::parse(TOKEN).unwrap();
    let data = spec().string_data(&token).unwrap();
    let data: Vec<(&str, &str)> = data.iter().map(|(key, value)| (*key, value.as_str())).collect();
    assert_eq!(
        data,
        [
            ("auth-extra-groups", "system:bootstrappers:nodejoin:join"),
            ("description", "join of worker-7"),
            ("expiration", "2026-07-01T12:00:00Z"),
            ("token-id", "abcdef"),
            ("token-secret", "0123456789abcdef"),
            ("usage-bootstrap-authentication", "true"),
            ("usage-bootstrap-signing", "true"),
        ]
    );
}

#[test]
fn a_token_for_signing_only_has_no_groups() {
    let token = BootstrapToken::parse(TOKEN).unwrap();
    let signing_only = SecretSpec { authentication: false, groups: &[], ..spec() };
    let data = signing_only.string_data(&token).unwrap();
    assert_eq!(data["usage-bootstrap-authentication"].as_str(), "false");
    assert!(!data.contains_key("auth-extra-groups"));
    let contradiction = SecretSpec { authentication: false, ..spec() };
    assert!(matches!(contradiction.string_data(&token), Err(TokenError::Group { .. })));
}

#[rstest]
#[case("system:bootstrappers:nodejoin:join", true)]
#[case("system:bootstrappers:a", true)]
#[case("system:bootstrappers:kubeadm:default-node-token", true)]
#[case("system:bootstrappers:", false)]
#[case("system:bootstrappers", false)]
#[case("system:bootstrappers:a:", false)]
#[case("system:bootstrappers:a-", false)]
#[case("system:bootstrappers:A", false)]
#[case("system:bootstrappers:a,system:masters", false)]
#[case("system:bootstrappers:a b", false)]
#[case("system:masters", false)]
#[case("", false)]
fn only_groups_of_bootstrappers_can_be_given(#[case] group: &str, #[case] allowed: bool) {
    let token = BootstrapToken::parse(TOKEN).unwrap();
    let groups = [group];
    let data = SecretSpec { groups: &groups, ..spec() }.string_data(&token);
    assert_eq!(data.is_ok(), allowed, "{data:?}");
}

#[test]
fn the_longest_group_has_256_characters_after_the_prefix() {
    let longest = format!("system:bootstrappers:{}", "a".repeat(256));
    assert!(is_bootstrap_group(&longest));
    assert!(!is_bootstrap_group(&format!("{longest}a")));
}

#[test]
fn what_cannot_be_written_is_refused() {
    let token = BootstrapToken::parse(TOKEN).unwrap();
    let long = "x".repeat(MAX_TOKEN_DESCRIPTION_BYTES + 1);
    let described = SecretSpec { description: &long, ..spec() };
    assert_eq!(described.string_data(&token), Err(TokenError::Description { length: long.len() }));
    let eternal = SecretSpec { expires_at: i64::MAX, ..spec() };
    assert_eq!(eternal.string_data(&token), Err(TokenError::Expiration { seconds: i64::MAX }));
}

proptest! {
    #[test]
    fn parsing_agrees_with_the_published_grammar(text in "[a-z0-9.A-Z\\-]{0,30}") {
        // \A([a-z0-9]{6})\.([a-z0-9]{16})\z, written out.
        let bytes = text.as_bytes();
        let part = |bytes: &[u8]| bytes.iter().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9'));
        let matches = bytes.len() == 23 && part(&bytes[..6]) && bytes[6] == b'.' && part(&bytes[7..]);
        prop_assert_eq!(BootstrapToken::parse(&text).is_ok(), matches);
    }

    #[test]
    fn every_token_of_the_grammar_survives_a_round_trip(text in "[a-z0-9]{6}\\.[a-z0-9]{16}") {
        let token = BootstrapToken::parse(&text).unwrap();
        let exposed = token.expose();
        prop_assert_eq!(exposed.as_str(), text.as_str());
    }

    #[test]
    fn any_text_is_parsed_without_a_panic(text in any::<String>()) {
        let _ = BootstrapToken::parse(&text);
        prop_assert!(TokenId::parse(&text).map_or(true, |id| id.as_str() == text));
    }
}

#[rstest]
#[case("", "")]
#[case("host:6443", "host:6443")]
#[case("abcdef.0123456789abcdef", "[redacted]")]
#[case("\"xabcdef.0123456789abcdef0\": ä", "\"x[redacted]0\": ä")]
#[case("abcdef.0123456789abcdef abcdef.0123456789abcdefabcdef.0123456789abcdef", "[redacted] [redacted][redacted]")]
#[case("abcdef.0123456789abcde", "abcdef.0123456789abcde")]
#[case("abcde\u{e4}.0123456789abcdef", "abcde\u{e4}.0123456789abcdef")]
fn tokens_are_taken_out_of_texts(#[case] text: &str, #[case] expected: &str) {
    assert_eq!(redacted(text), expected);
}
