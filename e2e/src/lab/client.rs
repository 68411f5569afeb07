//! An API client whose connections are made inside the lab's network.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use hyper_util::rt::{TokioExecutor, TokioIo};
use kube::client::ConfigExt;
use kube::config::{AuthInfo, KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use secrecy::SecretString;

use super::{Lab, layout, network};

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kubeconfig cannot be used.
    #[error("failed to read the kubeconfig {path}: {source}")]
    Kubeconfig { path: PathBuf, source: kube::config::KubeconfigError },
    /// The TLS settings cannot be used.
    #[error("failed to set up the client of {path}: {source}")]
    Setup { path: PathBuf, source: Box<kube::Error> },
}

impl Lab {
    /// A client with the administrator's rights.
    pub async fn client(&self) -> Result<Client, Error> {
        self.client_of(self.layout.admin_kubeconfig()).await
    }

    /// A client with the rights that a kubeconfig file gives.
    pub async fn client_of(&self, path: PathBuf) -> Result<Client, Error> {
        let kubeconfig = read(&path)?;
        self.build(path, kubeconfig).await
    }

    /// A client that authenticates with a token.
    pub async fn client_with_token(&self, token: &str) -> Result<Client, Error> {
        let path = self.layout.admin_kubeconfig();
        let mut kubeconfig = read(&path)?;
        for named in &mut kubeconfig.auth_infos {
            named.auth_info = Some(AuthInfo { token: Some(SecretString::from(token)), ..AuthInfo::default() });
        }
        self.build(path, kubeconfig).await
    }

    /// A client of the administrator's that acts as another user, to try what that user may do.
    pub async fn client_as(&self, user: &str, groups: &[&str]) -> Result<Client, Error> {
        let path = self.layout.admin_kubeconfig();
        let mut kubeconfig = read(&path)?;
        for authentication in kubeconfig.auth_infos.iter_mut().filter_map(|named| named.auth_info.as_mut()) {
            authentication.impersonate = Some(user.to_owned());
            authentication.impersonate_groups = Some(groups.iter().map(|group| (*group).to_owned()).collect());
        }
        self.build(path, kubeconfig).await
    }

    async fn build(&self, path: PathBuf, kubeconfig: Kubeconfig) -> Result<Client, Error> {
        let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
            .await
            .map_err(|source| Error::Kubeconfig { path: path.clone(), source })?;
        let setup = |source| Error::Setup { path: path.clone(), source: Box::new(source) };
        let namespace = self.layout.network_namespace(layout::CONTROL_PLANE_MEMBER);
        let connector = tower::service_fn(move |uri: http::Uri| {
            let namespace = namespace.clone();
            async move {
                let host = uri.host().and_then(|host| host.parse::<IpAddr>().ok());
                let address = host.map(|host| SocketAddr::new(host, uri.port_u16().unwrap_or(layout::API_PORT)));
                let address = address.ok_or_else(|| std::io::Error::other(format!("{uri} names no IP address")))?;
                let stream = tokio::task::spawn_blocking(move || network::connect(&namespace, address)).await??;
                stream.set_nonblocking(true)?;
                tokio::net::TcpStream::from_std(stream).map(TokioIo::new)
            }
        });
        let https = config.rustls_https_connector_with_connector(connector).map_err(setup)?;
        let authentication = config.auth_layer().map_err(setup)?;
        let impersonation = config.extra_headers_layer().map_err(setup)?;
        let service = tower::ServiceBuilder::new()
            .layer(config.base_uri_layer())
            .option_layer(authentication)
            .layer(impersonation)
            .map_err(tower::BoxError::from)
            .service(hyper_util::client::legacy::Client::builder(TokioExecutor::new()).build(https));
        Ok(Client::new(service, config.default_namespace))
    }
}

fn read(path: &std::path::Path) -> Result<Kubeconfig, Error> {
    Kubeconfig::read_from(path).map_err(|source| Error::Kubeconfig { path: path.to_owned(), source })
}
