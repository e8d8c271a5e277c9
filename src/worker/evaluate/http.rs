//! An arm behind HTTP: the evaluation port of `rag serve`.
//!
//! Invariants: every call has a time limit and every answer a size limit; connections that are refused and
//! answers 429, 502, 503 and 504 are tried again within that time, since a Service may refuse the first
//! connection to a pod that has just become ready; every answer must come from the revision found at the start; the first
//! answer of a traffic port ends the run.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures::future::BoxFuture;
use reqwest::{Client, RequestBuilder, StatusCode, Url};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::time::{Instant, sleep, timeout};

use super::arm::{DESCRIBED, SearchError, Searcher, Served};
use super::stopped::{Cause, Stopped};
use crate::answer::{self, Unread};
use crate::embedding::tls;
use crate::evaluation::lines::short;
use crate::evaluation::mixed::{self, Domains};
use crate::evaluation::run::Hit;
use crate::evaluation::silhouette::Silhouette;
use crate::metadata::Metadata;

/// Time for one question, with its repetitions.
const QUESTION: Duration = Duration::from_secs(10);
/// Time for the first word of an arm, which may have become ready a moment ago.
const FIRST_WORD: Duration = Duration::from_secs(30);
/// Time for what is told of the domains: the first who asks waits until the vectors are read.
const OF_DOMAINS: Duration = Duration::from_secs(30);
const CONNECT: Duration = Duration::from_secs(3);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// Largest answer: 10,000 chunks of 6 KiB.
const MOST_BYTES: usize = 64 << 20;

/// An arm behind HTTP.
pub struct HttpSearcher {
    client: Client,
    base: Url,
    search: Url,
    served: Served,
    /// Documents that are asked for their domain; an arm of an older program tells none.
    describe: Option<usize>,
    /// Where it tells how far its domains lie apart, if that is wanted; an arm of an older program has none.
    apart: Option<Url>,
    domains: Mutex<Domains>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RevisionAnswer {
    revision: String,
    content_digest: String,
    fingerprint: String,
    documents: Option<u64>,
    chunks: Option<u64>,
    #[serde(default)]
    describe: bool,
    #[serde(default)]
    domains: bool,
}

#[derive(Deserialize)]
struct SearchAnswer {
    revision: String,
    results: Vec<ResultAnswer>,
}

#[derive(Deserialize)]
struct ResultAnswer {
    document: String,
    score: f64,
    #[serde(default)]
    metadata: Metadata,
}

#[derive(Deserialize)]
struct DomainsAnswer {
    revision: String,
    silhouette: Option<Silhouette>,
}

/// An RFC 9457 problem document, as far as it is shown.
#[derive(Deserialize)]
struct ProblemAnswer {
    title: Option<String>,
    detail: Option<String>,
}

impl HttpSearcher {
    /// Asks the arm what it serves. `labelled`: the domains of documents are wanted.
    pub async fn connect(base: &Url, labelled: bool) -> Result<Self, Stopped> {
        let unreachable = |text: String| Stopped::new(Cause::EndpointUnavailable, text);
        let client = client().map_err(unreachable)?;
        let (revision, search) = (below(base, "v1/revision"), below(base, "v1/search"));
        let answer: RevisionAnswer = call(|| client.get(revision.clone()), FIRST_WORD)
            .await
            .map_err(|why| unreachable(format!("{base} does not say what it serves: {why}")))?;
        let served = Served {
            revision: answer.revision,
            content_digest: answer.content_digest,
            fingerprint: answer.fingerprint,
            documents: answer.documents,
            chunks: answer.chunks,
        };
        let describe = (labelled && answer.describe).then_some(DESCRIBED);
        let apart = (labelled && answer.domains).then(|| below(base, "v1/domains"));
        Ok(Self { client, base: base.clone(), search, served, describe, apart, domains: Mutex::default() })
    }
}

impl Searcher for HttpSearcher {
    fn served(&self) -> &Served {
        &self.served
    }

    fn domains(&self) -> Domains {
        self.domains.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn silhouette(&self) -> BoxFuture<'_, Result<Option<Silhouette>, String>> {
        Box::pin(async move {
            let Some(url) = &self.apart else { return Ok(None) };
            let answer: DomainsAnswer =
                call(|| self.client.get(url.clone()), OF_DOMAINS).await.map_err(|why| why.to_string())?;
            if answer.revision != self.served.revision {
                let (found, measured) = (short(&answer.revision), &self.served.revision);
                return Err(format!("answered from revision {found}, but {measured} was measured"));
            }
            let bounded = |told: Silhouette| told.bounded().ok_or("the answer is out of bounds");
            Ok(answer.silhouette.map(bounded).transpose()?)
        })
    }

    fn search<'a>(&'a self, query: &'a str, chunks: usize) -> BoxFuture<'a, Result<Vec<Hit>, SearchError>> {
        Box::pin(async move {
            let mut body = serde_json::json!({"query": query, "k": chunks, "noCache": true});
            if let (Some(documents), Some(fields)) = (self.describe, body.as_object_mut()) {
                fields.insert("describe".to_owned(), documents.into());
            }
            let request = || self.client.post(self.search.clone()).json(&body);
            let answer: SearchAnswer = call(request, QUESTION).await.map_err(|why| match why {
                Unanswered::TrafficPort => SearchError::WrongPort(format!(
                    "{} is the traffic port of rag serve, which does not take what an evaluation asks; give its evaluation \
                     port (--evaluation of rag serve, 8081 where nothing else is said)",
                    self.base
                )),
                Unanswered::Other(text) => SearchError::Failed(text),
            })?;
            if answer.revision != self.served.revision {
                return Err(SearchError::OtherRevision(format!(
                    "{} answered from revision {}, but {} was to be measured; run again when the arm has settled",
                    self.search,
                    short(&answer.revision),
                    self.served.revision
                )));
            }
            if answer.results.len() > chunks {
                let text = format!("answered with {} results where {chunks} were asked", answer.results.len());
                return Err(SearchError::Failed(text));
            }
            if answer.results.iter().any(|r| r.document.is_empty()) {
                return Err(SearchError::Failed("answered with a result without a document id".to_owned()));
            }
            let domain = |r: &ResultAnswer| Some(mixed::of_document(&r.metadata)?.to_owned());
            let told = answer.results.iter().filter_map(|r| Some((r.document.clone(), domain(r)?)));
            self.domains.lock().unwrap_or_else(PoisonError::into_inner).extend(told);
            Ok(answer.results.into_iter().map(|r| Hit { document: r.document, score: r.score }).collect())
        })
    }
}

/// Below the base address, whether or not that ends with a slash.
fn below(base: &Url, path: &str) -> Url {
    let mut url = base.clone();
    url.set_query(None);
    url.set_fragment(None);
    url.set_path(&format!("{}/{path}", base.path().trim_end_matches('/')));
    url
}

fn client() -> Result<Client, String> {
    Client::builder()
        .tls_backend_preconfigured(tls::config(None).map_err(|e| e.to_string())?)
        .connect_timeout(CONNECT)
        .timeout(FIRST_WORD)
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .map_err(|e| format!("the HTTP client cannot start: {}", answer::cause(&e)))
}

/// Why a call has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
enum Unanswered {
    /// `GET /v1/revision` is the same on both ports; only a question tells them apart, by the fields that are taken.
    #[error("this is the traffic port of rag serve")]
    TrafficPort,
    #[error("{0}")]
    Other(String),
}

/// Why one try gave nothing.
enum Try {
    Again(String),
    Never(Unanswered),
}

/// Tries until there is an answer, an error that stays, or no time left.
async fn call<T: DeserializeOwned>(request: impl Fn() -> RequestBuilder, time: Duration) -> Result<T, Unanswered> {
    let began = Instant::now();
    let mut pause = FIRST_PAUSE;
    let mut last = None;
    loop {
        match timeout(time.saturating_sub(began.elapsed()), once(request())).await {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(Try::Never(why))) => return Err(why),
            Ok(Err(Try::Again(why))) => last = Some(why),
            Err(_) => {
                let text = last.unwrap_or_else(|| format!("no answer within {} s", time.as_secs()));
                return Err(Unanswered::Other(text));
            }
        }
        if began.elapsed().saturating_add(pause) >= time {
            return Err(Unanswered::Other(last.unwrap_or_default()));
        }
        sleep(pause).await;
        pause = pause.saturating_mul(2).min(LONGEST_PAUSE);
    }
}

async fn once<T: DeserializeOwned>(request: RequestBuilder) -> Result<T, Try> {
    let response = request.send().await.map_err(|e| Try::Again(answer::cause(&e)))?;
    let status = response.status();
    let body = answer::read(response, MOST_BYTES).await.map_err(|unread| match unread {
        Unread::TooLong(_) => Try::Never(Unanswered::Other(unread.to_string())),
        Unread::Broken(_) => Try::Again(unread.to_string()),
    })?;
    if status != StatusCode::OK {
        let why = refusal(status, &body);
        return Err(match status {
            StatusCode::BAD_REQUEST if of_traffic_port(&why) => Try::Never(Unanswered::TrafficPort),
            StatusCode::TOO_MANY_REQUESTS
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT => Try::Again(why),
            _ => Try::Never(Unanswered::Other(why)),
        });
    }
    serde_json::from_slice(&body)
        .map_err(|e| Try::Never(Unanswered::Other(format!("the answer is not the retrieval API's: {e}"))))
}

/// Whether a refusal names a field that an evaluation port takes and a traffic port does not know.
fn of_traffic_port(refusal: &str) -> bool {
    ["noCache", "describe"].iter().any(|field| refusal.contains(&format!("unknown field `{field}`")))
}

fn refusal(status: StatusCode, body: &[u8]) -> String {
    let problem = serde_json::from_slice::<ProblemAnswer>(body).ok();
    let text =
        problem.and_then(|p| p.detail.or(p.title)).map(|t| format!(": {}", t.chars().take(300).collect::<String>()));
    format!("answered {}{}", status.as_u16(), text.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stand_below_the_base_address() {
        for (base, expected) in [
            ("http://arm:8081", "http://arm:8081/v1/search"),
            ("http://arm:8081/", "http://arm:8081/v1/search"),
            ("https://gateway/handbook/?x=1#y", "https://gateway/handbook/v1/search"),
        ] {
            assert_eq!(below(&base.parse().unwrap(), "v1/search").as_str(), expected);
        }
    }

    #[test]
    fn a_refusal_shows_what_the_arm_said() {
        let of = |body: &[u8]| refusal(StatusCode::BAD_REQUEST, body);
        assert_eq!(
            of(br#"{"title":"Bad Request","detail":"k must be at most 100"}"#),
            "answered 400: k must be at most 100"
        );
        assert_eq!(of(br#"{"title":"Bad Request"}"#), "answered 400: Bad Request");
        assert_eq!(of(b"<html>"), "answered 400");
    }
}
