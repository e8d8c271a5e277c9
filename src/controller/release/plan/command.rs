//! Commands of a release: what each does, and what came of it.
//!
//! Invariants: a value is handled once and listed with what it did, not with what it asked for; one that names
//! another revision does nothing and says so; a command never turns a Fail into a Pass; a command that a message
//! shows takes effect, though it was said before.

use kube::ResourceExt;

use super::Draft;
use crate::api::{Reason, names};
use crate::controller::command;
use crate::controller::condition::State;
use crate::controller::event::{Note, cut};

/// Annotations that take effect once.
const COMMANDS: [&str; 4] =
    [names::COMMAND_ABORT, names::COMMAND_PROMOTE, names::COMMAND_RETRY, names::COMMAND_RESET_ANCHOR];

/// What the commands of this pass ask for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Given {
    pub abort: bool,
    /// How far a promote goes, and its value as given.
    pub promote: Option<(Promote, String)>,
    /// Whether the promote let something pass.
    pub promoted: bool,
}

/// How far a promote goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Promote {
    NextStep,
    /// `<revision>!`
    All,
}

/// A command's value: `<revision>[!][@token]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Value<'a> {
    pub subject: &'a str,
    pub all: bool,
}

/// Splits a value; the token only makes it another value.
pub fn parse(value: &str) -> Value<'_> {
    let subject = value.split_once('@').map_or(value, |(head, _)| head).trim();
    match subject.strip_suffix('!') {
        Some(subject) => Value { subject, all: true },
        None => Value { subject, all: false },
    }
}

impl Draft<'_> {
    /// Reads the commands that were not handled yet.
    pub(super) fn commands(&mut self) {
        for annotation in COMMANDS {
            let Some(value) = command::given(self.release, annotation) else { continue };
            let word = command::word(annotation);
            if self.plan.status.commands.iter().any(|c| c.command == word && c.value == value) {
                continue;
            }
            match self.obey(annotation, &value) {
                Obeyed::Done(outcome) => self.handled(annotation, value, Ok(outcome)),
                Obeyed::Ignored(why) => self.handled(annotation, value, Err(why)),
                Obeyed::Open => {}
            }
        }
    }

    fn obey(&mut self, annotation: &str, value: &str) -> Obeyed {
        let parsed = parse(value);
        let revision = parsed.subject;
        if annotation == names::COMMAND_RETRY {
            let failed = &mut self.plan.status.failed_revisions;
            let before = failed.len();
            failed.retain(|f| f.revision != revision);
            if failed.len() == before {
                return Obeyed::Ignored(format!("revision {revision} is not among the failed ones"));
            }
            return Obeyed::Done(format!("revision {revision} may start again"));
        }
        if annotation == names::COMMAND_RESET_ANCHOR {
            return match self.reset_anchor() {
                true => Obeyed::Done("maxCumulativeDrop counts from here".to_owned()),
                false => Obeyed::Ignored("no gate has measured what serves, so nothing is summed".to_owned()),
            };
        }
        // What starts after a status was lost: the step of this pass knows what the spec asks for.
        let starts = annotation == names::COMMAND_PROMOTE && self.plan.status.restored_at.is_some();
        let candidate = match self.plan.status.candidate.clone() {
            None if starts && !self.paused() => {
                self.commands.promote = Some((Promote::NextStep, value.to_owned()));
                return Obeyed::Open;
            }
            None => return Obeyed::Ignored("no candidate is on its way".to_owned()),
            Some(candidate) if candidate.revision != revision => {
                return Obeyed::Ignored(format!("the candidate is {}", candidate.revision));
            }
            Some(candidate) => candidate,
        };
        if annotation == names::COMMAND_ABORT {
            if self.stable_is_empty(&candidate) {
                return Obeyed::Ignored("stable has no ready pod, so traffic stays where it is answered".to_owned());
            }
            self.commands.abort = true;
            return Obeyed::Done(format!("revision {revision} is withdrawn"));
        }
        if self.paused() {
            return Obeyed::Ignored("the release is paused; resume it first".to_owned());
        }
        let promote = if parsed.all { Promote::All } else { Promote::NextStep };
        self.commands.promote = Some((promote, value.to_owned()));
        Obeyed::Open
    }

    /// A command to paste. A value that was said before takes no effect again: a token makes it another one.
    pub(super) fn command(&self, word: &str, revision: &str) -> String {
        let said = |value: &String| self.plan.status.commands.iter().any(|c| c.command == word && c.value == *value);
        let again = (2..=command::KEPT.saturating_add(2)).map(|n| format!("{revision}@{n}"));
        let mut values = std::iter::once(revision.to_owned()).chain(again);
        let value = values.find(|value| !said(value)).unwrap_or_default();
        format!(
            "`kubectl -n {} annotate rel {} ragops.dev/{word}={value} --overwrite`",
            self.release.namespace().unwrap_or_default(),
            self.release.name_any()
        )
    }

    /// A promote that is given now and lets something pass; from here on it has taken effect.
    pub(super) fn use_promote(&mut self) -> Option<Promote> {
        let promote = self.commands.promote.as_ref().map(|(promote, _)| *promote);
        self.commands.promoted |= promote.is_some();
        promote
    }

    /// Lists a promote with what came of it: only the step of this pass knows.
    pub(super) fn settle_promote(&mut self, state: &State) {
        let Some((promote, value)) = self.commands.promote.clone() else { return };
        let outcome = match (self.commands.promoted, promote) {
            (true, Promote::All | Promote::NextStep) if self.old.candidate.is_none() => Ok("it may start".to_owned()),
            (true, Promote::All) => Ok("straight to 100 %".to_owned()),
            (true, Promote::NextStep) => Ok("on to the next step".to_owned()),
            (false, Promote::All | Promote::NextStep) => {
                Err(format!("it finds nothing to let pass. {}", state.message()))
            }
        };
        self.handled(names::COMMAND_PROMOTE, value, outcome);
    }

    /// Commands that stand beside a status that was lost: whether they took effect is not known, so they do not again.
    pub(super) fn forget_commands(&mut self) {
        for annotation in COMMANDS {
            let Some(value) = command::given(self.release, annotation) else { continue };
            let why = "the status was lost; say it again with another token after `@`".to_owned();
            self.handled(annotation, value, Err(why));
        }
    }

    fn handled(&mut self, annotation: &str, value: String, outcome: Result<String, String>) {
        let said = format!("Command {}={value}", command::word(annotation));
        self.plan.events.push(match &outcome {
            Ok(done) => Note::normal(Reason::Progressing, cut(&format!("{said}: {done}."))),
            Err(why) => Note::warning(Reason::Progressing, cut(&format!("{said} did nothing: {why}"))),
        });
        let outcome = outcome.unwrap_or_else(|why| format!("ignored: {why}"));
        let handled = command::handled(self.release, annotation, value, &outcome, self.now_text());
        command::remember(&mut self.plan.status.commands, handled);
    }
}

/// What became of a command.
enum Obeyed {
    Done(String),
    Ignored(String),
    /// The step of this pass decides.
    Open,
}
