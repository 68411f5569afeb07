//! Watches that fill the tables, and say which requests to look at again.
//!
//! Each watch has a backoff of its own, and its errors end here: they are counted and logged, never handed on. In
//! kube's `Controller` all triggers share one backoff, so that a single failing watch would pause every other one.

use std::fmt::Debug;
use std::sync::Arc;

use futures::{StreamExt as _, pin_mut};
use join_checks::pauses;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Resource, ResourceExt as _};
use serde::de::DeserializeOwned;
use tokio::sync::{mpsc, watch};

use super::{Entry, Shared};
use crate::client::WATCH_TIMEOUT;
use crate::metrics::Metrics;
use crate::plan;

/// Says which requests to look at again.
#[derive(Debug, Clone)]
pub struct Triggers(mpsc::UnboundedSender<String>);

impl Triggers {
    /// A sender and the receiver of names of requests.
    ///
    /// The channel is unbounded because its reader only puts names into a set; it is always faster than watches.
    pub fn channel() -> (Self, mpsc::UnboundedReceiver<String>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (Self(sender), receiver)
    }

    /// Has the request of this name looked at again.
    pub fn send(&self, name: impl Into<String>) {
        // Without a reader the process is ending.
        let _ = self.0.send(name.into());
    }
}

/// What every watch of ours asks for.
pub fn watch_config() -> watcher::Config {
    watcher::Config::default().timeout(u32::try_from(WATCH_TIMEOUT.as_secs()).unwrap_or(200))
}

/// Watches one kind of objects for ever. `filled` becomes true when the first list is complete.
pub async fn run<K>(
    name: &'static str,
    api: Api<K>,
    config: watcher::Config,
    metrics: Metrics,
    filled: watch::Sender<bool>,
    mut take: impl FnMut(Event<K>),
) where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    let stream = watcher(api, config).backoff(pauses::short());
    pin_mut!(stream);
    while let Some(item) = stream.next().await {
        match item {
            Ok(mut event) => {
                if let Event::Apply(object) | Event::InitApply(object) = &mut event {
                    // They are a good part of an object. Only who asked for another try is of interest.
                    object.managed_fields_mut().retain(plan::wrote_retry);
                }
                let done = matches!(event, Event::InitDone);
                take(event);
                if done {
                    filled.send_if_modified(|filled| !std::mem::replace(filled, true));
                }
            }
            Err(error) => {
                metrics.watch_error(name);
                tracing::warn!(watch = name, %error, "a watch failed, it is tried again");
            }
        }
    }
}

/// Takes one event of a watch into a table. `changed` is told what an entry was and is.
pub fn absorb<K, V>(
    table: &Shared<V>,
    event: Event<K>,
    read: impl Fn(K) -> Option<V>,
    mut changed: impl FnMut(Option<&V>, Option<&V>),
) where
    K: Resource,
    V: Entry,
{
    match event {
        Event::Init => table.write().begin(),
        Event::InitDone => {
            let gone = table.write().finish();
            for entry in gone {
                changed(Some(&entry), None);
            }
        }
        Event::Apply(object) | Event::InitApply(object) => {
            let Some(entry) = read(object).map(Arc::new) else { return };
            let before = table.write().insert(Arc::clone(&entry));
            changed(before.as_deref(), Some(&entry));
        }
        Event::Delete(object) => {
            let before = table.write().remove(object.meta().name.as_deref().unwrap_or_default());
            if let Some(before) = before {
                changed(Some(&before), None);
            }
        }
    }
}

#[cfg(test)]
#[path = "feed_tests.rs"]
mod tests;
