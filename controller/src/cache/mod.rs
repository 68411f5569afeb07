//! What the controller knows of the cluster: small tables filled by watches, each with the lookups that are needed.
//!
//! A reconciliation reads these tables instead of asking the API server, and each entry keeps only what is used of
//! an object. Lookups are by key, never by walking a table: with ten thousand machines, every event would otherwise
//! cost ten thousand steps.

pub mod cluster_info;
pub mod csr;
pub mod feed;
pub mod node;
pub mod request;
pub mod service;
mod table;

pub use table::{Entry, Table, version_number};

use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// A table that feeds and reconciliations share.
#[derive(Debug)]
pub struct Shared<V: Entry>(Arc<RwLock<Table<V>>>);

impl<V: Entry> Clone for Shared<V> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<V: Entry> Default for Shared<V> {
    fn default() -> Self {
        Self(Arc::new(RwLock::new(Table::default())))
    }
}

impl<V: Entry> Shared<V> {
    /// The table, for reading; never held across an await.
    pub fn read(&self) -> RwLockReadGuard<'_, Table<V>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The table, for writing; never held across an await.
    pub fn write(&self) -> RwLockWriteGuard<'_, Table<V>> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}
