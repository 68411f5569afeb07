//! gRPC without generated code: one question and its answer over an HTTP/2 connection that is there.

use std::error::Error as _;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::{BoxFuture, Shared};
use http::Uri;
use http::uri::PathAndQuery;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite};
use tonic::body::Body;
use tonic::client::Grpc;
use tonic::{Request, Status};
use tonic_prost::ProstCodec;

use crate::connection::innermost;

/// The largest answer that is taken: a list of containers or of etcd's members has a few kilobytes.
const MAX_ANSWER: usize = 1024 * 1024;

/// A connection; it ends when it is dropped.
pub struct Connection {
    sender: http2::SendRequest<Body>,
    origin: Uri,
    /// How it has ended, once it has.
    ended: Shared<BoxFuture<'static, Option<Arc<hyper::Error>>>>,
}

impl Connection {
    /// Begins to speak HTTP/2 on a stream. `origin` is the scheme and authority that the server is told.
    pub async fn open<S>(stream: S, origin: Uri) -> Result<Self, hyper::Error>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
        // It ends when the sender is dropped.
        let ended = tokio::spawn(async move { connection.await.err().map(Arc::new) });
        Ok(Self { sender, origin, ended: ended.map(|ended| ended.ok().flatten()).boxed().shared() })
    }

    /// Asks one question; without an answer in time it is a status `DeadlineExceeded`.
    pub async fn ask<Q, A>(&self, path: &'static str, question: Q, limit: Duration) -> Result<A, Status>
    where
        Q: prost::Message + 'static,
        A: prost::Message + Default + 'static,
    {
        let service = tower::service_fn(|request| {
            let mut sender = self.sender.clone();
            async move { sender.send_request(request).await }
        });
        let mut grpc = Grpc::with_origin(service, self.origin.clone()).max_decoding_message_size(MAX_ANSWER);
        let asked = async {
            grpc.ready().await.map_err(|error| Status::from_error(Box::new(error)))?;
            let codec = ProstCodec::<Q, A>::default();
            grpc.unary(Request::new(question), PathAndQuery::from_static(path), codec).await
        };
        let answered = async {
            match asked.await {
                Ok(answer) => Ok(answer.into_inner()),
                Err(status) => Err(self.explain(status).await),
            }
        };
        match tokio::time::timeout(limit, answered).await {
            Ok(answer) => answer,
            Err(_elapsed) => Err(Status::deadline_exceeded(format!("no answer within {} s", limit.as_secs()))),
        }
    }

    /// Says why a connection has ended when a question found it so; the question itself knows that it has, and no more.
    async fn explain(&self, status: Status) -> Status {
        let met = status.source().and_then(|source| source.downcast_ref::<hyper::Error>());
        if !met.is_some_and(|error| error.is_closed() || error.is_canceled()) {
            return status;
        }
        let Some(error) = self.ended.clone().await else { return status };
        let mut explained = Status::unavailable(innermost(&error));
        explained.set_source(error);
        explained
    }
}
