//! What the operator asks of the API server when nothing happens: 50 settled releases on one index, five minutes.
//!
//! Requests are counted in the audit log, never in the client. A watch counts when it begins.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, ensure};
use serde_json::json;

use super::ground::{Ground, LATER};
use crate::demo::objects::{Look, poll};
use crate::demo::{audit, install};
use crate::parts::report::Report;
use crate::parts::{process, size};
use rag_operator::api::RagRelease;

/// Nothing written for so long means settled.
const SETTLED: Duration = Duration::from_secs(60);

/// Makes the releases, lets them settle, counts.
pub async fn measure(ground: &Ground<'_>, report: &mut Report) -> Result<()> {
    let Some(log) = ground.cluster.audit.as_deref() else {
        report.note("Idle: not measured, it needs the audit log and the processes of the project's own cluster.");
        return Ok(());
    };
    let (releases, time) = (size(50, 3), size(Duration::from_secs(300), Duration::from_secs(20)));
    eprintln!("Making {releases} releases …");
    let names: Vec<String> = (0..releases).map(|n| format!("idle{n}")).collect();
    let requests = json!({"requests": {"cpu": "1m", "memory": "16Mi"}});
    let changes =
        [("/rollout/gates", json!([])), ("/rollout/steps", json!([{"weight": 100}])), ("/serving/resources", requests)];
    for name in &names {
        ground.release(name, &changes).await?;
    }
    for name in &names {
        ground.promoted(name).await?;
    }
    eprintln!("All serve; waiting until the operator has written nothing for {} s …", SETTLED.as_secs());
    if let Err(error) = settled(log).await {
        // Then the writes are counted, which is what the figure is for.
        report.note(format!("Idle: the operator did not come to rest: {error:#}"));
    }
    let pid = operator_process(ground).await?;
    eprintln!("Counting for {} s …", time.as_secs());
    let (mark, cpu) = (audit::mark(log)?, process::cpu(pid)?);
    tokio::time::sleep(time).await;
    ensure!(audit::mark(log)? >= mark, "the audit log was rotated while requests were counted; run the bench again");
    let (entries, used) = (audit::since(log, mark)?, process::cpu(pid)?.saturating_sub(cpu));
    let memory = process::memory(pid)?;
    let minutes = time.as_secs_f64() / 60.0;
    tell(report, &entries, releases, minutes);
    report.figure("idle: CPU of the operator", "ms/minute", vec![used.as_secs_f64() * 1e3 / minutes]);
    report.figure("idle: memory of the operator (RSS)", "MiB", vec![memory.resident]);
    report.figure("idle: of it anonymous", "MiB", vec![memory.anonymous]);
    report.figure("idle: the most it was since its start", "MiB", vec![memory.peak]);
    for name in &names {
        ground.delete::<RagRelease>(name).await?;
    }
    Ok(())
}

fn tell(report: &mut Report, entries: &[audit::Entry], releases: usize, minutes: f64) {
    let mut requests: BTreeMap<String, u32> = BTreeMap::new();
    let mut writes = 0_u32;
    for entry in entries.iter().filter(|entry| entry.by_operator() && counts(entry)) {
        let object = entry.object_ref.clone().unwrap_or_default();
        let subresource =
            if object.subresource.is_empty() { String::new() } else { format!("/{}", object.subresource) };
        let request = format!("{} {}{subresource}", entry.verb, object.resource);
        let count = requests.entry(request).or_default();
        *count = count.saturating_add(1);
        writes = writes.saturating_add(u32::from(entry.writes()));
    }
    let sum = requests.values().fold(0_u32, |sum, count| sum.saturating_add(*count));
    report.note(format!("Idle: {releases} settled releases on one index, {minutes:.1} minutes."));
    report.figure("idle: requests to the API server", "requests", vec![f64::from(sum)]);
    report.figure("idle: writes among them", "requests", vec![f64::from(writes)]);
    for (request, count) in requests {
        report.figure(format!("idle: {request}"), "requests", vec![f64::from(count)]);
    }
}

/// A watch is logged when it begins and when it ends, everything else once.
fn counts(entry: &audit::Entry) -> bool {
    if entry.verb == "watch" { entry.stage == "ResponseStarted" } else { entry.stage == "ResponseComplete" }
}

/// Waits until the operator has written nothing for a while.
async fn settled(log: &Path) -> Result<()> {
    let (mut mark, mut last) = (audit::mark(log)?, SystemTime::now());
    poll("the operator to write nothing for a minute", LATER, async || {
        let next = audit::mark(log)?;
        for entry in audit::since(log, mark)?.iter().filter(|entry| entry.by_operator() && entry.writes()) {
            last = last.max(entry.received()?);
        }
        mark = next;
        let passed = SystemTime::now().duration_since(last).unwrap_or_default();
        Ok(if passed >= SETTLED { Look::Done(()) } else { Look::NotYet(format!("{} s", passed.as_secs())) })
    })
    .await
}

/// The operator's process: the one of its pod's control group that runs `rag operator`.
async fn operator_process(ground: &Ground<'_>) -> Result<u32> {
    let pod = install::operator_pod(ground.cluster).await?;
    let uid = pod.metadata.uid.context("a pod without a UID")?;
    for entry in std::fs::read_dir("/proc")? {
        let path = entry?.path();
        let Some(pid) = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.parse::<u32>().ok())
        else {
            continue;
        };
        // A process may end while we look.
        let read = |file: &str| std::fs::read_to_string(path.join(file)).unwrap_or_default();
        let is_operator = read("cmdline").split('\0').any(|word| word == "operator");
        if is_operator && read("cgroup").contains(&uid) {
            return Ok(pid);
        }
    }
    anyhow::bail!("no process on this machine runs the operator's pod {uid}")
}
