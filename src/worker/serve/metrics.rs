//! The numbers that a retrieval server shows; their names stand in [`names`].
//!
//! Invariants: only requests of the traffic port are counted; the histogram holds answers 200 and 5xx
//! (client errors are quick and not the service's doing, and would hide slow answers); gauges of the encoder
//! are absent until measured.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::embedding::probe::Cosines;
use crate::worker::http::metrics_text;

pub use crate::worker::signals as names;

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Ok,
    Empty,
    ClientError,
    Error,
}

impl Outcome {
    const ALL: [Self; 4] = [Self::Ok, Self::Empty, Self::ClientError, Self::Error];

    /// Of an answer with this status and number of results.
    pub fn of(status: u16, results: usize) -> Self {
        match status {
            500.. => Self::Error,
            400..500 => Self::ClientError,
            0..400 if results == 0 => Self::Empty,
            0..400 => Self::Ok,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Ok => names::OK,
            Self::Empty => names::EMPTY,
            Self::ClientError => names::CLIENT_ERROR,
            Self::Error => names::ERROR,
        }
    }
}

type Labels = Vec<(&'static str, String)>;
type LateGauge = Family<Labels, Gauge<f64, AtomicU64>>;

/// The numbers of one server.
pub struct Metrics {
    registry: Registry,
    requests: Family<Labels, Counter>,
    duration: Histogram,
    encoder_match: LateGauge,
    cosine_mean: LateGauge,
    cosine_min: LateGauge,
}

impl Metrics {
    pub fn new(revision: &str, version: &str) -> Self {
        let mut registry = Registry::default();
        let bounds = names::BUCKETS_MS.map(|ms| f64::from(ms) / 1000.0);
        let metrics = Self {
            requests: Family::default(),
            duration: Histogram::new(bounds),
            encoder_match: Family::default(),
            cosine_mean: Family::default(),
            cosine_min: Family::default(),
            registry: Registry::default(),
        };
        // Every series exists from the start, so that "none yet" differs from "not there".
        for outcome in Outcome::ALL {
            let _ = metrics.requests.get_or_create(&vec![(names::OUTCOME, outcome.word().to_owned())]);
        }
        // The library adds `_total` to counters.
        let requests = names::REQUESTS.trim_end_matches("_total");
        registry.register(requests, "Requests of the traffic port by outcome", metrics.requests.clone());
        registry.register(
            names::DURATION,
            "Seconds until an answer 200 or 5xx of the traffic port",
            metrics.duration.clone(),
        );
        registry.register(
            names::ENCODER_MATCH,
            "1 when the encoder puts the probe texts where the index's encoder put them, else 0",
            metrics.encoder_match.clone(),
        );
        registry.register(names::ENCODER_COSINE_MEAN, "Mean cosine of the probe texts", metrics.cosine_mean.clone());
        registry.register(names::ENCODER_COSINE_MIN, "Smallest cosine of the probe texts", metrics.cosine_min.clone());
        let info = LateGauge::default();
        info.get_or_create(&vec![(names::REVISION, revision.to_owned()), ("version", version.to_owned())]).set(1.0);
        registry.register(names::REVISION_INFO, "What is served; always 1", info);
        Self { registry, ..metrics }
    }

    /// Counts an answer of the traffic port.
    pub fn count(&self, outcome: Outcome, elapsed: Duration) {
        self.requests.get_or_create(&vec![(names::OUTCOME, outcome.word().to_owned())]).inc();
        match outcome {
            Outcome::Ok | Outcome::Empty | Outcome::Error => self.duration.observe(elapsed.as_secs_f64()),
            Outcome::ClientError => {}
        }
    }

    /// Shows what was measured of the encoder.
    pub fn encoder(&self, cosines: Cosines) {
        let none = Labels::new();
        self.encoder_match.get_or_create(&none).set(if cosines.same() { 1.0 } else { 0.0 });
        self.cosine_mean.get_or_create(&none).set(cosines.mean);
        self.cosine_min.get_or_create(&none).set(cosines.min);
    }

    /// The page of /metrics.
    pub fn page(&self) -> String {
        metrics_text(&self.registry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_operator_reads_what_the_server_writes() {
        let metrics = Metrics::new("a1b2c3d4e5", "handbook/v3");
        let fresh = names::parse(&metrics.page()).unwrap();
        assert_eq!((fresh.ok, fresh.answers, fresh.encoder_match), (0, 0, None));
        metrics.count(Outcome::of(200, 3), Duration::from_millis(7));
        metrics.count(Outcome::of(200, 0), Duration::from_millis(260));
        metrics.count(Outcome::of(400, 0), Duration::from_millis(1));
        metrics.count(Outcome::of(503, 0), Duration::from_secs(9));
        metrics.encoder(Cosines { mean: 0.99999, min: 0.9 });
        let page = metrics.page();
        let read = names::parse(&page).unwrap_or_else(|error| panic!("{error}\n{page}"));
        assert_eq!((read.ok, read.empty, read.client_error, read.error), (1, 1, 1, 1));
        assert_eq!(read.answers, 3, "client errors are not timed");
        assert_eq!((read.slower_than(250), read.slower_than(300), read.slower_than(5000)), (Some(2), Some(1), Some(1)));
        assert_eq!((read.encoder_match, read.cosine_min), (Some(false), Some(0.9)));
        assert_eq!(read.revision.as_deref(), Some("a1b2c3d4e5"));
    }
}
