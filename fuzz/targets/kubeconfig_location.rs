//! Where a discovery file is: a path on the machine, or the https URL that it is fetched from.
#![no_main]

use join_trust::endpoint::Endpoint;
use join_trust::kubeconfig_url::{KubeconfigLocation, KubeconfigUrl, KubeconfigUrlError};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    match KubeconfigLocation::parse(text) {
        Ok(KubeconfigLocation::Path(path)) => {
            // A file URL is its path; what else is read as a path is the text itself.
            assert_eq!(text.strip_prefix("file://").unwrap_or(text), path, "another file is read");
        }
        Ok(KubeconfigLocation::Url(url)) => {
            KubeconfigUrl::parse(text).expect("what is a URL in one place is one in all");
            is_what_was_written(text, &url);
        }
        // What follows a scheme may be a secret.
        Err(KubeconfigUrlError::Scheme { scheme }) => {
            assert_eq!(text.split_once("://").map(|(before, _)| before), Some(scheme.as_str()));
        }
        Err(_) => assert!(text.contains("://"), "a path is refused"),
    }
});

/// One server, one thing to ask it for, and what is printed is that without the query.
fn is_what_was_written(text: &str, url: &KubeconfigUrl) {
    let asked = url.path_and_query();
    assert!(asked.starts_with('/') && asked.bytes().all(|byte| byte.is_ascii_graphic()), "{asked:?} breaks a request");
    assert!(!text.contains('#'), "a part of the text is dropped");
    let (path, query) = asked.split_once('?').map_or((asked.as_str(), None), |(path, query)| (path, Some(query)));
    let shown = url.to_string();
    assert_eq!(shown, format!("{}{path}", url.server().url()), "the query is printed, or the path is not");
    // Nobody is asked for more or less than what stands after the host.
    let (_, rest) = text.split_once("://").expect("a URL has a scheme");
    let (host, written) = rest.find(['/', '?']).map_or((rest, ""), |at| rest.split_at(at));
    let host = host.to_ascii_lowercase();
    let servers = [host.clone(), format!("{host}:443")].map(|server| Endpoint::parse(&server));
    assert!(servers.contains(&Ok(url.server().clone())), "{host:?} is not {}", url.server());
    assert_eq!(asked.strip_prefix(if written.starts_with('/') { "" } else { "/" }), Some(written));
    // What is printed leads to the same server and path.
    let again = KubeconfigUrl::parse(&shown).expect("what is printed can be read");
    assert_eq!((again.server(), again.path_and_query().as_str()), (url.server(), path));
    assert_eq!(query.is_some(), written.contains('?'));
}
