//! `rag serve` as a child process, with the input of a pod.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use crate::parts::encoder::NullEncoder;
use rag_operator::api::index::Search;
use rag_operator::api::names::ENV_JOB;
use rag_operator::api::release::{Mode, Retrieval};
use rag_operator::store::Manifest;
use rag_operator::worker::job::{JobInput, ServeTask, Task};

/// A running server; dropping it ends it.
pub struct Server {
    _child: Child,
    pub pid: u32,
    /// Address of the traffic port.
    pub address: String,
}

impl Server {
    /// Serves the version `v1` below `root`.
    pub async fn start(root: &Path, manifest: &Manifest, encoder: &NullEncoder, mode: Mode) -> Result<Self> {
        let task = ServeTask {
            release: "bench".to_owned(),
            revision: "0123456789".to_owned(),
            version: "bench/v1".to_owned(),
            physical: "v1".to_owned(),
            content_digest: manifest.content_digest.clone(),
            search: Search::default(),
            retrieval: Retrieval { mode, ..Retrieval::default() },
            encoder: encoder.as_input(),
        };
        let input = JobInput { v: 1, run: "bench".to_owned(), task: Task::Serve(task) };
        let any = "127.0.0.1:0";
        let mut child = Command::new(env!("CARGO_BIN_EXE_rag"))
            .args(["serve", "--listen", any, "--evaluation", any, "--health", any, "--index"])
            .arg(root)
            .env(ENV_JOB, serde_json::to_string(&input)?)
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("cannot start rag serve")?;
        let pid = child.id().context("rag serve ended at once")?;
        let mut lines = BufReader::new(child.stderr.take().context("rag serve has no stderr")?).lines();
        let first = async {
            let mut said = Vec::new();
            while let Some(line) = lines.next_line().await? {
                if let Some(rest) = line.split("search at http://").nth(1) {
                    return Ok(rest.split('/').next().unwrap_or_default().to_owned());
                }
                said.push(line);
            }
            bail!("rag serve ended: {}", said.join("; "))
        };
        let address = tokio::time::timeout(Duration::from_secs(60), first)
            .await
            .context("rag serve names no address within 60 s")??;
        // What it says later is passed on; a pipe that nobody reads would stop it.
        tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                eprintln!("rag serve: {line}");
            }
        });
        Ok(Self { _child: child, pid, address })
    }
}
