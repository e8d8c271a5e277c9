//! Texts of any length (an index's, a kubelet's) that fit the fields of a status.
//!
//! Invariants: a text that fits stays as it is; cutting one twice is cutting it once.

use crate::controller::condition::State;

/// Characters of a condition's message, a little below what the schema allows.
const MESSAGE: usize = 4_000;

/// A text of at most so many characters; one that was cut says so.
pub fn shortened(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some(_) => text.chars().take(most.saturating_sub(2)).chain(" …".chars()).collect(),
        None => text.to_owned(),
    }
}

/// The same state in other words.
pub fn worded(state: State, message: String) -> State {
    match state {
        State::Ready { reason, .. } => State::Ready { reason, message },
        State::Reconciling { ready, reason, .. } => State::Reconciling { ready, reason, message },
        State::Stalled { reason, .. } => State::Stalled { reason, message },
    }
}

/// A state with a message that the schema takes.
pub fn bounded(state: State) -> State {
    let message = shortened(state.message(), MESSAGE);
    worded(state, message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Reason;

    #[test]
    fn what_was_cut_says_so_and_what_fits_stays() {
        assert_eq!(shortened("üü", 2), "üü");
        assert_eq!(shortened("üüüü", 3), "ü …");
        assert_eq!(shortened(&shortened("üüüü", 3), 3), "ü …");
        let long = bounded(State::stalled(Reason::JobFailed, "x".repeat(5_000)));
        assert_eq!((long.message().chars().count(), long.message().ends_with(" …")), (MESSAGE, true));
        assert!(matches!(long, State::Stalled { reason: Reason::JobFailed, .. }));
    }
}
