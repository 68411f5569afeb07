//! When a request has to be looked at again although nothing was seen to change.

use join_trust::UnixSeconds;

use super::super::certificates::NOTE_ISSUED_AFTER_SECONDS;
use super::super::credential::UNSIGN_AFTER_SECONDS;
use super::super::node::{self, NOT_READY_TOLD_AFTER_SECONDS};
use super::super::removal::{LOOK_AGAIN_SECONDS, MACHINE_SECONDS};
use super::super::{Observed, credential};

/// Seconds after which everything is looked at again, before jitter.
const RESYNC_SECONDS: i64 = 600;
/// Seconds after which a request that waits for others to finish looks again.
const QUEUE_SECONDS: i64 = 5;

/// Seconds until the request has to be looked at again: never less than one.
///
/// Deadlines are looked at one second after they have passed, since times are whole seconds.
pub fn next_wake(observed: &Observed<'_>) -> i64 {
    let mut wakes: Vec<UnixSeconds> = vec![observed.now.saturating_add(RESYNC_SECONDS)];
    wakes.extend(observed.deadline().map(after));
    if let Some(record) = observed.record {
        if let Some(token) = record.unspent().filter(|token| !credential::is_over(observed, token)) {
            wakes.push(after(token.expires_at));
        }
        if let Some(chosen) = record.chosen.as_ref().filter(|chosen| !chosen.issued && record.node_uid.is_none()) {
            wakes.push(after(chosen.created_at.saturating_add(NOTE_ISSUED_AFTER_SECONDS)));
        }
        wakes.extend(record.drained_at.map(|at| after(at.saturating_add(MACHINE_SECONDS))));
        if record.node_uid.is_some() && observed.signed() {
            let registered = observed.node.map_or(observed.now, |node| node.created_at);
            wakes.push(after(registered.saturating_add(UNSIGN_AFTER_SECONDS)));
        }
    }
    if let Some(since) = node::not_ready_since(observed) {
        wakes.push(after(since.saturating_add(NOT_READY_TOLD_AFTER_SECONDS)));
    }
    wakes.extend(credential::next_key_look(observed));
    if observed.deleting() {
        wakes.extend(observed.memory.drained.as_ref().map(|seen| seen.at.saturating_add(LOOK_AGAIN_SECONDS)));
    }
    if observed.queue_full && observed.record.is_none_or(|record| record.node_uid.is_none()) {
        wakes.push(observed.now.saturating_add(QUEUE_SECONDS));
    }
    for csr in observed.csrs.iter().filter(|csr| csr.request.approved && !csr.request.issued) {
        wakes.extend(csr.approved_at.map(|at| after(at.saturating_add(observed.settings.signer_timeout))));
    }
    // What has passed already has had its effect on the steps and the status of this very visit.
    let next = wakes.into_iter().filter(|wake| *wake > observed.now).min();
    next.map_or(RESYNC_SECONDS, |wake| wake.saturating_sub(observed.now)).max(1)
}

fn after(time: UnixSeconds) -> UnixSeconds {
    time.saturating_add(1)
}
