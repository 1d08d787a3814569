//! Who may do what: one table of every route and the least role that it needs.
//!
//! Where somebody has to sign in, what the table does not know does not exist: the guard asks it before the router, so a route that was added
//! and forgotten here is refused, and a test says so.

use axum::http::Method;

pub use crate::store::{NoRole, Role};

/// Who may ask for a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Everybody, known or not.
    Nobody,
    /// Who has at least this role.
    Least(Role),
}

/// A line of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// `GET` (and `HEAD` with it) or `POST`.
    pub method: &'static str,
    /// The route, as the router has it.
    pub path: &'static str,
    /// Who may ask.
    pub need: Need,
    /// It takes a form of our own pages, and its token inside; everything else takes JSON.
    pub is_form: bool,
}

/// What the table knows of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// The line.
    Rule(&'static Rule),
    /// The path is there, the method is not.
    OtherMethod,
    /// There is no such path.
    Nothing,
}

const fn rule(method: &'static str, path: &'static str, need: Need) -> Rule {
    Rule { method, path, need, is_form: false }
}
const fn free(path: &'static str) -> Rule {
    rule("GET", path, Need::Nobody)
}
const fn read(path: &'static str) -> Rule {
    rule("GET", path, Need::Least(Role::Viewer))
}
const fn act(path: &'static str) -> Rule {
    rule("POST", path, Need::Least(Role::Operator))
}
const fn oversee(path: &'static str) -> Rule {
    rule("GET", path, Need::Least(Role::Admin))
}
const fn govern(path: &'static str) -> Rule {
    rule("POST", path, Need::Least(Role::Admin))
}
const fn form(path: &'static str, need: Need) -> Rule {
    Rule { is_form: true, ..rule("POST", path, need) }
}

/// Every route of the API and the console.
pub const TABLE: &[Rule] = &[
    // Whoever asks whether it lives, signs in, or wants to become a node (which proves itself otherwise).
    free("/healthz"),
    free("/readyz"),
    free("/login"),
    free("/api/v1/ca"),
    rule("POST", "/api/v1/enroll", Need::Nobody),
    rule("POST", "/api/v1/enroll/renew", Need::Nobody),
    form("/login", Need::Nobody),
    free("/assets/{hash}/{name}"),
    // The API: what is read.
    read("/api/v1/status"),
    read("/api/v1/nodes"),
    read("/api/v1/nodes/{node}"),
    read("/api/v1/nodes/{node}/series"),
    read("/api/v1/nodes/{node}/points"),
    read("/api/v1/nodes/{node}/watch"),
    read("/api/v1/events"),
    read("/api/v1/events/{node}/{event}"),
    read("/api/v1/incidents"),
    read("/api/v1/incidents/{id}"),
    read("/api/v1/incidents/{id}/rankings"),
    read("/api/v1/incidents/{id}/replay"),
    read("/api/v1/scores"),
    read("/api/v1/digest"),
    read("/api/v1/suppressed"),
    read("/api/v1/trail"),
    read("/api/v1/map"),
    read("/api/v1/map/diff"),
    read("/api/v1/map/blast"),
    read("/api/v1/map/path"),
    read("/api/v1/map/edge"),
    read("/api/v1/map/export"),
    read("/api/v1/map/changes"),
    read("/api/v1/silences"),
    read("/api/v1/windows"),
    read("/api/v1/notifications"),
    read("/api/v1/receivers"),
    read("/api/v1/changes"),
    read("/api/v1/quarantine"),
    read("/api/v1/live"),
    read("/api/v1/openapi.json"),
    read("/api/v1/me"),
    read("/api/v2/alerts"),
    read("/api/v2/status"),
    read("/-/healthy"),
    read("/-/ready"),
    read("/metrics"),
    // What operators do. A diagnosis is an order to a node.
    rule("GET", "/api/v1/nodes/{node}/diagnose", Need::Least(Role::Operator)),
    act("/api/v1/nodes/{node}/maintenance"),
    act("/api/v1/incidents/{id}/acknowledge"),
    act("/api/v1/incidents/{id}/resolve"),
    act("/api/v1/incidents/{id}/label"),
    act("/api/v1/incidents/{id}/comment"),
    act("/api/v1/incidents/{id}/assign"),
    act("/api/v1/incidents/{id}/cause"),
    act("/api/v1/incidents/{id}/merge"),
    act("/api/v1/incidents/{id}/split"),
    act("/api/v1/silences"),
    act("/api/v1/silences/{id}/end"),
    act("/api/v1/windows"),
    act("/api/v1/windows/{id}/end"),
    act("/api/v1/notify/test"),
    act("/api/v1/changes"),
    act("/api/v2/alerts"),
    // Everybody may change their own password.
    rule("POST", "/api/v1/me/password", Need::Least(Role::Viewer)),
    // Who may ask, and what they did.
    oversee("/api/v1/users"),
    govern("/api/v1/users"),
    govern("/api/v1/users/{name}/role"),
    govern("/api/v1/users/{name}/disable"),
    govern("/api/v1/users/{name}/enable"),
    govern("/api/v1/users/{name}/password"),
    oversee("/api/v1/tokens"),
    govern("/api/v1/tokens"),
    govern("/api/v1/tokens/{id}/revoke"),
    oversee("/api/v1/access-log"),
    // Who may be a node.
    oversee("/api/v1/enroll-tokens"),
    govern("/api/v1/enroll-tokens"),
    govern("/api/v1/enroll-tokens/{id}/revoke"),
    read("/api/v1/identities"),
    govern("/api/v1/identities/{node}/revoke"),
    // The pages.
    read("/"),
    read("/incidents"),
    read("/incidents/{id}"),
    read("/digest"),
    read("/map"),
    read("/nodes"),
    read("/nodes/{node}"),
    read("/quiet"),
    read("/settings"),
    read("/account"),
    form("/account/password", Need::Least(Role::Viewer)),
    form("/logout", Need::Least(Role::Viewer)),
    oversee("/settings/users"),
    form("/settings/users", Need::Least(Role::Admin)),
    form("/settings/users/{name}", Need::Least(Role::Admin)),
    form("/settings/tokens", Need::Least(Role::Admin)),
    form("/settings/tokens/{id}", Need::Least(Role::Admin)),
];

/// What the table knows of a request, by its path as it came: nothing is decoded, as the router decodes nothing either.
#[must_use]
pub fn find(method: &Method, path: &str) -> Found {
    let fits = TABLE.iter().filter(|rule| is_of(rule.path, path));
    // A route without parameters goes before one that has them, as in the router.
    let Some(route) = fits.min_by_key(|rule| rule.path.matches('{').count()).map(|rule| rule.path) else {
        return Found::Nothing;
    };
    let method = if method == Method::HEAD { "GET" } else { method.as_str() };
    let rule = TABLE.iter().find(|rule| rule.path == route && rule.method == method);
    rule.map_or(Found::OtherMethod, Found::Rule)
}

/// Whether a path is one of a route.
fn is_of(route: &str, path: &str) -> bool {
    let (mut route, mut path) = (route.split('/'), path.split('/'));
    loop {
        match (route.next(), path.next()) {
            (None, None) => return true,
            (Some(wanted), Some(part)) if wanted == part => {}
            (Some(wanted), Some(part)) if wanted.starts_with('{') && !part.is_empty() => {}
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Path and method of each route of a router's source, below `root`.
    fn routes(source: &str, root: &str) -> BTreeSet<(String, &'static str)> {
        let mut found = BTreeSet::new();
        for part in source.split(".route(").skip(1) {
            let (path, methods) = part.trim_start().strip_prefix('"').unwrap().split_once("\",").unwrap();
            let methods = methods.split(".route(").next().unwrap().trim_start();
            // What follows the route belongs to it only up to the end of its parentheses.
            let methods = methods.lines().next().unwrap();
            // `any` is for paths that are none.
            if methods.starts_with("any(") {
                continue;
            }
            let count = found.len();
            for (word, method) in [("get(", "GET"), ("post(", "POST")] {
                if methods.starts_with(word) || methods.contains(&format!(").{word}")) {
                    found.insert((format!("{root}{path}"), method));
                }
            }
            assert!(found.len() > count, "{path}: {methods}");
        }
        found
    }

    #[test]
    fn every_route_is_in_the_table_and_nothing_else() {
        let api = include_str!("../api/mod.rs");
        let (v1, beside) = api.split_once("pub fn router").expect("v1 stands before the whole");
        let mut served = routes(v1, "/api/v1");
        served.extend(routes(beside, ""));
        served.extend(routes(include_str!("../console/mod.rs"), ""));
        let known: BTreeSet<_> = TABLE.iter().map(|rule| (rule.path.to_owned(), rule.method)).collect();
        let missing: Vec<_> = served.difference(&known).collect();
        assert!(missing.is_empty(), "nobody could reach these where people sign in: {missing:?}");
        let gone: Vec<_> = known.difference(&served).collect();
        assert!(gone.is_empty(), "there are no such routes: {gone:?}");
        assert_eq!(known.len(), TABLE.len(), "a route is there twice");
    }

    #[test]
    fn only_what_has_to_be_is_free() {
        let mut free: Vec<_> = TABLE.iter().filter(|rule| rule.need == Need::Nobody).map(|rule| rule.path).collect();
        free.retain(|path| !["/api/v1/ca", "/api/v1/enroll", "/api/v1/enroll/renew"].contains(path));
        assert_eq!(free, ["/healthz", "/readyz", "/login", "/login", "/assets/{hash}/{name}"]);
    }

    #[test]
    fn a_viewer_changes_nothing_but_themselves() {
        let changes = TABLE.iter().filter(|rule| rule.method != "GET" && rule.need == Need::Least(Role::Viewer));
        let paths: Vec<_> = changes.map(|rule| rule.path).collect();
        assert_eq!(paths, ["/api/v1/me/password", "/account/password", "/logout"]);
    }

    #[test]
    fn a_request_finds_its_line() {
        let need = |method: Method, path: &str| match find(&method, path) {
            Found::Rule(rule) => Some((rule.path, rule.need)),
            _ => None,
        };
        let (viewer, admin) = (Need::Least(Role::Viewer), Need::Least(Role::Admin));
        assert_eq!(need(Method::GET, "/"), Some(("/", viewer)));
        assert_eq!(need(Method::HEAD, "/nodes/web-1"), Some(("/nodes/{node}", viewer)));
        assert_eq!(need(Method::GET, "/settings/users"), Some(("/settings/users", admin)));
        let disable = "/api/v1/users/{name}/disable";
        assert_eq!(need(Method::POST, "/api/v1/users/a%2Fb/disable"), Some((disable, admin)));
        for (method, path, found) in [
            (Method::DELETE, "/", Found::OtherMethod),
            (Method::GET, "/logout", Found::OtherMethod),
            (Method::OPTIONS, "/api/v1/users", Found::OtherMethod),
            (Method::GET, "/nodes/", Found::Nothing),
            (Method::GET, "/nodes//series", Found::Nothing),
            (Method::GET, "//", Found::Nothing),
            (Method::GET, "", Found::Nothing),
            (Method::GET, "/api/v1/users/../status", Found::Nothing),
            (Method::GET, "/API/v1/status", Found::Nothing),
            (Method::GET, "/api/v1/status/", Found::Nothing),
            (Method::GET, "/api/v1/%73tatus", Found::Nothing),
        ] {
            assert_eq!(find(&method, path), found, "{method} {path}");
        }
    }
}
