use proptest::prelude::*;
use rstest::rstest;
use x509_cert::der::asn1::{Any, Ia5String, SetOfVec};

use super::*;
use crate::test_support::{
    EXTENSION_REQUEST, Forge, alternative_names, attribute, dns, extension, extension_request, ip, oid, printable,
    sequence, utf8,
};

const GO_CLIENT: &[u8] = include_bytes!("../testdata/go-client.csr.pem");
const GO_SERVING: &[u8] = include_bytes!("../testdata/go-serving.csr.pem");

fn read(pem: &[u8]) -> CertificationRequest {
    CertificationRequest::parse_pem(pem).unwrap()
}

fn is_bad_der(result: &Result<CertificationRequest, Pkcs10Error>) -> bool {
    matches!(result, Err(Pkcs10Error::Der { .. }))
}

#[test]
fn gos_client_request_is_read() {
    let request = read(GO_CLIENT);
    request.verify_signature().unwrap();
    assert_eq!(request.common_name(), Some("system:node:worker-7"));
    assert_eq!(request.subject_values(&AttributeKind::Organization).collect::<Vec<_>>(), [Some("system:nodes")]);
    assert_eq!(request.subject().len(), 2);
    assert_eq!(*request.key_kind(), KeyKind::P256);
    assert!(request.names().is_empty() && request.extensions().is_empty() && request.other_attributes().is_empty());
}

#[test]
fn gos_serving_request_is_read() {
    let request = read(GO_SERVING);
    request.verify_signature().unwrap();
    let expected = [
        AlternativeName::Dns("worker-7".to_owned()),
        AlternativeName::Ip("192.0.2.17".parse().unwrap()),
        AlternativeName::Ip("2001:db8::17".parse().unwrap()),
    ];
    assert_eq!(request.names(), expected);
    assert!(request.extensions().is_empty());
    assert_eq!(request.pin(), read(GO_CLIENT).pin(), "both were made with one key");
}

#[rstest]
#[case(include_bytes!("../testdata/rsa1024-client.csr.pem"), KeyKind::Rsa { bits: 1024 }, false)]
#[case(include_bytes!("../testdata/rsa2048-client.csr.pem"), KeyKind::Rsa { bits: 2048 }, true)]
#[case(include_bytes!("../testdata/sha1-client.csr.pem"), KeyKind::Rsa { bits: 2048 }, false)]
#[case(include_bytes!("../testdata/challenge-client.csr.pem"), KeyKind::P256, true)]
#[case(
    include_bytes!("../testdata/p521-client.csr.pem"),
    KeyKind::Other { algorithm: "1.2.840.10045.2.1 with 1.3.132.0.35".to_owned() },
    false
)]
fn keys_are_told_apart_and_weak_signatures_refused(#[case] pem: &[u8], #[case] kind: KeyKind, #[case] verifies: bool) {
    let request = read(pem);
    assert_eq!(*request.key_kind(), kind);
    assert_eq!(request.verify_signature().is_ok(), verifies, "{:?}", request.verify_signature());
    assert_eq!(request.common_name(), Some("system:node:worker-7"));
}

#[test]
fn other_attributes_are_listed() {
    let request = read(include_bytes!("../testdata/challenge-client.csr.pem"));
    assert_eq!(request.other_attributes(), ["1.2.840.113549.1.9.7"]);
}

#[test]
fn other_curves_verify() {
    for (algorithm, kind) in [(&rcgen::PKCS_ECDSA_P384_SHA384, KeyKind::P384), (&rcgen::PKCS_ED25519, KeyKind::Ed25519)]
    {
        let key = rcgen::KeyPair::generate_for(algorithm).unwrap();
        let pem = rcgen::CertificateParams::default().serialize_request(&key).unwrap();
        let pem = pem_text::encode(TAG, pem.der());
        let request = read(pem.as_bytes());
        assert_eq!(*request.key_kind(), kind);
        request.verify_signature().unwrap();
    }
}

#[test]
fn a_request_that_another_key_signed_does_not_verify() {
    let mut forge = Forge::kubelet("worker-7");
    forge.signer = Some(rcgen::KeyPair::generate().unwrap());
    let request = read(&forge.pem());
    assert_eq!(request.pin(), forge.pin());
    assert!(matches!(request.verify_signature(), Err(Pkcs10Error::Signature { .. })));
}

#[rstest]
#[case::empty("")]
#[case::no_pem("hello")]
#[case::leading_text("x\n@")]
#[case::leading_newline("\n@")]
#[case::trailing_text("@x")]
#[case::trailing_newline("@\n")]
#[case::trailing_nul("@\0")]
#[case::second_block("@@")]
#[case::byte_order_mark("\u{feff}@")]
fn only_one_block_and_nothing_else_is_read(#[case] frame: &str) {
    let request = String::from_utf8(GO_CLIENT.to_vec()).unwrap();
    let text = frame.replace('@', &request);
    assert_eq!(CertificationRequest::parse_pem(text.as_bytes()), Err(Pkcs10Error::Pem));
}

#[test]
fn only_the_writers_form_of_pem_is_read() {
    let request = std::str::from_utf8(GO_CLIENT).unwrap();
    assert!(
        CertificationRequest::parse_pem(request.trim_end().as_bytes()).is_ok(),
        "the last line feed may be missing"
    );
    let without_padding = std::iter::repeat_with(|| String::from_utf8(Forge::kubelet("worker-7").pem()).unwrap())
        .find(|pem| pem.contains("=\n"))
        .map(|pem| pem.replace('=', ""))
        .unwrap();
    let header = request.replacen("-----\n", "-----\nProc-Type: 4\n\n", 1);
    let body_on_one_line = {
        let block = pem::parse(request).unwrap();
        pem::encode_config(&block, pem::EncodeConfig::new().set_line_wrap(4096).set_line_ending(pem::LineEnding::LF))
    };
    for other in [
        request.replace('\n', "\r\n"),
        request.replace("CERTIFICATE REQUEST", "NEW CERTIFICATE REQUEST"),
        request.replace("CERTIFICATE REQUEST", "CERTIFICATE"),
        request.replacen('M', " M", 1),
        without_padding,
        header,
        body_on_one_line,
    ] {
        assert_ne!(other, request);
        assert_eq!(CertificationRequest::parse_pem(other.as_bytes()), Err(Pkcs10Error::Pem), "{other}");
    }
}

#[test]
fn sizes_are_bounded() {
    let huge = vec![b'x'; MAX_CSR_PEM_BYTES + 1];
    assert_eq!(CertificationRequest::parse_pem(&huge), Err(Pkcs10Error::Size { length: huge.len() }));
    let mut forge = Forge::kubelet("worker-7");
    forge.names = (0..MAX_ALTERNATIVE_NAMES).map(|index| ip(&format!("192.0.2.{index}"))).collect();
    assert_eq!(read(&forge.pem()).names().len(), MAX_ALTERNATIVE_NAMES);
    forge.names.push(dns("one-more"));
    let refused = CertificationRequest::parse_pem(&forge.pem());
    assert_eq!(refused, Err(Pkcs10Error::Names { count: MAX_ALTERNATIVE_NAMES + 1 }));
}

#[test]
fn trailing_data_at_any_level_is_refused() {
    let forge = Forge::kubelet("worker-7");
    let info = forge.info();
    let der = forge.sign_der(&info);
    let mut after = der.clone();
    after.extend([5, 0]);
    assert!(is_bad_der(&CertificationRequest::from_der(after)), "after the request");

    let request = CertReq::from_der(&der).unwrap();
    let mut content = info.clone();
    content.extend(request.algorithm.to_der().unwrap());
    content.extend(request.signature.to_der().unwrap());
    content.extend([5, 0]);
    assert!(is_bad_der(&CertificationRequest::from_der(sequence(&content))), "after the signature");

    let inner = Any::from_der(&info).unwrap();
    let mut longer = inner.value().to_vec();
    longer.extend([5, 0]);
    let pem = forge.sign(&sequence(&longer));
    assert!(is_bad_der(&CertificationRequest::parse_pem(&pem)), "after the attributes");
}

#[test]
fn other_encodings_of_the_same_content_are_refused() {
    let forge = Forge::kubelet("worker-7");
    let der = forge.sign_der(&forge.info());
    assert!(CertificationRequest::from_der(der.clone()).is_ok());
    // Length 0x81 0xf0 written as 0x82 0x00 0xf0.
    assert_eq!(der[1], 0x81);
    let mut long_form = vec![der[0], 0x82, 0x00, der[2]];
    long_form.extend(&der[3..]);
    assert!(is_bad_der(&CertificationRequest::from_der(long_form)));
    // BER's indefinite length.
    let mut indefinite = vec![der[0], 0x80];
    indefinite.extend(&der[3..]);
    indefinite.extend([0, 0]);
    assert!(is_bad_der(&CertificationRequest::from_der(indefinite)));
    // Version 1 instead of 0.
    let mut version = forge.info();
    let at = version.windows(3).position(|window| window == [2, 1, 0]).unwrap();
    version[at + 2] = 1;
    assert!(is_bad_der(&CertificationRequest::parse_pem(&forge.sign(&version))));
}

#[test]
fn unused_bits_are_refused() {
    // x509-parser ignores them and Go shifts the signature by them: one request, two meanings.
    let mut forge = Forge::kubelet("worker-7");
    loop {
        let mut der = forge.sign_der(&forge.info());
        let request = CertReq::from_der(&der).unwrap();
        let signature = request.signature.raw_bytes();
        if signature.last().is_some_and(|last| last % 2 == 0) {
            let at = der.len() - signature.len() - 1;
            assert_eq!(der[at], 0);
            der[at] = 1;
            assert!(is_bad_der(&CertificationRequest::from_der(der)));
            return;
        }
        forge = Forge::kubelet("worker-7");
    }
}

#[test]
fn names_cannot_be_hidden_in_a_second_extension_or_attribute() {
    let mut twice = Forge::kubelet("worker-7");
    twice.extensions = vec![alternative_names(&[dns("a")]), alternative_names(&[dns("evil")])];
    assert!(is_bad_der(&CertificationRequest::parse_pem(&twice.pem())));

    let mut attributes = Forge::kubelet("worker-7");
    attributes.names = vec![dns("a")];
    attributes.attributes = vec![extension_request(&[alternative_names(&[dns("evil")])])];
    assert!(is_bad_der(&CertificationRequest::parse_pem(&attributes.pem())));

    let mut values = Forge::kubelet("worker-7");
    let mut both = SetOfVec::default();
    for name in ["a", "evil"] {
        both.insert(Any::encode_from(&vec![alternative_names(&[dns(name)])]).unwrap()).unwrap();
    }
    values.attributes = vec![x509_cert::attr::Attribute { oid: oid(EXTENSION_REQUEST), values: both }];
    assert!(is_bad_der(&CertificationRequest::parse_pem(&values.pem())));

    let mut repeated = Forge::kubelet("worker-7");
    repeated.extensions =
        vec![extension("2.5.29.15", false, vec![3, 1, 0]), extension("2.5.29.15", true, vec![3, 1, 0])];
    assert!(is_bad_der(&CertificationRequest::parse_pem(&repeated.pem())));
}

#[test]
fn an_empty_list_of_names_is_refused() {
    let mut forge = Forge::kubelet("worker-7");
    forge.extensions = vec![alternative_names(&[])];
    assert!(is_bad_der(&CertificationRequest::parse_pem(&forge.pem())));
}

#[test]
fn names_of_every_kind_are_told_apart() {
    let ia5 = |text: &str| Ia5String::new(text).unwrap();
    let mut forge = Forge::kubelet("worker-7");
    let mapped = "::ffff:192.0.2.17".parse::<IpAddr>().unwrap();
    forge.names = vec![
        GeneralName::Rfc822Name(ia5("a@example.org")),
        GeneralName::UniformResourceIdentifier(ia5("spiffe://x")),
        GeneralName::RegisteredId(oid("1.2.3")),
        GeneralName::from(mapped),
        GeneralName::IpAddress(x509_cert::der::asn1::OctetString::new(vec![1, 2, 3]).unwrap()),
    ];
    let expected = [
        AlternativeName::Other("e-mail address"),
        AlternativeName::Other("URI"),
        AlternativeName::Other("registered identifier"),
        AlternativeName::Ip(mapped),
        AlternativeName::BadIp { length: 3 },
    ];
    assert_eq!(read(&forge.pem()).names(), expected);
}

#[test]
fn only_two_kinds_of_text_are_understood() {
    let common_name = |value| {
        let mut forge = Forge::kubelet("worker-7");
        forge.subject[1][0].1 = value;
        read(&forge.pem()).common_name().map(str::to_owned)
    };
    let name = "system:node:worker-7";
    assert_eq!(common_name(printable(name)).as_deref(), Some(name));
    assert_eq!(common_name(utf8(name)).as_deref(), Some(name));
    let wide: Vec<u8> = name.encode_utf16().flat_map(u16::to_be_bytes).collect();
    assert_eq!(common_name(Any::new(Tag::BmpString, wide).unwrap()), None);
    assert_eq!(common_name(Any::new(Tag::TeletexString, name.as_bytes()).unwrap()), None);
    assert_eq!(common_name(Any::new(Tag::Ia5String, name.as_bytes()).unwrap()), None);
    assert_eq!(common_name(Any::new(Tag::PrintableString, b"a@b".as_slice()).unwrap()), None);
}

#[test]
fn two_common_names_are_none() {
    let mut forge = Forge::kubelet("worker-7");
    forge.subject.push(forge.subject[1].clone());
    assert_eq!(read(&forge.pem()).common_name(), None);
    let mut together = Forge::kubelet("worker-7");
    let second = (together.subject[1][0].0, printable("system:node:worker-8"));
    together.subject[1].push(second);
    assert_eq!(read(&together.pem()).common_name(), None);
    assert_eq!(read(&together.pem()).subject().len(), 3);
}

#[test]
fn unknown_attributes_are_not_parsed_but_listed() {
    let mut forge = Forge::kubelet("worker-7");
    forge.attributes = vec![attribute("1.2.3.4", printable("x"))];
    assert_eq!(read(&forge.pem()).other_attributes(), ["1.2.3.4"]);
}

proptest! {
    #[test]
    fn any_single_changed_byte_of_the_text_is_noticed(position in 0..GO_SERVING.len(), byte in any::<u8>()) {
        let mut changed = GO_SERVING.to_vec();
        changed[position] = byte;
        let same = changed == GO_SERVING;
        let verified = CertificationRequest::parse_pem(&changed).and_then(|request| request.verify_signature());
        prop_assert_eq!(verified.is_ok(), same);
    }

    #[test]
    fn any_bytes_are_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        prop_assert!(CertificationRequest::parse_pem(&bytes).is_err());
        prop_assert!(CertificationRequest::from_der(bytes).is_err());
    }
}
