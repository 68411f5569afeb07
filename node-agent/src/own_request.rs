//! The watch of the machine's own NodeJoinRequest: the newest state of one object, and what gets in the watch's way.

use std::pin::Pin;

use futures::{Stream, StreamExt};
use join_checks::pauses::Lasting;
use join_crds::NodeJoinRequest;
use join_crds::vocabulary::Reason;
use kube::runtime::watcher::{self, DefaultBackoff, Event};
use kube::runtime::{WatchStreamExt, watcher as watch};
use kube::{Api, Client};

use crate::connection::{CallError, explain};

/// After so many failures one after the other, with the watch's own pauses between them, the way to the API server itself is in
/// doubt: its address, its certificate authority or the credential may have changed.
const MOST_FAILURES: u32 = 6;

/// The watch does not work any more.
#[derive(Debug, thiserror::Error)]
#[error("the watch of the NodeJoinRequest {node} ended after {failures} failures: {last}")]
pub struct Lost {
    node: String,
    failures: u32,
    last: Trouble,
}

impl Lost {
    /// Why the last try failed.
    pub fn reason(&self) -> Reason {
        self.last.reason
    }
}

/// Why a watch failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct Trouble {
    /// Why, in one word.
    pub reason: Reason,
    /// What was tried and seen.
    pub text: String,
}

impl From<CallError> for Trouble {
    fn from(error: CallError) -> Self {
        Self { reason: error.reason, text: error.to_string() }
    }
}

/// What came out of the watch.
#[derive(Debug, PartialEq, Eq)]
pub enum News {
    /// The request is there, has changed, or is gone: see [`OwnRequest::known`].
    Request,
    /// The watch failed, and goes on by itself after a growing pause.
    Trouble(Trouble),
}

type Events = Pin<Box<dyn Stream<Item = watcher::Result<Event<NodeJoinRequest>>> + Send>>;

/// The machine's own request, kept up to date.
pub struct OwnRequest {
    events: Events,
    state: State,
    node: String,
    failures: u32,
}

impl OwnRequest {
    /// Starts to watch the request of that name, and no other.
    pub fn watch(client: &Client, node: &str) -> Self {
        let own = watcher::Config::default().fields(&format!("metadata.name={node}"));
        let events = watch(Api::all(client.clone()), own).backoff(Lasting::<DefaultBackoff>::default());
        Self { events: events.boxed(), state: State::default(), node: node.to_owned(), failures: 0 }
    }

    /// The request as it was last seen; `None` when there is none, and before the first [`News::Request`].
    pub fn known(&self) -> Option<&NodeJoinRequest> {
        self.state.known.as_ref()
    }

    /// Waits for something new. Nothing is lost when this is dropped and called again.
    pub async fn news(&mut self) -> Result<News, Lost> {
        loop {
            match self.events.next().await {
                Some(Ok(event)) => {
                    // The start of a listing is announced before anything was asked.
                    if !matches!(event, Event::Init) {
                        self.failures = 0;
                    }
                    if self.state.take(event) {
                        return Ok(News::Request);
                    }
                }
                Some(Err(error)) => {
                    let error = self.explained(&error);
                    if self.failures == 0 {
                        tracing::warn!(reason = %error.reason, %error, "the watch of the request failed");
                    }
                    self.failures += 1;
                    // Whoever is not known any more learns nothing by going on: whether it stays so is found out from the
                    // beginning.
                    return if self.failures < MOST_FAILURES && error.reason != Reason::CredentialsRefused {
                        Ok(News::Trouble(error))
                    } else {
                        Err(self.lost(error))
                    };
                }
                None => {
                    let ended = Trouble { reason: Reason::ConnectionFailed, text: "it ended".to_owned() };
                    return Err(self.lost(ended));
                }
            }
        }
    }

    fn explained(&self, error: &watcher::Error) -> Trouble {
        let tried = format!("watching the NodeJoinRequest {}", self.node);
        match error {
            watcher::Error::InitialListFailed(error)
            | watcher::Error::WatchStartFailed(error)
            | watcher::Error::WatchFailed(error) => explain(&tried, error).into(),
            watcher::Error::WatchError(status) => explain(&tried, &kube::Error::Api(status.clone())).into(),
            other @ watcher::Error::NoResourceVersion => {
                Trouble { reason: Reason::UnexpectedAnswer, text: format!("{tried} failed: {other}") }
            }
        }
    }

    fn lost(&self, last: Trouble) -> Lost {
        Lost { node: self.node.clone(), failures: self.failures, last }
    }
}

/// One object out of a stream of events.
#[derive(Default)]
struct State {
    known: Option<NodeJoinRequest>,
    /// What a new listing has brought so far: an object that is not in it is gone.
    listed: Option<NodeJoinRequest>,
}

impl State {
    /// Takes an event in, and tells whether `known` is current now.
    fn take(&mut self, event: Event<NodeJoinRequest>) -> bool {
        match event {
            Event::Init => {
                self.listed = None;
                return false;
            }
            Event::InitApply(request) => {
                self.listed = Some(request);
                return false;
            }
            Event::InitDone => self.known = self.listed.take(),
            Event::Apply(request) => self.known = Some(request),
            Event::Delete(_) => self.known = None,
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use futures::stream;

    use super::*;

    fn request(generation: i64) -> NodeJoinRequest {
        serde_json::from_value(serde_json::json!({
            "apiVersion": "nodejoin.dev/v1alpha1", "kind": "NodeJoinRequest",
            "metadata": {"name": "a", "generation": generation},
            "spec": {"role": "Worker", "machine": {"trust": "FirstUse"}},
        }))
        .unwrap()
    }

    fn of(events: Vec<watcher::Result<Event<NodeJoinRequest>>>) -> OwnRequest {
        OwnRequest { events: stream::iter(events).boxed(), state: State::default(), node: "a".to_owned(), failures: 0 }
    }

    #[tokio::test]
    async fn a_refused_credential_ends_the_watch_at_once() {
        let refused = kube::core::Status { code: 401, reason: "Unauthorized".to_owned(), ..Default::default() };
        let mut own = of(vec![Err(watcher::Error::WatchError(refused.boxed()))]);
        assert_eq!(own.news().await.unwrap_err().reason(), Reason::CredentialsRefused);
    }

    fn failure() -> watcher::Error {
        watcher::Error::NoResourceVersion
    }

    #[test]
    fn the_newest_state_is_known_and_a_request_that_a_listing_lacks_is_gone() {
        let mut state = State::default();
        let steps: [(Event<NodeJoinRequest>, bool, Option<i64>); 8] = [
            (Event::Init, false, None),
            (Event::InitApply(request(1)), false, None),
            (Event::InitDone, true, Some(1)),
            (Event::Apply(request(2)), true, Some(2)),
            (Event::Delete(request(2)), true, None),
            (Event::Apply(request(3)), true, Some(3)),
            // The watch was broken, and the request was deleted meanwhile.
            (Event::Init, false, Some(3)),
            (Event::InitDone, true, None),
        ];
        for (event, is_news, expected) in steps {
            assert_eq!(state.take(event), is_news);
            assert_eq!(state.known.as_ref().map(NodeJoinRequest::generation), expected);
        }
    }

    #[tokio::test]
    async fn a_first_listing_without_the_request_is_news_too() {
        let mut own = of(vec![Ok(Event::InitDone)]);
        assert_eq!(own.news().await.unwrap(), News::Request);
        assert!(own.known().is_none());
    }

    #[tokio::test]
    async fn failures_in_a_row_end_the_watch_and_a_success_forgives_them() {
        let few = MOST_FAILURES - 1;
        // Each try begins with the announcement of a listing.
        let failures = |count: u32| (0..count).flat_map(|_| [Ok(Event::Init), Err(failure())]);
        let mut events: Vec<_> = failures(few).collect();
        events.push(Ok(Event::Apply(request(1))));
        events.extend(failures(MOST_FAILURES));
        let mut own = of(events);
        for _ in 0..few {
            assert!(matches!(own.news().await.unwrap(), News::Trouble(_)));
        }
        assert_eq!(own.news().await.unwrap(), News::Request);
        for _ in 0..few {
            assert!(matches!(own.news().await.unwrap(), News::Trouble(_)));
        }
        let lost = own.news().await.unwrap_err().to_string();
        assert!(lost.contains("NodeJoinRequest a ended after 6 failures"), "{lost}");
        // What is known stays known.
        assert_eq!(own.known().map(NodeJoinRequest::generation), Some(1));
    }
}
