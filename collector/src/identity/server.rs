//! The collector's own certificate: issued by its authority, or the operator's files. It is looked up at each handshake, so a new one needs no restart.

use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::authority::{Authority, AuthorityError};
use super::certificate::{certificates, describe};
use super::{files, trust};

/// A certificate with its key, and what there is to know about it.
#[derive(Debug)]
pub struct Own {
    key: Arc<CertifiedKey>,
    /// The authority that whoever connects has to know, when it is not ours: the last certificate of the operator's file.
    pub anchor: Option<CertificateDer<'static>>,
    /// When it is to be replaced, Unix milliseconds.
    pub renew_ms: i64,
    /// When it ends, Unix milliseconds.
    pub not_after_ms: i64,
}

impl Own {
    /// One that our authority makes for these names.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn issued(authority: &Authority, names: &[String], now_ms: i64) -> Result<Self, AuthorityError> {
        let (chain, key) = authority.issue_server(names, now_ms)?;
        let not_after_ms = chain.first().and_then(|leaf| describe(leaf)).map_or(now_ms, |says| says.not_after_ms);
        let key = certified(chain, key).map_err(|why| AuthorityError::Broken { path: "(in memory)".into(), why })?;
        Ok(Self { key, anchor: None, renew_ms: two_thirds(now_ms, not_after_ms), not_after_ms })
    }

    /// The operator's own.
    ///
    /// # Errors
    /// Which file is wrong, and how.
    pub fn given(cert_file: &Path, key_file: &Path) -> Result<Self, String> {
        let of = |what: &str, path: &Path, why: &str| format!("tls.{what}: {}: {why}", path.display());
        let chain = files::read(cert_file).map_err(|e| format!("tls.cert_file: {e}"))?;
        let chain = certificates(&chain).map_err(|why| of("cert_file", cert_file, &why))?;
        let key = files::read(key_file).map_err(|e| format!("tls.key_file: {e}"))?;
        let key = PrivateKeyDer::from_pem_slice(&key)
            .map_err(|e| of("key_file", key_file, &format!("it holds no key in PEM form: {e}")))?;
        let leaf = chain.first().and_then(|leaf| describe(leaf));
        let leaf = leaf.ok_or_else(|| of("cert_file", cert_file, "its first certificate cannot be read"))?;
        let anchor = chain.last().cloned();
        let key = certified(chain, key).map_err(|why| of("key_file", key_file, &why))?;
        Ok(Self { key, anchor, renew_ms: i64::MAX, not_after_ms: leaf.not_after_ms })
    }
}

/// When two thirds of a time are over.
#[must_use]
pub fn two_thirds(from_ms: i64, to_ms: i64) -> i64 {
    from_ms.saturating_add(to_ms.saturating_sub(from_ms) / 3 * 2)
}

fn certified(chain: Vec<CertificateDer<'static>>, key: PrivateKeyDer<'static>) -> Result<Arc<CertifiedKey>, String> {
    CertifiedKey::from_der(chain, key, &trust::provider())
        .map(Arc::new)
        .map_err(|e| format!("certificate and key do not go together: {e}"))
}

/// What a handshake shows.
#[derive(Debug)]
pub struct Shown(RwLock<Own>);

impl Shown {
    /// Shows this one from now on.
    #[must_use]
    pub fn new(own: Own) -> Self {
        Self(RwLock::new(own))
    }

    /// Shows another one from now on.
    pub fn replace(&self, own: Own) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = own;
    }

    /// Looks at the one that is shown.
    pub fn look<T>(&self, look: impl FnOnce(&Own) -> T) -> T {
        look(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.look(|own| Arc::clone(&own.key)))
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair};

    use super::*;
    use crate::identity::certificate::pem;

    #[test]
    fn the_operators_files_are_taken_or_named() {
        let folder = tempfile::tempdir().unwrap();
        let (cert, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
        let pair = KeyPair::generate().unwrap();
        let made = CertificateParams::new(vec!["localhost".to_owned()]).unwrap().self_signed(&pair).unwrap();
        std::fs::write(&cert, pem(made.der())).unwrap();
        let error = Own::given(&cert, &key).unwrap_err();
        assert!(error.starts_with("tls.key_file: cannot read "), "{error}");
        std::fs::write(&key, pair.serialize_pem()).unwrap();
        let own = Own::given(&cert, &key).unwrap();
        assert_eq!((own.anchor.as_ref(), own.renew_ms), (Some(made.der()), i64::MAX));
        std::fs::write(&key, KeyPair::generate().unwrap().serialize_pem()).unwrap();
        assert!(Own::given(&cert, &key).unwrap_err().contains("do not go together"));
        std::fs::write(&cert, "nothing").unwrap();
        let error = Own::given(&cert, &key).unwrap_err();
        assert!(error.starts_with("tls.cert_file: ") && error.contains("no certificate in PEM form"), "{error}");
    }

    #[test]
    fn two_thirds_of_a_time() {
        assert_eq!(two_thirds(100, 400), 300);
        assert_eq!(two_thirds(100, 100), 100);
        assert_eq!(two_thirds(i64::MAX - 10, i64::MAX), i64::MAX - 4);
    }
}
