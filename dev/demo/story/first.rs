//! a: models, index, gates and release are applied; the first release is held against its floors and serves.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use rag_operator::api::gate::{GateRun, VerdictWord};
use rag_operator::api::names::HEADER_REVISION;

use super::{GATE, RATE, Story};
use crate::demo::load::{Load, PATIENCE};
use crate::demo::objects::{Look, poll};
use crate::demo::web;

/// What the first release did.
pub struct FirstRelease {
    pub revision: String,
    pub version: String,
    pub documents: i64,
    pub chunks: i64,
    pub run: GateRun,
    pub question: String,
    pub answer_title: String,
    pub answer_revision: String,
    pub took: Duration,
}

impl Story<'_> {
    /// Applies everything, waits until users are served, asks a question, and lets the load begin.
    pub async fn first_release(&mut self) -> Result<FirstRelease> {
        let begin = Instant::now();
        for file in ["3-models", "4-index", "5-gates"] {
            self.apply(&format!("examples/handbook/{file}.yaml")).await?;
        }
        self.apply_release(&[]).await?;
        for model in ["wordllama", "tokenlearn"] {
            self.model_ready(model).await?;
        }
        let index = self.index_ready("handbook").await?.status.unwrap_or_default();
        for gate in [GATE, "live-slo"] {
            self.gate_ready(gate).await?;
        }
        let status = self.promoted("the first release to serve").await?;
        let stable = status.stable.context("Ready, but nothing is stable")?;
        let run = self.gate_run(&stable.revision, VerdictWord::Pass).await?;
        ensure!(run.baseline.is_none(), "a first release was compared with {:?}", run.baseline);
        let took = begin.elapsed();
        let question = self.dataset.queries.first().cloned().context("no query")?;
        let (answer_title, answer_revision) = self.ask(&question).await?;
        ensure!(
            answer_revision == stable.revision,
            "the answer came from {answer_revision}, stable is {}",
            stable.revision
        );
        self.load = Some(Load::start(&self.address, self.dataset.queries.clone(), RATE)?);
        self.serves = Some(stable.revision.clone());
        Ok(FirstRelease {
            revision: stable.revision,
            version: stable.version,
            documents: index.documents.unwrap_or(0),
            chunks: index.chunks.unwrap_or(0),
            run,
            question,
            answer_title,
            answer_revision,
            took,
        })
    }

    /// One question through the gateway: title of the best answer, and who gave it. The gateway may need a
    /// moment until it knows the route.
    async fn ask(&mut self, question: &str) -> Result<(String, String)> {
        let http = web::client(PATIENCE)?;
        let url = format!("{}/v1/search", self.address);
        let body = json!({"query": question, "k": 3});
        let mut asked = 0_usize;
        let answer = poll("an answer through the gateway", Duration::from_secs(15), async || {
            let response = match http.post(&url).json(&body).send().await {
                Ok(response) => response,
                Err(error) => return Ok(Look::NotYet(error.to_string())),
            };
            let status = response.status().as_u16();
            let revision = response.headers().get(HEADER_REVISION).and_then(|v| v.to_str().ok()).map(str::to_owned);
            if let Some(revision) = revision {
                asked = asked.saturating_add(1);
                if status == 200 {
                    return Ok(Look::Done((response.json::<Value>().await?, revision)));
                }
            }
            Ok(Look::NotYet(format!("status {status}")))
        })
        .await?;
        self.asked = self.asked.saturating_add(asked);
        let (body, revision) = answer;
        let best = body["results"].get(0).context("200, but no result")?;
        let title = best["title"].as_str().filter(|t| !t.is_empty()).or(best["document"].as_str());
        Ok((title.unwrap_or_default().to_owned(), revision))
    }
}
