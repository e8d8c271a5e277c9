//! The values of each query and arm, one JSON object a line.

use std::io::{self, Write};

use serde::Serialize;

use crate::evaluation::compare::Values;
use crate::evaluation::dataset::Dataset;
use crate::worker::evaluate::measure::Measured;
use crate::worker::evaluate::plan::Gate;

/// One line a query and arm, values unrounded.
pub fn write_rows(mut to: impl Write, dataset: &Dataset, gate: &Gate, measured: &Measured) -> io::Result<()> {
    #[derive(Serialize)]
    struct Line<'a> {
        query: &'a str,
        arm: &'a str,
        metrics: serde_json::Map<String, serde_json::Value>,
    }
    let none = Values::new();
    let comparison = &measured.comparison;
    for (i, (query, _)) in dataset.judged().enumerate() {
        for (arm, values) in
            [("candidate", &comparison.candidate), ("baseline", comparison.baseline.as_ref().unwrap_or(&none))]
        {
            let Some(values) = values.get(i) else { continue };
            let named =
                gate.judging.rules.iter().zip(values).map(|(rule, value)| (rule.metric().to_string(), (*value).into()));
            serde_json::to_writer(&mut to, &Line { query, arm, metrics: named.collect() })?;
            to.write_all(b"\n")?;
        }
    }
    to.flush()
}
