//! What the controller remembers of a request: one Secret per request in the controller's own namespace.
//!
//! The record is what every decision about trust rests on, never the request's status. It is written by
//! compare-and-swap and always *before* what it records is done: the token stands in it before the token exists, the
//! chosen certificate request before it is approved. Whenever the controller dies, the next one finds what was
//! intended and finishes it, and of two controllers that try at once one fails.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use join_crds::vocabulary::{
    ANNOTATION_NODE_NAME, LABEL_MANAGED_BY, LABEL_NODE_UID, LABEL_REQUEST_UID, MANAGED_BY_CONTROLLER,
    SECRET_TYPE_RECORD, record_name,
};
use join_trust::UnixSeconds;
use join_trust::names::{NameError, NodeName};
use join_trust::pin::{PinError, PublicKeyPin};
use join_trust::sealing::{SealingError, SealingPublicKey};
use join_trust::token::{BootstrapToken, TokenError, TokenId, TokenSecret};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::api::ObjectMeta;

use crate::cache::{Entry, version_number};

/// The machine to which a request is bound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    /// The pin of its key.
    pub public_key: PublicKeyPin,
    /// The key to which its credential is sealed.
    pub sealing_key: SealingPublicKey,
    /// The name of its announcement.
    pub announcement: String,
    /// The addresses that it announced when it was bound. Later ones do not count: they would let a machine that has
    /// been taken over name itself anew.
    pub addresses: BTreeSet<IpAddr>,
}

/// The token that was made for a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// Its public part.
    pub id: TokenId,
    /// Its secret part; none once it has served.
    pub secret: Option<TokenSecret>,
    /// When it was made.
    pub minted_at: UnixSeconds,
    /// When it ends.
    pub expires_at: UnixSeconds,
}

impl Token {
    /// The token itself; none once it has served.
    pub fn whole(&self) -> Option<BootstrapToken> {
        self.secret.clone().map(|secret| BootstrapToken::new(self.id.clone(), secret))
    }
}

/// The certificate request that was chosen for the token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chosen {
    /// `metadata.name`
    pub name: String,
    /// `metadata.uid`
    pub uid: String,
    /// The pin of its key.
    pub public_key: PublicKeyPin,
    /// `metadata.creationTimestamp`
    pub created_at: UnixSeconds,
    /// Whether a certificate is known to have been issued for it.
    pub issued: bool,
}

/// What the controller remembers of one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The record's name: `njr-<UID of the request>`.
    pub name: String,
    /// `metadata.resourceVersion`; none for a record that was never written.
    pub version: Option<String>,
    /// The UID of the request.
    pub request_uid: String,
    /// The request's name, which is the node's.
    pub node_name: NodeName,
    /// The machine; none where none announces itself (delivery Token).
    pub machine: Option<Machine>,
    /// When the machine appeared; the deadline counts from here.
    pub first_seen: UnixSeconds,
    /// The newest token; none before the first, and where the machine was a node already.
    pub token: Option<Token>,
    /// What cluster-info said when the token was made, hashed ([`crate::plan`] knows how); none in records of versions
    /// that did not note it.
    pub cluster: Option<String>,
    /// The certificate request that was chosen for the token.
    pub chosen: Option<Chosen>,
    /// The UID of the Node that came of it.
    pub node_uid: Option<String>,
    /// The value of the annotation for another try that was answered last.
    pub retry: Option<String>,
    /// When the newest try began that a person asked for.
    pub retried_at: Option<UnixSeconds>,
    /// When the node had been drained whose request is being deleted.
    pub drained_at: Option<UnixSeconds>,
}

/// A Secret of the record's type is no record. No variant holds a secret.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// A key is missing.
    #[error("record {name} has no key {key:?}")]
    Missing {
        /// The record.
        name: String,
        /// The key.
        key: &'static str,
    },
    /// A value is not text, number or address.
    #[error("record {name} has an unreadable value under key {key:?}")]
    Unreadable {
        /// The record.
        name: String,
        /// The key.
        key: &'static str,
    },
    /// A node name.
    #[error("record {name}: {source}")]
    NodeName {
        /// The record.
        name: String,
        /// Why not.
        source: NameError,
    },
    /// A token.
    #[error("record {name}: {source}")]
    Token {
        /// The record.
        name: String,
        /// Why not.
        source: TokenError,
    },
    /// A pin.
    #[error("record {name}: {source}")]
    Pin {
        /// The record.
        name: String,
        /// Why not.
        source: PinError,
    },
    /// A sealing key.
    #[error("record {name}: {source}")]
    SealingKey {
        /// The record.
        name: String,
        /// Why not.
        source: SealingError,
    },
}

const REQUEST_UID: &str = "request-uid";
const NODE_NAME: &str = "node-name";
const FIRST_SEEN: &str = "first-seen";
const MACHINE_KEY: &str = "machine-public-key-hash";
const MACHINE_SEALING_KEY: &str = "machine-sealing-key";
const MACHINE_ANNOUNCEMENT: &str = "machine-announcement";
const MACHINE_ADDRESSES: &str = "machine-addresses";
const TOKEN_ID: &str = "token-id";
const TOKEN_SECRET: &str = "token-secret";
const TOKEN_MINTED: &str = "token-minted";
const TOKEN_EXPIRES: &str = "token-expires";
const CLUSTER: &str = "cluster-hash";
const CSR_NAME: &str = "client-csr-name";
const CSR_UID: &str = "client-csr-uid";
const CSR_KEY: &str = "client-csr-public-key-hash";
const CSR_CREATED: &str = "client-csr-created";
const CSR_ISSUED: &str = "client-csr-issued";
const NODE_UID: &str = "node-uid";
const RETRY: &str = "retry";
const RETRIED_AT: &str = "retried-at";
const DRAINED_AT: &str = "drained-at";

impl Record {
    /// A record of a request for which nothing has been done yet.
    pub fn new(request_uid: &str, node_name: NodeName, first_seen: UnixSeconds) -> Self {
        Self {
            name: record_name(request_uid),
            version: None,
            request_uid: request_uid.to_owned(),
            node_name,
            machine: None,
            first_seen,
            token: None,
            cluster: None,
            chosen: None,
            node_uid: None,
            retry: None,
            retried_at: None,
            drained_at: None,
        }
    }

    /// Reads a record.
    pub fn from_secret(secret: &Secret) -> Result<Self, RecordError> {
        let name = secret.metadata.name.clone().unwrap_or_default();
        let fields = Fields { name: &name, data: secret.data.as_ref() };
        let node_name = NodeName::parse(fields.required(NODE_NAME)?)
            .map_err(|source| RecordError::NodeName { name: name.clone(), source })?;
        Ok(Self {
            version: secret.metadata.resource_version.clone(),
            request_uid: fields.required(REQUEST_UID)?.to_owned(),
            node_name,
            machine: fields.machine()?,
            first_seen: fields.number(FIRST_SEEN)?,
            token: fields.token()?,
            cluster: fields.optional(CLUSTER)?.map(str::to_owned),
            chosen: fields.chosen()?,
            node_uid: fields.optional(NODE_UID)?.map(str::to_owned),
            retry: fields.optional(RETRY)?.map(str::to_owned),
            retried_at: fields.optional(RETRIED_AT)?.map(|_| fields.number(RETRIED_AT)).transpose()?,
            drained_at: fields.optional(DRAINED_AT)?.map(|_| fields.number(DRAINED_AT)).transpose()?,
            name,
        })
    }

    /// The Secret to write; its resourceVersion is the one that was read, so that the write is a compare-and-swap.
    pub fn to_secret(&self, namespace: &str) -> Secret {
        let mut data = BTreeMap::new();
        let mut put = |key: &str, value: &str| {
            data.insert(key.to_owned(), ByteString(value.as_bytes().to_vec()));
        };
        put(REQUEST_UID, &self.request_uid);
        put(NODE_NAME, self.node_name.as_str());
        put(FIRST_SEEN, &self.first_seen.to_string());
        if let Some(machine) = &self.machine {
            let addresses: Vec<String> = machine.addresses.iter().map(IpAddr::to_string).collect();
            put(MACHINE_KEY, &machine.public_key.to_string());
            put(MACHINE_SEALING_KEY, &machine.sealing_key.to_base64());
            put(MACHINE_ANNOUNCEMENT, &machine.announcement);
            put(MACHINE_ADDRESSES, &addresses.join(","));
        }
        if let Some(token) = &self.token {
            put(TOKEN_ID, token.id.as_str());
            if let Some(secret) = &token.secret {
                put(TOKEN_SECRET, secret.expose());
            }
            put(TOKEN_MINTED, &token.minted_at.to_string());
            put(TOKEN_EXPIRES, &token.expires_at.to_string());
        }
        if let Some(cluster) = &self.cluster {
            put(CLUSTER, cluster);
        }
        if let Some(chosen) = &self.chosen {
            put(CSR_NAME, &chosen.name);
            put(CSR_UID, &chosen.uid);
            put(CSR_KEY, &chosen.public_key.to_string());
            put(CSR_CREATED, &chosen.created_at.to_string());
            put(CSR_ISSUED, if chosen.issued { "true" } else { "false" });
        }
        if let Some(uid) = &self.node_uid {
            put(NODE_UID, uid);
        }
        if let Some(retry) = &self.retry {
            put(RETRY, retry);
        }
        for (key, time) in [(RETRIED_AT, self.retried_at), (DRAINED_AT, self.drained_at)] {
            if let Some(time) = time {
                put(key, &time.to_string());
            }
        }
        let mut labels = BTreeMap::from([
            (LABEL_MANAGED_BY.to_owned(), MANAGED_BY_CONTROLLER.to_owned()),
            (LABEL_REQUEST_UID.to_owned(), self.request_uid.clone()),
        ]);
        labels.extend(self.kept_for().map(|uid| (LABEL_NODE_UID.to_owned(), uid.to_owned())));
        Secret {
            metadata: ObjectMeta {
                name: Some(self.name.clone()),
                namespace: Some(namespace.to_owned()),
                resource_version: self.version.clone(),
                labels: Some(labels),
                annotations: Some(BTreeMap::from([(
                    ANNOTATION_NODE_NAME.to_owned(),
                    self.node_name.as_str().to_owned(),
                )])),
                ..ObjectMeta::default()
            },
            type_: Some(SECRET_TYPE_RECORD.to_owned()),
            data: Some(data),
            ..Secret::default()
        }
    }

    /// What is kept of a request that is gone while its Node is there: which machine the Node came of.
    #[must_use]
    pub fn kept(&self) -> Self {
        Self { token: None, cluster: None, retry: None, retried_at: None, drained_at: None, ..self.clone() }
    }

    /// The record of a later request for the same machine, whose Node is there.
    #[must_use]
    pub fn adopted(&self, request_uid: &str, now: UnixSeconds) -> Self {
        Self {
            name: record_name(request_uid),
            version: None,
            request_uid: request_uid.to_owned(),
            first_seen: now,
            ..self.kept()
        }
    }

    /// The UID of the Node of which the record tells, if it tells of no token. So it is when its request is gone, and when
    /// its request has found the Node of its machine there.
    pub fn kept_for(&self) -> Option<&str> {
        self.node_uid.as_deref().filter(|_| self.token.is_none())
    }

    /// The token, if it has not served yet. It may have expired.
    pub fn unspent(&self) -> Option<&Token> {
        self.token.as_ref().filter(|token| token.secret.is_some())
    }
}

/// How a record is found.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum RecordKey {
    /// By the id of its token.
    Token(String),
    /// Whether it holds a token that has not served yet.
    HoldsToken,
    /// By the UID of the Node that came of its request.
    Node(String),
}

impl Entry for Record {
    type Key = RecordKey;

    fn name(&self) -> &str {
        &self.name
    }

    fn keys(&self) -> Vec<RecordKey> {
        let mut keys: Vec<RecordKey> = self.node_uid.iter().cloned().map(RecordKey::Node).collect();
        keys.extend(self.token.iter().map(|token| RecordKey::Token(token.id.as_str().to_owned())));
        keys.extend(self.unspent().map(|_| RecordKey::HoldsToken));
        keys
    }

    fn version(&self) -> Option<u64> {
        version_number(self.version.as_deref())
    }
}

struct Fields<'a> {
    name: &'a str,
    data: Option<&'a BTreeMap<String, ByteString>>,
}

impl<'a> Fields<'a> {
    fn optional(&self, key: &'static str) -> Result<Option<&'a str>, RecordError> {
        let Some(value) = self.data.and_then(|data| data.get(key)) else { return Ok(None) };
        std::str::from_utf8(&value.0).map(Some).map_err(|_| self.unreadable(key))
    }

    fn required(&self, key: &'static str) -> Result<&'a str, RecordError> {
        self.optional(key)?.ok_or_else(|| RecordError::Missing { name: self.name.to_owned(), key })
    }

    fn number(&self, key: &'static str) -> Result<i64, RecordError> {
        self.required(key)?.parse().map_err(|_| self.unreadable(key))
    }

    fn pin(&self, key: &'static str) -> Result<PublicKeyPin, RecordError> {
        PublicKeyPin::parse(self.required(key)?)
            .map_err(|source| RecordError::Pin { name: self.name.to_owned(), source })
    }

    fn machine(&self) -> Result<Option<Machine>, RecordError> {
        if self.optional(MACHINE_KEY)?.is_none() {
            return Ok(None);
        }
        let addresses = self.required(MACHINE_ADDRESSES)?.split(',').filter(|address| !address.is_empty());
        Ok(Some(Machine {
            public_key: self.pin(MACHINE_KEY)?,
            sealing_key: SealingPublicKey::from_base64(self.required(MACHINE_SEALING_KEY)?)
                .map_err(|source| RecordError::SealingKey { name: self.name.to_owned(), source })?,
            announcement: self.required(MACHINE_ANNOUNCEMENT)?.to_owned(),
            addresses: addresses
                .map(str::parse)
                .collect::<Result<_, _>>()
                .map_err(|_| self.unreadable(MACHINE_ADDRESSES))?,
        }))
    }

    fn token(&self) -> Result<Option<Token>, RecordError> {
        let Some(id) = self.optional(TOKEN_ID)? else { return Ok(None) };
        let secret = self.optional(TOKEN_SECRET)?.map(TokenSecret::parse).transpose();
        Ok(Some(Token {
            id: TokenId::parse(id).map_err(|source| self.token_error(source))?,
            secret: secret.map_err(|source| self.token_error(source))?,
            minted_at: self.number(TOKEN_MINTED)?,
            expires_at: self.number(TOKEN_EXPIRES)?,
        }))
    }

    fn chosen(&self) -> Result<Option<Chosen>, RecordError> {
        let Some(uid) = self.optional(CSR_UID)? else { return Ok(None) };
        Ok(Some(Chosen {
            name: self.required(CSR_NAME)?.to_owned(),
            uid: uid.to_owned(),
            public_key: self.pin(CSR_KEY)?,
            created_at: self.number(CSR_CREATED)?,
            issued: self.required(CSR_ISSUED)?.parse().map_err(|_| self.unreadable(CSR_ISSUED))?,
        }))
    }

    fn unreadable(&self, key: &'static str) -> RecordError {
        RecordError::Unreadable { name: self.name.to_owned(), key }
    }

    fn token_error(&self, source: TokenError) -> RecordError {
        RecordError::Token { name: self.name.to_owned(), source }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use join_trust::sealing::SealingKey;
    use proptest::prelude::*;

    fn machine() -> impl Strategy<Value = Machine> {
        (any::<[u8; 8]>(), proptest::collection::btree_set(any::<IpAddr>(), 0..4)).prop_map(|(key, addresses)| {
            Machine {
                public_key: PublicKeyPin::of_spki(&key),
                sealing_key: SealingKey::generate().unwrap().public(),
                announcement: "nodejoin-machine-worker-7-0123456789abcdef".to_owned(),
                addresses,
            }
        })
    }

    fn token() -> impl Strategy<Value = Token> {
        ("[a-z0-9]{6}", proptest::option::of("[a-z0-9]{16}"), any::<i64>(), any::<i64>()).prop_map(
            |(id, secret, minted_at, expires_at)| Token {
                id: TokenId::parse(&id).unwrap(),
                secret: secret.map(|secret| TokenSecret::parse(&secret).unwrap()),
                minted_at,
                expires_at,
            },
        )
    }

    fn chosen() -> impl Strategy<Value = Chosen> {
        ("[a-z]{1,9}", "[a-f0-9-]{36}", any::<[u8; 8]>(), any::<i64>(), any::<bool>()).prop_map(
            |(name, uid, key, created_at, issued)| Chosen {
                name,
                uid,
                public_key: PublicKeyPin::of_spki(&key),
                created_at,
                issued,
            },
        )
    }

    proptest! {
        /// Nothing of a record is lost or changed between writing and reading.
        #[test]
        fn a_record_reads_back_as_it_was_written(
            machine in proptest::option::of(machine()),
            token in proptest::option::of(token()),
            cluster in proptest::option::of("[a-f0-9]{64}"),
            chosen in proptest::option::of(chosen()),
            node_uid in proptest::option::of("[a-f0-9-]{36}"),
            first_seen in any::<i64>(),
            retry in proptest::option::of("[a-z0-9:-]{1,64}"),
            retried_at in proptest::option::of(any::<i64>()),
            drained_at in proptest::option::of(any::<i64>()),
        ) {
            let record = Record {
                version: Some("7".to_owned()),
                machine,
                token,
                cluster,
                chosen,
                node_uid,
                retry,
                retried_at,
                drained_at,
                ..Record::new("1d6f", NodeName::parse("worker-7").unwrap(), first_seen)
            };
            let read = Record::from_secret(&record.to_secret("join-system")).unwrap();
            prop_assert_eq!(read, record);
        }
    }

    fn live_token() -> Token {
        let token = BootstrapToken::parse("abcdef.0123456789abcdef").unwrap();
        Token { id: token.id().clone(), secret: Some(token.secret().clone()), minted_at: 0, expires_at: 1 }
    }

    #[test]
    fn what_is_kept_for_a_node_has_no_token_and_says_for_which() {
        let whole = Record {
            token: Some(live_token()),
            node_uid: Some("9c2e".to_owned()),
            ..Record::new("1d6f", NodeName::parse("worker-7").unwrap(), 5)
        };
        let label = |record: &Record| record.to_secret("n").metadata.labels.unwrap().remove(LABEL_NODE_UID);
        assert_eq!((whole.kept_for(), label(&whole)), (None, None));
        let kept = whole.kept();
        assert_eq!((kept.kept_for(), label(&kept).as_deref()), (Some("9c2e"), Some("9c2e")));
        assert_eq!(kept.keys(), [RecordKey::Node("9c2e".to_owned())]);
        assert_eq!(kept.kept(), kept);
        let adopted = kept.adopted("7f00", 9);
        assert_eq!((adopted.name.as_str(), adopted.request_uid.as_str(), adopted.first_seen), ("njr-7f00", "7f00", 9));
        assert_eq!((&adopted.version, adopted.kept_for()), (&None, Some("9c2e")));
        let nothing = Record { node_uid: None, ..whole };
        assert_eq!(nothing.kept().kept_for(), None);
    }

    #[test]
    fn a_token_of_a_record_never_prints() {
        assert!(!format!("{:?}", live_token()).contains("0123456789abcdef"));
    }

    #[test]
    fn a_damaged_record_names_the_key_and_no_value() {
        let mut record = Record::new("1d6f", NodeName::parse("worker-7").unwrap(), 5);
        record.token = Some(live_token());
        let mut secret = record.to_secret("n");
        let data = secret.data.as_mut().unwrap();
        data.insert(TOKEN_SECRET.to_owned(), ByteString(b"0123456789abcde".to_vec()));
        let error = Record::from_secret(&secret).unwrap_err().to_string();
        assert!(error.contains("njr-1d6f") && !error.contains("0123456789"), "{error}");
        secret.data.as_mut().unwrap().remove(FIRST_SEEN);
        assert!(matches!(Record::from_secret(&secret), Err(RecordError::Missing { key: FIRST_SEEN, .. })));
    }
}
