//! Pages and assets, which are part of the binary.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use sha2::{Digest, Sha256};

/// Paths of the pages. All of them are the same document; its script shows the right one.
const PAGES: [&str; 14] = [
    "/overview",
    "/conversations",
    "/conversations/{session}",
    "/intents",
    "/paths",
    "/response-time",
    "/missed",
    "/forms",
    "/ends",
    "/users",
    "/markers",
    "/releases",
    "/policies",
    "/quality",
];

const PAGE: &[u8] = include_bytes!("../assets/index.html");

/// Names and bytes of all assets.
macro_rules! assets {
    ($($name:literal),* $(,)?) => {
        [$(($name, include_bytes!(concat!("../assets/", $name)).as_slice())),*]
    };
}

/// A test compares this list with the folder.
const ASSETS: &[(&str, &[u8])] = &assets![
    "icon.svg",
    "js/address.js",
    "js/answer.js",
    "js/api.js",
    "js/card.js",
    "js/charts/bars.js",
    "js/charts/heat.js",
    "js/charts/parts.js",
    "js/charts/sankey.js",
    "js/charts/time.js",
    "js/colours.js",
    "js/conversation.js",
    "js/csv.js",
    "js/explorer.js",
    "js/export.js",
    "js/format.js",
    "js/funnel.js",
    "js/go.js",
    "js/icons.js",
    "js/live.js",
    "js/main.js",
    "js/nlu.js",
    "js/page.js",
    "js/pages.js",
    "js/preview.js",
    "js/range.js",
    "js/review.js",
    "js/shell.js",
    "js/tables.js",
    "js/types.js",
    "js/use.js",
    "style.css",
    "vendor/LICENCES.txt",
    "vendor/vendor.js",
];

struct Asset {
    name: &'static str,
    bytes: &'static [u8],
    etag: String,
}

/// The assets by name.
#[derive(Clone)]
struct Assets(Arc<[Asset]>);

pub(crate) fn router() -> Router {
    let assets = ASSETS.iter().map(|(name, bytes)| asset(name, bytes)).collect();
    pages(&PAGES).merge(Router::new().route("/assets/{*name}", get(serve)).with_state(Assets(assets)))
}

/// Returns the route `/`, which shows the first page.
pub(crate) fn front() -> Router {
    pages(&["/"])
}

fn pages(paths: &[&str]) -> Router {
    let page = Arc::new(asset("index.html", PAGE));
    paths.iter().fold(Router::new(), |router, path| {
        let page = Arc::clone(&page);
        router.route(path, get(move |headers: HeaderMap| async move { response(&page, &headers) }))
    })
}

fn asset(name: &'static str, bytes: &'static [u8]) -> Asset {
    let digest = Sha256::digest(bytes);
    let etag =
        digest.iter().take(8).fold(String::from("\""), |text, byte| format!("{text}{byte:02x}")) + "\"";
    Asset { name, bytes, etag }
}

async fn serve(State(assets): State<Assets>, Path(name): Path<String>, headers: HeaderMap) -> Response {
    match assets.0.iter().find(|asset| asset.name == name) {
        Some(asset) => response(asset, &headers),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

/// Returns the asset, or 304 if the browser has it already.
fn response(asset: &Asset, headers: &HeaderMap) -> Response {
    // Browsers ask each time whether an asset changed. So one of an older version is never used.
    let caching = [(header::ETAG, asset.etag.as_str()), (header::CACHE_CONTROL, "no-cache")];
    let is_known = headers
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|etag| etag.trim().trim_start_matches("W/") == asset.etag);
    if is_known {
        return (StatusCode::NOT_MODIFIED, caching).into_response();
    }
    (caching, [(header::CONTENT_TYPE, content_type(asset.name))], asset.bytes).into_response()
}

fn content_type(name: &str) -> &'static str {
    match name.rsplit_once('.').map_or("", |(_, extension)| extension) {
        "html" => "text/html; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "svg" => "image/svg+xml",
        _ => "text/plain; charset=utf-8",
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    /// Returns the names of all files in the folder of the assets.
    fn files() -> Vec<String> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets");
        let (mut folders, mut names) = (vec![root.clone()], Vec::new());
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    names.push(path.strip_prefix(&root).unwrap().to_str().unwrap().replace('\\', "/"));
                }
            }
        }
        names.sort();
        names
    }

    #[test]
    fn every_file_is_an_asset() {
        let mut names: Vec<&str> = ASSETS.iter().map(|(name, _)| *name).collect();
        names.push("index.html");
        names.sort_unstable();
        assert_eq!(names, files());
    }
}
