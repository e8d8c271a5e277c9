//! A static model: each token has a vector, a text's vector is their (weighted) mean.
//!
//! Why: it needs no graphics card and no runtime, encodes a query in microseconds, and the same directory
//! gives the same vectors on every machine; enough to run a whole release on a laptop.
//!
//! The directory holds `model.safetensors` (tensor `vectors` [rows, dimensions] in F32, F16 or I8; optional
//! `mapping` [tokens] in I32 or I64 from token to row; optional `weights` [tokens] in F32),
//! `tokenizer.json` and `config.json`.
//!
//! Invariants: everything is checked when it is loaded (each mapped row exists, each number is finite), so
//! that encoding cannot fail on them; special tokens are not added; a text without a token is the zero vector.

use std::path::{Path, PathBuf};

use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use tokenizers::Tokenizer;

use super::normalize;
use crate::hex::hex;

/// Largest file of a model directory that is read.
const MAX_FILE_BYTES: u64 = 4 << 30;

/// Why a directory is not a static model.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error("cannot read {path}: {error}; a model directory holds model.safetensors, tokenizer.json and config.json")]
    Read { path: PathBuf, error: std::io::Error },
    #[error("{path} has {bytes} bytes, more than the {MAX_FILE_BYTES} that are read")]
    TooLarge { path: PathBuf, bytes: u64 },
    #[error("{path}: {text}")]
    Content { path: PathBuf, text: String },
}

/// How the vectors of a text's tokens become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Pooling {
    Mean,
    WeightedMean,
}

/// Kind of model directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Format {
    Static,
}

/// `config.json`; what only people read (dtype, tokens) is not looked at.
#[derive(Debug, Deserialize)]
struct Config {
    #[serde(rename = "format")]
    _format: Format,
    name: String,
    #[serde(default)]
    revision: String,
    dimensions: usize,
    pooling: Pooling,
    normalize: bool,
}

/// A loaded model.
pub struct StaticModel {
    tokenizer: Tokenizer,
    matrix: Matrix,
    /// Row of each token; the token itself where the model has no mapping.
    rows: Option<Vec<usize>>,
    /// Weight of each token; 1 where the model has none.
    weights: Option<Vec<f32>>,
    config: Config,
    digest: String,
}

impl StaticModel {
    /// Reads and checks a directory.
    pub fn load(directory: &Path) -> Result<Self, LoadError> {
        let config_path = directory.join("config.json");
        let config_bytes = read(&config_path)?;
        let config: Config = serde_json::from_slice(&config_bytes).map_err(|e| {
            content(
                &config_path,
                format!("{e}; expected format \"static\", name, dimensions, pooling (mean or weightedMean), normalize"),
            )
        })?;
        let tokenizer_path = directory.join("tokenizer.json");
        let tokenizer_bytes = read(&tokenizer_path)?;
        let mut tokenizer =
            Tokenizer::from_bytes(&tokenizer_bytes).map_err(|e| content(&tokenizer_path, e.to_string()))?;
        tokenizer.with_padding(None);
        tokenizer.with_truncation(None).map_err(|e| content(&tokenizer_path, e.to_string()))?;
        let weights_path = directory.join("model.safetensors");
        let weights_bytes = read(&weights_path)?;
        let tensors = Tensors::parse(&weights_bytes, &config).map_err(|text| content(&weights_path, text))?;
        let digest = digest(&[&config_bytes, &tokenizer_bytes, &weights_bytes]);
        let Tensors { matrix, rows, weights } = tensors;
        Ok(Self { tokenizer, matrix, rows, weights, config, digest })
    }

    /// Length of the vectors.
    pub fn dimensions(&self) -> usize {
        self.config.dimensions
    }

    /// Name that the directory gives itself.
    pub fn name(&self) -> &str {
        &self.config.name
    }

    /// Revision that the directory gives itself.
    pub fn revision(&self) -> &str {
        &self.config.revision
    }

    /// SHA-256 over the three files: the identity of a model outside a cluster.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// Vector of a text, of which at most `max_tokens` tokens count, and how many counted.
    pub fn embed(&self, text: &str, max_tokens: usize) -> Result<(Vec<f32>, usize), String> {
        let encoding = self.tokenizer.encode_fast(text, false).map_err(|error| error.to_string())?;
        // f64 sums: the order of additions cannot show in the first seven digits.
        let mut sums = vec![0.0f64; self.config.dimensions];
        let mut count = 0usize;
        for id in encoding.get_ids().iter().take(max_tokens) {
            let token = *id as usize;
            let Some(row) = self.row(token) else { continue };
            let weight = self.weight(token);
            sums.iter_mut().zip(row).for_each(|(sum, value)| *sum += weight * f64::from(*value));
            count = count.saturating_add(1);
        }
        let scale = if count == 0 { 0.0 } else { 1.0 / count as f64 };
        let mut vector: Vec<f32> = sums.iter().map(|sum| (sum * scale) as f32).collect();
        if self.config.normalize {
            normalize(&mut vector);
        }
        Ok((vector, count))
    }

    fn row(&self, token: usize) -> Option<&[f32]> {
        let row = match &self.rows {
            Some(rows) => *rows.get(token)?,
            None => token,
        };
        self.matrix.row(row)
    }

    fn weight(&self, token: usize) -> f64 {
        let weight = self.weights.as_ref().and_then(|weights| weights.get(token)).copied().unwrap_or(1.0);
        f64::from(weight)
    }
}

/// Rows of equal length, one after the other.
struct Matrix {
    values: Vec<f32>,
    dimensions: usize,
}

impl Matrix {
    fn row(&self, row: usize) -> Option<&[f32]> {
        let start = row.checked_mul(self.dimensions)?;
        self.values.get(start..start.checked_add(self.dimensions)?)
    }
}

/// The checked content of `model.safetensors`.
struct Tensors {
    matrix: Matrix,
    rows: Option<Vec<usize>>,
    weights: Option<Vec<f32>>,
}

impl Tensors {
    fn parse(bytes: &[u8], config: &Config) -> Result<Self, String> {
        let file = SafeTensors::deserialize(bytes).map_err(|e| format!("not a safetensors file: {e}"))?;
        let view = file.tensor("vectors").map_err(|_| {
            format!("has no tensor `vectors`, but {:?}; `make models` shows how a directory is made", file.names())
        })?;
        let [height, width] = view.shape() else {
            return Err(format!("tensor `vectors` has shape {:?}, expected [rows, dimensions]", view.shape()));
        };
        if *width != config.dimensions || *width == 0 || *height == 0 {
            return Err(format!(
                "tensor `vectors` has shape [{height}, {width}], config.json declares {} dimensions",
                config.dimensions
            ));
        }
        let values = floats("vectors", &view)?;
        let rows = match file.tensor("mapping") {
            Ok(view) => Some(row_numbers(&view, *height)?),
            Err(_) => None,
        };
        let weights = match (config.pooling, file.tensor("weights")) {
            (Pooling::Mean, _) => None,
            (Pooling::WeightedMean, Ok(view)) => Some(floats("weights", &view)?),
            (Pooling::WeightedMean, Err(_)) => {
                return Err("has no tensor `weights`, which config.json's pooling weightedMean needs".to_owned());
            }
        };
        if let (Some(rows), Some(weights)) = (&rows, &weights)
            && rows.len() != weights.len()
        {
            return Err(format!("`mapping` has {} tokens and `weights` {}", rows.len(), weights.len()));
        }
        Ok(Self { matrix: Matrix { values, dimensions: config.dimensions }, rows, weights })
    }
}

fn floats(name: &str, view: &TensorView<'_>) -> Result<Vec<f32>, String> {
    let data = view.data();
    let values: Vec<f32> = match view.dtype() {
        Dtype::F32 => data.chunks_exact(4).map(|b| f32::from_le_bytes(fixed(b))).collect(),
        Dtype::F16 => data.chunks_exact(2).map(|b| half(u16::from_le_bytes(fixed(b)))).collect(),
        Dtype::I8 => data.iter().map(|b| f32::from(b.cast_signed())).collect(),
        other => return Err(format!("tensor `{name}` is {other:?}; F32, F16 and I8 are read")),
    };
    match values.iter().position(|value| !value.is_finite()) {
        Some(position) => Err(format!("tensor `{name}` has a value that is not finite at position {position}")),
        None => Ok(values),
    }
}

fn row_numbers(view: &TensorView<'_>, rows: usize) -> Result<Vec<usize>, String> {
    let data = view.data();
    let numbers: Vec<i64> = match view.dtype() {
        Dtype::I32 => data.chunks_exact(4).map(|b| i64::from(i32::from_le_bytes(fixed(b)))).collect(),
        Dtype::I64 => data.chunks_exact(8).map(|b| i64::from_le_bytes(fixed(b))).collect(),
        other => return Err(format!("tensor `mapping` is {other:?}; I32 and I64 are read")),
    };
    numbers
        .iter()
        .enumerate()
        .map(|(token, number)| match usize::try_from(*number) {
            Ok(row) if row < rows => Ok(row),
            Ok(_) | Err(_) => Err(format!("`mapping` sends token {token} to row {number} of {rows}")),
        })
        .collect()
}

/// The bytes of one number; a chunk of `chunks_exact` has the length asked for.
fn fixed<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let mut out = [0u8; N];
    out.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
    out
}

/// IEEE half precision as single precision, exactly.
fn half(bits: u16) -> f32 {
    let sign = u32::from(bits >> 15) << 31;
    let exponent = u32::from((bits >> 10) & 0x1f);
    let fraction = u32::from(bits & 0x3ff);
    match exponent {
        // Zero and subnormal numbers: fraction times 2^-24.
        0 => f32::from_bits(sign | (fraction as f32 / 16_777_216.0).to_bits()),
        31 => f32::from_bits(sign | 0x7f80_0000 | (fraction << 13)),
        _ => f32::from_bits(sign | ((exponent + 112) << 23) | (fraction << 13)),
    }
}

fn read(path: &Path) -> Result<Vec<u8>, LoadError> {
    let failed = |error| LoadError::Read { path: path.to_owned(), error };
    let bytes = std::fs::metadata(path).map_err(failed)?.len();
    if bytes > MAX_FILE_BYTES {
        return Err(LoadError::TooLarge { path: path.to_owned(), bytes });
    }
    std::fs::read(path).map_err(failed)
}

fn content(path: &Path, text: impl Into<String>) -> LoadError {
    LoadError::Content { path: path.to_owned(), text: text.into() }
}

/// SHA-256 over the files' digests, in hex.
fn digest(files: &[&[u8]]) -> String {
    let all = files.iter().fold(Sha256::new(), |all, file| all.chain_update(Sha256::digest(file)));
    hex(&all.finalize())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A model of three words in two dimensions: enough to see each rule.
    pub(crate) fn write_toy(directory: &Path) {
        let tokenizer = serde_json::json!({
            "version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": null,
            "pre_tokenizer": {"type": "WhitespaceSplit"}, "post_processor": null, "decoder": null,
            "model": {"type": "WordLevel", "vocab": {"[UNK]": 0, "east": 1, "north": 2, "far": 3}, "unk_token": "[UNK]"}
        });
        std::fs::write(directory.join("tokenizer.json"), tokenizer.to_string()).unwrap();
        std::fs::write(
            directory.join("config.json"),
            r#"{"format":"static","name":"toy","dimensions":2,"pooling":"weightedMean","normalize":false}"#,
        )
        .unwrap();
        std::fs::write(directory.join("model.safetensors"), toy_tensors(&[0, 1, 2, 2], &[0.0, 1.0, 1.0, 3.0])).unwrap();
    }

    fn toy_tensors(mapping: &[i32], weights: &[f32]) -> Vec<u8> {
        let vectors: Vec<u8> = [0.0f32, 0.0, 1.0, 0.0, 0.0, 1.0].iter().flat_map(|v| v.to_le_bytes()).collect();
        let mapping_bytes: Vec<u8> = mapping.iter().flat_map(|v| v.to_le_bytes()).collect();
        let weight_bytes: Vec<u8> = weights.iter().flat_map(|v| v.to_le_bytes()).collect();
        safetensors::serialize(
            [
                ("vectors", TensorView::new(Dtype::F32, vec![3, 2], &vectors).unwrap()),
                ("mapping", TensorView::new(Dtype::I32, vec![mapping.len()], &mapping_bytes).unwrap()),
                ("weights", TensorView::new(Dtype::F32, vec![weights.len()], &weight_bytes).unwrap()),
            ],
            None,
        )
        .unwrap()
    }

    #[test]
    fn a_text_is_the_weighted_mean_of_its_tokens() {
        let dir = tempfile::tempdir().unwrap();
        write_toy(dir.path());
        let model = StaticModel::load(dir.path()).unwrap();
        assert_eq!(model.embed("east north", 512), Ok((vec![0.5, 0.5], 2)));
        assert_eq!(model.embed("east far", 512), Ok((vec![0.5, 1.5], 2)));
        // The cut: the second token does not count.
        assert_eq!(model.embed("east far", 1), Ok((vec![1.0, 0.0], 1)));
        // No token at all: no direction.
        assert_eq!(model.embed("   ", 512), Ok((vec![0.0, 0.0], 0)));
    }

    #[test]
    fn the_digest_follows_the_weights() {
        let dir = tempfile::tempdir().unwrap();
        write_toy(dir.path());
        let first = StaticModel::load(dir.path()).unwrap().digest().to_owned();
        assert_eq!(first.len(), 64);
        std::fs::write(dir.path().join("model.safetensors"), toy_tensors(&[0, 1, 2, 2], &[0.0, 1.0, 1.0, 2.0]))
            .unwrap();
        assert_ne!(StaticModel::load(dir.path()).unwrap().digest(), first);
    }

    #[test]
    fn what_cannot_be_encoded_is_refused_at_load() {
        let dir = tempfile::tempdir().unwrap();
        write_toy(dir.path());
        let refused = |bytes: Vec<u8>| {
            std::fs::write(dir.path().join("model.safetensors"), bytes).unwrap();
            StaticModel::load(dir.path()).err().map(|e| e.to_string()).unwrap_or_default()
        };
        let row = refused(toy_tensors(&[0, 1, 2, 3], &[0.0, 1.0, 1.0, 1.0]));
        assert!(row.contains("token 3 to row 3 of 3"), "{row}");
        let value = refused(toy_tensors(&[0, 1, 2, 2], &[0.0, f32::NAN, 1.0, 1.0]));
        assert!(value.contains("not finite at position 1"), "{value}");
        let lengths = refused(toy_tensors(&[0, 1, 2], &[0.0, 1.0, 1.0, 1.0]));
        assert!(lengths.contains("3 tokens and `weights` 4"), "{lengths}");
        assert!(refused(b"nonsense".to_vec()).contains("not a safetensors file"));
        std::fs::remove_file(dir.path().join("tokenizer.json")).unwrap();
        let missing = StaticModel::load(dir.path()).err().unwrap().to_string();
        assert!(missing.contains("tokenizer.json") && missing.contains("a model directory holds"), "{missing}");
    }

    #[test]
    fn half_precision_is_exact() {
        for (bits, value) in [
            (0x0000u16, 0.0f32),
            (0x8000, -0.0),
            (0x3c00, 1.0),
            (0xc000, -2.0),
            (0x3555, 0.333_251_95),
            (0x7bff, 65504.0),
            (0x0001, 5.960_464_5e-8),
            (0x03ff, 6.097_555e-5),
            (0x0400, 6.103_515_6e-5),
        ] {
            assert_eq!(half(bits).to_bits(), value.to_bits(), "{bits:#06x}");
        }
        assert!(half(0x7c00).is_infinite() && half(0x7e00).is_nan());
    }
}
