//! A static model in this process as an [`Encoder`], for use without a server.
//!
//! Invariant: encoding is CPU work and never runs on the threads that answer requests.

use std::sync::Arc;

use futures::future::{BoxFuture, FutureExt as _, try_join_all};

use sha2::{Digest as _, Sha256};

use super::static_model::StaticModel;
use super::{EmbedError, Encoder, Settings, Side};
use crate::hex::hex;

/// Texts below which a second thread is not worth its start.
const TEXTS_PER_THREAD: usize = 64;

/// The encoder.
#[derive(Clone)]
pub struct Local {
    model: Arc<StaticModel>,
    settings: Settings,
}

impl Local {
    /// The model under declared settings; another length of vectors is refused.
    pub fn new(model: Arc<StaticModel>, settings: Settings) -> Result<Self, EmbedError> {
        if model.dimensions() != settings.dimensions {
            return Err(EmbedError::Invalid(format!(
                "model {} has {} dimensions, declared are {}",
                model.name(),
                model.dimensions(),
                settings.dimensions
            )));
        }
        Ok(Self { model, settings })
    }

    /// The settings that a directory alone implies: cosine vectors of length 1, no prefixes, 512 tokens.
    pub fn with_defaults(model: Arc<StaticModel>) -> Self {
        let settings = Settings {
            model: model.name().to_owned(),
            dimensions: model.dimensions(),
            normalize: true,
            query_prefix: String::new(),
            passage_prefix: String::new(),
            max_input_tokens: DEFAULT_MAX_INPUT_TOKENS,
        };
        Self { model, settings }
    }

    /// The identity of a model directory outside a cluster: 12 hex of SHA-256 over the digest of its files and
    /// the settings that shape vectors.
    pub fn fingerprint(&self) -> String {
        let Settings { model: _, dimensions, normalize, query_prefix, passage_prefix, max_input_tokens } =
            &self.settings;
        let parts = (self.model.digest(), dimensions, normalize, query_prefix, passage_prefix, max_input_tokens);
        let hash = Sha256::digest(format!("{parts:?}"));
        let mut digits = hex(&hash);
        digits.truncate(12);
        digits
    }

    /// The settings in use.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    async fn encode(&self, texts: Vec<String>) -> Result<Vec<Vec<f32>>, EmbedError> {
        let (model, limit) = (self.model.clone(), self.settings.max_input_tokens);
        let work = move || -> Result<Vec<Vec<f32>>, String> {
            texts.iter().map(|text| model.embed(text, limit).map(|(vector, _)| vector)).collect()
        };
        tokio::task::spawn_blocking(work)
            .await
            .map_err(|error| EmbedError::Unavailable(format!("the encoder stopped: {error}")))?
            .map_err(EmbedError::Invalid)
    }
}

/// Tokens of one text that are read where nothing else is declared.
pub const DEFAULT_MAX_INPUT_TOKENS: usize = 512;

impl Encoder for Local {
    fn embed<'a>(&'a self, texts: &'a [String], side: Side) -> BoxFuture<'a, Result<Vec<Vec<f32>>, EmbedError>> {
        async move {
            let threads = std::thread::available_parallelism().map_or(1, usize::from);
            let part = texts.len().div_ceil(threads).max(TEXTS_PER_THREAD);
            let parts = texts
                .chunks(part)
                .map(|part| self.encode(part.iter().map(|text| self.settings.prefixed(text, side)).collect()));
            let vectors = try_join_all(parts).await?.into_iter().flatten().collect();
            Ok(self.settings.normalized(self.settings.checked(vectors, texts.len())?))
        }
        .boxed()
    }

    fn dimensions(&self) -> usize {
        self.settings.dimensions
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn order_is_kept_over_threads_and_prefixes_count() {
        let dir = tempfile::tempdir().unwrap();
        super::super::static_model::tests::write_toy(dir.path());
        let model = Arc::new(StaticModel::load(dir.path()).unwrap());
        let mut settings = Local::with_defaults(model.clone()).settings().clone();
        settings.query_prefix = "north ".into();
        let local = Local::new(model, settings).unwrap();
        let texts: Vec<String> = (0..500).map(|i| if i % 3 == 0 { "east" } else { "north" }.to_owned()).collect();
        let vectors = local.embed(&texts, Side::Passage).await.unwrap();
        assert_eq!(vectors.len(), 500);
        for (index, vector) in vectors.iter().enumerate() {
            assert_eq!(vector, if index % 3 == 0 { &[1.0, 0.0] } else { &[0.0, 1.0] }, "{index}");
        }
        let asked = local.embed(&["east".to_owned()], Side::Query).await.unwrap();
        assert!((asked[0][0] - asked[0][1]).abs() < 1e-6, "the prefix is part of a query: {asked:?}");
        assert!(local.embed(&[], Side::Query).await.unwrap().is_empty());
    }

    #[test]
    fn the_fingerprint_follows_weights_and_settings() {
        let dir = tempfile::tempdir().unwrap();
        super::super::static_model::tests::write_toy(dir.path());
        let load = || Local::with_defaults(Arc::new(StaticModel::load(dir.path()).unwrap()));
        let first = load();
        assert_eq!(first.fingerprint().len(), 12);
        assert_eq!(first.fingerprint(), load().fingerprint());
        let mut settings = first.settings().clone();
        settings.query_prefix = "query: ".into();
        assert_ne!(Local::new(first.model.clone(), settings).unwrap().fingerprint(), first.fingerprint());
        let config = dir.path().join("config.json");
        std::fs::write(&config, std::fs::read_to_string(&config).unwrap().replace("false", "true")).unwrap();
        assert_ne!(load().fingerprint(), first.fingerprint());
    }

    #[test]
    fn another_length_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        super::super::static_model::tests::write_toy(dir.path());
        let model = Arc::new(StaticModel::load(dir.path()).unwrap());
        let mut settings = Local::with_defaults(model.clone()).settings().clone();
        settings.dimensions = 3;
        let error = Local::new(model, settings).err().unwrap().to_string();
        assert!(error.contains("has 2 dimensions, declared are 3"), "{error}");
    }
}
