//! Addresses that Kubernetes' own Services have in the cluster's network of Services.

use std::net::IpAddr;

use ipnet::IpNet;

/// Where the API server's own Service is in the network.
pub const API_SERVER: u32 = 1;
/// Where the cluster's DNS is in the network.
pub const DNS: u32 = 10;

/// A network of Services has no such address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ServiceNetworkError {
    /// It is no network.
    #[error("{text:?} is no network, expected one like 10.96.0.0/12")]
    NotANetwork {
        /// What it is.
        text: String,
    },
    /// It is too small.
    #[error("{subnets:?} has no room for an address at index {index}")]
    NoRoom {
        /// The networks, as they are configured.
        subnets: String,
        /// Where the address was to be.
        index: u32,
    },
}

/// The address at an index of the first of one or two networks, separated by a comma (kubeadm's
/// `GetKubernetesServiceCIDR` and `GetIndexedIP`).
pub fn address(subnets: &str, index: u32) -> Result<IpAddr, ServiceNetworkError> {
    let parse = |text: &str| {
        let text = text.trim();
        text.parse::<IpNet>().map_err(|_| ServiceNetworkError::NotANetwork { text: text.to_owned() })
    };
    let networks = subnets.split(',').map(parse).collect::<Result<Vec<_>, _>>()?;
    networks
        .first()
        .and_then(|first| {
            let address = match first.network() {
                IpAddr::V4(base) => IpAddr::V4(u32::from(base).checked_add(index)?.into()),
                IpAddr::V6(base) => IpAddr::V6(u128::from(base).checked_add(index.into())?.into()),
            };
            first.contains(&address).then_some(address)
        })
        .ok_or_else(|| ServiceNetworkError::NoRoom { subnets: subnets.to_owned(), index })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("10.96.0.0/12", API_SERVER, Some("10.96.0.1"))]
    #[case("10.96.0.0/12", DNS, Some("10.96.0.10"))]
    #[case::two("fd00::/108,10.96.0.0/12", DNS, Some("fd00::a"))]
    #[case::with_bits_of_a_host("10.96.0.5/12", DNS, Some("10.96.0.10"))]
    #[case::of_one_address("10.96.0.1/32", API_SERVER, None)]
    #[case::too_small("10.96.0.0/29", DNS, None)]
    #[case::at_the_end_of_all_addresses("255.255.255.248/29", DNS, None)]
    #[case::at_the_end_of_all_addresses("ffff:ffff:ffff:ffff:ffff:ffff:ffff:fff8/125", DNS, None)]
    #[case::no_network("10.96.0.0", DNS, None)]
    #[case::no_second_network("10.96.0.0/12,", DNS, None)]
    fn an_address_is_in_the_first_network(#[case] subnets: &str, #[case] index: u32, #[case] expected: Option<&str>) {
        let expected = expected.map(|text| text.parse::<IpAddr>().unwrap());
        assert_eq!(address(subnets, index).ok(), expected);
    }
}
