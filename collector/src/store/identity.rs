//! Who may be a node, as it is kept: tokens to enrol with, and the key of each node.
//!
//! Secrets are not here: of a token there is the SHA-256 of its secret, of a node the SHA-256 of its public key.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tacit_wire::{NodeId, SiteId};
use utoipa::ToSchema;

use super::StoreError;

/// A token with which nodes enrol, without its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EnrollToken {
    /// Its number, eight hexadecimal digits.
    pub id: String,
    /// The site of whoever enrols with it.
    #[schema(value_type = String)]
    pub site: SiteId,
    /// So many nodes can still enrol with it.
    pub uses_left: u32,
    /// When it was made, Unix milliseconds.
    pub created_ms: i64,
    /// When it ends, Unix milliseconds.
    pub expires_ms: i64,
    /// Who made it.
    pub created_by: String,
    /// When somebody ended it, Unix milliseconds.
    pub revoked_ms: Option<i64>,
    /// Whether it may take the place of a node that has the name already.
    pub replace: bool,
}

/// A token as it is looked up when somebody shows one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownEnrollToken {
    /// The token.
    pub token: EnrollToken,
    /// SHA-256 of its secret.
    pub secret_hash: Vec<u8>,
}

/// A node that was enrolled, and its key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NodeKey {
    /// The node.
    #[schema(value_type = String)]
    pub node: NodeId,
    /// Its site.
    #[schema(value_type = String)]
    pub site: SiteId,
    /// SHA-256 of its public key; in no answer.
    #[serde(skip)]
    pub key: [u8; 32],
    /// Number of its newest certificate, in hexadecimal digits.
    pub serial: String,
    /// When that ends, Unix milliseconds.
    pub not_after_ms: i64,
    /// When that was made: at enrolment, or renewed since, Unix milliseconds.
    pub enrolled_ms: i64,
    /// Since when it is not let in, Unix milliseconds.
    pub revoked_ms: Option<i64>,
    /// Why not.
    pub reason: Option<String>,
}

/// What became of an enrolment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EnrollOutcome {
    /// The node is on record.
    Done {
        /// Whether it took the place of another key.
        replaced: bool,
    },
    /// The token was used up, ended or revoked meanwhile.
    NoToken,
    /// The node is there with another key, and the token may not replace it.
    NodeExists,
    /// The node is there with this key, which was revoked.
    KeyRevoked,
}

/// The part of the store about who may be a node.
#[async_trait]
pub trait IdentityStore: Send + Sync {
    /// Adds a token by the hash of its secret.
    async fn add_enroll_token(&self, token: EnrollToken, secret_hash: [u8; 32]) -> Result<(), StoreError>;

    /// All tokens, newest first; those that have ended too.
    async fn enroll_tokens(&self) -> Result<Vec<EnrollToken>, StoreError>;

    /// One token.
    async fn enroll_token(&self, id: &str) -> Result<Option<KnownEnrollToken>, StoreError>;

    /// Ends a token; one that was ended already is a conflict.
    async fn revoke_enroll_token(&self, id: &str, at_ms: i64) -> Result<EnrollToken, StoreError>;

    /// Takes one use of a token and puts a node on record, or changes nothing.
    async fn enroll(&self, token: &str, node: NodeKey, now_ms: i64) -> Result<EnrollOutcome, StoreError>;

    /// Notes the newest certificate of a node that is on record with this key and not revoked; says whether it is.
    async fn renew_node(&self, node: NodeKey) -> Result<bool, StoreError>;

    /// One node.
    async fn node_key(&self, node: &NodeId) -> Result<Option<NodeKey>, StoreError>;

    /// Nodes by name, at most `limit`, those after `after`.
    async fn node_keys(&self, after: Option<&NodeId>, limit: usize) -> Result<Vec<NodeKey>, StoreError>;

    /// Lets a node in no more. One that is not on record is put there as `unknown` says, for nodes of another authority.
    async fn revoke_node(
        &self,
        node: &NodeId,
        reason: &str,
        at_ms: i64,
        unknown: Option<NodeKey>,
    ) -> Result<NodeKey, StoreError>;
}
