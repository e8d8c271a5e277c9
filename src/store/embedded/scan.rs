//! Exact search by a scan of int8 codes.
//!
//! Why two passes: int8 codes are a quarter of the bytes and several times faster to multiply, but they
//! misplace near neighbours. The first pass gives each chunk an interval that its true score lies in; every
//! chunk whose interval reaches the k-th best lower end is scored again from the float32 vectors.
//!
//! The interval. With v = s·c + r (codes c, rest r) and q = t·d + p:
//! q·v = t·s·(d·c) + p·(s·c) + q·r, so by Cauchy-Schwarz
//! |q·v - t·s·(d·c)| ≤ |p|·(|v| + |r|) + |q|·|r|. The lengths are computed, not estimated.
//!
//! Invariant: results equal those of [`exact_score`] over all chunks, ties included.

use crate::store::Distance;

/// Relative room for the rounding of sums in f64: a sum of 8,192 products errs by less than 1e-12.
const SLACK: f64 = 1e-9;

/// Why a vector cannot be compared.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScanError {
    #[error("has {found} numbers, expected {expected}")]
    Dimensions { found: usize, expected: usize },
    #[error("holds a number that is not finite")]
    NotFinite,
    #[error("is all zeros and has no direction")]
    Zero,
}

/// Checks a vector and returns its length.
pub fn length(vector: &[f32], dimensions: usize) -> Result<f64, ScanError> {
    if vector.len() != dimensions {
        return Err(ScanError::Dimensions { found: vector.len(), expected: dimensions });
    }
    if !vector.iter().all(|x| x.is_finite()) {
        return Err(ScanError::NotFinite);
    }
    // Squares of subnormal f32 are still normal in f64, so only true zeros have length 0.
    let length = dot(vector, vector).sqrt();
    if length == 0.0 { Err(ScanError::Zero) } else { Ok(length) }
}

/// Dot product in f64, always summed in the same order: products of f32 are exact in f64.
fn dot(a: &[f32], b: &[f32]) -> f64 {
    lanes(a, b, |x, y| x * y)
}

/// Sums a term over both vectors in eight fixed lanes, so that the order never depends on the machine.
fn lanes(a: &[f32], b: &[f32], term: impl Fn(f64, f64) -> f64) -> f64 {
    let mut sums = [0.0_f64; 8];
    let (a8, a_rest) = a.as_chunks::<8>();
    let (b8, b_rest) = b.as_chunks::<8>();
    for (x, y) in a8.iter().zip(b8) {
        for ((sum, x), y) in sums.iter_mut().zip(x).zip(y) {
            *sum += term(f64::from(*x), f64::from(*y));
        }
    }
    let rest: f64 = a_rest.iter().zip(b_rest).map(|(x, y)| term(f64::from(*x), f64::from(*y))).sum();
    sums.iter().sum::<f64>() + rest
}

/// The score of a vector for a query, with both lengths given (see [`length`]); higher is better.
pub fn exact_score(distance: Distance, query: &[f32], query_length: f64, vector: &[f32], vector_length: f64) -> f64 {
    match distance {
        Distance::Dot => dot(query, vector),
        Distance::Cosine => dot(query, vector) / (query_length * vector_length),
        Distance::Euclidean => -lanes(query, vector, |x, y| (x - y) * (x - y)).sqrt(),
    }
}

/// The int8 codes of all vectors of a version.
pub struct Codes {
    distance: Distance,
    dimensions: usize,
    codes: Vec<i8>,
    rows: Vec<Row>,
}

#[derive(Clone, Copy)]
struct Row {
    /// s: one step of the codes.
    step: f64,
    /// |r|: length of what the codes leave out.
    rest: f64,
    /// |v|.
    length: f64,
}

/// A query as codes; they are 16 bits wide as far as the sums stay within i32.
struct QueryCodes {
    codes: Vec<i16>,
    step: f64,
    rest: f64,
    length: f64,
}

impl Codes {
    pub fn new(distance: Distance, dimensions: usize) -> Self {
        Self { distance, dimensions, codes: Vec::new(), rows: Vec::new() }
    }

    pub fn reserve(&mut self, vectors: usize) {
        self.codes.reserve_exact(vectors.saturating_mul(self.dimensions));
        self.rows.reserve_exact(vectors);
    }

    /// Adds the next vector.
    pub fn push(&mut self, vector: &[f32]) -> Result<(), ScanError> {
        let length = length(vector, self.dimensions)?;
        let step = largest(vector) / 127.0;
        let mut rest = 0.0;
        for x in vector {
            let x = f64::from(*x);
            let code = (x / step).round().clamp(-127.0, 127.0);
            rest += (x - code * step).powi(2);
            // In range: the line above clamps.
            self.codes.push(code as i8);
        }
        self.rows.push(Row { step, rest: rest.sqrt(), length });
        Ok(())
    }

    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// The length of a vector.
    pub fn vector_length(&self, ordinal: u32) -> Option<f64> {
        self.rows.get(ordinal as usize).map(|row| row.length)
    }

    /// The chunks that can be among the best `k`: all of those, and as few others as the codes allow.
    pub fn candidates(&self, query: &[f32], k: usize, allowed: Option<&Bits>) -> Result<Vec<u32>, ScanError> {
        let query = QueryCodes::new(query, self.dimensions)?;
        let Some(last) = k.checked_sub(1) else { return Ok(Vec::new()) };
        let mut intervals = Vec::with_capacity(if allowed.is_some() { 0 } else { self.rows.len() });
        for (ordinal, (codes, row)) in (0_u32..).zip(self.codes.chunks_exact(self.dimensions).zip(&self.rows)) {
            if allowed.is_none_or(|bits| bits.has(ordinal)) {
                let (low, high) = self.interval(&query, codes, row);
                intervals.push((ordinal, low, high));
            }
        }
        if intervals.len() <= k {
            return Ok(intervals.into_iter().map(|(ordinal, _, _)| ordinal).collect());
        }
        let mut lows: Vec<f64> = intervals.iter().map(|(_, low, _)| *low).collect();
        let (_, kth, _) = lows.select_nth_unstable_by(last, |a, b| b.total_cmp(a));
        let kth = *kth;
        Ok(intervals.into_iter().filter(|(_, _, high)| *high >= kth).map(|(ordinal, _, _)| ordinal).collect())
    }

    /// Bounds of the score; for Euclidean of the squared distance times -1, which orders alike.
    fn interval(&self, query: &QueryCodes, codes: &[i8], row: &Row) -> (f64, f64) {
        let about = f64::from(code_dot(&query.codes, codes)) * query.step * row.step;
        let lengths = query.length * row.length;
        let error = query.rest * (row.length + row.rest) + query.length * row.rest + SLACK * lengths;
        match self.distance {
            Distance::Dot => (about - error, about + error),
            Distance::Cosine => ((about - error) / lengths, (about + error) / lengths),
            Distance::Euclidean => {
                let squares = query.length * query.length + row.length * row.length;
                let about = 2.0 * about - squares;
                let error = 2.0 * error + SLACK * squares;
                (about - error, about + error)
            }
        }
    }
}

impl QueryCodes {
    fn new(query: &[f32], dimensions: usize) -> Result<Self, ScanError> {
        let length = length(query, dimensions)?;
        // 127 · limit · dimensions must fit in i32.
        let limit = i32::try_from(dimensions).ok().and_then(|n| (i32::MAX / 127).checked_div(n)).unwrap_or(1);
        let limit = f64::from(limit.clamp(1, i32::from(i16::MAX)));
        let step = largest(query) / limit;
        let mut rest = 0.0;
        let codes = query
            .iter()
            .map(|x| {
                let x = f64::from(*x);
                let code = (x / step).round().clamp(-limit, limit);
                rest += (x - code * step).powi(2);
                code as i16
            })
            .collect();
        Ok(Self { codes, step, rest: rest.sqrt(), length })
    }
}

fn largest(vector: &[f32]) -> f64 {
    f64::from(vector.iter().fold(0.0_f32, |most, x| most.max(x.abs())))
}

/// Dot product of codes: whole numbers have no order, so the compiler may sum as it likes. By the limit of
/// [`QueryCodes::new`] it fits, so that no sum ever wraps.
fn code_dot(query: &[i16], codes: &[i8]) -> i32 {
    let (query, query_rest) = query.as_chunks::<16>();
    let (codes, codes_rest) = codes.as_chunks::<16>();
    let mut sum = 0_i32;
    for (a, b) in query.iter().zip(codes) {
        sum = sum.wrapping_add(sixteen(a, b));
    }
    let rest = query_rest.iter().zip(codes_rest).map(|(a, b)| i32::from(*a).wrapping_mul(i32::from(*b)));
    rest.fold(sum, i32::wrapping_add)
}

/// Written out: it becomes vector instructions in a release, and in a build without optimisation (the demo, the
/// tests) it costs a tenth of a loop.
#[rustfmt::skip]
#[allow(clippy::arithmetic_side_effects)] // Sixteen products of at most 2^15 · 2^7 stay below 2^31.
const fn sixteen(a: &[i16; 16], b: &[i8; 16]) -> i32 {
    a[0] as i32 * b[0] as i32 + a[1] as i32 * b[1] as i32 + a[2] as i32 * b[2] as i32 + a[3] as i32 * b[3] as i32
        + a[4] as i32 * b[4] as i32 + a[5] as i32 * b[5] as i32 + a[6] as i32 * b[6] as i32 + a[7] as i32 * b[7] as i32
        + a[8] as i32 * b[8] as i32 + a[9] as i32 * b[9] as i32 + a[10] as i32 * b[10] as i32
        + a[11] as i32 * b[11] as i32 + a[12] as i32 * b[12] as i32 + a[13] as i32 * b[13] as i32
        + a[14] as i32 * b[14] as i32 + a[15] as i32 * b[15] as i32
}

/// A set of ordinals.
pub struct Bits {
    words: Vec<u64>,
}

impl Bits {
    pub fn none(size: usize) -> Self {
        Self { words: vec![0; size.div_ceil(64)] }
    }

    pub fn all(size: usize) -> Self {
        Self { words: vec![u64::MAX; size.div_ceil(64)] }
    }

    pub fn set(&mut self, ordinal: u32) {
        if let Some(word) = self.words.get_mut(ordinal as usize / 64) {
            *word |= 1 << (ordinal % 64);
        }
    }

    pub fn has(&self, ordinal: u32) -> bool {
        self.words.get(ordinal as usize / 64).is_some_and(|word| word & (1 << (ordinal % 64)) != 0)
    }

    pub fn keep(&mut self, other: &Self) {
        for (word, other) in self.words.iter_mut().zip(&other.words) {
            *word &= other;
        }
    }
}
