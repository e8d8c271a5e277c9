//! Where `make models` puts the two encoders: one answer for the demo and the tests.

#[path = "../cache.rs"]
mod cache;

use std::path::{Path, PathBuf};

/// The directory that holds `wordllama` and `tokenlearn`; says what to do when they are not there.
pub fn models() -> Result<PathBuf, String> {
    let files =
        |model: &str| ["model.safetensors", "tokenizer.json", "config.json"].map(|name| Path::new(model).join(name));
    cache::made_by("models", ["wordllama", "tokenlearn"].into_iter().flat_map(files))
}
