//! What takes long to see, seen while the machine waits for its request, so that a join need not wait for it.

use std::time::{Duration, Instant};

use tokio::sync::Mutex;

use super::kernel;
use super::name::{self, Lookup};
use super::reach::{self, Proof};
use crate::discovery::Cluster;

/// For how long what was seen is taken for what is. A machine that has waited for longer looks again.
const LASTS: Duration = Duration::from_mins(5);

/// What takes long to see: the kernel's configuration has to be decompressed, a name that does not resolve keeps a resolver
/// waiting, and the way to the API server has as many steps as a connection.
#[derive(Debug, Clone, Default)]
pub struct Beforehand {
    /// The kernel and its cgroups.
    pub kernel: Option<kernel::Facts>,
    /// The addresses of the node's name; `None` while it is being looked up.
    pub name: Option<Lookup>,
    /// The way to the API server.
    pub reach: Option<reach::Facts>,
}

/// Keeps what was seen.
pub struct Keeper<'a> {
    node_name: &'a str,
    cluster: &'a Cluster,
    name: Mutex<Option<(Instant, Lookup)>>,
    rest: Mutex<Option<(Instant, kernel::Facts, reach::Facts)>>,
}

impl<'a> Keeper<'a> {
    /// For one machine and the cluster that discovery found.
    pub fn new(node_name: &'a str, cluster: &'a Cluster) -> Self {
        Self { node_name, cluster, name: Mutex::default(), rest: Mutex::default() }
    }

    /// Looks at everything that was not looked at lately, and again whenever that has grown old; never ends.
    pub async fn keep(&self) -> std::convert::Infallible {
        loop {
            tokio::join!(self.look_at_name(), self.rest());
            tokio::time::sleep(LASTS).await;
        }
    }

    async fn look_at_name(&self) {
        // Not held while the resolver waits: a join takes what there is.
        let is_old = self.name.lock().await.as_ref().is_none_or(|(seen, _)| is_old(*seen));
        if is_old {
            let found = name::look_up(self.node_name).await;
            *self.name.lock().await = Some((Instant::now(), found));
        }
    }

    /// Held while it is looked at: who comes meanwhile gets what the first one saw.
    async fn rest(&self) -> (kernel::Facts, reach::Facts) {
        let mut rest = self.rest.lock().await;
        match &*rest {
            Some((seen, kernel, reach)) if !is_old(*seen) => (kernel.clone(), reach.clone()),
            _ => {
                let kernel = tokio::task::spawn_blocking(kernel::observe);
                let reach = reach::observe(&self.cluster.endpoint, Proof::Authorities(&self.cluster.ca));
                let (kernel, reach) = tokio::join!(kernel, reach);
                let kernel = kernel.unwrap_or_else(|error| kernel::Facts::unknown(&error.to_string()));
                *rest = Some((Instant::now(), kernel.clone(), reach.clone()));
                (kernel, reach)
            }
        }
    }

    /// What was seen lately, or is seen now. Only the name is not waited for: without an answer a resolver takes seconds,
    /// and a node can do without.
    pub async fn get(&self) -> Beforehand {
        let (kernel, reach) = self.rest().await;
        let name = self.name.lock().await.as_ref().map(|(_, found)| found.clone());
        Beforehand { kernel: Some(kernel), name, reach: Some(reach) }
    }

    /// Forgets what may have been mended since: a failed check is looked at anew at the next try.
    pub async fn forget(&self) {
        *self.rest.lock().await = None;
    }
}

fn is_old(seen: Instant) -> bool {
    seen.elapsed() >= LASTS
}

#[cfg(test)]
mod tests {
    use join_trust::ca_bundle::CaBundle;
    use join_trust::endpoint::Endpoint;

    use super::*;

    #[tokio::test]
    async fn what_was_seen_is_kept_until_it_is_forgotten() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let ca = CaBundle::parse_pem(crate::checks::tests::authority("ca").as_bytes()).unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = Endpoint::parse(&listener.local_addr().unwrap().to_string()).unwrap();
        let cluster = Cluster { endpoint, ca };
        let keeper = Keeper::new("localhost", &cluster);
        drop(listener);
        let first = keeper.get().await;
        assert!(first.name.is_none() && first.kernel.is_some());
        assert!(matches!(first.reach.unwrap().tcp, Some(Err(_))));
        // Somebody listens there now, which is seen at the next look only.
        let again = std::net::TcpListener::bind((cluster.endpoint.host(), cluster.endpoint.port())).unwrap();
        assert!(matches!(keeper.get().await.reach.unwrap().tcp, Some(Err(_))));
        keeper.forget().await;
        drop(std::thread::spawn(move || drop(again.accept())));
        keeper.look_at_name().await;
        let second = keeper.get().await;
        assert!(matches!(second.reach.unwrap().tcp, Some(Ok(_))));
        assert!(second.name.unwrap().is_ok());
    }
}
