//! Whose certificates a client of this program trusts: the built-in roots, and those of a PEM bundle.
//!
//! Why own roots: the image is one static program without a certificate directory.
//!
//! Invariant: every client of a worker, whether it asks encoders or retrieval servers, is set up here.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};

use super::EmbedError;

/// The TLS side of a client.
pub fn config(bundle: Option<&Path>) -> Result<ClientConfig, EmbedError> {
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    if let Some(path) = bundle {
        add_bundle(&mut roots, path)?;
    }
    ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| EmbedError::Invalid(format!("TLS cannot be set up: {error}")))
        .map(|builder| builder.with_root_certificates(roots).with_no_client_auth())
}

fn add_bundle(roots: &mut RootCertStore, path: &Path) -> Result<(), EmbedError> {
    let invalid = |text: String| EmbedError::Invalid(format!("CA bundle {}: {text}", path.display()));
    let bytes = std::fs::read(path).map_err(|error| invalid(format!("cannot be read: {error}")))?;
    let mut any = false;
    for (number, certificate) in (1_u64..).zip(CertificateDer::pem_slice_iter(&bytes)) {
        let certificate = certificate.map_err(|error| invalid(format!("certificate {number}: {error}")))?;
        roots.add(certificate).map_err(|error| invalid(format!("certificate {number}: {error}")))?;
        any = true;
    }
    if !any {
        return Err(invalid("holds no certificate in PEM form (-----BEGIN CERTIFICATE-----)".to_owned()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bundle_without_certificates_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ca.crt");
        std::fs::write(&path, "hello").unwrap();
        let error = config(Some(&path)).err().unwrap().to_string();
        assert!(error.contains("holds no certificate"), "{error}");
        assert!(config(Some(&dir.path().join("absent"))).err().unwrap().to_string().contains("cannot be read"));
        assert!(config(None).is_ok());
    }
}
