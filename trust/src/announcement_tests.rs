use proptest::prelude::*;
use x509_cert::der::asn1::Any;

use super::*;
use crate::sealing::SealingKey;
use crate::test_support::{COMMON_NAME, Forge, ORGANIZATION, attribute, dns, extension, ip, oid, printable, utf8};

fn node() -> NodeName {
    NodeName::parse("worker-7").unwrap()
}

fn addresses() -> Vec<IpAddr> {
    vec!["192.0.2.17".parse().unwrap(), "2001:db8::17".parse().unwrap()]
}

/// An announcement, of which every part can be changed before it is signed.
fn forge() -> (Forge, SealingKey) {
    let sealing = SealingKey::generate().unwrap();
    let mut forge = Forge::kubelet("worker-7");
    forge.subject = vec![vec![(oid(COMMON_NAME), printable("worker-7"))]];
    forge.names = vec![ip("192.0.2.17"), ip("2001:db8::17")];
    forge.extensions = vec![sealing_extension(sealing.public().as_bytes())];
    (forge, sealing)
}

fn sealing_extension(key: &[u8]) -> x509_cert::ext::Extension {
    let value = OctetString::new(key).unwrap().to_der().unwrap();
    extension(&SEALING_KEY_EXTENSION.to_string(), false, value)
}

#[test]
fn what_is_built_is_verified() {
    let (machine, sealing) = (MachineKey::generate().unwrap(), SealingKey::generate().unwrap());
    let pem = build(&machine, &sealing.public(), &node(), &addresses()).unwrap();
    let expected = Announcement {
        node_name: node(),
        public_key_hash: machine.pin(),
        addresses: addresses(),
        sealing_key: sealing.public(),
    };
    assert_eq!(verify(pem.as_bytes()).unwrap(), expected);
}

#[test]
fn a_machine_may_have_no_address_yet() {
    let (machine, sealing) = (MachineKey::generate().unwrap(), SealingKey::generate().unwrap());
    let pem = build(&machine, &sealing.public(), &node(), &[]).unwrap();
    assert_eq!(verify(pem.as_bytes()).unwrap().addresses, Vec::<IpAddr>::new());
}

#[test]
fn too_many_addresses_are_refused() {
    let (machine, sealing) = (MachineKey::generate().unwrap(), SealingKey::generate().unwrap());
    let many: Vec<IpAddr> =
        (0..=MAX_ALTERNATIVE_NAMES).map(|last| IpAddr::from([192, 0, 2, u8::try_from(last).unwrap()])).collect();
    assert_eq!(build(&machine, &sealing.public(), &node(), &many), Err(BuildError::Addresses { count: many.len() }));
    let pem = build(&machine, &sealing.public(), &node(), &many[1..]).unwrap();
    assert_eq!(verify(pem.as_bytes()).unwrap().addresses.len(), MAX_ALTERNATIVE_NAMES);
}

#[test]
fn the_forged_announcement_is_good_before_anything_is_changed() {
    let (forge, sealing) = forge();
    let announcement = verify(&forge.pem()).unwrap();
    assert_eq!(announcement.public_key_hash, forge.pin());
    assert_eq!(announcement.sealing_key, sealing.public());
    assert_eq!(announcement.addresses, addresses());
}

#[test]
fn a_client_request_is_no_announcement() {
    let refused = verify(include_bytes!("../testdata/go-client.csr.pem"));
    assert_eq!(refused, Err(AnnouncementError::Subject { count: 2 }));
}

#[test]
fn the_subject_is_a_node_name_and_nothing_else() {
    let subject = |attributes: &[(&str, Any)]| {
        let (mut forge, _) = forge();
        forge.subject = attributes.iter().map(|(id, value)| vec![(oid(id), value.clone())]).collect();
        verify(&forge.pem()).map(|announcement| announcement.node_name)
    };
    let name = printable("worker-7");
    assert_eq!(subject(&[(COMMON_NAME, utf8("worker-7"))]), Ok(node()));
    assert_eq!(subject(&[]), Err(AnnouncementError::Subject { count: 0 }));
    assert_eq!(subject(&[(ORGANIZATION, name.clone())]), Err(AnnouncementError::Subject { count: 1 }));
    assert_eq!(
        subject(&[(COMMON_NAME, name.clone()), (COMMON_NAME, name.clone())]),
        Err(AnnouncementError::Subject { count: 2 })
    );
    assert_eq!(
        subject(&[(COMMON_NAME, name.clone()), (ORGANIZATION, name)]),
        Err(AnnouncementError::Subject { count: 2 })
    );
    assert_eq!(subject(&[(COMMON_NAME, printable("Worker"))]), Err(AnnouncementError::NodeName(NameError::Shape)));
    assert_eq!(
        subject(&[(COMMON_NAME, printable("system:node:worker-7"))]),
        Err(AnnouncementError::NodeName(NameError::Shape))
    );
    assert_eq!(
        subject(&[(COMMON_NAME, printable(""))]),
        Err(AnnouncementError::NodeName(NameError::Length { length: 0 }))
    );
}

#[test]
fn alternative_names_are_addresses_in_their_one_spelling() {
    for name in [dns("worker-7"), ip("::ffff:192.0.2.17")] {
        let (mut forge, _) = forge();
        forge.names.push(name);
        assert_eq!(verify(&forge.pem()), Err(AnnouncementError::Names));
    }
}

#[test]
fn the_sealing_key_must_be_there_and_usable() {
    let with = |extensions: Vec<x509_cert::ext::Extension>| {
        let (mut forge, _) = forge();
        forge.extensions = extensions;
        verify(&forge.pem()).map(|announcement| announcement.sealing_key)
    };
    let key = SealingKey::generate().unwrap().public();
    let bare = extension(&SEALING_KEY_EXTENSION.to_string(), false, key.as_bytes().to_vec());
    assert_eq!(with(vec![sealing_extension(key.as_bytes())]), Ok(key));
    assert_eq!(with(vec![]), Err(AnnouncementError::NoSealingKey));
    assert_eq!(with(vec![bare]), Err(AnnouncementError::NoSealingKey));
    let short = SealingError::KeyLength { length: 31 };
    assert_eq!(with(vec![sealing_extension(&key.as_bytes()[1..])]), Err(AnnouncementError::SealingKey(short)));
    assert_eq!(with(vec![sealing_extension(&[0; 32])]), Err(AnnouncementError::SealingKey(SealingError::LowOrder)));
}

#[test]
fn nothing_else_may_be_asked_for() {
    let (mut forge_with_extension, _) = forge();
    forge_with_extension.extensions.push(extension("2.5.29.19", true, vec![0x30, 3, 1, 1, 0xff]));
    let refused = verify(&forge_with_extension.pem());
    assert_eq!(refused, Err(AnnouncementError::Extension { oid: "2.5.29.19".to_owned() }));
    let (mut forge_with_attribute, _) = forge();
    forge_with_attribute.attributes = vec![attribute("1.2.840.113549.1.9.7", printable("x"))];
    let refused = verify(&forge_with_attribute.pem());
    assert_eq!(refused, Err(AnnouncementError::Extension { oid: "1.2.840.113549.1.9.7".to_owned() }));
}

#[test]
fn the_key_is_p256_and_signs_itself() {
    let (mut other_signer, _) = forge();
    other_signer.signer = Some(rcgen::KeyPair::generate().unwrap());
    assert!(matches!(verify(&other_signer.pem()), Err(AnnouncementError::Request(Pkcs10Error::Signature { .. }))));

    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let request = CertificateParams::default().serialize_request(&key).unwrap();
    let pem = crate::pem_text::encode(crate::pkcs10::TAG, request.der());
    assert_eq!(verify(pem.as_bytes()), Err(AnnouncementError::Key { found: KeyKind::Ed25519 }));
}

#[test]
fn oversized_and_doubled_announcements_are_refused() {
    let (forge, _) = forge();
    let twice = [forge.pem(), forge.pem()].concat();
    assert_eq!(verify(&twice), Err(AnnouncementError::Request(Pkcs10Error::Pem)));
    let huge = vec![b'x'; 17 * 1024];
    assert_eq!(verify(&huge), Err(AnnouncementError::Request(Pkcs10Error::Size { length: huge.len() })));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_machine_is_read_back(name in "[a-z0-9]([-a-z0-9]{0,20}[a-z0-9])?(\\.[a-z0-9]{1,10}){0,3}", raw in proptest::collection::vec(any::<std::net::Ipv4Addr>(), 0..8)) {
        let (machine, sealing) = (MachineKey::generate().unwrap(), SealingKey::generate().unwrap());
        let node = NodeName::parse(&name).unwrap();
        let addresses: Vec<IpAddr> = raw.into_iter().map(IpAddr::from).collect();
        let pem = build(&machine, &sealing.public(), &node, &addresses).unwrap();
        let announcement = verify(pem.as_bytes()).unwrap();
        prop_assert_eq!(announcement.node_name, node);
        prop_assert_eq!(announcement.addresses, addresses);
        prop_assert_eq!(announcement.sealing_key, sealing.public());
    }

    #[test]
    fn any_single_changed_bit_is_noticed(position in 0_usize..2000, bit in 0_u8..8) {
        let (forge, _) = forge();
        let mut pem = forge.pem();
        let position = position % pem.len();
        pem[position] ^= 1 << bit;
        prop_assert!(verify(&pem).is_err());
    }
}
