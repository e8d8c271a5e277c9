//! The probe of an encoder: 64 fixed texts ([`TEXTS`]), their cosines with what was measured before, and a
//! sketch of them that fits into an object's status.
//!
//! Why: a declared identity can lie. Two encoders are taken as the same when they put the same texts in the
//! same places, which no hash of floats can say (machines round differently) and a cosine can.
//!
//! Invariant: the projection of the sketch is a function of the dimension and [`SEED`] alone, so sketches made
//! by different versions of this program can be compared.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rand_core::{RngCore as _, SeedableRng as _};
use rand_pcg::Pcg32;

use super::{EmbedError, Encoder, Side, norm};

mod texts;
pub use texts::{QUERIES, TEXTS};

/// Projections of each vector in a sketch.
const PROJECTIONS: usize = 12;
/// Seed of the projections' signs.
const SEED: u64 = 0x7261_672d_7072_6f62;

/// A mean of at least this and a minimum of at least [`SAME_MIN`] say that two encoders are the same.
pub const SAME_MEAN: f64 = 0.9995;
/// See [`SAME_MEAN`].
pub const SAME_MIN: f64 = 0.995;

/// The vectors of the 64 texts: the first half as queries, the rest as passages.
pub async fn vectors(encoder: &dyn Encoder) -> Result<Vec<Vec<f32>>, EmbedError> {
    let mut vectors = encoder.embed(&texts_of(Side::Query), Side::Query).await?;
    vectors.extend(encoder.embed(&texts_of(Side::Passage), Side::Passage).await?);
    Ok(vectors)
}

/// The texts of one side.
pub fn texts_of(side: Side) -> Vec<String> {
    let (skip, take) = match side {
        Side::Query => (0, QUERIES),
        Side::Passage => (QUERIES, TEXTS.len()),
    };
    TEXTS.iter().skip(skip).take(take).map(|text| (*text).to_owned()).collect()
}

/// Cosines of the same texts under two encoders.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cosines {
    pub mean: f64,
    pub min: f64,
}

impl Cosines {
    fn of(values: impl Iterator<Item = f64>) -> Self {
        let (mut sum, mut count, mut min) = (0.0, 0u32, 1.0f64);
        for value in values {
            sum += value;
            count = count.saturating_add(1);
            min = min.min(value);
        }
        // Nothing compared is nothing shown to be the same.
        if count == 0 { Self { mean: 0.0, min: 0.0 } } else { Self { mean: sum / f64::from(count), min } }
    }

    /// Whether both encoders put the texts in the same places.
    pub fn same(&self) -> bool {
        self.mean >= SAME_MEAN && self.min >= SAME_MIN
    }
}

/// Cosine of each pair; a vector without a partner counts as 0.
pub fn cosines(left: &[Vec<f32>], right: &[Vec<f32>]) -> Cosines {
    let missing = left.len().abs_diff(right.len());
    let pairs = left.iter().zip(right).map(|(a, b)| cosine(a, b));
    Cosines::of(pairs.chain(std::iter::repeat_n(0.0, missing)))
}

/// Cosine of two vectors; two zero vectors are the same, a zero vector and another are not.
pub fn cosine(a: &[f32], b: &[f32]) -> f64 {
    if a.len() != b.len() {
        return 0.0;
    }
    let (left, right) = (norm(a), norm(b));
    if left == 0.0 && right == 0.0 {
        return 1.0;
    }
    if left == 0.0 || right == 0.0 {
        return 0.0;
    }
    let dot: f64 = a.iter().zip(b).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum();
    (dot / left / right).clamp(-1.0, 1.0)
}

/// Why a text is not a sketch.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the sketch is not {bytes} bytes in base64: {found}")]
pub struct BadSketch {
    bytes: usize,
    found: String,
}

/// The vectors of the probe texts, each as 12 random-sign projections in int8.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sketch(Vec<[i8; PROJECTIONS]>);

impl Sketch {
    /// Projects; each text's projections are scaled by their largest, since only direction is compared.
    pub fn of(vectors: &[Vec<f32>]) -> Self {
        Self(vectors.iter().map(|vector| project(vector)).collect())
    }

    /// 1,024 characters for the 64 texts.
    pub fn to_text(&self) -> String {
        let bytes: Vec<u8> = self.0.iter().flatten().map(|value| value.cast_unsigned()).collect();
        STANDARD.encode(bytes)
    }

    /// Reads what [`Sketch::to_text`] wrote.
    pub fn parse(text: &str) -> Result<Self, BadSketch> {
        let expected = TEXTS.len().saturating_mul(PROJECTIONS);
        let bad = |found: String| BadSketch { bytes: expected, found };
        let bytes = STANDARD.decode(text.trim()).map_err(|error| bad(error.to_string()))?;
        if bytes.len() != expected {
            return Err(bad(format!("found {}", bytes.len())));
        }
        let rows = bytes.chunks_exact(PROJECTIONS).map(|chunk| {
            let mut row = [0i8; PROJECTIONS];
            row.iter_mut().zip(chunk).for_each(|(to, from)| *to = from.cast_signed());
            row
        });
        Ok(Self(rows.collect()))
    }

    /// Cosines of the projections. Their minimum reads low; only the mean is judged.
    pub fn cosines(&self, other: &Self) -> Cosines {
        let floats = |sketch: &Self| -> Vec<Vec<f32>> {
            sketch.0.iter().map(|row| row.iter().map(|value| f32::from(*value)).collect()).collect()
        };
        cosines(&floats(self), &floats(other))
    }
}

fn project(vector: &[f32]) -> [i8; PROJECTIONS] {
    let mut signs = Pcg32::seed_from_u64(SEED);
    let mut sums = [0.0f64; PROJECTIONS];
    for value in vector {
        let mut bits = signs.next_u32();
        for sum in &mut sums {
            // The high bits: those of a PCG are its best.
            let positive = bits.leading_ones() > 0;
            bits <<= 1;
            *sum += if positive { f64::from(*value) } else { -f64::from(*value) };
        }
    }
    let largest = sums.iter().fold(0.0f64, |most, sum| most.max(sum.abs()));
    let mut row = [0i8; PROJECTIONS];
    if largest > 0.0 {
        row.iter_mut().zip(sums).for_each(|(to, sum)| *to = (sum / largest * 127.0).round() as i8);
    }
    row
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Vectors of length 1, one for each probe text, from a seed.
    fn vectors_of(seed: u64, dimensions: usize) -> Vec<Vec<f32>> {
        let mut random = Pcg32::seed_from_u64(seed);
        (0..TEXTS.len())
            .map(|_| {
                let mut v: Vec<f32> =
                    (0..dimensions).map(|_| (f64::from(random.next_u32()) / 4_294_967_296.0 - 0.5) as f32).collect();
                super::super::normalize(&mut v);
                v
            })
            .collect()
    }

    /// `base` moved so that each cosine with it is `cosine`.
    fn moved(base: &[Vec<f32>], cosine: f64, seed: u64) -> Vec<Vec<f32>> {
        base.iter()
            .zip(vectors_of(seed, base[0].len()))
            .map(|(b, noise)| {
                let dot: f32 = b.iter().zip(&noise).map(|(x, y)| x * y).sum();
                let mut side: Vec<f32> = b.iter().zip(&noise).map(|(x, y)| y - dot * x).collect();
                super::super::normalize(&mut side);
                let (c, s) = (cosine as f32, (1.0 - cosine * cosine).sqrt() as f32);
                b.iter().zip(&side).map(|(x, y)| c * x + s * y).collect()
            })
            .collect()
    }

    #[test]
    fn texts_are_distinct_bounded_and_never_change() {
        let mut seen = std::collections::BTreeSet::new();
        for text in TEXTS {
            assert!(seen.insert(text), "twice: {text}");
            assert!(!text.trim().is_empty() && text.len() <= 4096, "{} bytes: {text}", text.len());
        }
        assert_eq!(texts_of(Side::Query).len() + texts_of(Side::Passage).len(), 64);
        assert!(TEXTS.iter().filter(|text| text.len() > 1000).count() >= 3, "long texts");
        // A change here makes every stored sketch and reference vector read as drift.
        use sha2::Digest as _;
        let digest = sha2::Sha256::digest(TEXTS.join("\u{0}"));
        assert_eq!(STANDARD.encode(&digest[..9]), "jFbocmQG+RZT");
    }

    #[test]
    fn a_sketch_has_1024_characters_and_comes_back() {
        let sketch = Sketch::of(&vectors_of(1, 256));
        let text = sketch.to_text();
        assert_eq!(text.len(), 1024);
        assert_eq!(Sketch::parse(&text), Ok(sketch));
        assert!(Sketch::parse("AAAA").unwrap_err().to_string().contains("found 3"));
        assert!(Sketch::parse("not base64!").is_err());
    }

    #[test]
    fn the_projection_is_pinned() {
        let vector: Vec<f32> = (0..8).map(|i| if i % 3 == 0 { 0.5 } else { -0.25 }).collect();
        assert_eq!(project(&vector), [-18, -91, 54, 54, 91, 54, 127, 54, 91, 54, 18, -54]);
    }

    #[test]
    fn sketches_see_what_vectors_see() {
        let base = vectors_of(2, 256);
        let same = Sketch::of(&base).cosines(&Sketch::of(&moved(&base, 0.9999, 3)));
        assert!(same.mean > 0.9996, "{same:?}");
        let near = Sketch::of(&base).cosines(&Sketch::of(&moved(&base, 0.995, 4)));
        assert!(near.mean < 0.998 && near.mean > 0.99, "{near:?}");
        let other = Sketch::of(&base).cosines(&Sketch::of(&vectors_of(5, 256)));
        assert!(other.mean.abs() < 0.2, "{other:?}");
    }

    #[test]
    fn cosines_judge_mean_and_minimum() {
        let base = vectors_of(6, 64);
        assert!(cosines(&base, &base).same());
        let mut one = base.clone();
        one[40] = moved(&base, 0.9, 7)[40].clone();
        let found = cosines(&base, &one);
        assert!(found.min < 0.91 && found.mean > 0.998, "{found:?}");
        assert!(!found.same());
        assert_eq!(cosines(&base, &base[..63]).min, 0.0);
        assert!(!cosines(&[], &[]).same());
        assert_eq!(cosine(&[0.0, 0.0], &[0.0, 0.0]), 1.0);
        assert_eq!(cosine(&[0.0, 0.0], &[0.0, 1.0]), 0.0);
    }

    proptest! {
        #[test]
        fn any_text_is_refused_or_read(text in ".{0,80}") {
            let _ = Sketch::parse(&text);
        }

        #[test]
        fn scaling_changes_no_sketch(scale in 0.01f32..100.0) {
            let base = vectors_of(8, 32);
            let scaled: Vec<Vec<f32>> = base.iter().map(|v| v.iter().map(|x| x * scale).collect()).collect();
            let found = Sketch::of(&base).cosines(&Sketch::of(&scaled));
            prop_assert!(found.min > 0.9999);
        }
    }
}
