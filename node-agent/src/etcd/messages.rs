//! The few messages of etcd's v3 API that a membership needs.
//!
//! They have only the fields that are read, with the numbers of
//! [rpc.proto](https://github.com/etcd-io/etcd/blob/v3.7.3/api/etcdserverpb/rpc.proto); protobuf skips the others.
//!
//! The crate `etcd-client` has them all. It generates them while it is built, for which every machine that builds the agent
//! would need `protoc`; it links tonic's server with them; and its balanced channel does not tell which endpoint failed.

use prost::Message;

/// A call: its question, and what is answered.
pub trait Question: Message + Clone + 'static {
    /// Its name, for people.
    const CALL: &'static str;
    /// Its path over HTTP/2.
    const PATH: &'static str;
    /// The answer.
    type Answer: Message + Default + 'static;
}

/// A member of etcd's cluster.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Member {
    #[prost(uint64, tag = "1")]
    pub id: u64,
    /// Empty until the member has been started.
    #[prost(string, tag = "2")]
    pub name: String,
    #[prost(string, repeated, tag = "3")]
    pub peer_urls: Vec<String>,
    /// Empty until the member has been started.
    #[prost(string, repeated, tag = "4")]
    pub client_urls: Vec<String>,
    /// Whether it receives the log and does not vote.
    #[prost(bool, tag = "5")]
    pub is_learner: bool,
}

#[derive(Clone, PartialEq, Eq, Message)]
pub struct MemberListRequest {
    /// Whether the members that the leader knows are asked for, and not those that the asked member knows.
    #[prost(bool, tag = "1")]
    pub linearizable: bool,
}

/// The members.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct MemberListResponse {
    #[prost(message, repeated, tag = "2")]
    pub members: Vec<Member>,
}

#[derive(Clone, PartialEq, Eq, Message)]
pub struct MemberAddRequest {
    #[prost(string, repeated, tag = "1")]
    pub peer_urls: Vec<String>,
    #[prost(bool, tag = "2")]
    pub is_learner: bool,
}

#[derive(Clone, PartialEq, Eq, Message)]
pub struct MemberRemoveRequest {
    #[prost(uint64, tag = "1")]
    pub id: u64,
}

#[derive(Clone, PartialEq, Eq, Message)]
pub struct MemberPromoteRequest {
    #[prost(uint64, tag = "1")]
    pub id: u64,
}

/// The answer to a change, of which nothing is read: the members are listed again.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Changed {}

#[derive(Clone, PartialEq, Eq, Message)]
pub struct StatusRequest {}

/// How one member is.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct StatusResponse {
    #[prost(message, optional, tag = "1")]
    pub header: Option<ResponseHeader>,
    /// The leader's identifier; 0 when the member knows of none.
    #[prost(uint64, tag = "4")]
    pub leader: u64,
    /// Alarms, and that there is no leader.
    #[prost(string, repeated, tag = "8")]
    pub errors: Vec<String>,
}

#[derive(Clone, PartialEq, Eq, Message)]
pub struct ResponseHeader {
    /// Who has answered.
    #[prost(uint64, tag = "2")]
    pub member_id: u64,
}

impl Question for MemberListRequest {
    const CALL: &'static str = "MemberList";
    const PATH: &'static str = "/etcdserverpb.Cluster/MemberList";
    type Answer = MemberListResponse;
}

impl Question for MemberAddRequest {
    const CALL: &'static str = "MemberAdd";
    const PATH: &'static str = "/etcdserverpb.Cluster/MemberAdd";
    type Answer = Changed;
}

impl Question for MemberRemoveRequest {
    const CALL: &'static str = "MemberRemove";
    const PATH: &'static str = "/etcdserverpb.Cluster/MemberRemove";
    type Answer = Changed;
}

impl Question for MemberPromoteRequest {
    const CALL: &'static str = "MemberPromote";
    const PATH: &'static str = "/etcdserverpb.Cluster/MemberPromote";
    type Answer = Changed;
}

impl Question for StatusRequest {
    const CALL: &'static str = "Status";
    const PATH: &'static str = "/etcdserverpb.Maintenance/Status";
    type Answer = StatusResponse;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_those_on_the_wire() {
        // header, which is not read; members { ID: 255, name, peerURLs, clientURLs, isLearner }
        let bytes = b"\x0a\x02\x08\x01\x12\x10\x08\xff\x01\x12\x03one\x1a\x01p\x22\x01c\x28\x01";
        let listed = MemberListResponse::decode(bytes.as_slice()).unwrap();
        let expected = Member {
            id: 255,
            name: "one".to_owned(),
            peer_urls: vec!["p".to_owned()],
            client_urls: vec!["c".to_owned()],
            is_learner: true,
        };
        assert_eq!(listed.members, [expected]);
        // header { member_id: 7 }, version, leader: 9, errors
        let bytes = b"\x0a\x02\x10\x07\x12\x01v\x20\x09\x42\x01e";
        let status = StatusResponse::decode(bytes.as_slice()).unwrap();
        let header = Some(ResponseHeader { member_id: 7 });
        assert_eq!(status, StatusResponse { header, leader: 9, errors: vec!["e".to_owned()] });
        let add = MemberAddRequest { peer_urls: vec!["p".to_owned()], is_learner: true };
        assert_eq!(add.encode_to_vec(), b"\x0a\x01p\x10\x01");
        assert_eq!(MemberListRequest { linearizable: true }.encode_to_vec(), b"\x08\x01");
        assert_eq!(MemberRemoveRequest { id: 3 }.encode_to_vec(), b"\x08\x03");
        assert_eq!(MemberPromoteRequest { id: 3 }.encode_to_vec(), b"\x08\x03");
    }
}
