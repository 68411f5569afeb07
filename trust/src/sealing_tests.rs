use proptest::prelude::*;
use rstest::rstest;

use super::*;

/// RFC 9180's published vector for base mode (0) with this suite (KEM 0x0020, KDF 0x0001, AEAD 0x0002), encryption 0.
///
/// The RFC's appendix prints the suites with AES-128-GCM and ChaCha20Poly1305; this one is in the `test-vectors.json`
/// that the RFC names (<https://github.com/cfrg/draft-irtf-cfrg-hpke>).
mod vector {
    pub(super) const INFO: &str = "4f6465206f6e2061204772656369616e2055726e";
    pub(super) const IKM_E: &str = "2cd7c601cefb3d42a62b04b7a9041494c06c7843818e0ce28a8f704ae7ab20f9";
    pub(super) const IKM_R: &str = "dac33b0e9db1b59dbbea58d59a14e7b5896e9bdf98fad6891e99d1686492b9ee";
    pub(super) const SK_R: &str = "497b4502664cfea5d5af0b39934dac72242a74f8480451e1aee7d6a53320333d";
    pub(super) const PK_R: &str = "430f4b9859665145a6b1ba274024487bd66f03a2dd577d7753c68d7d7d00c00c";
    pub(super) const ENC: &str = "6c93e09869df3402d7bf231bf540fadd35cd56be14f97178f0954db94b7fc256";
    pub(super) const AAD: &str = "436f756e742d30";
    pub(super) const PLAINTEXT: &str = "4265617574792069732074727574682c20747275746820626561757479";
    pub(super) const CIPHERTEXT: &str =
        "e5d84cd531cfb583096e7cfa9641bd3079cf3a91cda813c52deb5f512be9931980a41de125a925cdad859d5b7a";
}

fn unhex(text: &str) -> Vec<u8> {
    hex::decode(text).unwrap()
}

fn binding<'a>() -> Binding<'a> {
    Binding { uid: "2b1c9f0e-0000-4000-8000-000000000001", name: "worker-7", generation: 1 }
}

#[test]
fn the_published_vector_opens() {
    let key = SealingKey::from_scalar(&unhex(vector::SK_R)).unwrap();
    assert_eq!(hex::encode(key.public().as_bytes()), vector::PK_R);
    let sealed = SealedEnvelope::new(&unhex(vector::ENC), unhex(vector::CIPHERTEXT)).unwrap();
    let opened = open_raw(&key, &unhex(vector::INFO), &unhex(vector::AAD), &sealed).unwrap();
    assert_eq!(*opened, unhex(vector::PLAINTEXT));
}

#[test]
fn the_published_key_pairs_are_derived() {
    let (private, public) = X25519HkdfSha256::derive_keypair(&unhex(vector::IKM_R));
    assert_eq!(
        private.to_bytes().as_slice(),
        SealingKey::from_scalar(&unhex(vector::SK_R)).unwrap().0.to_bytes().as_slice()
    );
    assert_eq!(hex::encode(public.to_bytes()), vector::PK_R);
    let (_, ephemeral) = X25519HkdfSha256::derive_keypair(&unhex(vector::IKM_E));
    assert_eq!(hex::encode(ephemeral.to_bytes()), vector::ENC);
}

#[test]
fn what_is_sealed_opens_for_the_same_key_and_binding() {
    let key = SealingKey::generate().unwrap();
    let sealed = seal(&key.public(), &binding(), b"secret").unwrap();
    assert_eq!(open(&key, &binding(), &sealed).unwrap().as_slice(), b"secret");
    let again = seal(&key.public(), &binding(), b"secret").unwrap();
    assert_ne!(again, sealed, "every envelope has an ephemeral key of its own");
}

#[rstest]
#[case(Binding { uid: "2b1c9f0e-0000-4000-8000-000000000002", ..binding() })]
#[case(Binding { name: "worker-8", ..binding() })]
#[case(Binding { generation: 2, ..binding() })]
#[case(Binding { uid: "", ..binding() })]
fn an_envelope_does_not_open_for_another_request(#[case] other: Binding<'_>) {
    let key = SealingKey::generate().unwrap();
    let sealed = seal(&key.public(), &binding(), b"secret").unwrap();
    assert_eq!(open(&key, &other, &sealed), Err(SealingError::Open));
}

#[test]
fn an_envelope_does_not_open_for_another_machine() {
    let sealed = seal(&SealingKey::generate().unwrap().public(), &binding(), b"secret").unwrap();
    assert_eq!(open(&SealingKey::generate().unwrap(), &binding(), &sealed), Err(SealingError::Open));
}

#[test]
fn the_encoding_of_a_binding_is_fixed() {
    let info = Binding { uid: "u", name: "nn", generation: 258 }.info();
    let mut expected = Vec::new();
    expected.extend_from_slice(b"\0\0\0\0\0\0\0\x22nodejoin.dev/sealed-credentials/v1");
    expected.extend_from_slice(b"\0\0\0\0\0\0\0\x01u\0\0\0\0\0\0\0\x02nn\0\0\0\0\0\0\x01\x02");
    assert_eq!(info, expected);
}

/// Points whose order divides eight, in all their encodings below 2^255 (<https://cr.yp.to/ecdh.html>).
#[rstest]
#[case("0000000000000000000000000000000000000000000000000000000000000000")]
#[case("0100000000000000000000000000000000000000000000000000000000000000")]
#[case("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800")]
#[case("5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157")]
#[case("ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f")]
#[case("edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f")]
#[case("eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f")]
#[case("cdeb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b880")]
#[case("4c9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f11d7")]
#[case("d9ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff")]
#[case("daffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff")]
#[case("dbffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff")]
fn points_of_low_order_are_no_keys(#[case] point: &str) {
    // The last five are first read as written (their top bit is ignored) and then reduced; whichever of them is not of
    // low order after that must at least not make a zero secret.
    let bytes = unhex(point);
    match SealingPublicKey::from_bytes(&bytes) {
        Err(error) => assert_eq!(error, SealingError::LowOrder),
        Ok(key) => assert!(seal(&key, &binding(), b"secret").is_ok() && bytes[31] & 0x80 != 0, "{point}"),
    }
}

#[test]
fn an_envelope_with_an_ephemeral_key_of_low_order_does_not_open() {
    // Its shared secret would be zero, so that anybody could have made it (RFC 9180 section 7.1.4).
    let key = SealingKey::generate().unwrap();
    let sealed = SealedEnvelope::new(&[0; 32], vec![0; 64]).unwrap();
    assert_eq!(open(&key, &binding(), &sealed), Err(SealingError::Open));
}

#[test]
fn keys_survive_a_round_trip() {
    let key = SealingKey::generate().unwrap();
    let text = key.to_pem().unwrap();
    assert!(text.starts_with("-----BEGIN PRIVATE KEY-----\n"));
    assert_eq!(SealingKey::from_pem(&text).unwrap().public(), key.public());
    let public = key.public();
    assert_eq!(SealingPublicKey::from_base64(&public.to_base64()), Ok(public));
    assert_ne!(SealingKey::generate().unwrap().public(), public);
}

/// A key of OpenSSL 3.0 (`openssl genpkey -algorithm x25519`) with the public key that `openssl pkey -pubout` computes.
#[test]
fn openssls_key_file_is_read() {
    const PRIVATE: &str = "MC4CAQAwBQYDK2VuBCIEIEj/o71qpAqyiLT30riuWACAlr0OBKC/A0gF9eePl8Vm";
    const PUBLIC: &str = "DZ3LoWMM9zwJBQAxbIL0QrhWRkiZX63TexkRlO0Wm3k=";
    let text = format!("-----BEGIN PRIVATE KEY-----\n{PRIVATE}\n-----END PRIVATE KEY-----\n");
    let key = SealingKey::from_pem(&text).unwrap();
    assert_eq!(key.public().to_base64(), PUBLIC);
    assert_eq!(key.to_pem().unwrap().len(), text.len());
}

#[test]
fn what_is_no_sealing_key_is_refused() {
    let p256 = include_str!("../testdata/go-key.pkcs8.pem");
    let short = crate::pem_text::encode(
        PKCS8_TAG,
        &unhex("302d020100300506032b656e0421041f00000000000000000000000000000000000000000000000000000000000000"),
    );
    for text in ["", "x", p256, &short] {
        assert_eq!(SealingKey::from_pem(text).map(|key| key.public()), Err(SealingError::File), "{text}");
    }
    let long = "x".repeat(MAX_KEY_FILE_BYTES + 1);
    assert!(matches!(SealingKey::from_pem(&long), Err(SealingError::FileSize { .. })));
    assert_eq!(SealingPublicKey::from_bytes(&[9; 31]), Err(SealingError::KeyLength { length: 31 }));
    assert_eq!(SealingPublicKey::from_base64("!"), Err(SealingError::Base64 { field: "public key" }));
}

#[test]
fn sizes_are_bounded() {
    let key = SealingKey::generate().unwrap();
    let largest = vec![7; MAX_CREDENTIALS_BYTES];
    let sealed = seal(&key.public(), &binding(), &largest).unwrap();
    assert_eq!(*open(&key, &binding(), &sealed).unwrap(), largest);
    assert_eq!(sealed.ciphertext_base64().len(), MAX_CIPHERTEXT_BASE64_BYTES, "the field's bound is exactly enough");
    let again = SealedEnvelope::from_base64(&sealed.encapsulated_key_base64(), &sealed.ciphertext_base64());
    assert_eq!(again, Ok(sealed));

    let larger = vec![7; MAX_CREDENTIALS_BYTES + 1];
    assert_eq!(
        seal(&key.public(), &binding(), &larger),
        Err(SealingError::PlaintextSize { length: MAX_CREDENTIALS_BYTES + 1 })
    );
    let text = "A".repeat(MAX_CIPHERTEXT_BASE64_BYTES + 4);
    let key = STANDARD.encode([1; 32]);
    assert!(matches!(SealedEnvelope::from_base64(&key, &text), Err(SealingError::CiphertextSize { .. })));
    assert!(matches!(SealedEnvelope::from_base64(&text, "AAAA"), Err(SealingError::CiphertextSize { .. })));
    assert_eq!(SealedEnvelope::from_base64("AAAA", "AAAA"), Err(SealingError::KeyLength { length: 3 }));
    assert_eq!(SealedEnvelope::from_base64(&key, "AA?A"), Err(SealingError::Base64 { field: "ciphertext" }));
}

#[test]
fn private_keys_are_not_printed() {
    let key = SealingKey::from_scalar(&unhex(vector::SK_R)).unwrap();
    let printed = format!("{key:?}");
    assert!(!printed.contains(&STANDARD.encode(unhex(vector::SK_R))) && !printed.contains(vector::SK_R), "{printed}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn different_bindings_have_different_encodings(
        one in ("[a-z/v1]{0,8}", "[a-z/v1]{0,8}", any::<i64>()),
        two in ("[a-z/v1]{0,8}", "[a-z/v1]{0,8}", any::<i64>()),
    ) {
        let info = |(uid, name, generation): &(String, String, i64)| Binding { uid, name, generation: *generation }.info();
        prop_assert_eq!(info(&one) == info(&two), one == two);
    }

    #[test]
    fn text_cannot_be_moved_between_uid_and_name(text in "[a-z]{2,12}", at in 1_usize..11) {
        let at = at.min(text.len() - 1);
        let split = Binding { uid: &text[..at], name: &text[at..], generation: 1 };
        let whole = Binding { uid: &text, name: "", generation: 1 };
        prop_assert_ne!(split.info(), whole.info());
    }

    #[test]
    fn any_single_change_of_an_envelope_is_noticed(position in 0_usize..32 + 22, bit in 0_u8..8) {
        let key = SealingKey::from_scalar(&[0x11; 32]).unwrap();
        let sealed = seal(&key.public(), &binding(), b"secret").unwrap();
        let mut changed = sealed.clone();
        if position < 32 {
            // X25519 ignores the top bit (RFC 7748), but HPKE hashes the bytes, so even that change is noticed.
            changed.encapsulated_key[position] ^= 1 << bit;
        } else {
            changed.ciphertext[position - 32] ^= 1 << bit;
        }
        prop_assert_eq!(open(&key, &binding(), &changed), Err(SealingError::Open));
    }

    #[test]
    fn any_plaintext_survives(plaintext in proptest::collection::vec(any::<u8>(), 0..300)) {
        let key = SealingKey::from_scalar(&[0x22; 32]).unwrap();
        let sealed = seal(&key.public(), &binding(), &plaintext).unwrap();
        prop_assert_eq!(&*open(&key, &binding(), &sealed).unwrap(), &plaintext);
    }
}
