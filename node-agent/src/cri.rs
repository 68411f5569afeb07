//! The container runtime's own interface: the few calls of CRI v1 that the checks need, over its socket.
//!
//! The messages have only the fields that are read, with the numbers of
//! [api.proto](https://github.com/kubernetes/cri-api/blob/master/pkg/apis/runtime/v1/api.proto); protobuf skips the others.
//! A connection is made for a round of questions and dropped, so an idle agent holds none.

use std::collections::HashMap;
use std::time::Duration;

use http::Uri;
use tokio::net::UnixStream;
use tonic::Code;

use crate::grpc::Connection;

/// How long one call may take; kubeadm waits as long.
const CALL_TIMEOUT: Duration = Duration::from_secs(2);
/// The label with a container's name, which the kubelet sets.
const CONTAINER_NAME: &str = "io.kubernetes.container.name";
/// The label with a pod's name, which the kubelet sets.
const POD_NAME: &str = "io.kubernetes.pod.name";

/// The container runtime did not answer as it should.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// There is no connection.
    #[error("cannot connect to {socket}: {reason}")]
    Connect {
        /// The socket.
        socket: String,
        /// What was seen.
        reason: String,
    },
    /// A call is not implemented.
    #[error("the runtime has no call {call}")]
    Unimplemented {
        /// The call.
        call: &'static str,
    },
    /// A call failed.
    #[error("{call} failed: {reason}")]
    Call {
        /// The call.
        call: &'static str,
        /// What was seen.
        reason: String,
    },
}

/// What the runtime says that it is.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct VersionResponse {
    #[prost(string, tag = "2")]
    pub runtime_name: String,
    #[prost(string, tag = "3")]
    pub runtime_version: String,
    #[prost(string, tag = "4")]
    pub runtime_api_version: String,
}

/// How the runtime is.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct StatusResponse {
    #[prost(message, optional, tag = "1")]
    pub status: Option<RuntimeStatus>,
    #[prost(message, repeated, tag = "3")]
    pub runtime_handlers: Vec<RuntimeHandler>,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct RuntimeStatus {
    #[prost(message, repeated, tag = "1")]
    pub conditions: Vec<RuntimeCondition>,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct RuntimeCondition {
    #[prost(string, tag = "1")]
    pub r#type: String,
    #[prost(bool, tag = "2")]
    pub status: bool,
    #[prost(string, tag = "3")]
    pub reason: String,
    #[prost(string, tag = "4")]
    pub message: String,
}

/// A way to run containers; the default one has no name.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct RuntimeHandler {
    #[prost(string, tag = "1")]
    pub name: String,
}

/// How the runtime is configured.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct RuntimeConfigResponse {
    #[prost(message, optional, tag = "1")]
    pub linux: Option<LinuxRuntimeConfiguration>,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct LinuxRuntimeConfiguration {
    #[prost(enumeration = "CgroupDriver", tag = "1")]
    pub cgroup_driver: i32,
}

/// Who manages cgroups.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum CgroupDriver {
    Systemd = 0,
    Cgroupfs = 1,
}

impl CgroupDriver {
    /// Its name in the kubelet's configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::Systemd => "systemd",
            Self::Cgroupfs => "cgroupfs",
        }
    }
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
struct Empty {}

#[derive(Clone, PartialEq, Eq, prost::Message)]
struct ListContainersRequest {
    #[prost(message, optional, tag = "1")]
    filter: Option<ContainerFilter>,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
struct ContainerFilter {
    #[prost(map = "string, string", tag = "4")]
    label_selector: HashMap<String, String>,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
struct ListContainersResponse {
    #[prost(message, repeated, tag = "1")]
    containers: Vec<ContainerMessage>,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
struct ContainerMessage {
    #[prost(int32, tag = "6")]
    state: i32,
    #[prost(int64, tag = "7")]
    created_at: i64,
    #[prost(map = "string, string", tag = "8")]
    labels: HashMap<String, String>,
}

/// `CONTAINER_RUNNING`
const RUNNING: i32 = 1;

/// A container of a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Container {
    /// The pod's name.
    pub pod: String,
    /// Whether it runs.
    pub running: bool,
}

/// A connection to the container runtime.
pub struct Cri {
    connection: Connection,
}

impl Cri {
    /// Connects to a socket, with or without `unix://` before its path.
    pub async fn connect(socket: &str) -> Result<Self, Error> {
        let failed = |reason: String| Error::Connect { socket: socket.to_owned(), reason };
        let connect = async {
            let stream = UnixStream::connect(path_of(socket)).await.map_err(|error| failed(error.to_string()))?;
            // Over a socket nothing is looked up by the name.
            let made = Connection::open(stream, Uri::from_static("http://localhost")).await;
            made.map_err(|error| failed(error.to_string()))
        };
        let made = tokio::time::timeout(CALL_TIMEOUT, connect).await;
        let connection =
            made.unwrap_or_else(|_elapsed| Err(failed(format!("no answer within {} s", CALL_TIMEOUT.as_secs()))))?;
        Ok(Self { connection })
    }

    /// What the runtime says that it is.
    pub async fn version(&self) -> Result<VersionResponse, Error> {
        self.call("Version", "/runtime.v1.RuntimeService/Version", Empty {}).await
    }

    /// How the runtime is.
    pub async fn status(&self) -> Result<StatusResponse, Error> {
        self.call("Status", "/runtime.v1.RuntimeService/Status", Empty {}).await
    }

    /// How the runtime is configured.
    pub async fn runtime_config(&self) -> Result<RuntimeConfigResponse, Error> {
        self.call("RuntimeConfig", "/runtime.v1.RuntimeService/RuntimeConfig", Empty {}).await
    }

    /// The containers of pods that have a name, those that ended among them, the newest first.
    pub async fn containers(&self, name: &str) -> Result<Vec<Container>, Error> {
        let label_selector = HashMap::from([(CONTAINER_NAME.to_owned(), name.to_owned())]);
        let question = ListContainersRequest { filter: Some(ContainerFilter { label_selector }) };
        let answer: ListContainersResponse =
            self.call("ListContainers", "/runtime.v1.RuntimeService/ListContainers", question).await?;
        let mut containers = answer.containers;
        containers.sort_by_key(|container| std::cmp::Reverse(container.created_at));
        let container = |mut found: ContainerMessage| Container {
            pod: found.labels.remove(POD_NAME).unwrap_or_default(),
            running: found.state == RUNNING,
        };
        Ok(containers.into_iter().map(container).collect())
    }

    /// Asks one question.
    pub(crate) async fn call<Q, A>(&self, call: &'static str, path: &'static str, question: Q) -> Result<A, Error>
    where
        Q: prost::Message + 'static,
        A: prost::Message + Default + 'static,
    {
        self.call_within(CALL_TIMEOUT, call, path, question).await
    }

    /// Asks one question whose answer may take longer.
    pub(crate) async fn call_within<Q, A>(
        &self,
        limit: Duration,
        call: &'static str,
        path: &'static str,
        question: Q,
    ) -> Result<A, Error>
    where
        Q: prost::Message + 'static,
        A: prost::Message + Default + 'static,
    {
        self.connection.ask(path, question, limit).await.map_err(|status| match status.code() {
            Code::Unimplemented => Error::Unimplemented { call },
            _ => Error::Call { call, reason: status.message().chars().take(256).collect() },
        })
    }
}

/// The path of a socket's address.
pub fn path_of(socket: &str) -> &str {
    socket.strip_prefix("unix://").unwrap_or(socket)
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;

    #[test]
    fn messages_are_those_on_the_wire() {
        // Field 2 `containerd`, field 3 `v2`, field 4 `v1`, and field 1, which is not read.
        let bytes = b"\x0a\x050.1.0\x12\x0acontainerd\x1a\x02v2\x22\x02v1";
        let version = VersionResponse::decode(bytes.as_slice()).unwrap();
        assert_eq!((version.runtime_name.as_str(), version.runtime_api_version.as_str()), ("containerd", "v1"));
        // linux { cgroup_driver: CGROUPFS }
        let config = RuntimeConfigResponse::decode(b"\x0a\x02\x08\x01".as_slice()).unwrap();
        assert_eq!(config.linux.unwrap().cgroup_driver(), CgroupDriver::Cgroupfs);
        // status { conditions { type: "RuntimeReady", status: true } }, runtime_handlers { }
        let status =
            StatusResponse::decode(b"\x0a\x12\x0a\x10\x0a\x0cRuntimeReady\x10\x01\x1a\x00".as_slice()).unwrap();
        assert!(status.status.unwrap().conditions[0].status);
        assert_eq!(status.runtime_handlers, [RuntimeHandler { name: String::new() }]);
        // filter { label_selector { "io.kubernetes.container.name": "kube-proxy" } }
        let label_selector = HashMap::from([(CONTAINER_NAME.to_owned(), "kube-proxy".to_owned())]);
        let question = ListContainersRequest { filter: Some(ContainerFilter { label_selector }) };
        let mut expected = b"\x0a\x2c\x22\x2a\x0a\x1cio.kubernetes.container.name\x12\x0akube-proxy".to_vec();
        assert_eq!(question.encode_to_vec(), std::mem::take(&mut expected));
    }

    #[tokio::test]
    async fn a_socket_that_is_not_there_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let socket = format!("unix://{}", folder.path().join("runtime.sock").display());
        let error = Cri::connect(&socket).await.err().unwrap();
        assert!(matches!(&error, Error::Connect { socket: seen, .. } if *seen == socket), "{error}");
    }

    #[tokio::test]
    async fn a_server_that_speaks_something_else_is_no_runtime() {
        use tokio::io::AsyncWriteExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("runtime.sock");
        let listener = tokio::net::UnixListener::bind(&path).unwrap();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = stream.write_all(b"SSH-2.0-OpenSSH\r\n\r\n\r\n\r\n\r\n").await;
        });
        let cri = Cri::connect(path.to_str().unwrap()).await;
        let outcome = match cri {
            Ok(cri) => cri.version().await.map(drop),
            Err(error) => Err(error),
        };
        assert!(outcome.is_err());
    }
}
