//! A cluster of real etcd, each member with an address of its own in this program's network namespace, and with the flags
//! that kubeadm gives it.

use std::fs::File;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use join_agent::etcd::{Error, InitialCluster, Membership, Own};
use join_e2e::components::Components;
use join_e2e::lab::{patience, wait_until};
use join_e2e::suite::log_folder;
use libtest_mimic::Failed;
use tempfile::TempDir;
use tokio::time::Instant;

use super::certificates::{Authority, ForClient};

/// The members' names, by their number.
const NAMES: [&str; 4] = ["zero", "one", "two", "three"];

pub struct Cluster {
    /// Tells its addresses from those of other tests.
    number: u8,
    pub authority: Authority,
    pub client: ForClient,
    folder: TempDir,
    logs: PathBuf,
    program: PathBuf,
}

/// An etcd that runs; it is killed when this is dropped.
pub struct Running(Child);

impl Running {
    /// Waits until it ends by itself.
    pub fn wait(&mut self) -> Result<(), Failed> {
        let ended = wait_until("etcd to end", Duration::from_mins(1), || match self.0.try_wait() {
            Ok(Some(_)) => Ok(()),
            other => Err(format!("{other:?}")),
        });
        Ok(ended?)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself, as one does that was removed.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Time enough for anything that is to succeed.
pub fn deadline() -> Instant {
    Instant::now() + patience(Duration::from_mins(1))
}

impl Cluster {
    /// A cluster without members.
    pub fn new(number: u8, test: &str) -> Result<Self, Failed> {
        let authority = Authority::new()?;
        let logs = log_folder(test);
        let _ = std::fs::remove_dir_all(&logs);
        std::fs::create_dir_all(&logs)?;
        Ok(Self {
            number,
            client: authority.client()?,
            authority,
            // In memory: what etcd writes it waits for.
            folder: tempfile::tempdir_in("/dev/shm")?,
            logs,
            program: Components::etcd()?.join("etcd"),
        })
    }

    /// A cluster of the first `count` members, started together.
    pub fn of(number: u8, test: &str, count: usize) -> Result<(Self, Vec<Running>), Failed> {
        let made = Self::new(number, test)?;
        let all: Vec<_> = (1..=count).map(|member| format!("{}={}", NAMES[member], made.peer_url(member))).collect();
        let running = (1..=count).map(|member| made.run(member, &["--initial-cluster", &all.join(",")]));
        let running = running.collect::<Result<Vec<_>, _>>()?;
        Ok((made, running))
    }

    pub fn address(&self, member: usize) -> String {
        format!("127.0.{}.{member}", self.number)
    }

    pub fn peer_url(&self, member: usize) -> String {
        format!("https://{}:2380", self.address(member))
    }

    pub fn client_url(&self, member: usize) -> String {
        format!("https://{}:2379", self.address(member))
    }

    pub fn data_folder(&self, member: usize) -> PathBuf {
        self.folder.path().join(NAMES[member]).join("data")
    }

    /// Starts a member of a cluster that is there.
    pub fn start(&self, member: usize, initial_cluster: &InitialCluster) -> Result<Running, Failed> {
        let initial_cluster = initial_cluster.to_string();
        self.run(member, &["--initial-cluster", &initial_cluster, "--initial-cluster-state", "existing"])
    }

    fn run(&self, member: usize, more: &[&str]) -> Result<Running, Failed> {
        let data = self.data_folder(member);
        let folder = data.parent().ok_or("no folder")?.to_owned();
        std::fs::create_dir_all(&data)?;
        std::fs::set_permissions(&data, PermissionsExt::from_mode(0o700))?;
        if !folder.join("ca.crt").exists() {
            self.authority.write_member(&folder, &self.address(member))?;
        }
        let (client, peer) = (self.client_url(member), self.peer_url(member));
        let file = |name: &str| folder.join(name).display().to_string();
        let (ca, certificate, key) = (file("ca.crt"), file("member.crt"), file("member.key"));
        let log = File::options().create(true).append(true).open(self.logs.join(NAMES[member]))?;
        // The kernel ends it with this program, however that ends.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--"]).arg(&self.program).arg("--data-dir").arg(&data);
        command.args(["--name", NAMES[member]]).args(["--listen-client-urls", &client]);
        command.args(["--advertise-client-urls", &client]).args(["--listen-peer-urls", &peer]);
        command.args(["--initial-advertise-peer-urls", &peer]);
        command.args(["--trusted-ca-file", &ca, "--cert-file", &certificate, "--key-file", &key]);
        command.args(["--peer-trusted-ca-file", &ca, "--peer-cert-file", &certificate, "--peer-key-file", &key]);
        command.args(["--client-cert-auth=true", "--peer-client-cert-auth=true", "--snapshot-count=10000"]);
        command.args(["--feature-gates=InitialCorruptCheck=true", "--watch-progress-notify-interval=5s"]).args(more);
        let child = command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn()?;
        Ok(Running(child))
    }

    /// Connects through some members.
    pub async fn connect(&self, members: &[usize]) -> Result<Membership, Error> {
        self.connect_with(&self.client_urls(members), &self.authority, &self.client, deadline()).await
    }

    pub async fn connect_with(
        &self,
        endpoints: &[String],
        authority: &Authority,
        client: &ForClient,
        deadline: Instant,
    ) -> Result<Membership, Error> {
        let (ca, certificate) = (authority.pem(), client.certificate.as_bytes());
        Membership::connect(endpoints, ca.as_bytes(), certificate, &client.key, deadline).await
    }

    /// Who votes, by their client URLs.
    pub async fn voting(&self, through: usize) -> Result<Vec<String>, Error> {
        let mut endpoints = self.connect(&[through]).await?.endpoints();
        endpoints.sort_unstable();
        Ok(endpoints)
    }

    pub fn client_urls(&self, members: &[usize]) -> Vec<String> {
        members.iter().map(|member| self.client_url(*member)).collect()
    }

    /// Becomes a member, with a machine that does nothing wrong.
    pub async fn join(&self, member: usize, through: &[usize]) -> Result<Running, Failed> {
        let mut membership = self.connect(through).await?;
        let running = self.start(member, &self.add(&mut membership, member, deadline()).await?)?;
        membership.promote(&self.peer_url(member), deadline()).await?;
        Ok(running)
    }

    /// Adds a member, or goes on with one that was added.
    pub async fn add(
        &self,
        membership: &mut Membership,
        member: usize,
        until: Instant,
    ) -> Result<InitialCluster, Error> {
        let (peer_url, data_folder) = (self.peer_url(member), self.data_folder(member));
        membership.join(&Own { name: NAMES[member], peer_url: &peer_url, data_folder: &data_folder }, until).await
    }
}
