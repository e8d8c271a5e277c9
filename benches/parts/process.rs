//! What the kernel says of a process: processor time and memory.

use std::time::Duration;

use anyhow::{Context as _, Result};

/// Processor time that a process has used, its children not counted. In steps of 10 ms.
pub fn cpu(pid: u32) -> Result<Duration> {
    let path = format!("/proc/{pid}/stat");
    let stat = std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    // The name of the program stands in brackets and may hold blanks; utime and stime are fields 14 and 15.
    let after_name = stat.rsplit_once(')').map(|(_, rest)| rest).unwrap_or_default();
    let mut ticks = after_name.split_whitespace().skip(11).map(str::parse::<u64>);
    let (Some(Ok(user)), Some(Ok(system))) = (ticks.next(), ticks.next()) else {
        anyhow::bail!("{path} has another form than expected");
    };
    // The kernel shows 100 ticks a second to programs, whatever it counts in.
    Ok(Duration::from_millis(user.saturating_add(system).saturating_mul(10)))
}

/// Memory of a process in MiB.
pub struct Memory {
    /// Resident now.
    pub resident: f64,
    /// The part of it that no file backs.
    pub anonymous: f64,
    /// The most that was resident.
    pub peak: f64,
}

pub fn memory(pid: u32) -> Result<Memory> {
    let path = format!("/proc/{pid}/status");
    let status = std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    let mib = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name));
        let kib = line.and_then(|line| line.split_whitespace().nth(1)).and_then(|kib| kib.parse::<f64>().ok());
        kib.map(|kib| kib / 1024.0).with_context(|| format!("{path} shows no {name}"))
    };
    Ok(Memory { resident: mib("VmRSS")?, anonymous: mib("RssAnon")?, peak: mib("VmHWM")? })
}
