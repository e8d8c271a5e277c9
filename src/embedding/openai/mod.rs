//! A client of servers with an OpenAI-compatible `POST {url}/embeddings`.
//!
//! Why own code and not a client crate: what must hold (order, count, length, finite numbers, one retry
//! policy, a rotating token) is little, and generic clients hide exactly these.
//!
//! Invariants: at most `max_concurrency` requests are in flight; each has a time limit; all attempts of one
//! request end within [`Patience::total`]; an answer is read up to the size that its vectors can have; no error
//! holds the token, a text or the server's own words, since errors end in an object's status.
#![allow(clippy::disallowed_methods)] // It looks at the clock.

use std::path::PathBuf;
use std::time::Duration;

use futures::future::{BoxFuture, FutureExt as _};
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use reqwest::header::{AUTHORIZATION, HeaderValue, RETRY_AFTER};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::{EmbedError, Encoder, Settings, Side, tls};
use crate::answer::{self, Unread};

mod retry;
mod wire;

pub use retry::Patience;

/// Where an encoder answers and how it may be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Base address with `/v1`.
    pub url: String,
    /// Texts in one request.
    pub batch_size: usize,
    /// Requests in flight at once.
    pub max_concurrency: usize,
    /// Time limit of one attempt.
    pub timeout: Duration,
    /// File with the bearer token; read for each request, so that a rotated token is used at once.
    pub api_key: Option<PathBuf>,
    /// PEM certificates to trust beside the built-in roots.
    pub ca_bundle: Option<PathBuf>,
    pub patience: Patience,
}

impl Endpoint {
    /// An address with the defaults of the API.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            batch_size: 64,
            max_concurrency: 4,
            timeout: Duration::from_secs(30),
            api_key: None,
            ca_bundle: None,
            patience: Patience::BUILD,
        }
    }
}

/// The client.
pub struct Client {
    http: reqwest::Client,
    /// `{url}/embeddings`.
    address: reqwest::Url,
    endpoint: Endpoint,
    settings: Settings,
    in_flight: Semaphore,
}

impl Client {
    /// Checks the address and the CA bundle; sends nothing.
    pub fn new(endpoint: Endpoint, settings: Settings) -> Result<Self, EmbedError> {
        let address = address(&endpoint.url)?;
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(tls::config(endpoint.ca_bundle.as_deref())?)
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(endpoint.timeout.min(Duration::from_secs(5)))
            .timeout(endpoint.timeout)
            .user_agent(concat!("rag-operator/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| EmbedError::Invalid(format!("no HTTP client for the encoder: {error}")))?;
        let in_flight = Semaphore::new(endpoint.max_concurrency.max(1));
        Ok(Self { http, address, endpoint, settings, in_flight })
    }

    /// Vectors as the encoder returns them: prefixes applied, neither length checked nor normalised. For the
    /// probe, which reports what it finds.
    pub async fn raw(&self, texts: &[String], side: Side) -> Result<Vec<Vec<f32>>, EmbedError> {
        let batches: Vec<Vec<String>> = texts
            .chunks(self.endpoint.batch_size.max(1))
            .map(|batch| batch.iter().map(|text| self.settings.prefixed(text, side)).collect())
            .collect();
        let answers: Vec<Vec<Vec<f32>>> = stream::iter(batches)
            .map(|batch| self.batch(batch))
            .buffered(self.endpoint.max_concurrency.max(1))
            .try_collect()
            .await?;
        Ok(answers.into_iter().flatten().collect())
    }

    /// Time for all attempts of one request.
    pub fn total(&self) -> Duration {
        self.endpoint.patience.total(self.endpoint.timeout)
    }

    /// One request with its attempts.
    async fn batch(&self, texts: Vec<String>) -> Result<Vec<Vec<f32>>, EmbedError> {
        let patience = self.endpoint.patience;
        let total = self.total();
        let began = Instant::now();
        let mut jitter = retry::Jitter::new();
        let mut attempt = 1_u32;
        loop {
            let (text, wait) = match self.attempt(&texts, began).await {
                Attempt::Done(vectors) => return Ok(vectors),
                Attempt::Failed(error) => return Err(error),
                Attempt::Again { text, wait } => (text, wait),
            };
            let wait = wait.unwrap_or_else(|| retry::backoff(attempt, &mut jitter));
            if attempt >= patience.attempts || began.elapsed().saturating_add(wait) >= total {
                return Err(EmbedError::Unavailable(format!(
                    "the encoder at {} gave no vectors in {attempt} attempts: {text}",
                    self.shown()
                )));
            }
            tracing::debug!(attempt, wait_ms = wait.as_millis() as u64, reason = %text, "encoder asked again");
            tokio::time::sleep(wait).await;
            attempt = attempt.saturating_add(1);
        }
    }

    /// One try, the wait for its turn included, cut where the time of all tries ends.
    async fn attempt(&self, texts: &[String], began: Instant) -> Attempt {
        let left = self.total().saturating_sub(began.elapsed());
        let turn = async {
            let Ok(_permit) = self.in_flight.acquire().await else {
                return Attempt::Failed(EmbedError::Unavailable("the encoder's client is closed".to_owned()));
            };
            self.send(texts).await
        };
        match tokio::time::timeout(left, turn).await {
            Ok(done) => done,
            Err(_) => Attempt::Again { text: "the time for all attempts ran out".to_owned(), wait: None },
        }
    }

    async fn send(&self, texts: &[String]) -> Attempt {
        let body = wire::Request { model: &self.settings.model, input: texts, encoding_format: "base64" };
        let mut request = self.http.post(self.address.clone()).json(&body);
        match self.token().await {
            Ok(Some(token)) => request = request.header(AUTHORIZATION, token),
            Ok(None) => {}
            Err(error) => return Attempt::Failed(error),
        }
        let response = match request.send().await {
            Ok(response) => response,
            Err(error) => return Attempt::Again { text: reason(&error), wait: None },
        };
        let status = response.status();
        if status.is_success() {
            let limit = wire::answer_limit(texts.len(), self.settings.dimensions.max(8192));
            return match answer::read(response, limit).await {
                Ok(bytes) => match wire::decode(&bytes, texts.len()) {
                    Ok(vectors) => Attempt::Done(vectors),
                    Err(text) => Attempt::Failed(EmbedError::Invalid(format!("{}: {text}", self.shown()))),
                },
                Err(Unread::Broken(error)) => Attempt::Again { text: reason(&error), wait: None },
                Err(long @ Unread::TooLong(_)) => Attempt::Again { text: long.to_string(), wait: None },
            };
        }
        if retry::transient(status.as_u16()) {
            let named = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
            return Attempt::Again { text: format!("it answered {status}"), wait: retry::retry_after(named) };
        }
        // The server's own words may quote a key or a text; they go to the log at debug level only.
        let words = answer::read(response, 4096).await.unwrap_or_default();
        tracing::debug!(%status, words = %String::from_utf8_lossy(&words), "encoder refused");
        let text = format!(
            "the encoder at {} refused {} texts for model {:?} with {status}{}",
            self.shown(),
            texts.len(),
            self.settings.model,
            advice(status.as_u16())
        );
        Attempt::Failed(match status.as_u16() {
            // Servers say with each of them that a text is too long.
            status @ (400 | 413 | 422) => EmbedError::Refused { status, text },
            _ => EmbedError::Invalid(text),
        })
    }

    /// The header with the token as it stands in the file now.
    async fn token(&self) -> Result<Option<HeaderValue>, EmbedError> {
        let Some(path) = &self.endpoint.api_key else { return Ok(None) };
        let text = tokio::fs::read_to_string(path)
            .await
            .map_err(|error| EmbedError::Invalid(format!("cannot read the API key in {}: {error}", path.display())))?;
        let mut value = HeaderValue::try_from(format!("Bearer {}", text.trim())).map_err(|_| {
            EmbedError::Invalid(format!("the API key in {} has characters that no header can carry", path.display()))
        })?;
        value.set_sensitive(true);
        Ok(Some(value))
    }

    /// The address for errors: scheme, host, port and path; a query may hold a secret.
    fn shown(&self) -> String {
        let mut url = self.address.clone();
        url.set_query(None);
        url.set_fragment(None);
        url.to_string()
    }
}

/// What one try gave.
enum Attempt {
    Done(Vec<Vec<f32>>),
    Failed(EmbedError),
    Again { text: String, wait: Option<Duration> },
}

impl Encoder for Client {
    fn embed<'a>(&'a self, texts: &'a [String], side: Side) -> BoxFuture<'a, Result<Vec<Vec<f32>>, EmbedError>> {
        async move {
            let vectors = self.raw(texts, side).await?;
            Ok(self.settings.normalized(self.settings.checked(vectors, texts.len())?))
        }
        .boxed()
    }

    fn dimensions(&self) -> usize {
        self.settings.dimensions
    }
}

/// `{url}/embeddings` of a base address.
fn address(url: &str) -> Result<reqwest::Url, EmbedError> {
    let invalid = |text: &str| EmbedError::Invalid(format!("encoder address {text}"));
    let mut parsed = reqwest::Url::parse(url)
        .map_err(|error| invalid(&format!("is not a URL ({error}); write http://host:port/v1 or https://host/v1")))?;
    if !matches!(parsed.scheme(), "http" | "https") {
        return Err(invalid(&format!("has scheme {}; write http or https", parsed.scheme())));
    }
    if !parsed.username().is_empty() || parsed.password().is_some() {
        return Err(invalid("carries user info; put the token into a file (a Secret's key) instead"));
    }
    let path = format!("{}/embeddings", parsed.path().trim_end_matches('/'));
    parsed.set_path(&path);
    Ok(parsed)
}

/// Why a request failed, in plain words and without its URL.
fn reason(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "it did not answer in time".to_owned();
    }
    let what = if error.is_connect() { "no connection" } else { "the answer broke off" };
    format!("{what}: {}", answer::cause(error))
}

/// What to look at first.
fn advice(status: u16) -> &'static str {
    match status {
        401 | 403 => "; check the Secret that spec.endpoint names",
        404 => "; check that the address ends with the server's /v1 and that it has this model",
        413 => "; lower batchSize or the chunk size",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        assert_eq!(address("http://e:8080/v1").unwrap().as_str(), "http://e:8080/v1/embeddings");
        assert_eq!(address("https://e/v1/").unwrap().as_str(), "https://e/v1/embeddings");
        for (url, words) in [("e:8080", "scheme"), ("http://u:p@e/v1", "user info"), ("nonsense", "not a URL")] {
            let error = address(url).unwrap_err().to_string();
            assert!(error.contains(words) && !error.contains("u:p"), "{error}");
        }
    }
}
