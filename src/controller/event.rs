//! Events are the difference of old and new conditions, as plain data.
//!
//! Why pure: an event that nobody can send must not change what is planned. Invariant: one event a change of
//! reason or status; Warning only where someone must act.

use crate::api::{Condition, ConditionType, Reason};
use crate::worker::job::digest;

/// An event to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    pub warning: bool,
    pub reason: String,
    pub text: String,
}

impl Note {
    pub fn warning(reason: Reason, text: impl Into<String>) -> Self {
        Self { warning: true, reason: reason.as_str().to_owned(), text: text.into() }
    }

    pub fn normal(reason: Reason, text: impl Into<String>) -> Self {
        Self { warning: false, reason: reason.as_str().to_owned(), text: text.into() }
    }

    /// The event's action. An event of the same object, reason and action within 6 minutes is counted as the same one
    /// and keeps its first text, so that what says something else has another action.
    pub fn action(&self) -> String {
        let text: String = digest(&self.text).chars().take(10).collect();
        format!("{}-{text}", self.reason)
    }
}

/// What changed between two lists of conditions.
pub fn changes(old: &[Condition], new: &[Condition]) -> Vec<Note> {
    let Some(ready) = new.iter().find(|c| c.type_ == ConditionType::Ready.as_str()) else { return Vec::new() };
    let stalled = new.iter().any(|c| c.type_ == ConditionType::Stalled.as_str());
    let before = old.iter().find(|c| c.type_ == ConditionType::Ready.as_str());
    let was_stalled = old.iter().any(|c| c.type_ == ConditionType::Stalled.as_str());
    let same = before.is_some_and(|c| c.reason == ready.reason && c.status == ready.status) && stalled == was_stalled;
    if same {
        return Vec::new();
    }
    vec![Note { warning: stalled, reason: ready.reason.clone(), text: cut(&ready.message) }]
}

/// At most 1,024 bytes, cut at a character.
pub fn cut(text: &str) -> String {
    let mut end = text.len().min(1_000);
    while !text.is_char_boundary(end) {
        end = end.saturating_sub(1);
    }
    match text.get(..end) {
        Some(head) if end < text.len() => format!("{head} …"),
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::controller::condition::{State, derive};

    #[test]
    fn one_event_a_change_and_none_without() {
        let now = Timestamp::UNIX_EPOCH;
        let a = derive(&[], &State::waiting(Reason::Building, "builds v1"), &[], 1, now);
        let b = derive(&a, &State::waiting(Reason::Building, "builds v1: 5 of 10"), &[], 1, now);
        let c = derive(&b, &State::stalled(Reason::ShrinkGuard, "shrank"), &[], 1, now);
        assert_eq!(changes(&[], &a).len(), 1);
        assert!(changes(&a, &b).is_empty());
        let notes = changes(&b, &c);
        assert_eq!(notes.len(), 1);
        assert!(notes[0].warning);
    }

    #[test]
    fn what_says_something_else_is_another_event() {
        let told = |text: &str| Note::warning(Reason::RolledBack, text).action();
        assert_eq!(told("a"), told("a"));
        assert_ne!(told("a"), told("b"));
        // The API server takes 128 characters.
        assert!(Reason::ALL.iter().all(|reason| Note::normal(*reason, "a").action().len() <= 128));
    }

    #[test]
    fn long_texts_are_cut_at_a_character() {
        assert!(cut(&"ü".repeat(2_000)).len() <= 1_024);
    }
}
