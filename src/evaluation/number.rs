//! Numbers of a run file, quickly.
//!
//! Why not the standard library alone: a run file may have ten million of them, mostly short, and a short decimal
//! number needs one division.
//!
//! Invariant: what comes out is what `parse` gives, bit by bit; what is not short goes to it.

/// Most digits whose whole number is exact in double precision.
const DIGITS: usize = 15;
/// Powers of ten up to the most digits of a fraction; each is exact.
const POWERS: [f64; DIGITS + 1] =
    [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15];

/// A finite number. Clinger, *How to read floating point numbers accurately*, PLDI 1990: a whole number below 2^53
/// divided by a power of ten up to 10^22 is the nearest number to what is written.
pub fn finite(text: &str) -> Option<f64> {
    short_decimal(text).or_else(|| text.parse().ok()).filter(|number: &f64| number.is_finite())
}

fn short_decimal(text: &str) -> Option<f64> {
    let (negative, digits) = match text.as_bytes() {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    let (mut whole, mut point) = (0_u64, None);
    for (at, byte) in digits.iter().enumerate() {
        match byte {
            b'0'..=b'9' => whole = whole.wrapping_mul(10).wrapping_add(u64::from(byte.wrapping_sub(b'0'))),
            b'.' if point.is_none() => point = Some(at),
            _ => return None,
        }
    }
    let count = digits.len().checked_sub(usize::from(point.is_some()))?;
    if !(1..=DIGITS).contains(&count) {
        return None;
    }
    let places = point.map_or(0, |point| count.saturating_sub(point));
    let number = whole as f64 / POWERS.get(places)?;
    Some(if negative { -number } else { number })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn edges_of_numbers() {
        let long = "9".repeat(400);
        for text in [
            "0",
            "-0",
            "1",
            "-1.5",
            ".5",
            "5.",
            ".",
            "-",
            "",
            "+1",
            "1e3",
            "1.2.3",
            "nan",
            "inf",
            "-inf",
            "0x1",
            "1_0",
            " 1",
            "999999999999999",
            "9999999999999999",
            "0.1",
            "123456789.123456",
            "0.000000000000001",
            "1-2",
            &long,
        ] {
            let wanted = text.parse::<f64>().ok().filter(|x| x.is_finite());
            assert_eq!(finite(text).map(f64::to_bits), wanted.map(f64::to_bits), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn numbers_are_those_of_the_library(text in "-?[0-9]{0,12}\\.?[0-9]{0,12}") {
            let wanted = text.parse::<f64>().ok().filter(|x| x.is_finite());
            prop_assert_eq!(finite(&text).map(f64::to_bits), wanted.map(f64::to_bits));
        }

        #[test]
        fn every_number_is_read_back(x in any::<f64>()) {
            prop_assert_eq!(finite(&x.to_string()).map(f64::to_bits), Some(x).filter(|x| x.is_finite()).map(f64::to_bits));
        }
    }
}
