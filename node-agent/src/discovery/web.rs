//! A discovery file from a web server, as `kubeadm join --discovery-file https://...` takes it (kubeadm,
//! `app/discovery/https/https.go`).
//!
//! Who has the web server's certificate decides which cluster the machine joins: the certificate is verified with the
//! machine's root certificates, and what comes is read as something from a stranger. Other than kubeadm, which leaves that
//! to Go's client, no redirection is followed and no proxy is asked: either would be another server than the one that was
//! named.

use std::sync::Arc;

use http::{HeaderValue, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt, Empty, LengthLimitError, Limited};
use hyper::body::{Body, Bytes};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use join_crds::vocabulary::Reason;
use join_trust::kubeconfig::DiscoveryFile;
use join_trust::kubeconfig_url::KubeconfigUrl;
use rustls::{ClientConfig, RootCertStore};
use zeroize::Zeroizing;

use super::file::Origin;
use super::{Error, resolve};
use crate::config::MAX_BYTES;
use crate::connection::{self, CALL_TIMEOUT, USER_AGENT};
use crate::tls::{self, Believed};

/// Fetches a discovery file from a web server that the machine's own root certificates lead to.
pub async fn fetch_file(url: &KubeconfigUrl) -> Result<DiscoveryFile, Error> {
    let roots = roots_of_machine().await.map_err(|seen| not_fetched(url, &seen))?;
    fetch_file_by(url, Arc::new(roots)).await
}

/// Fetches a discovery file from a web server that these root certificates lead to.
pub async fn fetch_file_by(url: &KubeconfigUrl, roots: Arc<RootCertStore>) -> Result<DiscoveryFile, Error> {
    resolve(url.server()).await.map_err(|error| not_fetched(url, &error.to_string()))?;
    let tls = tls::configuration(&Believed::Roots(roots), None);
    let tls = tls.map_err(|error| not_fetched(url, &error.to_string()))?;
    let text = tokio::time::timeout(CALL_TIMEOUT, get(url, tls));
    let text = text.await.unwrap_or_else(|_elapsed| Err(format!("no answer within {} s", CALL_TIMEOUT.as_secs())));
    let text = text.map_err(|seen| not_fetched(url, &seen))?;
    let text = std::str::from_utf8(&text).map_err(|_| Origin::Url(url).wrong("is not text in UTF-8".to_owned()))?;
    DiscoveryFile::parse_fetched(text).map_err(|error| Origin::Url(url).wrong(error.to_string()))
}

fn not_fetched(url: &KubeconfigUrl, seen: &str) -> Error {
    Error::NotFetched { url: url.to_string(), seen: connection::clean(seen) }
}

/// The machine's own root certificates, read anew: an administrator may add one while the agent tries.
async fn roots_of_machine() -> Result<RootCertStore, String> {
    let loaded = tokio::task::spawn_blocking(rustls_native_certs::load_native_certs).await;
    let loaded = loaded.map_err(|error| error.to_string())?;
    let mut roots = RootCertStore::empty();
    // A store of a hundred roots may have one that cannot be used, which is no fault of the others.
    let (count, _) = roots.add_parsable_certificates(loaded.certs);
    if count > 0 {
        return Ok(roots);
    }
    let why = loaded.errors.first().map(|error| format!(" ({error})")).unwrap_or_default();
    Err(format!(
        "this machine has no root certificates to know a web server by{why}; install ca-certificates, or name a file in \
         SSL_CERT_FILE"
    ))
}

/// One question, and its answer of a bounded size. The error is what was seen.
async fn get(url: &KubeconfigUrl, tls: ClientConfig) -> Result<Zeroizing<Vec<u8>>, String> {
    let uri =
        Uri::builder().scheme("https").authority(url.server().to_string()).path_and_query(&**url.path_and_query());
    let uri = uri.build().map_err(|error| error.to_string())?;
    let mut request = Request::new(Empty::<Bytes>::new());
    *request.uri_mut() = uri;
    request.headers_mut().insert(header::USER_AGENT, HeaderValue::from_static(USER_AGENT));
    let client = Client::builder(TokioExecutor::new()).build(connection::connector(tls));
    let answer = client.request(request).await.map_err(|error| match connection::transport(&error) {
        (Reason::ServerAuthorityUnknown, seen) => {
            format!("{seen}: no root certificate of this machine leads to the web server's certificate")
        }
        (_, seen) => seen,
    })?;
    body_of(answer).await
}

async fn body_of<B>(answer: Response<B>) -> Result<Zeroizing<Vec<u8>>, String>
where
    B: Body<Data = Bytes>,
    B::Error: std::error::Error + Send + Sync + 'static,
{
    match answer.status() {
        StatusCode::OK => {}
        status if status.is_redirection() => {
            return Err(format!("HTTP {status}; a redirection is not followed: give the URL that it leads to"));
        }
        status => return Err(format!("HTTP {status}")),
    }
    let limit = usize::try_from(MAX_BYTES).unwrap_or(usize::MAX);
    let body = Limited::new(answer.into_body(), limit).collect().await.map_err(|error| {
        if error.is::<LengthLimitError>() {
            return format!("the answer has more than {MAX_BYTES} bytes");
        }
        format!("the answer broke off: {}", connection::innermost(&*error))
    })?;
    Ok(Zeroizing::new(body.to_bytes().to_vec()))
}
