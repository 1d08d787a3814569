//! The log of changes: who, with which role, from where, what, and what came of it.
//!
//! Noted is each request that may change something: of those who are known also what was refused, of others only what was done. What
//! strangers send is not: they could fill the log and drown what matters in it. That somebody could not sign in is noted, at the pace at which
//! passwords can be tried.

use std::net::IpAddr;

use axum::http::{Method, StatusCode};
use tracing::{debug, error};

use super::me::Me;
use super::roles::Role;
use crate::clock::now_ms;
use crate::store::{AccessLine, Store};

/// Bytes of a path that are kept.
const PATH_MAX: usize = 512;

/// Who acted, when the answer knows more than the request did: put into an answer's extensions by whoever signs somebody in.
#[derive(Debug, Clone)]
pub struct Acted {
    /// The name; `-` for one that there is not: it may be a password in the wrong field.
    pub name: String,
    /// The role.
    pub role: Option<Role>,
}

/// A request, as the log has it.
#[derive(Debug, Clone)]
pub struct Asked {
    /// How.
    pub method: Method,
    /// On what; without the query.
    pub path: String,
    /// From where.
    pub address: IpAddr,
}

impl Asked {
    /// Whether it may change something.
    #[must_use]
    pub fn is_change(&self) -> bool {
        !matches!(self.method, Method::GET | Method::HEAD | Method::OPTIONS)
    }
}

/// Whether a request with this outcome is noted.
fn is_noted(me: &Me, acted: Option<&Acted>, status: StatusCode) -> bool {
    let is_somebody = acted.is_some() || me.is_known();
    status != StatusCode::TOO_MANY_REQUESTS && (is_somebody || status.as_u16() < 400)
}

/// Notes a change. That it could not be noted does not undo it, and is said in the collector's own log.
pub async fn note(store: &dyn Store, asked: &Asked, me: &Me, acted: Option<&Acted>, status: StatusCode) {
    if !asked.is_change() || !is_noted(me, acted, status) {
        return;
    }
    let (who, role) = match acted {
        Some(acted) => (acted.name.clone(), acted.role.map_or("-", Role::as_str)),
        None => (me.name(), me.role_name()),
    };
    let mut path = asked.path.clone();
    path.truncate(path.floor_char_boundary(PATH_MAX));
    let line = AccessLine {
        n: 0,
        at_ms: now_ms(),
        who,
        role: role.to_owned(),
        address: asked.address.to_string(),
        method: asked.method.to_string(),
        path,
        status: status.as_u16(),
    };
    debug!(who = %line.who, role, address = %line.address, path = %line.path, status = line.status, "A change.");
    keep(store, line).await;
}

/// Notes what the command line of the collector's machine did.
pub async fn note_local(store: &dyn Store, who: String, what: &str) {
    let (at_ms, path) = (now_ms(), what.to_owned());
    let line = AccessLine {
        n: 0,
        at_ms,
        who,
        role: "-".into(),
        address: "local".into(),
        method: "COMMAND".into(),
        path,
        status: 200,
    };
    keep(store, line).await;
}

async fn keep(store: &dyn Store, line: AccessLine) {
    let (who, path) = (line.who.clone(), line.path.clone());
    if let Err(e) = store.append_access(line).await {
        error!(error = %e, who, path, "A change is not in the log of changes.");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_do_not_fill_the_log() {
        let ana = Me::user("ana", Role::Viewer, None);
        assert!(is_noted(&ana, None, StatusCode::FORBIDDEN));
        assert!(is_noted(&ana, None, StatusCode::OK));
        assert!(!is_noted(&ana, None, StatusCode::TOO_MANY_REQUESTS));
        assert!(!is_noted(&Me::nobody(), None, StatusCode::UNAUTHORIZED));
        assert!(is_noted(&Me::nobody(), None, StatusCode::OK), "a node that was enrolled");
        assert!(is_noted(&Me::anyone(), None, StatusCode::OK));
        assert!(!is_noted(&Me::anyone(), None, StatusCode::NOT_FOUND));
        let tried = Acted { name: "-".into(), role: None };
        assert!(is_noted(&Me::nobody(), Some(&tried), StatusCode::UNAUTHORIZED));
        assert!(!is_noted(&Me::nobody(), Some(&tried), StatusCode::TOO_MANY_REQUESTS));
    }

    #[test]
    fn reading_is_no_change() {
        let asked = |method: Method| Asked { method, path: "/".into(), address: [127, 0, 0, 1].into() };
        for method in [Method::GET, Method::HEAD, Method::OPTIONS] {
            assert!(!asked(method).is_change());
        }
        for method in [Method::POST, Method::DELETE, Method::PUT] {
            assert!(asked(method).is_change());
        }
    }
}
