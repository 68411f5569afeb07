//! The token: when it is made, where it has to be, and when it goes.

use join_trust::UnixSeconds;
use join_trust::cluster_info::ClusterInfo;
use join_trust::jws;
use sha2::{Digest as _, Sha256};

use super::machine::{self, Binding};
use super::{Observed, Published, Step};
use crate::record::{Machine, Record, Token};

/// The next step about the credential.
pub(super) fn step(observed: &Observed<'_>) -> Option<Step> {
    if is_key_look_due(observed) {
        return Some(Step::LookForCertificateKey);
    }
    let Some(record) = observed.record else {
        return match machine::binding(observed) {
            Binding::Found(machine) => mint(observed, Some(machine), observed.now),
            Binding::NotNeeded => mint(observed, None, observed.now),
            _ => None,
        };
    };
    if record.node_uid.is_some() {
        return unsign_later(observed);
    }
    let token = record.unspent()?;
    if is_over(observed, token) || new_sealing_key(observed, record).is_some() || is_outdated(observed, record) {
        end(observed, record)
    } else {
        provide(observed, record, token)
    }
}

/// The bound machine with another sealing key, if another token may be sealed to it.
///
/// The machine cannot open what was sealed to the key that it lost, and nothing in the status tells to which key that
/// was: a new token makes the difference visible.
fn new_sealing_key(observed: &Observed<'_>, record: &Record) -> Option<Machine> {
    let bound = record.machine.as_ref().filter(|_| may_mint_again(observed, record))?;
    machine::rebound(observed, bound)
}

/// Seconds after which it is looked again for the certificate key of a control plane.
pub(super) const LOOK_FOR_KEY_SECONDS: i64 = 10;

/// When it is looked next for the certificate key; none where none is needed, or needed any more: a machine that has asked
/// for its certificate has used it.
pub(super) fn next_key_look(observed: &Observed<'_>) -> Option<UnixSeconds> {
    let is_needed = match observed.record {
        None => matches!(machine::binding(observed), Binding::Found(_)),
        Some(record) => record.node_uid.is_none() && record.chosen.is_none() && record.unspent().is_some(),
    };
    let last = observed.memory.certificate_key.as_ref().map_or(0, |look| look.at.saturating_add(LOOK_FOR_KEY_SECONDS));
    (observed.is_control_plane() && is_needed).then_some(last)
}

fn is_key_look_due(observed: &Observed<'_>) -> bool {
    next_key_look(observed).is_some_and(|next| observed.now >= next)
}

/// Why there is no certificate key for a request that needs one.
pub(super) fn missing_key<'a>(observed: &Observed<'a>) -> Option<&'a str> {
    let look = observed.memory.certificate_key.as_ref().filter(|_| observed.is_control_plane())?;
    look.found.as_ref().err().map(String::as_str)
}

/// The hash of the certificate key, where one is needed and known.
fn key_hash<'a>(observed: &Observed<'a>) -> Option<&'a str> {
    observed.memory.certificate_key.as_ref()?.found.as_deref().ok()
}

/// Whether what was sealed names another endpoint or other certificate authorities than cluster-info does now, or has
/// another certificate key than there is now.
///
/// The machine would not find the API server with it, not believe it, or not read the shared certificates. As with a lost sealing key, a new token makes
/// the difference visible. A machine that has asked for its certificate has used what it was given, and needs it no more.
fn is_outdated(observed: &Observed<'_>, record: &Record) -> bool {
    let (Published::Usable { info, .. }, Some(noted)) = (observed.published, &record.cluster) else { return false };
    let unused = record.machine.is_some() && record.chosen.is_none() && may_mint_again(observed, record);
    let is_known = !observed.is_control_plane() || key_hash(observed).is_some();
    unused && is_known && fingerprint(info, key_hash(observed)) != *noted
}

/// A hash of what a machine is told of its cluster: the endpoint, the pins of the certificate authorities, and the hash of
/// a control plane's certificate key.
pub(super) fn fingerprint(info: &ClusterInfo, certificate_key: Option<&str>) -> String {
    let pins: Vec<String> = info.ca_pins().iter().map(ToString::to_string).collect();
    let key = certificate_key.map(|hash| format!("\n{hash}")).unwrap_or_default();
    hex::encode(Sha256::digest(format!("{}\n{}{key}", info.endpoint(), pins.join("\n"))))
}

/// Whether a token has no future: it has expired, or the join has.
pub(super) fn is_over(observed: &Observed<'_>, token: &Token) -> bool {
    observed.now >= token.expires_at || observed.past_deadline()
}

/// Whether another token may follow one that is over.
///
/// Not after the deadline, and not when the machine may come up without one, because its certificate is issued.
/// A key that is not bound to a machine gets one certificate request in all, whatever became of it.
pub(super) fn may_mint_again(observed: &Observed<'_>, record: &Record) -> bool {
    !observed.past_deadline() && !observed.issued() && (record.machine.is_some() || record.chosen.is_none())
}

/// Whether everything is in place for the machine to use its token.
pub(super) fn is_delivered(observed: &Observed<'_>, token: &Token) -> bool {
    let handed_over = if observed.delivers_sealed() {
        sealed_in_status(observed, token) || sealed_in_memory(observed, token)
    } else {
        observed.memory.command == Some(true)
    };
    observed.memory.token == Some(true) && is_signed(observed, token) && handed_over
}

fn mint(observed: &Observed<'_>, machine: Option<Machine>, first_seen: i64) -> Option<Step> {
    let info = match observed.published {
        Published::Missing => return observed.settings.can_publish.then_some(Step::Publish),
        Published::Unusable(_) => return None,
        Published::Usable { info, .. } => info,
    };
    // A Node of this name that is there already is in the way of every certificate: no token until it is gone.
    let lacks_key = observed.is_control_plane() && key_hash(observed).is_none();
    if observed.queue_full || observed.node.is_some() || lacks_key {
        return None;
    }
    let ttl = i64::from(observed.request.spec.token_ttl_seconds);
    let expires_at = observed.now.saturating_add(ttl);
    Some(Step::Mint { machine, first_seen, expires_at, cluster: fingerprint(info, key_hash(observed)) })
}

fn provide(observed: &Observed<'_>, record: &Record, token: &Token) -> Option<Step> {
    if observed.memory.token != Some(true) {
        return Some(Step::CreateToken);
    }
    match observed.published {
        Published::Missing if observed.settings.can_publish => return Some(Step::Publish),
        Published::Missing | Published::Unusable(_) => return None,
        Published::Usable { .. } if !is_signed(observed, token) => return Some(Step::Sign),
        Published::Usable { .. } => {}
    }
    if record.machine.is_some() {
        let sealed = sealed_in_status(observed, token) || sealed_in_memory(observed, token);
        let lacks_key = observed.is_control_plane() && key_hash(observed).is_none();
        return (!sealed && !lacks_key).then_some(Step::Seal);
    }
    (observed.memory.command != Some(true)).then_some(Step::WriteCommand)
}

/// Takes the credential of a request back that is being deleted.
pub(super) fn withdraw(observed: &Observed<'_>) -> Option<Step> {
    observed.record?.unspent()?;
    remove(observed)
}

fn end(observed: &Observed<'_>, record: &Record) -> Option<Step> {
    if let Some(step) = remove(observed) {
        return Some(step);
    }
    let machine = new_sealing_key(observed, record).or_else(|| record.machine.clone());
    may_mint_again(observed, record).then(|| mint(observed, machine, record.first_seen)).flatten()
}

/// Removes what an unspent token left: the Secret that makes it valid first.
fn remove(observed: &Observed<'_>) -> Option<Step> {
    if observed.memory.token != Some(false) {
        return Some(Step::DeleteToken);
    }
    if !observed.delivers_sealed() && observed.memory.command != Some(false) {
        return Some(Step::DeleteCommand);
    }
    observed.signed().then_some(Step::Unsign)
}

/// Seconds for which the signature of a token that has served is left to others.
///
/// Where kube-controller-manager's bootstrapsigner runs it takes the signature out by itself when it sees the Secret
/// go; where it does not, one write of ours serves all tokens that ended meanwhile.
pub(super) const UNSIGN_AFTER_SECONDS: i64 = 10;

fn unsign_later(observed: &Observed<'_>) -> Option<Step> {
    let registered = observed.node.map_or(0, |node| node.created_at);
    (observed.signed() && observed.now >= registered.saturating_add(UNSIGN_AFTER_SECONDS)).then_some(Step::Unsign)
}

/// Whether cluster-info has the right signature of this token over its present text.
fn is_signed(observed: &Observed<'_>, token: &Token) -> bool {
    let (Published::Usable { info, data }, Some(token)) = (observed.published, token.whole()) else { return false };
    jws::verify_in(&token, info.text(), data).is_ok()
}

fn sealed_in_status(observed: &Observed<'_>, token: &Token) -> bool {
    let Some(status) = &observed.request.status else { return false };
    let same_token = status.credential.as_ref().is_some_and(|credential| credential.token_id == token.id.as_str());
    let same_generation = status
        .sealed_credentials
        .as_ref()
        .is_some_and(|sealed| Some(sealed.generation) == observed.request.metadata.generation);
    same_token && same_generation
}

fn sealed_in_memory(observed: &Observed<'_>, token: &Token) -> bool {
    observed.memory.sealed.as_ref().is_some_and(|(id, sealed)| {
        id == token.id.as_str() && Some(sealed.generation) == observed.request.metadata.generation
    })
}
