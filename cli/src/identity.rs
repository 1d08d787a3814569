//! Arguments of `tacit ca` and `tacit node`.

use clap::{Args, Subcommand};
use tacit_agent::config::Duration;
use tacit_collector::access::local::Place;

use crate::arguments::Ask;

/// `tacit ca …`
#[derive(Debug, Clone, Subcommand)]
pub enum Ca {
    /// Make the certificate authority of the collector on this machine.
    Init(Place),
    /// Make a new root. Both are trusted until the old one is retired.
    Rotate(Place),
    /// End the trust in the old root, once every node has the new one.
    Retire {
        /// Also when nodes are shut out by it.
        #[arg(long)]
        force: bool,
        #[command(flatten)]
        #[allow(missing_docs)]
        place: Place,
    },
    /// What there is.
    Show {
        /// Print the roots that are trusted, as PEM: for --ca-file, browsers and brokers.
        #[arg(long)]
        pem: bool,
        #[command(flatten)]
        #[allow(missing_docs)]
        place: Place,
    },
}

/// `tacit node …`
#[derive(Debug, Clone, Subcommand)]
pub enum Node {
    /// Make a token with which machines become nodes, and print it, once.
    Token(NodeToken),
    /// The tokens, without their secrets.
    Tokens(Ask),
    /// End a token. Nodes that enrolled with it stay.
    TokenRevoke {
        /// Its number.
        id: String,
        #[command(flatten)]
        #[allow(missing_docs)]
        ask: Ask,
    },
    /// The nodes that were enrolled.
    Identities(Ask),
    /// Let a node in no more: its connection is cut at once.
    Revoke {
        /// The node.
        node: String,
        /// Why: stolen, replaced, sold.
        #[arg(long)]
        reason: String,
        #[command(flatten)]
        #[allow(missing_docs)]
        ask: Ask,
    },
}

/// `tacit node token`
#[derive(Debug, Clone, Args)]
pub struct NodeToken {
    /// The site of whoever enrols with it.
    #[arg(long)]
    pub site: String,
    /// How many nodes can enrol with it.
    #[arg(long, default_value_t = 1)]
    pub uses: u32,
    /// For how long: 15min, 12h, at most 90d.
    #[arg(long, value_name = "TIME", default_value = "1h")]
    pub ttl: Duration,
    /// Let it take the place of a node that has the name already.
    #[arg(long)]
    pub replace: bool,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub ask: Ask,
}
