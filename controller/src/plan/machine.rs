//! Which machine a request is about.

use std::collections::BTreeMap;
use std::sync::Arc;

use join_crds::spec::Trust;
use join_trust::announcement::Announcement;
use join_trust::pin::PublicKeyPin;

use super::Observed;
use crate::cache::csr::AnnouncementEntry;
use crate::record::Machine;

/// What the announcements under a request's name come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Binding {
    /// No machine announces itself for this delivery.
    NotNeeded,
    /// Nobody has announced himself.
    Waiting,
    /// Somebody has, and what he sent does not hold.
    Invalid(String),
    /// Machines have, and none has the pinned key.
    Mismatch(Vec<PublicKeyPin>),
    /// Several have, and nothing tells which one is meant.
    Conflict(Vec<PublicKeyPin>),
    /// This one.
    Found(Machine),
}

/// Finds the machine of a request that is not bound yet.
pub(super) fn binding(observed: &Observed<'_>) -> Binding {
    if !observed.delivers_sealed() {
        return Binding::NotNeeded;
    }
    let newest = newest_by_key(observed.announcements);
    let spec = &observed.request.spec.machine;
    let wanted = spec.public_key_hash.as_deref().and_then(|hash| PublicKeyPin::parse(hash).ok());
    let keys = || newest.keys().copied().collect();
    match (spec.trust, wanted) {
        (Trust::Pinned, Some(pin)) if newest.contains_key(&pin) => found(newest.get(&pin)),
        (Trust::FirstUse, _) if newest.len() == 1 => found(newest.values().next()),
        _ if newest.is_empty() => invalid(observed.announcements).map_or(Binding::Waiting, Binding::Invalid),
        (Trust::FirstUse, _) => Binding::Conflict(keys()),
        (Trust::Pinned, _) => Binding::Mismatch(keys()),
    }
}

/// The bound machine as it announces itself now, if its sealing key is another than the recorded one.
///
/// It has proven that it has the machine key; the agent makes a new sealing key when it lost the old one.
pub(super) fn rebound(observed: &Observed<'_>, bound: &Machine) -> Option<Machine> {
    let newest = newest_by_key(observed.announcements);
    let (entry, announcement) = newest.get(&bound.public_key)?;
    (announcement.sealing_key != bound.sealing_key).then(|| Machine {
        sealing_key: announcement.sealing_key,
        announcement: entry.name.clone(),
        ..bound.clone()
    })
}

/// Keys of machines that announced themselves under the name of a request that is bound to another.
pub(super) fn strangers(observed: &Observed<'_>, bound: &Machine) -> Vec<PublicKeyPin> {
    newest_by_key(observed.announcements).into_keys().filter(|key| *key != bound.public_key).collect()
}

type Announced<'a> = (&'a AnnouncementEntry, &'a Announcement);

/// The newest valid announcement of each key.
fn newest_by_key(announcements: &[Arc<AnnouncementEntry>]) -> BTreeMap<PublicKeyPin, Announced<'_>> {
    let mut newest: BTreeMap<PublicKeyPin, Announced<'_>> = BTreeMap::new();
    for entry in announcements {
        let Ok(announcement) = &entry.announced else { continue };
        let known = newest.get(&announcement.public_key_hash);
        if known.is_none_or(|(other, _)| (other.created_at, &other.uid) < (entry.created_at, &entry.uid)) {
            newest.insert(announcement.public_key_hash, (entry, announcement));
        }
    }
    newest
}

fn found(announced: Option<&Announced<'_>>) -> Binding {
    announced.map_or(Binding::Waiting, |(entry, announcement)| {
        Binding::Found(Machine {
            public_key: announcement.public_key_hash,
            sealing_key: announcement.sealing_key,
            announcement: entry.name.clone(),
            addresses: announcement.addresses.iter().copied().collect(),
        })
    })
}

fn invalid(announcements: &[Arc<AnnouncementEntry>]) -> Option<String> {
    announcements
        .iter()
        .find_map(|entry| entry.announced.as_ref().err().map(|error| format!("announcement {}: {error}", entry.name)))
}

/// The keys of [`strangers`] as text; none before the request is bound.
pub(crate) fn refused_keys(observed: &Observed<'_>) -> Vec<String> {
    let bound = observed.record.and_then(|record| record.machine.as_ref());
    bound.map(|bound| strangers(observed, bound).iter().map(ToString::to_string).collect()).unwrap_or_default()
}
