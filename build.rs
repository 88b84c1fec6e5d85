//! Says which folder of web pages to embed: the built ones, or a page that says how to build them.

use std::path::Path;
use std::{env, fs};

fn main() {
    let root = env::var("CARGO_MANIFEST_DIR").unwrap_or_else(|_| ".".to_owned());
    let built = Path::new(&root).join("web/dist");
    // Cargo can watch only what exists; watching a missing path would rebuild the crate every time.
    let _ = fs::create_dir_all(&built);
    // What is embedded, so that a new file is too.
    println!("cargo:rerun-if-changed=pipelines");
    println!("cargo:rerun-if-changed=profiles");
    println!("cargo:rerun-if-changed=web/dist");
    println!("cargo:rerun-if-changed=web/fallback");
    let folder = if built.join("index.html").is_file() {
        "web/dist"
    } else {
        println!("cargo:warning=the web pages are not built, so a placeholder is embedded; run `make web`");
        "web/fallback"
    };
    // Relative: a target folder may serve another checkout later.
    println!("cargo:rustc-env=CAPCAST_WEB_DIST={folder}");
}
