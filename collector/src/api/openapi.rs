//! The description of the API.

use axum::Json;
use utoipa::OpenApi;

use super::{
    access_log, alerts, changes, digest, enrol, events, identity, incidents, live, map, me, metrics, nodes, notify,
    quiet, rankings, status, tokens, users,
};

/// Everything under `/api/v1`, and the endpoints for machines beside it.
#[derive(Debug, OpenApi)]
#[openapi(
    info(
        title = "Tacit collector",
        description = "Nodes, events, incidents and the map of a fleet. Every request can be refused with 401 (who asks has to be known), 403 (a foreign host or origin, or a role that is too little), 405 (a method that the path does not take) and 429 (too often)."
    ),
    paths(
        status::status,
        status::quarantine,
        status::healthz,
        status::readyz,
        metrics::metrics,
        nodes::list,
        nodes::one,
        nodes::series,
        nodes::points,
        nodes::watch,
        nodes::diagnose,
        nodes::maintenance,
        events::list,
        events::one,
        incidents::list,
        incidents::one,
        incidents::acknowledge,
        incidents::resolve,
        incidents::label,
        incidents::comment,
        incidents::assign,
        incidents::cause,
        incidents::merge,
        incidents::split,
        rankings::list,
        rankings::replay,
        rankings::scored,
        digest::digest,
        digest::suppression,
        digest::trail,
        quiet::silences,
        quiet::add_silence,
        quiet::end_silence,
        quiet::windows,
        quiet::add_window,
        quiet::end_window,
        map::map,
        map::difference,
        map::blast,
        map::path,
        map::edge,
        map::exported,
        map::changes,
        notify::list,
        notify::receivers,
        notify::test,
        changes::list,
        changes::announce,
        alerts::list,
        alerts::take,
        alerts::status,
        alerts::healthy,
        alerts::ready,
        live::live,
        me::me,
        me::password,
        users::list,
        users::add,
        users::role,
        users::disable,
        users::enable,
        users::password,
        tokens::list,
        tokens::add,
        tokens::revoke,
        access_log::list,
        enrol::roots,
        enrol::enrol,
        enrol::renew,
        identity::tokens,
        identity::add_token,
        identity::revoke_token,
        identity::nodes,
        identity::revoke_node,
        json,
    )
)]
pub struct ApiDoc;

/// This description.
#[utoipa::path(get, path = "/api/v1/openapi.json", responses((status = 200)))]
pub async fn json() -> Json<utoipa::openapi::OpenApi> {
    Json(ApiDoc::openapi())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_route_is_described_and_nothing_else() {
        let source = include_str!("mod.rs");
        let route = |line: &str| {
            let (path, methods) = line.trim().strip_prefix(".route(\"")?.split_once("\", ")?;
            // `any` is for paths that are none.
            let method = methods.split_once('(').map(|(m, _)| m).filter(|m| *m != "any")?;
            Some((path.to_owned(), method.to_owned()))
        };
        let (v1, beside) = source.split_once("pub fn router").expect("v1 stands before the whole");
        let in_v1 = v1.lines().filter_map(route).map(|(path, method)| (format!("/api/v1{path}"), method));
        let served: BTreeSet<_> = in_v1.chain(beside.lines().filter_map(route)).collect();

        let document = serde_json::to_value(ApiDoc::openapi()).unwrap();
        let paths = document["paths"].as_object().unwrap().iter();
        let described: BTreeSet<_> = paths
            .flat_map(|(path, item)| item.as_object().unwrap().keys().map(|method| (path.clone(), method.clone())))
            .collect();
        assert_eq!(served, described);
    }
}
