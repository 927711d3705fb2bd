//! Style, scripts and icon: files of their own, part of the program.

use std::sync::LazyLock;

use xxhash_rust::xxh64::xxh64;

use crate::rpc::door::{Reply, Request};

struct Asset {
    path: &'static str,
    content_type: &'static str,
    body: &'static str,
}

static ASSETS: [Asset; 4] = [
    Asset {
        path: "/assets/style.css",
        content_type: "text/css; charset=utf-8",
        body: include_str!("assets/style.css"),
    },
    Asset {
        path: "/assets/page.js",
        content_type: "text/javascript; charset=utf-8",
        body: include_str!("assets/page.js"),
    },
    Asset {
        path: "/assets/diagram.js",
        content_type: "text/javascript; charset=utf-8",
        body: include_str!("assets/diagram.js"),
    },
    Asset { path: "/assets/icon.svg", content_type: "image/svg+xml", body: include_str!("assets/icon.svg") },
];

/// Changes with any of them: browsers ask for it in the address, and so never show an old one.
pub(super) static VERSION: LazyLock<String> = LazyLock::new(|| {
    let hashes = ASSETS.iter().map(|asset| xxh64(asset.body.as_bytes(), 0));
    format!("{:016x}", hashes.fold(0_u64, |all, hash| all.rotate_left(7) ^ hash))
});

/// The asset of a path.
pub(super) fn asset(request: &Request<'_>) -> Option<Reply> {
    let asset = ASSETS.iter().find(|asset| asset.path == request.path)?;
    let keep = if request.query.is_empty() { "no-cache" } else { "private, max-age=31536000, immutable" };
    Some(Reply::new(200_u16, asset.content_type, asset.body).with_header("Cache-Control", keep))
}
