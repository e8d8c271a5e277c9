//! Answers of HTTP servers that are asked: encoders, arms of an evaluation, pods with their counters.
//!
//! Why one place: whoever answers may send anything, and each of them is read with a bound. Invariants: no more is held
//! than the caller allows and one part; why a request failed is said without its address, which may be secret.

use std::error::Error;

/// Why there is no whole answer.
#[derive(Debug, thiserror::Error)]
pub enum Unread {
    #[error("the answer has more than {0} bytes")]
    TooLong(usize),
    #[error("{}", cause(.0))]
    Broken(reqwest::Error),
}

/// The body of an answer, which may have at most so many bytes.
pub async fn read(mut response: reqwest::Response, most: usize) -> Result<Vec<u8>, Unread> {
    let mut body = Vec::new();
    while let Some(part) = response.chunk().await.map_err(Unread::Broken)? {
        if body.len().saturating_add(part.len()) > most {
            return Err(Unread::TooLong(most));
        }
        body.extend_from_slice(&part);
    }
    Ok(body)
}

/// The innermost cause says what happened ("connection refused"), the outer ones only where.
pub fn cause(error: &reqwest::Error) -> String {
    let mut innermost: &dyn Error = error;
    while let Some(inner) = innermost.source() {
        innermost = inner;
    }
    innermost.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn answered(body: &'static str, most: usize) -> Result<Vec<u8>, Unread> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let app = axum::Router::new().fallback(move || async move { body });
        let server = tokio::spawn(async move { axum::serve(listener, app).await });
        let client = reqwest::Client::builder().tls_backend_preconfigured(crate::embedding::tls::config(None).unwrap());
        let client = client.no_proxy().build().unwrap();
        let response = client.get(format!("http://{address}/")).send().await.unwrap();
        let read = read(response, most).await;
        server.abort();
        let gone = client.get("http://127.0.0.1:1/secret").send().await.unwrap_err();
        assert!(!cause(&gone).contains("secret"), "{}", cause(&gone));
        read
    }

    #[tokio::test]
    async fn an_answer_is_read_up_to_its_bound_and_never_further() {
        assert_eq!(answered("12345", 5).await.unwrap(), b"12345");
        assert_eq!(answered("123456", 5).await.unwrap_err().to_string(), "the answer has more than 5 bytes");
    }
}
