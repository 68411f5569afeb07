//! Properties over mutated requests: whatever is changed, what is approved still means the same.

use std::collections::BTreeSet;
use std::net::IpAddr;

use proptest::prelude::*;
use proptest::sample::{Index, select};
use x509_cert::der::asn1::{Any, AnyRef};
use x509_cert::der::{Decode, Encode, Reader, SliceReader, Tag, Tagged};
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::FromDer;

use super::scene::Scene;
use crate::names::{
    AUTHENTICATED_GROUP, BOOTSTRAPPERS_GROUP, CONTROL_PLANE_GROUP, ENROLL_GROUP, JOIN_GROUP, NODES_GROUP,
};
use crate::policy::{Decision, KeyBinding};
use crate::test_support::{dns, ip};

/// One value of DER as a tree; an OCTET STRING that holds DER is opened as well.
#[derive(Debug, Clone)]
enum Tree {
    Leaf(Tag, Vec<u8>),
    Branch(Tag, Vec<Tree>),
}

impl Tree {
    fn parse(der: &[u8]) -> Option<Self> {
        let any = AnyRef::from_der(der).ok()?;
        let (tag, value) = (any.tag(), any.value());
        let open = tag.is_constructed() || tag == Tag::OctetString;
        let children = if open { Self::parse_all(value) } else { None };
        Some(children.map_or_else(|| Self::Leaf(tag, value.to_vec()), |children| Self::Branch(tag, children)))
    }

    fn parse_all(value: &[u8]) -> Option<Vec<Self>> {
        let mut reader = SliceReader::new(value).ok()?;
        let mut children = Vec::new();
        while !reader.is_finished() {
            let child = AnyRef::decode(&mut reader).ok()?;
            children.push(Self::parse(&child.to_der().ok()?)?);
        }
        Some(children)
    }

    fn encode(&self) -> Vec<u8> {
        let (tag, value) = match self {
            Self::Leaf(tag, value) => (*tag, value.clone()),
            Self::Branch(tag, children) => (*tag, children.iter().flat_map(Self::encode).collect()),
        };
        Any::new(tag, value).unwrap().to_der().unwrap()
    }

    fn count(&self) -> usize {
        match self {
            Self::Leaf(..) => 1,
            Self::Branch(_, children) => 1 + children.iter().map(Self::count).sum::<usize>(),
        }
    }

    /// The node at a position in the order in which they are met.
    fn at(&mut self, position: &mut usize) -> Option<&mut Self> {
        if *position == 0 {
            return Some(self);
        }
        *position -= 1;
        match self {
            Self::Leaf(..) => None,
            Self::Branch(_, children) => children.iter_mut().find_map(|child| child.at(position)),
        }
    }
}

/// One change of one node.
#[derive(Debug, Clone)]
enum Change {
    Replace(Index, u8),
    Insert(Index, u8),
    Remove(Index),
    Duplicate(Index),
    Swap(Index, Index),
    Drop(Index),
    Retag(Tag),
    Wrap,
}

fn changes() -> impl Strategy<Value = Change> {
    let tags = vec![
        Tag::Boolean,
        Tag::Integer,
        Tag::Null,
        Tag::OctetString,
        Tag::Utf8String,
        Tag::PrintableString,
        Tag::Ia5String,
        Tag::BmpString,
        Tag::TeletexString,
        Tag::Sequence,
        Tag::Set,
        Tag::BitString,
        Tag::ObjectIdentifier,
    ];
    prop_oneof![
        (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Change::Replace(at, byte)),
        (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Change::Insert(at, byte)),
        any::<Index>().prop_map(Change::Remove),
        any::<Index>().prop_map(Change::Duplicate),
        (any::<Index>(), any::<Index>()).prop_map(|(one, two)| Change::Swap(one, two)),
        any::<Index>().prop_map(Change::Drop),
        select(tags).prop_map(Change::Retag),
        Just(Change::Wrap),
    ]
}

fn apply(node: &mut Tree, change: &Change) {
    match (change, &mut *node) {
        (Change::Replace(at, byte), Tree::Leaf(_, value)) if !value.is_empty() => {
            let at = at.index(value.len());
            value[at] = *byte;
        }
        (Change::Insert(at, byte), Tree::Leaf(_, value)) => value.insert(at.index(value.len() + 1), *byte),
        (Change::Remove(at), Tree::Leaf(_, value)) if !value.is_empty() => drop(value.remove(at.index(value.len()))),
        (Change::Duplicate(at), Tree::Branch(_, children)) if !children.is_empty() => {
            let at = at.index(children.len());
            children.insert(at, children[at].clone());
        }
        (Change::Swap(one, two), Tree::Branch(_, children)) if !children.is_empty() => {
            let length = children.len();
            children.swap(one.index(length), two.index(length));
        }
        (Change::Drop(at), Tree::Branch(_, children)) if !children.is_empty() => {
            drop(children.remove(at.index(children.len())));
        }
        (Change::Retag(tag), Tree::Leaf(old, _) | Tree::Branch(old, _)) => *old = *tag,
        (Change::Wrap, _) => *node = Tree::Branch(Tag::Sequence, vec![node.clone()]),
        _ => {}
    }
}

/// What a request means, read by another library than the policy uses: subject, key and names, without their order.
fn meaning(der: &[u8]) -> Option<(BTreeSet<String>, Vec<u8>, BTreeSet<String>)> {
    let (rest, request) = X509CertificationRequest::from_der(der).ok()?;
    let info = &request.certification_request_info;
    let subject = info.subject.iter_attributes();
    let subject = subject.map(|attribute| format!("{}={}", attribute.attr_type(), attribute.as_str().unwrap_or("?")));
    let mut names = BTreeSet::new();
    for extension in request.requested_extensions().into_iter().flatten() {
        match extension {
            ParsedExtension::SubjectAlternativeName(san) => {
                names.extend(san.general_names.iter().map(|name| match name {
                    GeneralName::DNSName(name) => format!("DNS {name}"),
                    other => other.to_string(),
                }));
            }
            other => drop(names.insert(format!("{other:?}"))),
        }
    }
    let key = info.subject_pki.raw.to_vec();
    let subject: Vec<String> = subject.collect();
    let count = subject.len();
    let subject: BTreeSet<String> = subject.into_iter().collect();
    (rest.is_empty() && subject.len() == count).then_some((subject, key, names))
}

fn der_of(pem: &[u8]) -> Vec<u8> {
    pem::parse(pem).unwrap().into_contents()
}

/// Makes the change, signs the result with the right key, and checks that an approval means no more than before.
fn check(mut scene: Scene, position: Index, change: &Change) -> Result<(), TestCaseError> {
    let original = scene.forge.info();
    let before = meaning(&scene.forge.sign_der(&original)).unwrap();
    let mut tree = Tree::parse(&original).unwrap();
    prop_assert_eq!(tree.encode(), original, "the tree must not change anything by itself");
    let mut at = position.index(tree.count());
    if let Some(node) = tree.at(&mut at) {
        apply(node, change);
    }
    let changed = scene.forge.sign(&tree.encode());
    scene.raw = Some(changed.clone());
    if let Decision::Approve(approval) = scene.decide() {
        let (subject, key, names) = meaning(&der_of(&changed)).unwrap();
        prop_assert_eq!(subject, before.0);
        prop_assert_eq!(key, before.1);
        // Fewer names than approved are as good; none, or any other, is not.
        prop_assert!(names.is_subset(&before.2), "{:?} {:?}", names, before.2);
        prop_assert_eq!(names.is_empty(), before.2.is_empty());
        prop_assert_eq!(approval.public_key, scene.forge.pin());
        prop_assert_eq!(approval.node.as_str(), "worker-7");
    }
    Ok(())
}

/// A serving request with the rarer parts of the grammar in it, so that mutations meet them.
fn serving() -> Scene {
    let mut scene = Scene::serving();
    scene.forge.names = vec![dns("worker-7"), ip("192.0.2.17"), ip("2001:db8::17"), dns("worker-7.example.org")];
    scene.approved_names.insert("worker-7.example.org".to_owned());
    scene
}

#[test]
fn the_other_library_reads_the_same() {
    let (subject, _, names) = meaning(&der_of(&serving().forge.pem())).unwrap();
    assert_eq!(subject, ["2.5.4.10=system:nodes", "2.5.4.3=system:node:worker-7"].map(str::to_owned).into());
    assert_eq!(names.len(), 4, "{names:?}");
}

#[test]
fn harmless_changes_are_still_approved() {
    // If nothing but the original were ever approved, the properties below would hold without saying anything.
    let mut scene = Scene::client();
    let mut tree = Tree::parse(&scene.forge.info()).unwrap();
    let Tree::Branch(_, parts) = &mut tree else { panic!("{tree:?}") };
    let Tree::Branch(_, subject) = &mut parts[1] else { panic!("{parts:?}") };
    subject.reverse();
    scene.raw = Some(scene.forge.sign(&tree.encode()));
    assert!(matches!(scene.decide(), Decision::Approve(_)), "{:?}", scene.decide());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn a_changed_and_signed_client_request_means_the_same_or_is_not_approved(position in any::<Index>(), change in changes()) {
        check(Scene::client(), position, &change)?;
    }

    #[test]
    fn a_changed_and_signed_serving_request_means_the_same_or_is_not_approved(position in any::<Index>(), change in changes()) {
        check(serving(), position, &change)?;
    }

    #[test]
    fn with_an_unpinned_key_at_least_the_name_and_the_group_are_the_same(position in any::<Index>(), change in changes()) {
        let mut scene = Scene::client();
        scene.record().key = KeyBinding::FirstUse;
        let mut tree = Tree::parse(&scene.forge.info()).unwrap();
        let mut at = position.index(tree.count());
        if let Some(node) = tree.at(&mut at) {
            apply(node, &change);
        }
        scene.raw = Some(scene.forge.sign(&tree.encode()));
        if let Decision::Approve(approval) = scene.decide() {
            prop_assert_eq!(approval.node.as_str(), "worker-7");
        }
    }

    #[test]
    fn any_single_changed_byte_is_not_approved(position in any::<Index>(), byte in any::<u8>()) {
        for mut scene in [Scene::client(), Scene::serving()] {
            let original = scene.forge.pem();
            let mut changed = original.clone();
            let position = position.index(changed.len());
            changed[position] = byte;
            let same = changed == original;
            scene.raw = Some(changed);
            prop_assert_eq!(matches!(scene.decide(), Decision::Approve(_)), same);
        }
    }

    #[test]
    fn only_the_exact_usages_are_approved(usages in proptest::collection::vec(select(vec![
        "digital signature", "client auth", "server auth", "key encipherment", "any", "signing", "cert sign",
    ]), 0..4)) {
        let mut scene = Scene::client();
        scene.csr.usages = usages.iter().map(|usage| (*usage).to_owned()).collect();
        let mut sorted = usages;
        sorted.sort_unstable();
        let exact = sorted == ["client auth", "digital signature"];
        prop_assert_eq!(matches!(scene.decide(), Decision::Approve(_)), exact);
    }

    #[test]
    fn only_the_exact_groups_are_approved(groups in proptest::collection::vec(select(vec![
        BOOTSTRAPPERS_GROUP, JOIN_GROUP, AUTHENTICATED_GROUP, ENROLL_GROUP, NODES_GROUP, CONTROL_PLANE_GROUP, "system:masters",
    ]), 0..5)) {
        let mut scene = Scene::client();
        scene.csr.groups = groups.iter().map(|group| (*group).to_owned()).collect();
        let mut sorted = groups;
        sorted.sort_unstable();
        let exact = sorted == [AUTHENTICATED_GROUP, BOOTSTRAPPERS_GROUP, JOIN_GROUP];
        prop_assert_eq!(matches!(scene.decide(), Decision::Approve(_)), exact);
    }

    #[test]
    fn any_other_user_name_is_not_approved(name in "(system:(bootstrap|node):)?[a-z0-9:.]{0,12}") {
        for mut scene in [Scene::client(), Scene::serving()] {
            let same = scene.csr.username == name;
            scene.csr.username.clone_from(&name);
            prop_assert_eq!(matches!(scene.decide(), Decision::Approve(_)), same);
        }
    }

    #[test]
    fn any_other_common_name_is_not_approved(name in "(system:node:)?[a-zA-Z0-9.:-]{0,12}") {
        for mut scene in [Scene::client(), Scene::serving()] {
            scene.forge.subject[1][0].1 = crate::test_support::printable(&name);
            let same = name == "system:node:worker-7";
            prop_assert_eq!(matches!(scene.decide(), Decision::Approve(_)), same);
        }
    }

    #[test]
    fn approved_addresses_are_approved_and_allowed(
        named in proptest::collection::vec(addresses(), 0..5),
        approved in proptest::collection::vec(addresses(), 0..8),
    ) {
        let mut scene = Scene::serving();
        scene.forge.names = named.iter().map(|address| ip(&address.to_string())).collect();
        scene.approved_addresses = approved.into_iter().collect();
        if let Decision::Approve(_) = scene.decide() {
            prop_assert!(!named.is_empty());
            for address in &named {
                prop_assert!(scene.approved_addresses.contains(address));
                prop_assert!(!address.is_loopback() && !address.is_multicast() && !address.is_unspecified());
                prop_assert!(address.to_canonical() == *address);
                prop_assert!(!scene.forbidden_networks.iter().any(|network| network.contains(address)));
                prop_assert!(!scene.forbidden_addresses.contains_key(address));
            }
        }
    }

    #[test]
    fn approved_dns_names_are_approved(named in proptest::collection::vec(select(vec![
        "worker-7", "worker-77", "worker", "worker-8", "localhost", "kubernetes", "api.example.org", "*.example.org", "WORKER-7",
    ]), 0..4)) {
        let mut scene = Scene::serving();
        scene.forge.names = named.iter().map(|name| dns(name)).collect();
        let good = !named.is_empty() && named.iter().all(|name| *name == "worker-7");
        prop_assert_eq!(matches!(scene.decide(), Decision::Approve(_)), good);
    }
}

/// Addresses of which many are approved, forbidden or special.
fn addresses() -> impl Strategy<Value = IpAddr> {
    prop_oneof![
        select(vec![
            "192.0.2.1",
            "192.0.2.17",
            "192.0.2.18",
            "10.96.0.1",
            "127.0.0.1",
            "0.0.0.0",
            "224.0.0.1",
            "2001:db8::17",
            "::1",
            "::",
            "fe80::1",
            "ff02::1",
            "::ffff:192.0.2.17",
            "::ffff:127.0.0.1",
            "fd00:96::1",
            "169.254.1.1",
        ])
        .prop_map(|text| text.parse().unwrap()),
        any::<IpAddr>(),
    ]
}
