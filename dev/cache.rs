//! What the `make` targets put below the cache, for the demo and the tests: one answer to where it is.

use std::path::PathBuf;

/// The directory that `make TARGET` fills; says what to do when one of its files is not there.
pub fn made_by(target: &str, files: impl IntoIterator<Item = PathBuf>) -> Result<PathBuf, String> {
    let variable = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    let cache = variable("RAG_CACHE")
        .or_else(|| variable("XDG_CACHE_HOME").map(|p| p.join("rag-operator")))
        .or_else(|| variable("HOME").map(|p| p.join(".cache").join("rag-operator")))
        .ok_or_else(|| {
            format!("none of RAG_CACHE, XDG_CACHE_HOME and HOME is set: where is what `make {target}` made?")
        })?;
    let directory = cache.join(target);
    match files.into_iter().map(|file| directory.join(file)).find(|file| !file.is_file()) {
        Some(file) => Err(format!("{} is missing: run `make {target}`", file.display())),
        None => Ok(directory),
    }
}
