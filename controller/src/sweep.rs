//! What is left of deleted requests.
//!
//! A request has no finalizer unless it asks for a drain: deleting one works also while no controller runs. Instead, records whose
//! request is gone are looked for, at every deletion and from time to time, and what they name is removed: the token,
//! its signature, the join command, and the record last. A controller that dies in between finds the record again.
//!
//! While the Node is there that came of a deleted request, so is what the record says of its machine: a later request of
//! the same name goes on with the Node if it is for that machine, and otherwise tells people whom it would replace.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt as _, stream};
use tokio::sync::Notify;
use tokio::time::sleep;

use join_crds::spec::Delivery;
use join_trust::jws;

use crate::act::ActError;
use crate::cache::request::RequestKey;
use crate::clock::now;
use crate::plan::Published;
use crate::reconcile::{Context, decisions};
use crate::record::Record;

/// How often records are looked through without a deletion.
const EVERY: Duration = Duration::from_mins(1);
/// How soon what could not be removed is tried again.
const AGAIN: Duration = Duration::from_secs(2);

/// The most records that are worked on at the same time.
const AT_A_TIME: usize = 16;

/// Sweeps for ever.
pub async fn run(context: Arc<Context>, deletions: Arc<Notify>) {
    let mut wait = Duration::ZERO;
    let mut strays = HashSet::new();
    loop {
        tokio::select! {
            () = sleep(wait) => {}
            () = deletions.notified() => {}
        }
        context.count_unsigned(now());
        wait = if sweep(&context).await { EVERY } else { AGAIN };
        // After the sweep, since what was asked with the token of a deleted request belongs to no record from then on.
        tell_strays(&context, &mut strays);
    }
}

/// Tells once of each certificate request that comes from a token of our groups and belongs to no request.
///
/// No visit comes to these. Nothing is approved for them: the token's request is gone, or somebody else made the token.
fn tell_strays(context: &Context, told: &mut HashSet<String>) {
    let mut strays = HashSet::new();
    for table in [&context.world.client_csrs, &context.world.serving_csrs] {
        for csr in table.read().iter().filter(|csr| context.world.is_stray(csr)) {
            if !told.contains(&csr.request.uid) {
                decisions::stray(csr, context);
            }
            strays.insert(csr.request.uid.clone());
        }
    }
    *told = strays;
}

/// Removes what deleted requests left. Tells whether nothing was left over.
async fn sweep(context: &Context) -> bool {
    let orphans: Vec<Arc<Record>> = {
        // One table is locked at a time: whoever holds one and waits for another can wait for himself.
        let records: Vec<Arc<Record>> = context.world.records.read().iter().cloned().collect();
        let is_over = |record: &Arc<Record>| !context.world.has_request_of(record) && !context.world.is_kept(record);
        records.into_iter().filter(is_over).collect()
    };
    // Many at a time, so that one write of cluster-info serves them all.
    let removals = stream::iter(orphans).map(|record| async move {
        remove(context, &record).await.unwrap_or_else(|error| {
            tracing::warn!(record = record.name, %error, "what a deleted request left could not be removed, it is tried again");
            false
        })
    });
    let clean = removals.buffer_unordered(AT_A_TIME).fold(true, async |clean, removed| clean && removed).await;
    let requests = context.world.requests.clone();
    context.notes.retain(|uid| requests.read().count(&RequestKey::Uid(uid.to_owned())) > 0);
    context.metrics.set_tokens_alive(context.world.tokens_alive(now()));
    clean
}

/// Removes what a record names, if its request is gone for certain. Tells whether it did.
async fn remove(context: &Context, record: &Record) -> Result<bool, ActError> {
    if context.notes.is_busy(&record.request_uid) {
        return Ok(false);
    }
    // The table may be behind; what is removed here cannot be made again.
    let name = record.node_name.as_str();
    let found = context.requests.get_opt(name).await.map_err(ActError::api("look for NodeJoinRequest", name))?;
    if found.as_ref().is_some_and(|request| request.uid() == record.request_uid) {
        return Ok(true);
    }
    if let Some(token) = &record.token {
        if token.secret.is_some() {
            context.tokens.delete(&token.id).await?;
        }
        let key = jws::data_key(&token.id);
        if let Published::Usable { data, .. } = &*context.world.cluster_info.get()
            && data.contains_key(&key)
        {
            context.cluster_info.change(key, None).await?;
        }
    }
    // A later request of the same name may have a join command of its own already.
    let successor = found.is_some_and(|request| request.spec.delivery == Delivery::Token);
    if record.machine.is_none() && !successor {
        context.tokens.delete_command(name).await?;
    }
    if context.world.tells_of_node(record) {
        context.records.write(&record.kept()).await?;
    } else {
        context.records.delete(record).await?;
    }
    tracing::info!(request = name, uid = record.request_uid, "what a deleted request left was removed");
    Ok(true)
}
