//! The faults of the proxy in front of an encoder, as its control port speaks of them.

use serde::{Deserialize, Serialize};

/// Port of the encoder's interface.
pub const PORT: u16 = 8080;
/// Port of the switch.
pub const CONTROL_PORT: u16 = 8090;

/// What the proxy does to answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "fault", rename_all = "camelCase", deny_unknown_fields)]
pub enum Fault {
    /// Nothing.
    #[default]
    None,
    /// 500 instead of an answer.
    Error,
    /// The answer comes later.
    Delay { milliseconds: u64 },
    /// The answer has other vectors: their coordinates reversed.
    Wrong,
}
