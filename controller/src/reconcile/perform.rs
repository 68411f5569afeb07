//! From a planned step to the write that makes it.

use join_crds::spec::{NodeJoinRequest, Role};
use join_crds::vocabulary::{ANNOTATION_RETRY, EventReason};
use join_trust::UnixSeconds;
use join_trust::certificate_key::CertificateKey;
use join_trust::cluster_info::ClusterInfo;
use join_trust::jws;
use join_trust::names::NodeName;
use join_trust::policy::Finding;
use join_trust::token::BootstrapToken;
use sha2::{Digest as _, Sha256};

use super::Context;
use super::decisions::{self, Verdict};
use crate::act::ActError;
use crate::act::cluster_info::publish;
use crate::act::tokens::seal_credential;
use crate::act::{pods, status};
use crate::cache::csr::CsrEntry;
use crate::cache::node::NodeEntry;
use crate::clock::now;
use crate::plan::{self, Attempt, KeyLook, Published, Step};
use crate::record::{Machine, Record, Token};
use crate::world::Snapshot;

/// Makes one step.
pub(super) async fn perform(
    step: &Step,
    request: &NodeJoinRequest,
    node_name: &NodeName,
    snapshot: &Snapshot,
    context: &Context,
) -> Result<(), ActError> {
    let visit = Visit { step: step.name(), request, node_name, snapshot, context };
    match step {
        Step::Mint { machine, first_seen, expires_at, cluster } => {
            visit.mint(machine.as_ref(), *first_seen, *expires_at, cluster).await?;
        }
        Step::LookForCertificateKey => {
            let found = visit.certificate_key().await;
            let found =
                found.map(|key| hex::encode(Sha256::digest(key.expose_bytes()))).map_err(|error| error.to_string());
            let look = KeyLook { at: now(), found };
            context.notes.remember(request.uid(), |memory| memory.certificate_key = Some(look));
        }
        Step::CreateToken => {
            let (record, token, whole) = visit.token()?;
            context.tokens.create(&record, &token, &whole, request.spec.role).await?;
            context.notes.remember(request.uid(), |memory| memory.token = Some(true));
            visit.log(None, Some(token.id.as_str()));
        }
        Step::Publish => {
            let publication = context.publication.as_ref().ok_or_else(|| visit.missing("the API server's endpoint"))?;
            publish(&context.client, publication, &context.world.cluster_info, &context.trust).await?;
            visit.log(None, None);
        }
        Step::Sign => {
            let (_, token, whole) = visit.token()?;
            let signature = jws::sign(&whole, visit.info()?.text())?;
            context.cluster_info.change(jws::data_key(&token.id), Some(signature)).await?;
            visit.log(None, Some(token.id.as_str()));
        }
        Step::Seal => {
            let (record, token, whole) = visit.token()?;
            let machine = record.machine.as_ref().ok_or_else(|| visit.missing("the machine"))?;
            let certificate_key = match request.spec.role {
                Role::Worker => None,
                Role::ControlPlane => Some(visit.certificate_key().await?),
            };
            let sealed = seal_credential(request, machine, whole, visit.info()?, certificate_key)?;
            let id = token.id.as_str().to_owned();
            context.notes.remember(request.uid(), |memory| memory.sealed = Some((id, sealed)));
            if let Some(note) = visit.changed_under_way(token.id.as_str()) {
                context.events.tell(request, EventReason::RequestChanged, &note).await;
            }
            visit.log(Some(&machine.public_key.to_string()), Some(token.id.as_str()));
        }
        Step::WriteCommand => {
            let (record, token, whole) = visit.token()?;
            context.tokens.write_command(request, &record, &whole, visit.info()?).await?;
            context.notes.remember(request.uid(), |memory| memory.command = Some(true));
            visit.log(None, Some(token.id.as_str()));
        }
        Step::Choose(chosen) => {
            context.records.write(&Record { chosen: Some(chosen.clone()), ..visit.record()? }).await?;
            visit.log(Some(&chosen.public_key.to_string()), None);
        }
        Step::Unchoose => {
            context.records.write(&Record { chosen: None, ..visit.record()? }).await?;
            visit.log(None, None);
        }
        Step::NoteIssued => {
            context.records.write(&visit.issued()?).await?;
            visit.log(None, None);
        }
        Step::Approve { uid, public_key, .. } => visit.approve(visit.csr(uid)?, public_key).await?,
        Step::Deny { uid, finding, .. } => visit.deny(visit.csr(uid)?, finding).await?,
        Step::EquipLabels => {
            context.nodes.label(request, visit.node()?).await?;
            let generation = request.metadata.generation;
            context.notes.remember(request.uid(), |memory| memory.equipped = generation);
            visit.log(None, None);
        }
        Step::EquipTaints => {
            context.nodes.taint(request, visit.node()?).await?;
            visit.log(None, None);
        }
        Step::DeleteToken => {
            let (_, token, _) = visit.token()?;
            context.tokens.delete(&token.id).await?;
            context.notes.remember(request.uid(), |memory| memory.token = Some(false));
            visit.log(None, Some(token.id.as_str()));
        }
        Step::DeleteCommand => {
            context.tokens.delete_command(node_name.as_str()).await?;
            context.notes.remember(request.uid(), |memory| memory.command = Some(false));
            visit.log(None, None);
        }
        Step::NoteNode { uid } => {
            let mut record = visit.issued()?;
            record.node_uid = Some(uid.clone());
            if let Some(token) = record.token.as_mut() {
                token.secret = None;
            }
            context.records.write(&record).await?;
            visit.log(None, None);
        }
        Step::Unsign => {
            let record = visit.record()?;
            let token = record.token.as_ref().ok_or_else(|| visit.missing("the token"))?;
            context.cluster_info.change(jws::data_key(&token.id), None).await?;
            visit.log(None, Some(token.id.as_str()));
        }
        Step::Retry { value, attempt, failed } => visit.retry(value, *attempt, failed).await?,
        Step::IgnoreRetry { value, why } => visit.ignore_retry(value, why).await?,
        Step::Adopt => visit.adopt().await?,
        Step::Displace => visit.displace().await?,
        Step::Hold => visit.hold(true).await?,
        Step::Release { uncleaned } => visit.release(*uncleaned).await?,
        Step::Cordon => visit.cordon().await?,
        Step::Drain => visit.drain().await?,
        Step::NoteDrained => visit.note_drained().await?,
        Step::DeleteNode => visit.delete_node().await?,
    }
    if matches!(step, Step::Mint { .. } | Step::DeleteToken | Step::NoteNode { .. }) {
        context.metrics.set_tokens_alive(context.world.tokens_alive(now()));
    }
    Ok(())
}

struct Visit<'a> {
    step: &'static str,
    request: &'a NodeJoinRequest,
    node_name: &'a NodeName,
    snapshot: &'a Snapshot,
    context: &'a Context,
}

impl<'a> Visit<'a> {
    fn missing(&self, missing: &'static str) -> ActError {
        ActError::Premise { step: self.step, missing }
    }

    fn record(&self) -> Result<Record, ActError> {
        self.snapshot.record().cloned().ok_or_else(|| self.missing("the record"))
    }

    /// A first record. Another try that was asked for already is the first one.
    fn fresh(&self, first_seen: i64) -> Record {
        let record = Record::new(self.request.uid(), self.node_name.clone(), first_seen);
        Record { retry: plan::asked_to_retry(self.request), ..record }
    }

    /// The record, with its chosen request issued.
    fn issued(&self) -> Result<Record, ActError> {
        let mut record = self.record()?;
        record.chosen.as_mut().ok_or_else(|| self.missing("the chosen certificate request"))?.issued = true;
        Ok(record)
    }

    /// What is to be told of a credential that is sealed anew only because the request was changed.
    fn changed_under_way(&self, token: &str) -> Option<String> {
        let status = self.request.status.as_ref()?;
        let (before, now) = (status.sealed_credentials.as_ref()?.generation, self.request.generation());
        let is_same_token = status.credential.as_ref().is_some_and(|credential| credential.token_id == token);
        (is_same_token && before != now).then(|| {
            format!("the request was changed (generation {before} is {now} now); its credential was sealed anew")
        })
    }

    fn token(&self) -> Result<(Record, Token, BootstrapToken), ActError> {
        let record = self.record()?;
        let token = record.token.clone().ok_or_else(|| self.missing("the token"))?;
        let whole = token.whole().ok_or_else(|| self.missing("the token's secret"))?;
        Ok((record, token, whole))
    }

    /// The key to the certificates that control planes share, from the Secret that the request names.
    async fn certificate_key(&self) -> Result<CertificateKey, ActError> {
        let control_plane = self.request.spec.control_plane.as_ref();
        let name = control_plane.map(|control_plane| control_plane.certificate_key_secret.as_str());
        self.context.tokens.certificate_key(name.unwrap_or_default()).await
    }

    fn info(&self) -> Result<&'a ClusterInfo, ActError> {
        match self.snapshot.published() {
            Published::Usable { info, .. } => Ok(info),
            Published::Missing | Published::Unusable(_) => Err(self.missing("cluster-info")),
        }
    }

    fn node(&self) -> Result<&'a NodeEntry, ActError> {
        self.snapshot.node().ok_or_else(|| self.missing("the Node"))
    }

    fn csr(&self, uid: &str) -> Result<&'a CsrEntry, ActError> {
        self.snapshot.csr(uid).ok_or_else(|| self.missing("the certificate request"))
    }

    /// Binds the machine and makes a token, in the record.
    async fn mint(
        &self,
        machine: Option<&Machine>,
        first_seen: UnixSeconds,
        expires_at: UnixSeconds,
        cluster: &str,
    ) -> Result<(), ActError> {
        let base = self.snapshot.record().cloned().unwrap_or_else(|| self.fresh(first_seen));
        let token = BootstrapToken::generate()?;
        let record = Record {
            machine: machine.cloned(),
            token: Some(Token {
                id: token.id().clone(),
                secret: Some(token.secret().clone()),
                minted_at: now(),
                expires_at,
            }),
            cluster: Some(cluster.to_owned()),
            chosen: None,
            ..base
        };
        self.context.records.write(&record).await?;
        self.context.notes.remember(self.request.uid(), |memory| {
            let certificate_key = memory.certificate_key.take();
            *memory = plan::Memory { held: memory.held, certificate_key, ..plan::Memory::default() };
        });
        let key = machine.map(|machine| machine.public_key.to_string());
        self.log(key.as_deref(), Some(token.id().as_str()));
        Ok(())
    }

    /// Sets or removes the finalizer.
    async fn hold(&self, hold: bool) -> Result<(), ActError> {
        status::hold(&self.context.requests, self.request, hold).await?;
        self.context.notes.remember(self.request.uid(), |memory| memory.held = Some(hold));
        self.log(None, None);
        Ok(())
    }

    async fn release(&self, uncleaned: bool) -> Result<(), ActError> {
        if uncleaned {
            let note = "the machine did not answer; run join-agent reset on it when it is there again";
            self.context.events.tell(self.request, EventReason::MachineNotCleaned, note).await;
        }
        self.hold(false).await
    }

    async fn cordon(&self) -> Result<(), ActError> {
        self.context.nodes.cordon(self.node()?).await?;
        self.log(None, None);
        Ok(())
    }

    async fn drain(&self) -> Result<(), ActError> {
        let drained = pods::drain(&self.context.client, self.node()?, now()).await?;
        self.context.notes.remember(self.request.uid(), |memory| memory.drained = Some(drained));
        self.log(None, None);
        Ok(())
    }

    async fn note_drained(&self) -> Result<(), ActError> {
        self.context.records.write(&Record { drained_at: Some(now()), ..self.record()? }).await?;
        self.log(None, None);
        Ok(())
    }

    async fn delete_node(&self) -> Result<(), ActError> {
        self.context.nodes.delete(self.node()?).await?;
        let note = format!("Node {} was drained and is deleted", self.node_name);
        self.context.events.tell(self.request, EventReason::NodeRemoved, &note).await;
        self.log(None, None);
        Ok(())
    }

    /// Takes over what is known of the machine whose Node is there.
    async fn adopt(&self) -> Result<(), ActError> {
        let former = self.snapshot.former().ok_or_else(|| self.missing("the record of the earlier request"))?;
        let adopted = former.adopted(self.request.uid(), now());
        let record = Record { retry: plan::asked_to_retry(self.request), ..adopted };
        self.context.records.write(&record).await?;
        let key = record.machine.as_ref().map(|machine| machine.public_key.to_string()).unwrap_or_default();
        let note = format!(
            "Node {} (UID {}) is of the machine with key {key}, which joined with the request of UID {}; this request \
             goes on with it, and nothing was issued",
            self.node_name,
            record.node_uid.as_deref().unwrap_or_default(),
            former.request_uid
        );
        self.context.events.tell(self.request, EventReason::NodeAdopted, &note).await;
        // What is more than kept is taken apart by the sweep.
        if former.kept_for().is_some() {
            self.context.records.delete(former).await?;
        }
        self.log(Some(&key), None);
        Ok(())
    }

    /// Deletes the Node that is replaced, by the UID that the request has of it.
    async fn displace(&self) -> Result<(), ActError> {
        let old = self.node()?;
        let observed = self.snapshot.observe(now(), &self.context.settings, self.request, self.node_name);
        let keys = plan::keys_in_the_way(&observed);
        self.context.nodes.delete(old).await?;
        tracing::info!(
            request = self.node_name.as_str(),
            uid = self.request.uid(),
            node_uid = old.uid,
            keys,
            "a Node was replaced"
        );
        let told = format!("Node {} (UID {}) was deleted, as replacesNodeUID says; {keys}", old.name, old.uid);
        self.context.events.tell(self.request, EventReason::OldNodeDeleted, &told).await;
        self.log(None, None);
        Ok(())
    }

    async fn retry(&self, value: &str, attempt: Attempt, failed: &str) -> Result<(), ActError> {
        let record = self.record()?.retried(value, attempt, now());
        self.context.records.write(&record).await?;
        self.log(None, None);
        let what = match attempt {
            Attempt::OtherToken => "another token is made",
            Attempt::SameToken { .. } => "its token lives on, since a certificate was issued with it",
            Attempt::DeadlineOnly => "its time is counted anew",
        };
        let note = format!("{}; {what}; it had failed with {failed}", self.asked(value));
        self.context.events.tell(self.request, EventReason::Retried, &note).await;
        Ok(())
    }

    async fn ignore_retry(&self, value: &str, why: &str) -> Result<(), ActError> {
        self.context.records.write(&Record { retry: Some(value.to_owned()), ..self.record()? }).await?;
        self.log(None, None);
        let note = format!("{}; {why}", self.asked(value));
        self.context.events.tell(self.request, EventReason::RetryIgnored, &note).await;
        Ok(())
    }

    /// Who asked for another try, and how.
    fn asked(&self, value: &str) -> String {
        let who = plan::who_asked(self.request).unwrap_or("somebody");
        format!("{who} asked for another try with {ANNOTATION_RETRY}={value}")
    }

    async fn approve(&self, csr: &CsrEntry, public_key: &str) -> Result<(), ActError> {
        decisions::begin(self.request, csr, Verdict::Approve, self.context);
        self.context.certificates.approve(csr, self.request, public_key, self.table(csr)).await?;
        decisions::made(self.request, csr, self.context).await;
        Ok(())
    }

    async fn deny(&self, csr: &CsrEntry, finding: &Finding) -> Result<(), ActError> {
        decisions::begin(self.request, csr, Verdict::Deny(finding.clone()), self.context);
        self.context.certificates.deny(csr, finding, self.table(csr)).await?;
        decisions::made(self.request, csr, self.context).await;
        Ok(())
    }

    fn table(&self, csr: &CsrEntry) -> &'a crate::cache::Shared<CsrEntry> {
        if csr.is_client() { &self.context.world.client_csrs } else { &self.context.world.serving_csrs }
    }

    fn log(&self, key: Option<&str>, token_id: Option<&str>) {
        tracing::info!(
            request = self.node_name.as_str(),
            uid = self.request.uid(),
            step = self.step,
            key,
            token_id,
            "step made"
        );
    }
}
