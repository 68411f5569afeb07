//! The machine that becomes a control plane.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use join_trust::names::NodeName;

/// The machine that becomes a control plane, as its files name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The name of its Node, which is also its etcd member's.
    pub node_name: NodeName,
    /// The address under which the others reach its API server and its etcd.
    pub advertise_address: IpAddr,
    /// The port of its API server; kubeadm's default is [`Member::DEFAULT_BIND_PORT`].
    pub bind_port: u16,
}

impl Member {
    /// kubeadm's `localAPIEndpoint.bindPort` where none is given.
    pub const DEFAULT_BIND_PORT: u16 = 6443;
    /// etcd's port for clients.
    pub const ETCD_CLIENT_PORT: u16 = 2379;
    /// etcd's port for its other members.
    pub const ETCD_PEER_PORT: u16 = 2380;

    /// The URL of its own API server.
    pub fn api_server_url(&self) -> String {
        format!("https://{}", self.api_server())
    }

    /// Where its own API server listens, an IPv6 address in brackets.
    pub fn api_server(&self) -> impl fmt::Display {
        SocketAddr::new(self.advertise_address, self.bind_port)
    }

    /// The URL under which clients reach its etcd.
    pub fn etcd_client_url(&self) -> String {
        format!("https://{}", SocketAddr::new(self.advertise_address, Self::ETCD_CLIENT_PORT))
    }

    /// The URL under which the other members reach its etcd: what it is added to the cluster with.
    pub fn etcd_peer_url(&self) -> String {
        format!("https://{}", SocketAddr::new(self.advertise_address, Self::ETCD_PEER_PORT))
    }

    /// The URL under which its own API server reaches its etcd: the loopback address of the same family.
    pub fn etcd_local_url(&self) -> String {
        format!("https://{}", SocketAddr::new(self.loopback(), Self::ETCD_CLIENT_PORT))
    }

    /// The loopback address of the advertised address's family.
    pub(crate) fn loopback(&self) -> IpAddr {
        match self.advertise_address {
            IpAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
        }
    }
}
