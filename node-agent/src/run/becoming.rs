//! A machine that is no node yet: its way from the announcement to the join.

use std::convert::Infallible;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::pauses::pauses;
use super::{Error, Service, client_certificate};
use crate::checks::beforehand::Keeper;
use crate::decision::{Decision, SHOULD_BE_SEEN, decide};
use crate::discovery::{self, Discovered};
use crate::join::{self, Prepared};
use crate::kubelet::Systemd;
use crate::local_status::LocalStep;
use crate::own_request::{self, News, OwnRequest, Trouble};
use crate::{announce, host};

/// How often the agent looks whether its announcement is still there: kube-controller-manager removes pending requests
/// after a day.
const ANNOUNCEMENT_CHECK: Duration = Duration::from_mins(10);

impl Service {
    /// The machine is no node yet: finds the cluster, announces the machine, and carries its request out.
    pub(super) async fn become_member(&self) -> Result<(), Error> {
        self.status.say_again(LocalStep::Discovering, "looking for the API server");
        // Looked up each time: the kubelet may have been installed meanwhile.
        let (discovered, versions) = tokio::join!(discovery::discover(&self.configuration.discovery), host::versions());
        let discovered = discovered?;
        self.skew.set(discovered.skew);
        let addresses = if self.configuration.node_addresses.is_empty() {
            host::address_towards(&discovered.cluster.endpoint).into_iter().collect()
        } else {
            self.configuration.node_addresses.clone()
        };
        self.status.say(LocalStep::Announcing, "announcing this machine to the cluster");
        let announcement = self.announce(&discovered, &addresses).await?;
        let reported: Vec<String> = addresses.iter().map(IpAddr::to_string).collect();
        let systemd = Systemd::connect().await?;
        let beforehand = Keeper::new(self.node(), &discovered.cluster);
        let prepared = Prepared {
            identity: &self.identity,
            node_name: &self.configuration.node_name,
            hostname: &self.hostname,
            addresses: &reported,
            node_addresses: &self.configuration.node_addresses,
            beforehand: &beforehand,
            cluster: &discovered.cluster,
            systemd: &systemd,
            versions: &versions,
            status: &self.status,
            state_directory: &self.configuration.state_directory,
            client_certificate: &self.client_certificate,
            crash: &self.crash,
        };
        let announced = self.stay_announced(&discovered, &addresses, announcement);
        let joined = self.wait_and_join(&discovered, &prepared);
        tokio::select! {
            joined = Box::pin(joined) => joined,
            failed = Box::pin(announced) => failed.map(|never| match never {}),
            never = Box::pin(beforehand.keep()) => match never {},
        }
    }

    async fn announce(&self, discovered: &Discovered, addresses: &[IpAddr]) -> Result<String, Error> {
        let node = &self.configuration.node_name;
        let name = announce::announce(&discovered.client, &self.identity, node, addresses).await?;
        self.token.accepted();
        tracing::info!(name, "this machine is announced");
        Ok(name)
    }

    /// Announces the machine anew whenever its announcement is gone.
    async fn stay_announced(
        &self,
        discovered: &Discovered,
        addresses: &[IpAddr],
        mut name: String,
    ) -> Result<Infallible, Error> {
        loop {
            tokio::time::sleep(ANNOUNCEMENT_CHECK).await;
            if !announce::is_announced(&discovered.client, &self.identity, &name).await? {
                name = self.announce(discovered, addresses).await?;
            }
        }
    }

    /// Watches the machine's own request, and carries it out when there is something for this machine in it.
    async fn wait_and_join(&self, discovered: &Discovered, prepared: &Prepared<'_>) -> Result<(), Error> {
        let mut own = OwnRequest::watch(&discovered.client, self.node());
        self.wait_for(None, &format!("looking for the NodeJoinRequest {}", self.node()));
        while let News::Trouble(error) = own.news().await? {
            self.say_trouble(&error);
        }
        let mut pauses = pauses();
        let (mut last, mut was_changed) = (None, false);
        loop {
            let decision = decide(own.known(), self.node(), &self.identity.machine.pin());
            let (occasion, request) = match (&decision, own.known().cloned()) {
                (Decision::CarryOut(occasion), Some(request)) => (occasion, request),
                (Decision::Wait(_), _) => {
                    was_changed = false;
                    self.until_another(&mut own, &decision).await?;
                    continue;
                }
                (Decision::CarryOut(_), None) => continue,
            };
            // What failed before may succeed with other credentials: no need to wait for long.
            if last.replace(occasion.clone()).as_ref() != Some(occasion) {
                pauses = super::pauses::pauses();
            }
            if std::mem::take(&mut was_changed) {
                self.status.say_changed();
            }
            *self.client_certificate.borrow_mut() = client_certificate(Some(&request));
            let superseded = async {
                if self.until_another(&mut own, &decision).await.is_err() {
                    // The try itself tells what is wrong with the way to the API server.
                    std::future::pending::<()>().await;
                }
            };
            match Box::pin(join::carry_out(prepared, &request, superseded)).await {
                Ok(()) => {
                    self.kubelet_was_started.set(true);
                    return Ok(());
                }
                Err(error @ join::Error::Superseded) => {
                    tracing::info!("{error}");
                    was_changed = true;
                }
                // The files are there: what is left to be done is a member's.
                Err(error) if self.membership().is_some() => return Err(error.into()),
                Err(error) => {
                    let pause = self.failed(&error.into(), &mut pauses);
                    let changed = self.until_another(&mut own, &decision);
                    if let Ok(changed) = tokio::time::timeout(pause, changed).await {
                        changed?;
                        was_changed = true;
                    }
                }
            }
        }
    }

    /// Waits until the request asks for something else, and says what it is that is waited for.
    async fn until_another(&self, own: &mut OwnRequest, decision: &Decision) -> Result<(), own_request::Lost> {
        let began = Instant::now();
        let say = || {
            if let Decision::Wait(waits) = decision {
                self.wait_for(waits.reason_after(began.elapsed()), &waits.message);
            }
        };
        say();
        let mut silence = std::pin::pin!(tokio::time::sleep(SHOULD_BE_SEEN));
        let mut in_trouble = false;
        loop {
            let news = tokio::select! {
                news = own.news() => news?,
                () = &mut silence, if !in_trouble && !silence.is_elapsed() => {
                    say();
                    continue;
                }
            };
            in_trouble = matches!(news, News::Trouble(_));
            match news {
                News::Request if decide(own.known(), self.node(), &self.identity.machine.pin()) != *decision => {
                    return Ok(());
                }
                News::Request => {
                    say();
                    *self.client_certificate.borrow_mut() = client_certificate(own.known());
                }
                News::Trouble(error) if matches!(decision, Decision::Wait(_)) => self.say_trouble(&error),
                News::Trouble(_) => {}
            }
        }
    }

    fn say_trouble(&self, error: &Trouble) {
        self.status.say_because(LocalStep::WaitingForRequest, Some(self.refined(error.reason)), &error.text);
    }
}
