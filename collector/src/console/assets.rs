//! Files that pages need, embedded. Their address holds a hash of all of them, so browsers keep them for ever.

use std::sync::OnceLock;

use axum::extract::Path;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use tacit_wire::Digest;

/// Name, type and content.
const FILES: [(&str, &str, &[u8]); 9] = [
    ("app.css", "text/css; charset=utf-8", include_bytes!("../../assets/app.css")),
    ("app.js", "text/javascript; charset=utf-8", include_bytes!("../../assets/app.js")),
    ("icon.svg", "image/svg+xml", include_bytes!("../../assets/icon.svg")),
    ("map.css", "text/css; charset=utf-8", include_bytes!("../../assets/map.css")),
    ("map.js", "text/javascript; charset=utf-8", include_bytes!("../../assets/map.js")),
    ("map-layout.js", "text/javascript; charset=utf-8", include_bytes!("../../assets/map-layout.js")),
    (
        "cytoscape.min.js",
        "text/javascript; charset=utf-8",
        include_bytes!("../../assets/vendor/cytoscape/cytoscape.min.js"),
    ),
    ("uPlot.min.css", "text/css; charset=utf-8", include_bytes!("../../assets/vendor/uplot/uPlot.min.css")),
    (
        "uPlot.iife.min.js",
        "text/javascript; charset=utf-8",
        include_bytes!("../../assets/vendor/uplot/uPlot.iife.min.js"),
    ),
];

fn hash() -> &'static str {
    static HASH: OnceLock<String> = OnceLock::new();
    HASH.get_or_init(|| Digest::of(&FILES.map(|(_, _, bytes)| bytes).concat()).short())
}

/// The address of a file.
#[must_use]
pub fn asset(name: &str) -> String {
    format!("/assets/{}/{name}", hash())
}

/// Serves a file; an old address gives the present file, but is not kept.
pub async fn serve(Path((asked, name)): Path<(String, String)>) -> Response {
    let Some((_, kind, bytes)) = FILES.iter().find(|(n, _, _)| *n == name) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let keep = if asked == hash() { "public, max-age=31536000, immutable" } else { "no-store" };
    ([(header::CONTENT_TYPE, *kind), (header::CACHE_CONTROL, keep)], *bytes).into_response()
}
