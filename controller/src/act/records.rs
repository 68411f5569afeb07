//! Records: created once, replaced only as the version that was read.

use std::sync::Arc;

use join_crds::vocabulary::MANAGER_RECORD;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{DeleteParams, PostParams, Preconditions};
use kube::{Api, Client};

use super::{ActError, deleted};
use crate::cache::Shared;
use crate::record::Record;

/// Writes records.
pub struct Records {
    api: Api<Secret>,
    namespace: String,
    table: Shared<Record>,
}

impl Records {
    /// Writes to this namespace, and into this table.
    pub fn new(client: Client, namespace: &str, table: Shared<Record>) -> Self {
        Self { api: Api::namespaced(client, namespace), namespace: namespace.to_owned(), table }
    }

    /// Creates or replaces a record; fails if somebody else did so since it was read.
    pub async fn write(&self, record: &Record) -> Result<(), ActError> {
        let secret = record.to_secret(&self.namespace);
        let params = PostParams { field_manager: Some(MANAGER_RECORD.to_owned()), ..PostParams::default() };
        let written = if record.version.is_none() {
            self.api.create(&params, &secret).await.map_err(ActError::api("create record", &record.name))?
        } else {
            self.api
                .replace(&record.name, &params, &secret)
                .await
                .map_err(ActError::api("replace record", &record.name))?
        };
        let written = Record { version: written.metadata.resource_version, ..record.clone() };
        self.table.write().insert(Arc::new(written));
        Ok(())
    }

    /// Deletes a record, if it is still the one that was read.
    pub async fn delete(&self, record: &Record) -> Result<(), ActError> {
        let params = DeleteParams {
            preconditions: Some(Preconditions { resource_version: record.version.clone(), uid: None }),
            ..DeleteParams::default()
        };
        deleted(self.api.delete(&record.name, &params).await).map_err(ActError::api("delete record", &record.name))?;
        self.table.write().remove(&record.name);
        Ok(())
    }
}
