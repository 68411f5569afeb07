use proptest::prelude::*;
use rstest::rstest;

use super::*;
use crate::pin::PublicKeyPin;
use crate::test_support::ca;

/// kubeadm's dry-run fixture with its published token, signature and pin.
const TEXT: &str = include_str!("../testdata/kubeadm-cluster-info.yaml");
const TOKEN: &str = "abcdef.abcdef0123456789";
const SIGNATURE: &str = "eyJhbGciOiJIUzI1NiIsImtpZCI6ImFiY2RlZiJ9..rh3cVKiU2mdt3CqHzC81sNE-4WQLRHMtXduHWfSbrIM";
const PIN: &str = "sha256:3b793efefe27a19f93b0fbe6e637e9c41d0dde8a377d6ab1c0f656bf1136dd8a";

fn published() -> BTreeMap<String, String> {
    [(KUBECONFIG_KEY, TEXT), ("jws-kubeconfig-abcdef", SIGNATURE)]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into()
}

fn token() -> BootstrapToken {
    BootstrapToken::parse(TOKEN).unwrap()
}

fn pinned() -> CaTrust {
    CaTrust::Pinned(PinSet::parse([PIN]).unwrap())
}

#[test]
fn kubeadms_own_cluster_info_is_believed() {
    let info = ClusterInfo::verify(&published(), &token(), &pinned()).unwrap();
    assert_eq!(info.endpoint().to_string(), "192.168.0.101:6443");
    assert_eq!(info.ca_pins().to_string(), PIN);
    assert_eq!(info.text(), TEXT);
    assert_eq!(info.confirm(&published()), Ok(()));
}

#[test]
fn rendering_gives_kubeadms_bytes() {
    let info = ClusterInfo::parse(TEXT, &pinned()).unwrap();
    assert_eq!(render(info.endpoint(), info.ca()).unwrap(), TEXT);
}

#[test]
fn what_is_rendered_is_read_again() {
    let ((one, one_pin), (two, two_pin)) = (ca("one"), ca("two"));
    let bundle = CaBundle::parse_pem(format!("{one}{two}").as_bytes()).unwrap();
    for address in ["192.0.2.1:6443", "[2001:db8::1]:6443", "api.example.org:443", "1a:1"] {
        let text = render(&Endpoint::parse(address).unwrap(), &bundle).unwrap();
        let info = ClusterInfo::parse(&text, &CaTrust::Pinned([one_pin, two_pin].into_iter().collect())).unwrap();
        assert_eq!(info.endpoint().to_string(), address);
        assert_eq!(*info.ca(), bundle);
    }
}

#[test]
fn the_signature_comes_before_everything_else() {
    let mut data = published();
    data.insert(KUBECONFIG_KEY.to_owned(), "not: even\n- yaml".to_owned());
    let refused = ClusterInfo::verify(&data, &token(), &pinned());
    assert!(matches!(refused, Err(ClusterInfoError::Signature(JwsError::Mismatch { .. }))), "{refused:?}");

    let mut data = published();
    data.remove("jws-kubeconfig-abcdef");
    let refused = ClusterInfo::verify(&data, &token(), &pinned());
    assert!(matches!(refused, Err(ClusterInfoError::Signature(JwsError::Missing { .. }))), "{refused:?}");

    let other = BootstrapToken::parse("abcdef.0000000000000000").unwrap();
    assert!(ClusterInfo::verify(&published(), &other, &pinned()).is_err());
}

#[test]
fn a_cluster_info_without_a_kubeconfig_is_no_mystery() {
    for data in [BTreeMap::new(), BTreeMap::from([(KUBECONFIG_KEY.to_owned(), String::new())])] {
        assert_eq!(ClusterInfo::verify(&data, &token(), &pinned()), Err(ClusterInfoError::NoKubeconfig));
    }
}

#[test]
fn a_real_token_does_not_replace_the_pin() {
    // Somebody who has the token signs a cluster-info with his own authority beside the real one, which is public.
    let (evil, evil_pin) = ca("evil");
    let real = ClusterInfo::parse(TEXT, &pinned()).unwrap();
    let bundle = format!("{}{evil}", real.ca().to_pem());
    let text = render(real.endpoint(), &CaBundle::parse_pem(bundle.as_bytes()).unwrap()).unwrap();
    let mut data = BTreeMap::from([("jws-kubeconfig-abcdef".to_owned(), jws::sign(&token(), &text).unwrap())]);
    data.insert(KUBECONFIG_KEY.to_owned(), text);
    let info = ClusterInfo::verify(&data, &token(), &pinned()).unwrap();
    assert_eq!(info.ca_pins().to_string(), PIN, "the other authority must not become a root of trust");

    let without = CaTrust::Pinned([PublicKeyPin::of_spki(b"another")].into_iter().collect());
    let refused = ClusterInfo::verify(&data, &token(), &without);
    assert!(matches!(refused, Err(ClusterInfoError::Ca(CaBundleError::NotPinned { .. }))), "{refused:?}");
    let all = ClusterInfo::verify(&data, &token(), &CaTrust::UnsafeAny).unwrap();
    assert!(all.ca_pins().matches(&evil_pin), "which is why this is called unsafe");
}

#[rstest]
#[case("server: https://192.168.0.101:6443", "server: http://192.168.0.101:6443")]
#[case("server: https://192.168.0.101:6443", "server: https://a/b")]
#[case("server: https://192.168.0.101:6443", "insecure-skip-tls-verify: true\n    server: https://192.168.0.101:6443")]
#[case(
    "server: https://192.168.0.101:6443",
    "certificate-authority: /etc/shadow\n    server: https://192.168.0.101:6443"
)]
#[case("server: https://192.168.0.101:6443", "proxy-url: http://evil\n    server: https://192.168.0.101:6443")]
#[case("server: https://192.168.0.101:6443", "tls-server-name: evil\n    server: https://192.168.0.101:6443")]
#[case("- cluster:", "- {name: b, cluster: {server: 'https://evil:1'}}\n- cluster:")]
#[case("certificate-authority-data: LS0t", "certificate-authority-data: '!'\n    x: LS0t")]
#[case("certificate-authority-data:", "x:")]
#[case("kind: Config", "kind: List")]
#[case("clusters:", "nothing:")]
fn a_cluster_info_that_says_more_or_less_is_refused(#[case] from: &str, #[case] to: &str) {
    assert!(TEXT.contains(from), "{from}");
    let refused = ClusterInfo::parse(&TEXT.replacen(from, to, 1), &pinned());
    assert!(refused.is_err(), "{refused:?}");
}

#[test]
fn older_layouts_are_read() {
    let older = TEXT.replace("kind: Config\n", "kind: Config\npreferences: {}\n");
    assert!(ClusterInfo::parse(&older, &pinned()).is_ok());
}

#[test]
fn the_second_reading_must_be_the_same_to_the_byte() {
    let info = ClusterInfo::verify(&published(), &token(), &pinned()).unwrap();
    for other in [format!("{TEXT}\n"), TEXT.replace("101", "102"), TEXT.trim_end().to_owned()] {
        let mut data = published();
        data.insert(KUBECONFIG_KEY.to_owned(), other);
        assert_eq!(info.confirm(&data), Err(ClusterInfoError::Changed));
    }
    let mut signed_again = published();
    signed_again.insert("jws-kubeconfig-zzzzzz".to_owned(), "x".to_owned());
    assert_eq!(info.confirm(&signed_again), Ok(()), "other tokens come and go");
    assert_eq!(info.confirm(&BTreeMap::new()), Err(ClusterInfoError::NoKubeconfig));
}

proptest! {
    #[test]
    fn any_single_change_is_refused_while_the_signature_stands(position in 0..TEXT.len(), byte in 0x20_u8..0x7f) {
        let mut changed = TEXT.as_bytes().to_vec();
        changed[position] = byte;
        let changed = String::from_utf8(changed).unwrap();
        let same = changed == TEXT;
        let mut data = published();
        data.insert(KUBECONFIG_KEY.to_owned(), changed);
        prop_assert_eq!(ClusterInfo::verify(&data, &token(), &pinned()).is_ok(), same);
    }

    #[test]
    fn whatever_a_token_holder_signs_no_unpinned_authority_is_trusted(position in 0..TEXT.len(), byte in 0x20_u8..0x7f) {
        let mut changed = TEXT.as_bytes().to_vec();
        changed[position] = byte;
        let changed = String::from_utf8(changed).unwrap();
        if let Ok(info) = ClusterInfo::parse(&changed, &pinned()) {
            prop_assert_eq!(info.ca_pins().to_string(), PIN);
        }
    }
}
