//! The line with which a machine joins, typed there by a person.

use join_trust::endpoint::Endpoint;
use join_trust::pin::PinSet;
use join_trust::token::BootstrapToken;
use zeroize::Zeroizing;

/// The line for `kubeadm`, or for `join-agent`, which takes the same flags. It holds the token.
pub fn join_line(program: &str, endpoint: &Endpoint, token: &BootstrapToken, pins: &PinSet) -> Zeroizing<String> {
    let mut line = Zeroizing::new(format!("{program} join {endpoint} --token {}", &*token.expose()));
    for pin in pins.iter() {
        line.push_str(" --discovery-token-ca-cert-hash ");
        line.push_str(&pin.to_string());
    }
    line
}

#[cfg(test)]
mod tests {
    use join_trust::pin::PublicKeyPin;

    use super::*;

    #[test]
    fn each_pin_has_its_flag() {
        let endpoint = Endpoint::parse("10.40.0.1:6443").unwrap();
        let token = BootstrapToken::parse("abcdef.0123456789abcdef").unwrap();
        let pins = [b"ca" as &[u8], b"next"].map(PublicKeyPin::of_spki);
        let line = join_line("kubeadm", &endpoint, &token, &pins.iter().copied().collect());
        let beginning = "kubeadm join 10.40.0.1:6443 --token abcdef.0123456789abcdef";
        let [mut one, mut other] = pins.map(|pin| format!("--discovery-token-ca-cert-hash {pin}"));
        if one > other {
            std::mem::swap(&mut one, &mut other);
        }
        assert_eq!(*line, format!("{beginning} {one} {other}"));
    }
}
