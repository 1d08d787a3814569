//! Who becomes a node, and who stays one.
//!
//! ```text
//! token + request ─→ token known, right, in force ─→ name free, or token may replace ─→ certificate ─→ on record: node, site, key
//! request alone ───→ node on record with this key, not revoked, certificate not over for longer than the grace ─→ certificate
//! ```
//!
//! A node that enrols a second time with the key that is on record (the first answer was lost) is answered as if it renewed: that costs no use of the token.

use axum::http::StatusCode;
use tacit_wire::{NodeId, SiteId};
use tracing::info;

use super::authority::{AuthorityError, NodeCertificate, day, new_serial};
use super::certificate::{self, Requested, hex};
use super::server::two_thirds;
use super::{Identity, token};
use crate::access::secret::NoRandom;
use crate::store::{EnrollOutcome, NodeKey, StoreError};

const DAY_MS: i64 = 86_400_000;
/// Host names that say nothing; the same as in the agent.
const NAMELESS: [&str; 5] = ["", "localhost", "debian", "raspberrypi", "ubuntu"];
/// Letters of a node's name.
const NAME_MAX: usize = 36;

/// Why nobody becomes a node. Each has a code that programs know, and a way out.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// There is nobody who issues.
    #[error("this collector enrols no nodes: it has TLS off, or no certificate authority")]
    Off,
    /// The token is none of ours, or its secret is wrong.
    #[error("the token is not known here")]
    TokenUnknown,
    /// The token is over.
    #[error("the token ended on {when}", when = day(*.0))]
    TokenExpired(i64),
    /// The token was used.
    #[error("the token was used already, as often as it may be")]
    TokenUsed,
    /// Somebody ended the token.
    #[error("the token was revoked")]
    TokenRevoked,
    /// The name cannot be one.
    #[error("{0}")]
    NodeInvalid(String),
    /// The name is taken.
    #[error("a node {0} exists already, with another key")]
    NodeExists(NodeId),
    /// The request for a certificate is wrong.
    #[error("the certificate request cannot be used: {0}")]
    Csr(&'static str),
    /// The key was revoked.
    #[error("this key of node {0} was revoked")]
    KeyRevoked(NodeId),
    /// Nobody of that name was enrolled.
    #[error("no node {0} is enrolled here")]
    NodeUnknown(NodeId),
    /// The node was revoked.
    #[error("node {0} was revoked")]
    NodeRevoked(NodeId),
    /// The key is another.
    #[error("node {0} is enrolled with another key")]
    KeyUnknown(NodeId),
    /// It was away for too long.
    #[error("the certificate of node {node} ended on {when}, more than {days} days ago", when = day(*.ended_ms))]
    GraceOver {
        /// The node.
        node: NodeId,
        /// When its certificate ended, Unix milliseconds.
        ended_ms: i64,
        /// Days of grace.
        days: u32,
    },
    /// The certificate cannot be made.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// The system has no random numbers.
    #[error(transparent)]
    Random(#[from] NoRandom),
    /// The store cannot be asked.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Refusal {
    /// Status and code of the answer, and what to do.
    #[must_use]
    pub fn answer(&self) -> (StatusCode, &'static str, &'static str) {
        const NEW_TOKEN: &str = "make another one: tacit node token --site SITE";
        match self {
            Self::Off => (
                StatusCode::CONFLICT,
                "enrolment_off",
                "on the collector's machine: tacit ca init, and [tls] enabled = true in collector.toml",
            ),
            Self::TokenUnknown => (
                StatusCode::UNAUTHORIZED,
                "token_unknown",
                "was it cut off when it was copied, or made on another collector? tacit node token --site SITE makes one",
            ),
            Self::TokenExpired(_) => (StatusCode::UNAUTHORIZED, "token_expired", NEW_TOKEN),
            Self::TokenUsed => (StatusCode::UNAUTHORIZED, "token_used", NEW_TOKEN),
            Self::TokenRevoked => (StatusCode::UNAUTHORIZED, "token_revoked", NEW_TOKEN),
            Self::NodeInvalid(_) => (StatusCode::BAD_REQUEST, "node_invalid", "choose a name with --node"),
            Self::NodeExists(_) => (
                StatusCode::CONFLICT,
                "node_exists",
                "choose another name with --node; or end the old one: tacit node revoke NODE; or use a token made with --replace",
            ),
            Self::Csr(_) => (
                StatusCode::BAD_REQUEST,
                "csr_invalid",
                "send a PKCS #10 request of an ECDSA key on P-256, in PEM form",
            ),
            Self::KeyRevoked(_) => {
                (StatusCode::FORBIDDEN, "key_revoked", "make a new key: tacit-agent enroll --again …, with a new token")
            }
            Self::NodeUnknown(_) => (StatusCode::NOT_FOUND, "node_unknown", "enrol it with a token"),
            Self::NodeRevoked(_) => (
                StatusCode::FORBIDDEN,
                "node_revoked",
                "if it shall come back, with a new key and a new token: tacit-agent enroll --again …",
            ),
            Self::KeyUnknown(_) => (
                StatusCode::FORBIDDEN,
                "key_unknown",
                "enrol it again: a token of tacit node token --replace, then tacit-agent enroll --again …",
            ),
            Self::GraceOver { .. } => (
                StatusCode::FORBIDDEN,
                "grace_over",
                "enrol it again: a token of tacit node token --replace, then tacit-agent enroll --again …",
            ),
            Self::Authority(_) | Self::Random(_) | Self::Store(_) => {
                (StatusCode::INTERNAL_SERVER_ERROR, "failed", "the collector's log says more")
            }
        }
    }
}

/// Somebody who wants to become a node.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// The token.
    pub token: &'a str,
    /// The request for a certificate, in PEM form.
    pub csr: &'a str,
    /// The name that it wants, if it wants one.
    pub node: Option<&'a str>,
    /// What its machine is called.
    pub host: &'a str,
}

/// What a node gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issued {
    /// Its name.
    pub node: NodeId,
    /// Its site.
    pub site: SiteId,
    /// Its certificate with its issuers, as PEM.
    pub certificate: String,
    /// Whom it shall trust, as PEM.
    pub ca: String,
    /// When the certificate ends, Unix milliseconds.
    pub not_after_ms: i64,
    /// When it shall be renewed, Unix milliseconds.
    pub renew_after_ms: i64,
    /// Number of the token that was used; none when it renewed.
    pub token: Option<String>,
}

impl Identity {
    /// Makes somebody a node.
    ///
    /// # Errors
    /// Why not.
    pub async fn enrol(&self, asked: Asked<'_>, now_ms: i64) -> Result<Issued, Refusal> {
        let parts = token::parse(asked.token).ok_or(Refusal::TokenUnknown)?;
        let known = self.store.enroll_token(parts.id).await?.filter(|known| token::is_right(known, parts.secret));
        let known = known.ok_or(Refusal::TokenUnknown)?;
        let node = name(asked.node, asked.host)?;
        let requested = certificate::request(asked.csr).map_err(Refusal::Csr)?;
        let there = self.store.node_key(&node).await?;
        if let Some(there) = &there
            && there.key == requested.key
            && there.site == known.token.site
            && there.revoked_ms.is_none()
        {
            return self.again(there.clone(), &requested, now_ms).await;
        }
        token::check(&known, now_ms)?;
        let is_taken = there.is_some_and(|there| there.revoked_ms.is_none());
        if is_taken && !known.token.replace {
            return Err(Refusal::NodeExists(node));
        }
        let (issued, on_record) = self.issue(&node, &known.token.site, &requested, now_ms)?;
        match self.store.enroll(parts.id, on_record, now_ms).await? {
            EnrollOutcome::Done { replaced } => {
                if replaced {
                    self.connections.cut(&node);
                }
                info!(%node, site = %issued.site, token = parts.id, replaced, "A node was enrolled.");
                Ok(Issued { token: Some(parts.id.to_owned()), ..issued })
            }
            // Somebody else was faster.
            EnrollOutcome::NoToken => Err(Refusal::TokenUsed),
            EnrollOutcome::NodeExists => Err(Refusal::NodeExists(node)),
            EnrollOutcome::KeyRevoked => Err(Refusal::KeyRevoked(node)),
        }
    }

    /// Gives a node that is on record a new certificate for its key.
    ///
    /// # Errors
    /// Why not.
    pub async fn renew(&self, node: &str, csr: &str, now_ms: i64) -> Result<Issued, Refusal> {
        let node: NodeId = node.parse().map_err(|e: tacit_wire::id::IdError| Refusal::NodeInvalid(e.to_string()))?;
        let requested = certificate::request(csr).map_err(Refusal::Csr)?;
        match self.store.node_key(&node).await? {
            None => Err(Refusal::NodeUnknown(node)),
            Some(there) if there.key != requested.key => Err(Refusal::KeyUnknown(node)),
            Some(there) if there.revoked_ms.is_some() => Err(Refusal::NodeRevoked(node)),
            Some(there) => self.again(there, &requested, now_ms).await,
        }
    }

    /// Another certificate for who has this key.
    async fn again(&self, there: NodeKey, requested: &Requested, now_ms: i64) -> Result<Issued, Refusal> {
        let days = self.config.grace_days;
        if now_ms > there.not_after_ms.saturating_add(i64::from(days) * DAY_MS) {
            return Err(Refusal::GraceOver { node: there.node, ended_ms: there.not_after_ms, days });
        }
        let (issued, on_record) = self.issue(&there.node, &there.site, requested, now_ms)?;
        if !self.store.renew_node(on_record).await? {
            return Err(Refusal::NodeRevoked(there.node));
        }
        info!(node = %there.node, until = day(issued.not_after_ms), "A node's certificate was renewed.");
        Ok(issued)
    }

    fn issue(
        &self,
        node: &NodeId,
        site: &SiteId,
        requested: &Requested,
        now_ms: i64,
    ) -> Result<(Issued, NodeKey), Refusal> {
        let authority = self.authority().ok_or(Refusal::Off)?;
        let serial = new_serial()?;
        let not_after_ms = authority.end_of(i64::from(self.config.node_days), now_ms);
        let whose = NodeCertificate { node, site, serial: &serial, not_after_ms };
        let certificate = authority.issue_node(&requested.public_key, &whose, now_ms)?;
        let issued = Issued {
            node: node.clone(),
            site: site.clone(),
            certificate,
            ca: self.roots_pem(),
            not_after_ms,
            renew_after_ms: two_thirds(now_ms, not_after_ms),
            token: None,
        };
        let on_record = NodeKey {
            node: node.clone(),
            site: site.clone(),
            key: requested.key,
            serial: hex(&serial),
            not_after_ms,
            enrolled_ms: now_ms,
            revoked_ms: None,
            reason: None,
        };
        Ok((issued, on_record))
    }
}

/// The name of a new node: the one that it wants, or what its machine is called, made fit.
fn name(wanted: Option<&str>, host: &str) -> Result<NodeId, Refusal> {
    if let Some(wanted) = wanted {
        return wanted.parse().map_err(|e: tacit_wire::id::IdError| Refusal::NodeInvalid(e.to_string()));
    }
    let first = host.split('.').next().unwrap_or_default().to_ascii_lowercase();
    let fit = |c: char| if c.is_ascii_lowercase() || c.is_ascii_digit() { c } else { '-' };
    let fitted: String = first.chars().map(fit).take(NAME_MAX).collect();
    let fitted = fitted.trim_matches('-');
    let named = if NAMELESS.contains(&fitted) { None } else { fitted.parse().ok() };
    named.ok_or_else(|| Refusal::NodeInvalid("the machine's name says nothing that could name a node".into()))
}

#[cfg(test)]
#[path = "enrol_tests.rs"]
mod tests;
