//! The closed lists of condition types and reasons; conditions, events and metric labels share them.
//!
//! Why one enum: a reason that is not listed here cannot be shown, so docs/reasons.md can be complete.

use std::fmt;

macro_rules! words {
    ($(#[$meta:meta])* $name:ident { $($word:ident),+ $(,)? }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name { $($word),+ }

        impl $name {
            /// The word as users read it.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$word => stringify!($word)),+ }
            }
            /// What a word means, if it is one of these.
            pub fn of(word: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|known| known.as_str() == word)
            }
            /// Every word, for docs and tests.
            pub const ALL: &[Self] = &[$(Self::$word),+];
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

words! {
    /// Condition types.
    ConditionType { Ready, Reconciling, Stalled, Serving, Drifted, DataReliable }
}

words! {
    /// Reasons of conditions and events.
    Reason {
        Succeeded, Progressing, InvalidSpec, InvalidObject, RefNotFound, JobFailed, ImagePullFailed,
        PodUnschedulable, PodConfigError, ProgressDeadlineExceeded, InUse, InternalError, Forbidden, Refused, WriteConflict,
        Probing, EndpointUnavailable, DimensionMismatch, NoisyEndpoint, FingerprintChanged, FingerprintSame,
        Building, Verifying, CountMismatch, NotOwned, ChecksPassed, ChecksFailed, ShrinkGuard, SelfRetrievalLow,
        DatasetInvalid, SourceUnavailable, VectorStoreUnavailable,
        Preparing, Stepping, RollingBack, RolledBack, Promoted, Superseded, Paused, GateInconclusive,
        GateUnavailable, Aborted, StatusRestored, RouteNotAccepted, RouteDrift, GatewayApiMissing,
        StableUnavailable, FingerprintMismatch, GateFailed, SloBreached, Unavailable,
        ServingStable, ServingCandidate, NoReadyEndpoints, Deleting,
    }
}

words! {
    /// Reasons of a gate run's verdict. Pass: Superior to NoBaseline. Fail: RegressionProven to WorseThanAtPromotion.
    /// Inconclusive: TooFewQueries to NoData. Error: the rest.
    VerdictReason {
        Superior, NonInferior, AbsoluteOnly, NoBaseline,
        RegressionProven, FloorBreached, LimitExceeded, CumulativeDrop, SliceRegression, WorstGroupBreached,
        WorseThanAtPromotion,
        TooFewQueries, WorseWithinNoise, Underpowered, UnjudgedBias, NoData,
        LowCoverage, InputsChanged, DatasetInvalid, EndpointUnavailable, SourceUnavailable, JobFailed,
        ReceiptRejected,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_that_was_written_is_read_back_and_no_other() {
        for reason in Reason::ALL {
            assert_eq!(Reason::of(reason.as_str()), Some(*reason));
        }
        assert_eq!((Reason::of(""), Reason::of("jobFailed"), Reason::of("Superior")), (None, None, None));
        assert_eq!(VerdictReason::of("Superior"), Some(VerdictReason::Superior));
    }
}
