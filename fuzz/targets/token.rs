//! Bootstrap tokens, pins and endpoints: short texts that people and files give us.
#![no_main]

use join_trust::endpoint::Endpoint;
use join_trust::pin::PublicKeyPin;
use join_trust::token::BootstrapToken;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(token) = BootstrapToken::parse(text) {
        assert_eq!(token.expose().as_str(), text, "one token has one spelling");
    }
    if let Ok(pin) = PublicKeyPin::parse(text) {
        assert_eq!(PublicKeyPin::parse(&pin.to_string()), Ok(pin));
    }
    for endpoint in [Endpoint::parse(text), Endpoint::parse_url(text)].into_iter().flatten() {
        assert_eq!(Endpoint::parse(&endpoint.to_string()), Ok(endpoint.clone()));
        assert_eq!(Endpoint::parse_url(&endpoint.url()), Ok(endpoint));
    }
});
