use rstest::rstest;

use super::*;
use crate::test_support::{ca, leaf};

fn pinned(pins: &[PublicKeyPin]) -> CaTrust {
    CaTrust::Pinned(pins.iter().copied().collect())
}

#[test]
fn only_pinned_authorities_of_a_bundle_are_kept() {
    let ((old, old_pin), (new, new_pin), (evil, evil_pin)) = (ca("old"), ca("new"), ca("evil"));
    let bundle = CaBundle::parse_pem(format!("{old}{evil}{new}").as_bytes()).unwrap();
    assert_eq!(bundle.pins(), [old_pin, new_pin, evil_pin].into_iter().collect());

    let kept = bundle.clone().restrict(&pinned(&[new_pin])).unwrap();
    assert_eq!(kept.to_pem(), new, "an authority that was appended to the real bundle must not become a root");
    let both = bundle.clone().restrict(&pinned(&[new_pin, old_pin])).unwrap();
    assert_eq!(both.to_pem(), format!("{old}{new}"), "a rotation has two");
    assert_eq!(bundle.clone().restrict(&CaTrust::UnsafeAny).unwrap(), bundle);

    let other = PublicKeyPin::of_spki(b"another");
    let refused = bundle.clone().restrict(&pinned(&[other]));
    assert_eq!(
        refused,
        Err(CaBundleError::NotPinned { found: bundle.pins(), expected: [other].into_iter().collect() })
    );
    assert!(bundle.restrict(&pinned(&[])).is_err(), "no pin must not mean that everything is trusted");
}

#[test]
fn bundles_survive_a_round_trip_without_the_text_around_them() {
    let ((one, _), (two, _)) = (ca("one"), ca("two"));
    let commented = format!("# the old one\n{one}\n\n# the new one\n{}", two.replace('\n', "\r\n"));
    let bundle = CaBundle::parse_pem(commented.as_bytes()).unwrap();
    assert_eq!(bundle.to_pem(), format!("{one}{two}"));
    assert_eq!(CaBundle::parse_pem(bundle.to_pem().as_bytes()).unwrap(), bundle);
    assert_eq!(bundle.certificates().count(), 2);
}

#[rstest]
#[case("", CaBundleError::Empty)]
#[case("no pem at all", CaBundleError::Empty)]
#[case("-----BEGIN CERTIFICATE-----\n!!!!\n-----END CERTIFICATE-----\n", CaBundleError::Pem)]
#[case("-----BEGIN CERTIFICATE-----\naGVsbG8=\n-----END CERTIFICATE-----\n", CaBundleError::Certificate { index: 1 })]
#[case(include_str!("../testdata/go-key.pkcs8.pem"), CaBundleError::Block { index: 1 })]
fn what_is_no_bundle_is_refused(#[case] text: &str, #[case] expected: CaBundleError) {
    assert_eq!(CaBundle::parse_pem(text.as_bytes()), Err(expected));
}

#[test]
fn certificates_that_are_no_authoritys_are_refused() {
    let (good, _) = ca("good");
    let text = format!("{good}{}", leaf("server"));
    assert_eq!(CaBundle::parse_pem(text.as_bytes()), Err(CaBundleError::NotCa { index: 2 }));
}

#[test]
fn sizes_are_bounded() {
    let (one, _) = ca("one");
    let many = one.repeat(MAX_CA_CERTIFICATES + 1);
    assert!(many.len() <= MAX_CA_BUNDLE_BYTES, "the count must be what is refused here");
    assert_eq!(CaBundle::parse_pem(many.as_bytes()), Err(CaBundleError::Count { count: MAX_CA_CERTIFICATES + 1 }));
    assert!(CaBundle::parse_pem(one.repeat(MAX_CA_CERTIFICATES).as_bytes()).is_ok());
    let padded = format!("{one}{}", " ".repeat(MAX_CA_BUNDLE_BYTES));
    assert_eq!(CaBundle::parse_pem(padded.as_bytes()), Err(CaBundleError::Size { length: padded.len() }));
}

#[test]
fn a_bundle_that_outgrows_the_bound_when_it_is_written_is_refused() {
    let on_one_line = |pem: &str| {
        let config = pem::EncodeConfig::new().set_line_wrap(1 << 20).set_line_ending(pem::LineEnding::LF);
        pem::encode_config(&pem::parse(pem).unwrap(), config)
    };
    // Names of some length make certificates of which as many as are allowed fit on one line each, but not in many.
    let text = (400..900).find_map(|length| {
        let one = ca(&"n".repeat(length)).0;
        let text = on_one_line(&one).repeat(MAX_CA_CERTIFICATES);
        let outgrows = text.len() <= MAX_CA_BUNDLE_BYTES && one.len() * MAX_CA_CERTIFICATES > MAX_CA_BUNDLE_BYTES;
        outgrows.then_some(text)
    });
    let refused = CaBundle::parse_pem(text.unwrap().as_bytes());
    assert!(matches!(refused, Err(CaBundleError::Size { .. })), "{refused:?}");
}

#[test]
fn trailing_data_in_a_certificate_is_refused() {
    let (one, _) = ca("one");
    let mut der = pem::parse(&one).unwrap().into_contents();
    der.push(0);
    let text = pem_text::encode(TAG, &der);
    assert_eq!(CaBundle::parse_pem(text.as_bytes()), Err(CaBundleError::Certificate { index: 1 }));
}
