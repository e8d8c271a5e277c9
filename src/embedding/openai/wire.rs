//! The wire form of `POST /embeddings`: what is sent and what is read.
//!
//! Invariants: vectors are asked for in base64 (a quarter of the bytes) and read in both forms; the answer's
//! `index` decides the order, so it must name each text once.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

/// The request.
#[derive(Serialize)]
pub(super) struct Request<'a> {
    pub model: &'a str,
    pub input: &'a [String],
    pub encoding_format: &'static str,
}

#[derive(Deserialize)]
struct Response {
    data: Vec<Item>,
}

#[derive(Deserialize)]
struct Item {
    index: Option<usize>,
    embedding: Embedding,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Embedding {
    Base64(String),
    Floats(Vec<f32>),
}

/// Most bytes that an answer of this many vectors can have; floats as text are the long form.
pub(super) fn answer_limit(texts: usize, dimensions: usize) -> usize {
    texts.saturating_mul(dimensions.saturating_mul(32).saturating_add(256)).saturating_add(65_536)
}

/// Vectors in the order of the texts.
pub(super) fn decode(body: &[u8], texts: usize) -> Result<Vec<Vec<f32>>, String> {
    let response: Response =
        serde_json::from_slice(body).map_err(|e| format!("the answer is not an embeddings object: {e}"))?;
    if response.data.len() != texts {
        return Err(format!("{texts} texts were sent, {} vectors came back", response.data.len()));
    }
    let mut slots: Vec<Option<Vec<f32>>> = vec![None; texts];
    for (position, item) in response.data.into_iter().enumerate() {
        let index = item.index.unwrap_or(position);
        let slot =
            slots.get_mut(index).ok_or_else(|| format!("a vector has index {index}, {texts} texts were sent"))?;
        if slot.is_some() {
            return Err(format!("index {index} came twice in the answer"));
        }
        *slot = Some(match item.embedding {
            Embedding::Floats(values) => values,
            Embedding::Base64(text) => floats(&text).map_err(|e| format!("vector {index}: {e}"))?,
        });
    }
    // As many vectors as slots and none twice: each slot is filled.
    Ok(slots.into_iter().flatten().collect())
}

fn floats(text: &str) -> Result<Vec<f32>, String> {
    let bytes = STANDARD.decode(text).map_err(|e| format!("not base64: {e}"))?;
    let chunks = bytes.chunks_exact(4);
    if !chunks.remainder().is_empty() {
        return Err(format!("{} bytes are no whole number of 32-bit floats", bytes.len()));
    }
    let number = |chunk: &[u8]| {
        let mut fixed = [0u8; 4];
        fixed.iter_mut().zip(chunk).for_each(|(to, from)| *to = *from);
        f32::from_le_bytes(fixed)
    };
    Ok(chunks.map(number).collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn encoded(values: &[f32]) -> String {
        STANDARD.encode(values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<_>>())
    }

    #[test]
    fn both_forms_and_any_order_are_read() {
        let body = format!(
            r#"{{"data":[{{"index":1,"embedding":"{}"}},{{"index":0,"embedding":[0.5,-1]}}]}}"#,
            encoded(&[1.0, 2.0])
        );
        assert_eq!(decode(body.as_bytes(), 2), Ok(vec![vec![0.5, -1.0], vec![1.0, 2.0]]));
        // Servers that give no index give the order.
        assert_eq!(decode(br#"{"data":[{"embedding":[1]},{"embedding":[2]}]}"#, 2), Ok(vec![vec![1.0], vec![2.0]]));
    }

    #[test]
    fn other_counts_and_indices_are_refused_with_numbers() {
        let two = br#"{"data":[{"index":0,"embedding":[1]},{"index":0,"embedding":[2]}]}"#;
        assert_eq!(decode(two, 3).unwrap_err(), "3 texts were sent, 2 vectors came back");
        assert_eq!(decode(two, 2).unwrap_err(), "index 0 came twice in the answer");
        let far = br#"{"data":[{"index":7,"embedding":[1]}]}"#;
        assert_eq!(decode(far, 1).unwrap_err(), "a vector has index 7, 1 texts were sent");
        let odd = br#"{"data":[{"index":0,"embedding":"AAAA"}]}"#;
        assert_eq!(decode(odd, 1).unwrap_err(), "vector 0: 3 bytes are no whole number of 32-bit floats");
    }

    proptest! {
        #[test]
        fn any_floats_come_back(values in prop::collection::vec(any::<f32>(), 0..40)) {
            let read = floats(&encoded(&values)).unwrap();
            prop_assert_eq!(
                read.iter().map(|v| v.to_bits()).collect::<Vec<_>>(),
                values.iter().map(|v| v.to_bits()).collect::<Vec<_>>()
            );
        }

        #[test]
        fn any_body_is_an_error_or_vectors(body in ".{0,200}") {
            let _ = decode(body.as_bytes(), 2);
        }
    }
}
