//! Where `make models` puts the two encoders: one answer for the demo and the tests.

use std::path::PathBuf;

/// The directory that holds `wordllama` and `tokenlearn`; says what to do when they are not there.
pub fn models() -> Result<PathBuf, String> {
    let variable = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    let cache = variable("RAG_CACHE")
        .or_else(|| variable("XDG_CACHE_HOME").map(|p| p.join("rag-operator")))
        .or_else(|| variable("HOME").map(|p| p.join(".cache").join("rag-operator")))
        .ok_or("none of RAG_CACHE, XDG_CACHE_HOME and HOME is set: where are the encoders?")?;
    let models = cache.join("models");
    let file = ["wordllama", "tokenlearn"]
        .into_iter()
        .flat_map(|model| {
            ["model.safetensors", "tokenizer.json", "config.json"].map(|name| models.join(model).join(name))
        })
        .find(|file| !file.is_file());
    match file {
        Some(file) => Err(format!("{} is missing: run `make models`", file.display())),
        None => Ok(models),
    }
}
