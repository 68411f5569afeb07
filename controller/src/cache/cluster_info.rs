//! kube-public/cluster-info, as it was seen last.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use join_trust::ca_bundle::CaTrust;
use join_trust::cluster_info::{ClusterInfo, KUBECONFIG_KEY};
use join_trust::jws;
use k8s_openapi::api::core::v1::ConfigMap;

use super::version_number;
use crate::plan::Published;

/// The present state of cluster-info, shared by feeds and reconciliations.
#[derive(Debug, Clone)]
pub struct SharedClusterInfo(Arc<RwLock<(Option<u64>, Arc<Published>)>>);

impl Default for SharedClusterInfo {
    fn default() -> Self {
        Self(Arc::new(RwLock::new((None, Arc::new(Published::Missing)))))
    }
}

impl SharedClusterInfo {
    /// The present state.
    pub fn get(&self) -> Arc<Published> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner).1)
    }

    /// Takes over what was read or written, unless something newer is known. Tells whether anything is different now.
    ///
    /// Only certificate authorities that `trust` accepts are handed on to machines.
    pub fn saw(&self, map: &ConfigMap, trust: &CaTrust) -> bool {
        let version = version_number(map.metadata.resource_version.as_deref());
        let mut held = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if let (Some(held), Some(new)) = (held.0, version)
            && new <= held
        {
            return false;
        }
        let next = read(map, trust, &held.1);
        let changed = *held.1 != next;
        *held = (version, Arc::new(next));
        changed
    }

    /// Notes that it is gone. Tells whether that is news.
    pub fn gone(&self) -> bool {
        let mut held = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let changed = *held.1 != Published::Missing;
        *held = (None, Arc::new(Published::Missing));
        changed
    }
}

fn read(map: &ConfigMap, trust: &CaTrust, before: &Published) -> Published {
    let data = map.data.clone().unwrap_or_default();
    let Some(text) = data.get(KUBECONFIG_KEY) else {
        return Published::Unusable(format!("kube-public/cluster-info has no key {KUBECONFIG_KEY:?}"));
    };
    // The text hardly ever changes, the signatures do all the time: the parsed text is kept.
    let known = match before {
        Published::Usable { info, .. } if info.text() == text => Some(Arc::clone(info)),
        _ => None,
    };
    let parsed = known.map_or_else(|| ClusterInfo::parse(text, trust).map(Arc::new), Ok);
    match parsed {
        Ok(info) => Published::Usable { info, data: Arc::new(signatures(data)) },
        Err(error) => Published::Unusable(format!("kube-public/cluster-info: {error}")),
    }
}

/// Signatures alone; the text is held once already.
fn signatures(mut data: BTreeMap<String, String>) -> BTreeMap<String, String> {
    data.retain(|key, _| jws::token_id_of_key(key).is_some());
    data
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::api::ObjectMeta;

    fn map(version: &str, key: &str, value: &str) -> ConfigMap {
        ConfigMap {
            metadata: ObjectMeta { resource_version: Some(version.to_owned()), ..ObjectMeta::default() },
            data: Some(BTreeMap::from([(key.to_owned(), value.to_owned())])),
            ..ConfigMap::default()
        }
    }

    #[test]
    fn what_cannot_be_parsed_is_unusable_and_says_why() {
        let shared = SharedClusterInfo::default();
        assert_eq!(*shared.get(), Published::Missing);
        assert!(shared.saw(&map("5", KUBECONFIG_KEY, "kind: Pod"), &CaTrust::UnsafeAny));
        assert!(matches!(&*shared.get(), Published::Unusable(why) if why.starts_with("kube-public/cluster-info: ")));
        assert!(shared.saw(&map("6", "other", ""), &CaTrust::UnsafeAny));
        assert!(matches!(&*shared.get(), Published::Unusable(why) if why.contains("no key")));
        assert!(shared.gone());
        assert!(!shared.gone());
    }

    #[test]
    fn an_older_version_changes_nothing() {
        let shared = SharedClusterInfo::default();
        shared.saw(&map("9", "other", ""), &CaTrust::UnsafeAny);
        let before = shared.get();
        assert!(!shared.saw(&map("8", KUBECONFIG_KEY, "kind: Pod"), &CaTrust::UnsafeAny));
        assert_eq!(before, shared.get());
    }
}
