//! Watching one join until it is decided.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Duration;

use anstyle::AnsiColor;
use futures::stream::{BoxStream, StreamExt as _, select_all};
use join_checks::pauses;
use join_crds::NodeJoinRequest;
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use k8s_openapi::api::core::v1::Node;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::jiff::Timestamp;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, watcher};
use kube::{Api, Resource};
use unicode_width::UnicodeWidthStr as _;

use super::Error;
use super::gather::{EVENTS_NAMESPACE, Gathered, SIGNERS, of_signer};
use super::model::{Outcome, Tree, tree};
use super::render::{Look, changes, render};
use crate::output::{self, Screen, stderr};
use crate::session::Session;

/// How often the elapsed time is drawn anew on a terminal.
const TICK: Duration = Duration::from_secs(1);
/// Changes come in groups; those within this time are drawn at once.
const SETTLE: Duration = Duration::from_millis(50);

/// One answer of one of the watches.
#[allow(clippy::large_enum_variant, reason = "each is taken apart at once, and never kept")]
enum Change {
    Request(Result<watcher::Event<NodeJoinRequest>, watcher::Error>),
    /// The place of the signer in [`SIGNERS`], and what its watch told.
    Certificate(usize, Result<watcher::Event<CertificateSigningRequest>, watcher::Error>),
    Node(Result<watcher::Event<Node>, watcher::Error>),
    Event(Result<watcher::Event<Event>, watcher::Error>),
}

/// The objects of one kind, as a watch tells them.
struct Kept<K> {
    current: BTreeMap<String, K>,
    /// What a list that has not ended has brought so far.
    coming: BTreeMap<String, K>,
    /// Whether a list has ended, or none ever will.
    is_known: bool,
}

impl<K: Resource<DynamicType = ()>> Kept<K> {
    fn new() -> Self {
        Self { current: BTreeMap::new(), coming: BTreeMap::new(), is_known: false }
    }

    fn take(&mut self, event: watcher::Event<K>) {
        let name = |object: &K| object.meta().name.clone().unwrap_or_default();
        match event {
            watcher::Event::Init => self.coming.clear(),
            watcher::Event::InitApply(object) => drop(self.coming.insert(name(&object), object)),
            watcher::Event::InitDone => {
                self.current = std::mem::take(&mut self.coming);
                self.is_known = true;
            }
            watcher::Event::Apply(object) => drop(self.current.insert(name(&object), object)),
            watcher::Event::Delete(object) => drop(self.current.remove(&name(&object))),
        }
    }
}

/// Everything that the watches have told.
struct World {
    name: String,
    requests: Kept<NodeJoinRequest>,
    certificates: [Kept<CertificateSigningRequest>; SIGNERS.len()],
    nodes: Kept<Node>,
    events: Kept<Event>,
    obstacles: Vec<String>,
}

impl World {
    fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            requests: Kept::new(),
            certificates: SIGNERS.map(|_| Kept::new()),
            nodes: Kept::new(),
            events: Kept::new(),
            obstacles: Vec::new(),
        }
    }

    fn take(&mut self, change: Change) -> Result<(), Error> {
        match change {
            Change::Request(Ok(event)) => self.requests.take(event),
            Change::Certificate(signer, Ok(event)) => {
                if let Some(certificates) = self.certificates.get_mut(signer) {
                    certificates.take(event);
                }
            }
            Change::Node(Ok(event)) => self.nodes.take(event),
            Change::Event(Ok(event)) => self.events.take(event),
            // Without the request there is nothing to show; a connection that was lost comes back by itself.
            Change::Request(Err(error)) if code(&error) == Some(404) => return Err(Error::NotInstalled),
            Change::Request(Err(error)) if is_final(&error) => {
                return Err(Error::Watch { what: "the request", reason: explain(&error) });
            }
            Change::Certificate(signer, Err(error)) if is_final(&error) => {
                if let Some(certificates) = self.certificates.get_mut(signer) {
                    certificates.is_known = true;
                }
                self.obstacle("certificate requests", &error);
            }
            Change::Node(Err(error)) if is_final(&error) => {
                self.nodes.is_known = true;
                self.obstacle("the Node", &error);
            }
            Change::Event(Err(error)) if is_final(&error) => {
                self.events.is_known = true;
                self.obstacle("Events", &error);
            }
            Change::Request(Err(_)) | Change::Certificate(_, Err(_)) | Change::Node(Err(_)) | Change::Event(Err(_)) => {
            }
        }
        Ok(())
    }

    fn obstacle(&mut self, what: &str, error: &watcher::Error) {
        let text = format!("failed to watch {what}: {}", explain(error));
        if !self.obstacles.contains(&text) {
            self.obstacles.push(text);
        }
    }

    fn is_known(&self) -> bool {
        let certificates_are = self.certificates.iter().all(|certificates| certificates.is_known);
        self.requests.is_known && certificates_are && self.nodes.is_known && self.events.is_known
    }

    fn tree(&self) -> Tree {
        tree(&Gathered {
            name: self.name.clone(),
            now: Timestamp::now(),
            request: self.requests.current.get(&self.name).cloned(),
            certificate_requests: self.certificates.iter().flat_map(|kept| kept.current.values().cloned()).collect(),
            node: self.nodes.current.get(&self.name).cloned(),
            events: self.events.current.values().cloned().collect(),
            obstacles: self.obstacles.clone(),
        })
    }
}

/// Whether trying again cannot help: the right is missing, or the type is not there.
fn is_final(error: &watcher::Error) -> bool {
    matches!(code(error), Some(401 | 403 | 404))
}

/// The HTTP status of the answer, if there was one.
fn code(error: &watcher::Error) -> Option<u16> {
    match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status)) => Some(status.code),
        _ => None,
    }
}

fn explain(error: &watcher::Error) -> String {
    match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status)) => status.message.clone(),
        other => other.to_string(),
    }
}

fn streams(session: &Session, name: &str) -> impl futures::Stream<Item = Change> + Unpin {
    let named = watcher::Config::default().fields(&format!("metadata.name={name}"));
    let about = watcher::Config::default().fields(&format!("regarding.name={name}"));
    let client = session.client();
    let requests: BoxStream<'static, Change> =
        watcher(Api::all(client.clone()), named.clone()).backoff(pauses::short()).map(Change::Request).boxed();
    let certificates = SIGNERS.into_iter().enumerate().map(|(place, signer)| {
        let of_signer = watcher::Config::default().fields(&of_signer(signer));
        let events = watcher(Api::all(client.clone()), of_signer).backoff(pauses::short());
        events.map(move |event| Change::Certificate(place, event)).boxed()
    });
    let certificates = select_all(certificates.collect::<Vec<_>>()).boxed();
    let nodes = watcher(Api::all(client.clone()), named);
    let events = watcher(Api::namespaced(client.clone(), EVENTS_NAMESPACE), about);
    select_all([
        requests,
        certificates,
        nodes.backoff(pauses::short()).map(Change::Node).boxed(),
        events.backoff(pauses::short()).map(Change::Event).boxed(),
    ])
}

/// Shows every change until the node is Ready or the request is Stalled.
pub async fn run(session: &Session, name: &str, look: Look) -> Result<ExitCode, Error> {
    let mut stream = streams(session, name);
    let mut world = World::new(name);
    let mut painter = Painter { look, drawn: 0, last: None };
    let mut tick = tokio::time::interval(TICK);
    let mut existed = false;
    loop {
        tokio::select! {
            change = stream.next() => {
                let Some(change) = change else {
                    return Err(Error::Watch { what: "the request", reason: "the watches ended".to_owned() });
                };
                world.take(change)?;
                while let Ok(Some(more)) = tokio::time::timeout(SETTLE, stream.next()).await {
                    world.take(more)?;
                }
            }
            _ = tick.tick(), if look.screen.is_terminal => {}
        }
        if !world.is_known() {
            continue;
        }
        let tree = world.tree();
        existed |= world.requests.current.contains_key(name);
        painter.show(&tree)?;
        match tree.outcome {
            Outcome::Ready => return Ok(ExitCode::SUCCESS),
            Outcome::Stalled => return Ok(ExitCode::FAILURE),
            Outcome::Absent | Outcome::Announced if existed => return Err(Error::Deleted { name: name.to_owned() }),
            Outcome::Absent if painter.is_first() => {
                stderr::note(&format!("waiting for a machine or a request of the name {name}"));
            }
            _ => {}
        }
        painter.last = Some(tree);
    }
}

/// Draws trees over each other, or tells changes.
struct Painter {
    look: Look,
    /// Lines on the terminal that are to be drawn over.
    drawn: usize,
    last: Option<Tree>,
}

impl Painter {
    fn is_first(&self) -> bool {
        self.last.is_none()
    }

    /// Rows of the terminal that a tree takes: a command is not broken, and may need more than one.
    fn rows(&self, tree: &Tree) -> usize {
        let plain = render(tree, Look { screen: Screen::PLAIN, ..self.look });
        plain.lines().map(|line| line.width().div_ceil(self.look.width.max(1)).max(1)).sum()
    }

    fn show(&mut self, tree: &Tree) -> Result<(), output::Error> {
        if !self.look.screen.is_terminal {
            let text = changes(self.last.as_ref(), tree);
            // Without a terminal, nobody can see what to do next but in these lines.
            return if text.is_empty() { Ok(()) } else { output::print(&text) };
        }
        let text = render(tree, self.look);
        let waiting = matches!(tree.outcome, Outcome::Waiting | Outcome::Announced | Outcome::Absent);
        let hint = if waiting {
            self.look.screen.paint(AnsiColor::BrightBlack, "watching; Ctrl-C ends it") + "\n"
        } else {
            String::new()
        };
        // Up to the first line of what was drawn before, and clear from there (ECMA-48, CPL and ED).
        let back = if self.drawn == 0 { String::new() } else { format!("\u{1b}[{}F\u{1b}[J", self.drawn) };
        self.drawn = self.rows(tree) + hint.lines().count();
        output::print(&format!("{back}{text}{hint}"))
    }
}
