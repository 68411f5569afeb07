//! Networks of Services: no node's address lies in one.

use ipnet::IpNet;
use k8s_openapi::api::networking::v1::ServiceCIDR;

use super::Entry;

/// One ServiceCIDR.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceNetworks {
    /// `metadata.name`
    pub name: String,
    /// `spec.cidrs`
    pub networks: Vec<IpNet>,
}

impl ServiceNetworks {
    /// Reads a ServiceCIDR; the API server has checked its networks.
    pub fn read(object: ServiceCIDR) -> Self {
        let cidrs = object.spec.and_then(|spec| spec.cidrs).unwrap_or_default();
        Self {
            name: object.metadata.name.unwrap_or_default(),
            networks: cidrs.iter().filter_map(|cidr| cidr.parse().ok()).collect(),
        }
    }
}

impl Entry for ServiceNetworks {
    type Key = ();

    fn name(&self) -> &str {
        &self.name
    }

    fn keys(&self) -> Vec<()> {
        Vec::new()
    }

    fn version(&self) -> Option<u64> {
        None
    }
}
