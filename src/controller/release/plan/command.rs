//! Commands: annotations whose value takes effect once.
//!
//! Invariants: a value is handled once and listed; one that names another revision does nothing and says so; a
//! command never turns a Fail into a Pass.

use kube::ResourceExt;

use super::Draft;
use crate::api::release::HandledCommand;
use crate::api::{Reason, names};
use crate::controller::event::Note;

/// Most commands kept in status.
const KEPT: usize = 20;

/// What the commands of this pass ask for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Given {
    pub promote: Option<Promote>,
    pub abort: bool,
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
        for annotation in [names::COMMAND_ABORT, names::COMMAND_PROMOTE, names::COMMAND_RETRY] {
            let Some(value) = self.release.annotations().get(annotation).cloned() else { continue };
            let command = annotation.strip_prefix("ragops.dev/").unwrap_or(annotation);
            let handled = self.plan.status.commands.iter().any(|c| c.command == command && c.value == value);
            if handled || value.trim().is_empty() {
                continue;
            }
            let outcome = self.obey(annotation, parse(&value));
            let (reason, text) = match &outcome {
                Ok(done) => (Reason::Progressing, format!("Command {command}={value}: {done}.")),
                Err(ignored) => (Reason::Progressing, format!("Command {command}={value} did nothing: {ignored}.")),
            };
            let note = if outcome.is_ok() { Note::normal(reason, text) } else { Note::warning(reason, text) };
            self.plan.events.push(note);
            let outcome = outcome.unwrap_or_else(|ignored| format!("ignored: {ignored}"));
            let handled = HandledCommand {
                command: command.to_owned(),
                value,
                manager: manager(self.release, annotation),
                outcome,
                at: self.now_text(),
            };
            remember(&mut self.plan.status.commands, handled);
        }
    }

    fn obey(&mut self, annotation: &str, value: Value<'_>) -> Result<String, String> {
        let revision = value.subject;
        if annotation == names::COMMAND_RETRY {
            let failed = &mut self.plan.status.failed_revisions;
            let before = failed.len();
            failed.retain(|f| f.revision != revision);
            if failed.len() == before {
                return Err(format!("revision {revision} is not among the failed ones"));
            }
            return Ok(format!("revision {revision} may start again"));
        }
        let candidate = self.plan.status.candidate.as_ref().map(|c| c.revision.clone());
        match candidate {
            None => return Err("no candidate is on its way".to_owned()),
            Some(candidate) if candidate != revision => {
                return Err(format!("the candidate is {candidate}"));
            }
            Some(_) => {}
        }
        if annotation == names::COMMAND_ABORT {
            self.commands.abort = true;
            return Ok(format!("revision {revision} is withdrawn"));
        }
        if self.paused() {
            return Err("the release is paused; resume it first".to_owned());
        }
        self.commands.promote = Some(if value.all { Promote::All } else { Promote::NextStep });
        Ok(if value.all { "straight to 100 %".to_owned() } else { "on to the next step".to_owned() })
    }
}

/// The field manager that wrote an annotation.
pub fn manager<K: ResourceExt>(object: &K, annotation: &str) -> String {
    let field = format!("f:{annotation}");
    let wrote = |entry: &&k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry| {
        let fields = entry.fields_v1.as_ref().map(|f| &f.0);
        fields.and_then(|f| f.pointer("/f:metadata/f:annotations")).is_some_and(|a| a.get(&field).is_some())
    };
    let entry = object.managed_fields().iter().find(wrote);
    entry.and_then(|e| e.manager.clone()).unwrap_or_else(|| "unknown".to_owned())
}

/// Keeps the newest; the last of each command always stays, or its annotation would take effect again.
pub fn remember(commands: &mut Vec<HandledCommand>, handled: HandledCommand) {
    commands.push(handled);
    while commands.len() > KEPT {
        let superseded =
            commands.iter().enumerate().position(|(i, c)| commands.iter().skip(i + 1).any(|l| l.command == c.command));
        match superseded {
            Some(i) => drop(commands.remove(i)),
            None => break,
        }
    }
}
