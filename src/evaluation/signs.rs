//! How often random signs give a sum as large as the one observed: the loop of the sign-flip tests.
//!
//! Why like this: 100,000 patterns of 1,000 signs for ten metrics are a billion additions. Four numbers have only 16
//! signed sums, so the sums of each four are laid down once; a random word then picks sixteen of them, each with
//! [`LANES`] metrics side by side.
//!
//! Invariants: every sign is fair, and independent of every other of the same metric; metrics share their signs, so what
//! is found of one does not depend on which others are asked with it. Draws come from PCG64 (XSL RR 128/64, `rand_pcg`
//! 0.9), a generator for every 64 numbers.

use rand_core::RngCore as _;
use rand_pcg::Pcg64;

use super::paired::Seed;

/// Metrics side by side.
pub const LANES: usize = 8;
/// Numbers whose signs come from one random word.
const BLOCK: usize = u64::BITS as usize;
/// Numbers of which every signed sum is laid down.
const FEW: usize = 4;
const SUMS: usize = 1 << FEW;
/// Draws of which the sums are kept at once: they stay in the nearest cache.
const KEPT: u32 = 256;

type Lanes = [f64; LANES];

/// A test: numbers whose signs are drawn, and the sum that was observed.
#[derive(Clone, Debug)]
pub struct Column {
    pub values: Vec<f64>,
    pub observed: f64,
}

/// In how many of the draws the signed sum of each column is at least the one observed.
pub fn reached(columns: &[Column], seed: Seed, draws: u32) -> Vec<u32> {
    columns.chunks(LANES).flat_map(|columns| reached_side_by_side(columns, seed, draws)).collect()
}

fn reached_side_by_side(columns: &[Column], seed: Seed, draws: u32) -> Vec<u32> {
    let longest = columns.iter().map(|column| column.values.len()).max().unwrap_or(0);
    let mut blocks: Vec<Block> = (0..longest.div_ceil(BLOCK))
        .map(|i| Block::new(columns, i.saturating_mul(BLOCK), seed.part(i).generator()))
        .collect();
    let mut observed = [f64::INFINITY; LANES];
    observed.iter_mut().zip(columns).for_each(|(to, column)| *to = column.observed);
    let mut reached = [0_u32; LANES];
    let mut left = draws;
    while left > 0 {
        let now = left.min(KEPT);
        left = left.saturating_sub(now);
        let mut sums = vec![[0.0; LANES]; now as usize];
        for block in &mut blocks {
            sums.iter_mut().for_each(|sum| block.draw(sum));
        }
        for sum in &sums {
            for ((reached, sum), observed) in reached.iter_mut().zip(sum).zip(&observed) {
                *reached = reached.saturating_add(u32::from(sum >= observed));
            }
        }
    }
    reached.into_iter().take(columns.len()).collect()
}

/// 64 numbers of each metric.
struct Block {
    /// For each four of them, the sums under every pattern of signs.
    tables: [[Lanes; SUMS]; BLOCK / FEW],
    generator: Pcg64,
}

impl Block {
    fn new(columns: &[Column], start: usize, generator: Pcg64) -> Self {
        let mut tables = [[[0.0; LANES]; SUMS]; BLOCK / FEW];
        for (table, first) in tables.iter_mut().zip((start..).step_by(FEW)) {
            for (pattern, sums) in table.iter_mut().enumerate() {
                for (sum, column) in sums.iter_mut().zip(columns) {
                    let values = column.values.get(first..).unwrap_or_default().iter().take(FEW);
                    *sum = values.enumerate().map(|(i, x)| if pattern >> i & 1 == 1 { *x } else { -x }).sum();
                }
            }
        }
        Self { tables, generator }
    }

    /// Adds the block under random signs.
    fn draw(&mut self, to: &mut Lanes) {
        let mut word = self.generator.next_u64();
        let mut sum = *to;
        for table in &self.tables {
            let Some(sums) = table.get((word & 0xf) as usize) else { continue };
            sum.iter_mut().zip(sums).for_each(|(sum, x)| *sum += x);
            word >>= FEW;
        }
        *to = sum;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DRAWS: u32 = 10_000;

    fn seed() -> Seed {
        Seed::of("inputs", "label")
    }

    /// Four standard errors of a fair coin.
    fn fair(heads: u32) -> bool {
        (f64::from(heads) - f64::from(DRAWS) / 2.0).abs() <= 2.0 * f64::from(DRAWS).sqrt()
    }

    #[test]
    fn each_sign_is_fair_and_no_two_go_together() {
        const N: usize = 200;
        let one = |values: [(usize, f64); 2]| {
            let mut column = Column { values: vec![0.0; N], observed: 1.0 };
            values.iter().for_each(|(at, x)| column.values[*at] += x);
            column
        };
        let alone: Vec<Column> = (0..N).map(|i| one([(i, 1.0), (i, 0.0)])).collect();
        for (i, heads) in reached(&alone, seed(), DRAWS).into_iter().enumerate() {
            assert!(fair(heads), "sign {i}: {heads} of {DRAWS}");
        }
        // The product of two fair and independent signs is fair: x + y reaches 1 where both are plus, and with y
        // turned where they differ.
        for (a, b) in [(0, 1), (0, 3), (3, 4), (0, 63), (63, 64), (0, 64), (5, 69), (0, 128), (127, 199)] {
            let both = reached(&[one([(a, 0.5), (b, 0.5)]), one([(a, -0.5), (b, -0.5)])], seed(), DRAWS);
            assert!(fair(both[0] + both[1]), "signs {a} and {b} agree in {both:?} of {DRAWS}");
        }
    }

    proptest! {
        #[test]
        fn what_is_found_of_a_column_does_not_depend_on_the_others(
            lists in prop::collection::vec(prop::collection::vec(-1.0..1.0_f64, 1..150), 1..11),
        ) {
            let of = |values: Vec<f64>| Column { observed: 0.3 * values.iter().map(|x| x.abs()).sum::<f64>().sqrt(), values };
            let columns: Vec<Column> = lists.into_iter().map(of).collect();
            let together = reached(&columns, seed(), 300);
            for (column, wanted) in columns.iter().zip(&together) {
                prop_assert_eq!(reached(std::slice::from_ref(column), seed(), 300), vec![*wanted]);
            }
            prop_assert_eq!(together.len(), columns.len());
        }
    }
}
