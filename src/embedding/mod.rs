//! Encoders: what turns texts into vectors.
//!
//! Why a room of its own: build, verification, serving and evaluation must all see one and the same
//! vector for a text, wherever the encoder runs: behind an OpenAI-compatible address ([`openai`]) or in
//! this process ([`local`], [`static_model`]).
//!
//! Invariants: vectors come in the order of the texts; prefixes and normalisation are applied here and
//! nowhere else; a vector of another length, or with a value that is not finite, never leaves this room.

use futures::future::BoxFuture;

pub mod local;
pub mod openai;
pub mod probe;
pub mod static_model;
pub mod tls;

/// Which prefix a text gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// A text that someone asks.
    Query,
    /// A text that is stored.
    Passage,
}

/// Turns texts into vectors.
pub trait Encoder: Send + Sync {
    /// Vectors of the texts, in order; prefixes and normalisation applied; every vector has the declared
    /// length and is finite.
    fn embed<'a>(&'a self, texts: &'a [String], side: Side) -> BoxFuture<'a, Result<Vec<Vec<f32>>, EmbedError>>;
    /// Length of every vector.
    fn dimensions(&self) -> usize;
}

/// Why there are no vectors.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EmbedError {
    /// Configuration or answers are wrong: the same request fails again. Exit 42.
    #[error("{0}")]
    Invalid(String),
    /// The server does not take these texts, but may take others: one of them, or all together, are too long.
    /// Exit 42 wherever the texts cannot be had one by one.
    #[error("{text}")]
    Refused { status: u16, text: String },
    /// The encoder could not be reached or did not answer in time: a new attempt may help. Exit 43.
    #[error("{0}")]
    Unavailable(String),
}

/// A text's vector, or the status with which the encoder refuses this text alone.
pub type Answer = Result<Vec<f32>, u16>;

/// An answer for each text, in order. Texts that are refused together are halved until they are taken or one is
/// left: so one text too long costs a few requests, and a request too large none of its texts.
pub async fn embed_each(encoder: &dyn Encoder, texts: &[String], side: Side) -> Result<Vec<Answer>, EmbedError> {
    let mut answers = Vec::with_capacity(texts.len());
    let mut parts = vec![texts];
    while let Some(part) = parts.pop() {
        match encoder.embed(part, side).await {
            // One too few would give every later text another one's vector.
            Ok(vectors) if vectors.len() == part.len() => answers.extend(vectors.into_iter().map(Ok)),
            Ok(vectors) => {
                let text = format!("the encoder returned {} vectors for {} texts", vectors.len(), part.len());
                return Err(EmbedError::Invalid(text));
            }
            Err(EmbedError::Refused { status, .. }) if part.len() <= 1 => answers.push(Err(status)),
            Err(EmbedError::Refused { .. }) => {
                let (first, second) = part.split_at(part.len() / 2);
                parts.extend([second, first]);
            }
            Err(error @ (EmbedError::Invalid(_) | EmbedError::Unavailable(_))) => return Err(error),
        }
    }
    Ok(answers)
}

/// The declared identity of an encoder, as far as it shapes vectors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Sent as `model`.
    pub model: String,
    /// Length that every vector must have.
    pub dimensions: usize,
    /// Whether vectors are scaled to length 1.
    pub normalize: bool,
    /// Put before every query.
    pub query_prefix: String,
    /// Put before every passage.
    pub passage_prefix: String,
    /// Tokens of one text that an encoder in this process reads; servers cut by their own limit.
    pub max_input_tokens: usize,
}

impl Settings {
    /// The text with the prefix of its side.
    fn prefixed(&self, text: &str, side: Side) -> String {
        let prefix = match side {
            Side::Query => &self.query_prefix,
            Side::Passage => &self.passage_prefix,
        };
        format!("{prefix}{text}")
    }

    /// Refuses vectors that are not what was declared.
    fn checked(&self, vectors: Vec<Vec<f32>>, expected: usize) -> Result<Vec<Vec<f32>>, EmbedError> {
        if vectors.len() != expected {
            return Err(EmbedError::Invalid(format!(
                "the encoder was given {expected} texts and returned {} vectors",
                vectors.len()
            )));
        }
        for (index, vector) in vectors.iter().enumerate() {
            if vector.len() != self.dimensions {
                return Err(EmbedError::Invalid(format!(
                    "vector {index} of the encoder has {} dimensions, declared are {}; declare dimensions: {} in a \
                     new EmbeddingModel or name the encoder that was meant",
                    vector.len(),
                    self.dimensions,
                    vector.len()
                )));
            }
            if let Some((position, value)) = vector.iter().enumerate().find(|(_, value)| !value.is_finite()) {
                return Err(EmbedError::Invalid(format!(
                    "vector {index} of the encoder has {value} at position {position}; every value must be a finite number"
                )));
            }
        }
        Ok(vectors)
    }

    /// Scales each vector to length 1 where that is declared.
    fn normalized(&self, mut vectors: Vec<Vec<f32>>) -> Vec<Vec<f32>> {
        if self.normalize {
            vectors.iter_mut().for_each(|vector| normalize(vector));
        }
        vectors
    }
}

/// Scales to length 1. A vector of zeros (a text without a token the model knows) stays as it is: it has
/// no direction, and a made-up one would find something at random.
fn normalize(vector: &mut [f32]) {
    let norm = norm(vector);
    if norm > 0.0 {
        vector.iter_mut().for_each(|value| *value = (f64::from(*value) / norm) as f32);
    }
}

/// Euclidean length; f64 inside, so that neither large nor tiny values overflow or vanish.
pub fn norm(vector: &[f32]) -> f64 {
    vector.iter().map(|value| f64::from(*value) * f64::from(*value)).sum::<f64>().sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(normalize: bool) -> Settings {
        Settings {
            model: "m".into(),
            dimensions: 2,
            normalize,
            query_prefix: "query: ".into(),
            passage_prefix: "passage: ".into(),
            max_input_tokens: 512,
        }
    }

    #[test]
    fn prefixes_follow_the_side() {
        assert_eq!(settings(true).prefixed("x", Side::Query), "query: x");
        assert_eq!(settings(true).prefixed("x", Side::Passage), "passage: x");
    }

    #[test]
    fn wrong_count_length_and_values_are_refused_with_numbers() {
        let s = settings(true);
        let count = s.checked(vec![vec![1.0, 0.0]], 2).unwrap_err();
        assert!(count.to_string().contains("2 texts and returned 1"), "{count}");
        let length = s.checked(vec![vec![1.0, 0.0, 0.0]], 1).unwrap_err();
        assert!(length.to_string().contains("has 3 dimensions, declared are 2"), "{length}");
        let value = s.checked(vec![vec![1.0, f32::NAN]], 1).unwrap_err();
        assert!(value.to_string().contains("NaN at position 1"), "{value}");
    }

    #[test]
    fn normalisation_gives_length_one_and_leaves_zero_alone() {
        let out = settings(true).normalized(vec![vec![3.0, 4.0], vec![0.0, 0.0], vec![1e30, 1e30], vec![1e-30, 0.0]]);
        assert_eq!(out[0], [0.6, 0.8]);
        assert_eq!(out[1], [0.0, 0.0]);
        assert!((norm(&out[2]) - 1.0).abs() < 1e-6);
        assert!((norm(&out[3]) - 1.0).abs() < 1e-6);
        assert_eq!(settings(false).normalized(vec![vec![3.0, 4.0]])[0], [3.0, 4.0]);
    }
}
