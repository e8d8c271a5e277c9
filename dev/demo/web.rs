//! The one HTTP client: no proxy of the environment, and roots of its own, since an image that holds one program
//! has no certificates and reqwest makes no client without any.

use std::time::Duration;

use anyhow::Result;

/// A client whose requests end after `limit`.
pub fn client(limit: Duration) -> Result<reqwest::Client> {
    // A second installation in one process is no error: the first one stands.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let roots = rustls::RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    let tls = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let client = reqwest::Client::builder().tls_backend_preconfigured(tls).no_proxy().timeout(limit);
    Ok(client.pool_max_idle_per_host(64).build()?)
}
