//! Requests that are made to cost: the answer is the same denial, and the work is bounded by the size that is read.

use rstest::rstest;
use x509_cert::der::asn1::Any;

use super::scene::Scene;
use crate::announcement;
use crate::ca_bundle::{CaBundle, CaBundleError};
use crate::limits::{MAX_CA_BUNDLE_BYTES, MAX_CSR_PEM_BYTES};
use crate::policy::{Decision, Rule};
use crate::test_support::{Forge, attribute, extension, printable, sequence};

const BLOCK: &str = "-----BEGIN CERTIFICATE REQUEST-----\nMAA=\n-----END CERTIFICATE REQUEST-----\n";

/// As many values in each other as fit, each with a length that is right.
fn deep(innermost: &[u8], longest: usize) -> Vec<u8> {
    let mut der = innermost.to_vec();
    while der.len() < longest {
        der = sequence(&der);
    }
    der
}

fn forged(change: impl FnOnce(&mut Forge)) -> Vec<u8> {
    let mut forge = Forge::kubelet("worker-7");
    change(&mut forge);
    forge.pem()
}

/// What fits beside the rest of a request: PEM makes four bytes of three.
const ROOM: usize = MAX_CSR_PEM_BYTES / 4 * 3 - 600;

fn any(der: &[u8]) -> Any {
    x509_cert::der::Decode::from_der(der).unwrap()
}

#[rstest]
#[case::one_mebibyte_of_white_space(
    [forged(|_| {}), vec![b'\n'; 1024 * 1024]].concat(), Rule::Size)]
#[case::one_mebibyte_of_attributes(
    forged(|forge| forge.attributes.push(attribute("1.2.3.4", printable(&"a".repeat(1024 * 1024))))), Rule::Size)]
#[case::ten_thousand_blocks(BLOCK.repeat(10_000).into_bytes(), Rule::Size)]
#[case::as_many_blocks_as_fit(BLOCK.repeat(MAX_CSR_PEM_BYTES / BLOCK.len()).into_bytes(), Rule::Encoding)]
#[case::ten_thousand_beginnings("-----BEGIN ".repeat(10_000).into_bytes(), Rule::Size)]
#[case::as_many_beginnings_as_fit("-----BEGIN ".repeat(MAX_CSR_PEM_BYTES / 11).into_bytes(), Rule::Encoding)]
#[case::deep_all_the_way(
    Forge::kubelet("worker-7").sign(&deep(&[], ROOM)), Rule::Encoding)]
#[case::deep_in_an_attribute(
    forged(|forge| forge.attributes.push(attribute("1.2.3.4", any(&deep(&[], ROOM))))), Rule::Extensions)]
#[case::deep_in_an_extension(
    forged(|forge| forge.extensions.push(extension("1.2.3.4", false, deep(&[], ROOM)))), Rule::Extensions)]
#[case::deep_in_the_subject(
    forged(|forge| forge.subject[1][0].1 = any(&deep(&[], ROOM))), Rule::CommonName)]
fn a_request_that_is_made_to_cost_is_denied(#[case] request: Vec<u8>, #[case] rule: Rule) {
    for mut scene in [Scene::client(), Scene::serving()] {
        scene.raw = Some(request.clone());
        assert!(matches!(scene.decide(), Decision::Deny(_)), "{:?}", scene.decide());
        assert!(scene.violated().contains(&rule), "{:?}", scene.violated());
    }
    assert!(announcement::verify(&request).is_err());
}

/// A length that says more than there is, and the form without a length, which DER does not have.
#[test]
fn lengths_that_lie_are_no_encoding() {
    for der in [vec![0x30, 0x84, 0xff, 0xff, 0xff, 0xff], [0x30, 0x80].repeat(5_000), vec![0x30; 8_000]] {
        let mut scene = Scene::client();
        scene.raw = Some(crate::pem_text::encode("CERTIFICATE REQUEST", &der).into_bytes());
        assert_eq!(scene.violated()[0], Rule::Encoding, "{:?}", scene.violated());
    }
}

#[test]
fn a_bundle_of_ten_thousand_certificates_is_not_read() {
    let block = "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n";
    let refused = CaBundle::parse_pem(block.repeat(10_000).as_bytes());
    assert_eq!(refused, Err(CaBundleError::Size { length: block.len() * 10_000 }));
    let count = MAX_CA_BUNDLE_BYTES / block.len();
    assert_eq!(CaBundle::parse_pem(block.repeat(count).as_bytes()), Err(CaBundleError::Count { count }));
}
