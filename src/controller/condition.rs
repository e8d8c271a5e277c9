//! Conditions, derived from one state per object and never set by hand.
//!
//! Why: kstatus reads Reconciling, Stalled and Ready together; deriving all of them from one value makes
//! contradictions impossible. Invariants: Ready is always there; Reconciling and Stalled exist only while
//! True and never together; `lastTransitionTime` moves only when the status does; a message fits the schema.

use jiff::Timestamp;

use super::error::Refusal;
use super::text::shortened;
use crate::api::{Condition, ConditionType, Reason};

/// Characters of a condition's message, a little below what the schema allows.
const MESSAGE: usize = 4_000;

/// Where an object stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// As declared.
    Ready { reason: Reason, message: String },
    /// On its way; `ready` says what users may rely on meanwhile.
    Reconciling { ready: Meanwhile, reason: Reason, message: String },
    /// Not going on by itself: someone must act.
    Stalled { reason: Reason, message: String },
}

/// Status of Ready while on the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meanwhile {
    True,
    False,
    Unknown,
}

/// A condition beyond the three.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extra {
    pub type_: ConditionType,
    pub status: bool,
    pub reason: Reason,
    pub message: String,
}

impl State {
    pub fn ready(reason: Reason, message: impl Into<String>) -> Self {
        Self::Ready { reason, message: message.into() }
    }

    pub fn waiting(reason: Reason, message: impl Into<String>) -> Self {
        Self::Reconciling { ready: Meanwhile::False, reason, message: message.into() }
    }

    pub fn stalled(reason: Reason, message: impl Into<String>) -> Self {
        Self::Stalled { reason, message: message.into() }
    }

    /// The same state in other words.
    pub fn worded(self, message: String) -> Self {
        match self {
            Self::Ready { reason, .. } => Self::Ready { reason, message },
            Self::Reconciling { ready, reason, .. } => Self::Reconciling { ready, reason, message },
            Self::Stalled { reason, .. } => Self::Stalled { reason, message },
        }
    }

    /// What the API server does not take stands in the way of what is only on its way: somebody must act, and what users
    /// may rely on stays so. Where more is told than progress (a rollback, a split that is not as declared, a deletion),
    /// that is what people must know first, and later plans read it there: it keeps its reason and says the refusal too.
    pub fn unless_refused(self, refusal: Option<&Refusal>) -> Self {
        let Some(told) = refusal.map(Refusal::told) else { return self };
        // Said again from the last status, where nothing new could be decided.
        if self.message().contains(&told) {
            return self;
        }
        if !self.tells_only_progress() {
            let message = format!("{} {told}", self.message());
            return self.worded(message);
        }
        let message = format!("{told} {}", self.message());
        match self {
            Self::Ready { .. } | Self::Reconciling { ready: Meanwhile::True, .. } => {
                Self::Reconciling { ready: Meanwhile::True, reason: Reason::Refused, message }
            }
            Self::Reconciling { ready: Meanwhile::False | Meanwhile::Unknown, .. } | Self::Stalled { .. } => {
                Self::Stalled { reason: Reason::Refused, message }
            }
        }
    }

    fn tells_only_progress(&self) -> bool {
        use Reason::{Building, Preparing, Probing, Progressing, Stepping, Verifying};
        match self {
            Self::Ready { .. } => true,
            Self::Reconciling { reason, .. } => {
                matches!(reason, Building | Preparing | Probing | Progressing | Stepping | Verifying)
            }
            Self::Stalled { .. } => false,
        }
    }

    pub fn reason(&self) -> Reason {
        match self {
            Self::Ready { reason, .. } | Self::Reconciling { reason, .. } | Self::Stalled { reason, .. } => *reason,
        }
    }

    pub fn message(&self) -> &str {
        match self {
            Self::Ready { message, .. } | Self::Reconciling { message, .. } | Self::Stalled { message, .. } => message,
        }
    }
}

/// The whole list of conditions: Ready first, then what is True of Reconciling and Stalled, then the extras.
pub fn derive(old: &[Condition], state: &State, extras: &[Extra], generation: i64, now: Timestamp) -> Vec<Condition> {
    let ready = match state {
        State::Ready { .. } => "True",
        State::Reconciling { ready: Meanwhile::True, .. } => "True",
        State::Reconciling { ready: Meanwhile::Unknown, .. } => "Unknown",
        State::Reconciling { ready: Meanwhile::False, .. } | State::Stalled { .. } => "False",
    };
    let upsert = |type_: ConditionType, status: &str, reason: Reason, message: &str| {
        let since = old
            .iter()
            .find(|c| c.type_ == type_.as_str() && c.status == status)
            .map_or_else(|| time_text(now), |c| c.last_transition_time.clone());
        Condition {
            type_: type_.as_str().to_owned(),
            status: status.to_owned(),
            reason: reason.as_str().to_owned(),
            message: shortened(message, MESSAGE),
            observed_generation: generation,
            last_transition_time: since,
        }
    };
    let mut conditions = vec![upsert(ConditionType::Ready, ready, state.reason(), state.message())];
    match state {
        State::Ready { .. } => {}
        State::Reconciling { reason, message, .. } => {
            conditions.push(upsert(ConditionType::Reconciling, "True", *reason, message));
        }
        State::Stalled { reason, message } => {
            conditions.push(upsert(ConditionType::Stalled, "True", *reason, message));
        }
    }
    for extra in extras {
        let status = if extra.status { "True" } else { "False" };
        conditions.push(upsert(extra.type_, status, extra.reason, &extra.message));
    }
    conditions
}

/// A time as users read it: RFC 3339, UTC, whole seconds.
pub fn time_text(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// The other way; a text that is no time counts as absent.
pub fn parse_time(text: &str) -> Option<Timestamp> {
    text.parse().ok()
}

/// The condition of a type.
pub fn find(conditions: &[Condition], type_: ConditionType) -> Option<&Condition> {
    conditions.iter().find(|c| c.type_ == type_.as_str())
}

/// Whether the condition of a type is True.
pub fn is_true(conditions: &[Condition], type_: ConditionType) -> bool {
    find(conditions, type_).is_some_and(|c| c.status == "True")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    #[test]
    fn reconciling_and_stalled_never_together_and_ready_always_there() {
        let states = [
            State::ready(Reason::Promoted, "serves"),
            State::waiting(Reason::Preparing, "prepares"),
            State::stalled(Reason::RolledBack, "rolled back"),
        ];
        for old in &states {
            let old = derive(&[], old, &[], 1, at(1));
            for new in &states {
                let conditions = derive(&old, new, &[], 2, at(2));
                assert!(find(&conditions, ConditionType::Ready).is_some());
                let both =
                    is_true(&conditions, ConditionType::Reconciling) && is_true(&conditions, ConditionType::Stalled);
                assert!(!both, "{conditions:?}");
            }
        }
    }

    #[test]
    fn a_refusal_stands_before_what_would_follow_and_beside_what_stalls() {
        let refusal = Refusal { what: "Job team/a".to_owned(), why: "cpu: too much".to_owned() };
        let told = refusal.told();
        let on_the_way =
            |ready, reason, message: &str| State::Reconciling { ready, reason, message: message.to_owned() };
        let first = format!("{told} as it was");
        let last = format!("as it was {told}");
        let (yes, unknown) = (Meanwhile::True, Meanwhile::Unknown);
        let table = [
            (State::ready(Reason::Promoted, "as it was"), on_the_way(yes, Reason::Refused, &first)),
            (on_the_way(yes, Reason::Building, "as it was"), on_the_way(yes, Reason::Refused, &first)),
            (State::waiting(Reason::Preparing, "as it was"), State::stalled(Reason::Refused, &first)),
            (on_the_way(unknown, Reason::Preparing, "as it was"), State::stalled(Reason::Refused, &first)),
            (on_the_way(unknown, Reason::Deleting, "as it was"), on_the_way(unknown, Reason::Deleting, &last)),
            (State::waiting(Reason::RollingBack, "as it was"), State::waiting(Reason::RollingBack, &last)),
            (State::waiting(Reason::RouteDrift, "as it was"), State::waiting(Reason::RouteDrift, &last)),
            (State::stalled(Reason::RolledBack, "as it was"), State::stalled(Reason::RolledBack, &last)),
        ];
        for (state, wanted) in table {
            assert_eq!(state.clone().unless_refused(None), state);
            let refused = state.unless_refused(Some(&refusal));
            assert_eq!(refused, wanted);
            assert_eq!(refused.clone().unless_refused(Some(&refusal)), refused, "it is said once");
        }
    }

    #[test]
    fn a_message_of_any_length_fits() {
        let long = derive(&[], &State::stalled(Reason::JobFailed, "x".repeat(5_000)), &[], 1, at(1));
        let fits = |c: &Condition| c.message.chars().count() == MESSAGE && c.message.ends_with(" …");
        assert!(long.len() == 2 && long.iter().all(fits));
    }

    #[test]
    fn transition_time_moves_only_with_status() {
        let first = derive(&[], &State::waiting(Reason::Preparing, "a"), &[], 1, at(10));
        let second = derive(&first, &State::waiting(Reason::Stepping, "b"), &[], 1, at(20));
        assert_eq!(second[0].last_transition_time, first[0].last_transition_time);
        let third = derive(&second, &State::ready(Reason::Promoted, "c"), &[], 1, at(30));
        assert_eq!(third[0].last_transition_time, "1970-01-01T00:00:30Z");
    }
}
