//! An axis: from numbers to percent of a width, with round ticks.
//!
//! Why percent: a plot drawn in percent keeps the size of its letters on a phone and on a wide screen.
//!
//! Invariant: every position lies within 0 and 100; ticks are multiples of a round step.

/// Steps that read well.
const STEPS: [f64; 4] = [1.0, 2.0, 5.0, 10.0];

/// An axis.
#[derive(Clone, Debug, PartialEq)]
pub struct Scale {
    from: f64,
    to: f64,
    step: f64,
}

impl Scale {
    /// The smallest axis of round ends that holds these numbers, with about so many steps.
    pub fn covering(numbers: impl IntoIterator<Item = f64>, steps: f64) -> Self {
        let (low, high) = numbers
            .into_iter()
            .filter(|x| x.is_finite())
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), x| (low.min(x), high.max(x)));
        let (low, high) = if low <= high { (low, high) } else { (0.0, 1.0) };
        // Where all numbers are one there is still something to see.
        let (low, high) = if high - low < 1e-3 { (low - 5e-3, high + 5e-3) } else { (low, high) };
        let step = round_step((high - low) / steps);
        Self { from: (low / step + 1e-9).floor() * step, to: (high / step - 1e-9).ceil() * step, step }
    }

    /// Where a number lies, in percent of the width.
    pub fn at(&self, x: f64) -> f64 {
        let share = (x - self.from) / (self.to - self.from);
        if share.is_finite() { (share * 100.0).clamp(0.0, 100.0) } else { 0.0 }
    }

    /// Whether a number lies on the axis.
    pub fn holds(&self, x: f64) -> bool {
        (self.from - 1e-9..=self.to + 1e-9).contains(&x)
    }

    /// The ticks, each with its label.
    pub fn ticks(&self) -> Vec<(f64, String)> {
        let decimals = usize::try_from((-self.step.log10()).ceil().max(0.0) as i64).unwrap_or(0);
        let steps = ((self.to - self.from) / self.step).round() as i32;
        (0..=steps)
            .map(|i| {
                let x = self.from + f64::from(i) * self.step;
                let x = if x.abs() < self.step * 1e-6 { 0.0 } else { x };
                (x, format!("{x:.decimals$}").replace('-', "−"))
            })
            .collect()
    }

    /// Both ends.
    pub fn ends(&self) -> (f64, f64) {
        (self.from, self.to)
    }
}

/// The next round step at or above a number.
pub fn round_step(least: f64) -> f64 {
    let power = 10_f64.powf(least.log10().floor());
    STEPS.iter().map(|step| step * power).find(|step| *step >= least * (1.0 - 1e-9)).unwrap_or(power * 10.0)
}

/// Word of a style for a label at such a position: at the ends it stays inside.
pub fn anchor(at: f64) -> &'static str {
    if at <= 0.0 {
        " first"
    } else if at >= 100.0 {
        " last"
    } else {
        ""
    }
}

/// A position with the digits that matter.
pub fn percent(x: f64) -> String {
    format!("{x:.2}%")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ends_and_ticks_are_round() {
        let scale = Scale::covering([-0.034, 0.011], 4.0);
        assert_eq!(
            scale.ticks().iter().map(|(_, label)| label.as_str()).collect::<Vec<_>>(),
            ["−0.04", "−0.02", "0.00", "0.02"]
        );
        assert_eq!((scale.at(-0.04), scale.at(0.02), scale.at(9.0)), (0.0, 100.0, 100.0));
        assert_eq!(Scale::covering([0.0, 1.0], 4.0).ticks().len(), 3);
    }

    #[test]
    fn nothing_and_no_numbers_still_make_an_axis() {
        for numbers in [vec![], vec![f64::NAN, f64::INFINITY], vec![0.0], vec![0.3, 0.3]] {
            let scale = Scale::covering(numbers.clone(), 5.0);
            assert!((2..=12).contains(&scale.ticks().len()), "{numbers:?}: {scale:?}");
        }
    }

    proptest! {
        #[test]
        fn every_axis_holds_its_numbers_in_few_ticks(numbers in prop::collection::vec(-1.0..1.0_f64, 1..50), steps in 3..7_u8) {
            let scale = Scale::covering(numbers.clone(), f64::from(steps));
            for x in &numbers {
                prop_assert!(scale.holds(*x), "{} on {:?}", x, scale);
            }
            prop_assert!(scale.ticks().len() <= usize::from(steps) + 3, "{:?}", scale.ticks());
            let labels: std::collections::BTreeSet<String> = scale.ticks().into_iter().map(|(_, label)| label).collect();
            prop_assert_eq!(labels.len(), scale.ticks().len());
        }
    }
}
