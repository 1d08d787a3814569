//! Whose certificates are taken: those of the collector's own authority, and those of an authority of the operator's (`tls.client_ca_file`).
//!
//! The two differ afterwards: a node of our own authority has to be on record with exactly its key, of another's authority we know only the
//! roots. What was verified at a handshake is verified again after it: a session that is resumed brings the certificate of its first handshake,
//! which may have ended since, or be of a root that was retired.

use std::cell::RefCell;
use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    AlertDescription, CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore, SignatureScheme,
};

use super::authority::day;
use super::certificate::{Described, describe};

/// Whose authority issued a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The collector's own.
    Own,
    /// That of `tls.client_ca_file`.
    Given,
}

/// Verifies certificates of clients; one that shows none is a tool, which signs in otherwise.
#[derive(Debug)]
pub struct Trust {
    own: Option<Arc<dyn ClientCertVerifier>>,
    given: Option<Arc<dyn ClientCertVerifier>>,
    hints: Vec<DistinguishedName>,
    provider: Arc<CryptoProvider>,
}

tokio::task_local! {
    /// What the client of this task's handshake showed, for words about why it was not taken.
    static SHOWN: RefCell<Option<Described>>;
}

/// Runs a handshake; gives also what the client showed and was refused for.
pub async fn watching<T>(handshake: impl Future<Output = T>) -> (T, Option<Described>) {
    let work = async {
        let result = handshake.await;
        (result, SHOWN.with(RefCell::take))
    };
    SHOWN.scope(RefCell::new(None), work).await
}

/// The cryptography of all our TLS.
#[must_use]
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

impl Trust {
    /// Trust in these roots.
    ///
    /// # Errors
    /// When one of them cannot be used.
    pub fn new(own: &[CertificateDer<'static>], given: &[CertificateDer<'static>]) -> Result<Self, String> {
        let provider = provider();
        let mut hints = Vec::new();
        let mut verifier = |roots: &[CertificateDer<'static>]| -> Result<Option<Arc<dyn ClientCertVerifier>>, String> {
            if roots.is_empty() {
                return Ok(None);
            }
            let mut store = RootCertStore::empty();
            for root in roots {
                store.add(root.clone()).map_err(|e| format!("a root cannot be used: {e}"))?;
            }
            hints.extend(store.subjects());
            let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(store), Arc::clone(&provider));
            builder.build().map(Some).map_err(|e| format!("the roots cannot be used: {e}"))
        };
        let (own, given) = (verifier(own)?, verifier(given)?);
        Ok(Self { own, given, hints, provider })
    }

    /// Verifies a chain, the certificate of the client first.
    ///
    /// # Errors
    /// Why it is not taken.
    pub fn origin(&self, chain: &[CertificateDer<'_>], now: UnixTime) -> Result<Origin, Error> {
        let Some((leaf, others)) = chain.split_first() else { return Err(Error::NoCertificatesPresented) };
        let ask = |verifier: &Option<Arc<dyn ClientCertVerifier>>| match verifier {
            Some(verifier) => verifier.verify_client_cert(leaf, others, now).map(drop),
            None => Err(CertificateError::UnknownIssuer.into()),
        };
        let Err(why) = ask(&self.own) else { return Ok(Origin::Own) };
        match ask(&self.given) {
            Ok(()) => Ok(Origin::Given),
            // Whichever of the two knows its issuer says more.
            Err(other) if is_unknown(&why) => Err(other),
            Err(_) => Err(why),
        }
    }
}

fn is_unknown(error: &Error) -> bool {
    matches!(error, Error::InvalidCertificate(CertificateError::UnknownIssuer))
}

impl ClientCertVerifier for Trust {
    fn offer_client_auth(&self) -> bool {
        self.own.is_some() || self.given.is_some()
    }

    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.hints
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let chain: Vec<_> = std::iter::once(end_entity).chain(intermediates).cloned().collect();
        self.origin(&chain, now).map(|_| ClientCertVerified::assertion()).inspect_err(|_| {
            // Outside of a handshake nobody asks.
            let _ = SHOWN.try_with(|shown| shown.replace(describe(end_entity)));
        })
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// Why a handshake failed and what to do, in words; what the client showed makes them clearer.
#[must_use]
pub fn words(error: &Error, shown: Option<&Described>) -> String {
    match error {
        Error::InvalidCertificate(error) => refused(error, shown),
        Error::AlertReceived(alert) => complaint(*alert),
        other => format!("the handshake failed: {other}"),
    }
}

/// Why we do not take a certificate.
fn refused(error: &CertificateError, shown: Option<&Described>) -> String {
    let name = shown.map_or("?", |says| says.name.as_str());
    let when = |ms: fn(&Described) -> i64| shown.map_or_else(|| "an unknown time".into(), |says| day(ms(says)));
    match error {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => format!(
            "the certificate of {name} ended on {}: the agent renews it over HTTPS with its key within the grace time, else enrol the node again; or this machine's clock is ahead",
            when(|says| says.not_after_ms)
        ),
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => format!(
            "the certificate of {name} is valid from {} on only: is this machine's clock behind?",
            when(|says| says.not_before_ms)
        ),
        CertificateError::UnknownIssuer if shown.is_some_and(|says| says.is_self_issued) => {
            format!(
                "the certificate of {name} is signed by itself: enrol the node, or name its authority in tls.client_ca_file"
            )
        }
        CertificateError::UnknownIssuer => format!(
            "the certificate of {name} is of another authority, or of a root that was retired: enrol the node here, or name that authority in tls.client_ca_file"
        ),
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            format!("the certificate of {name} is none for clients")
        }
        other => format!("the certificate of {name} cannot be taken: {other}"),
    }
}

/// Why a client does not take ours, as far as it says.
fn complaint(alert: AlertDescription) -> String {
    match alert {
        AlertDescription::UnknownCA => {
            "the client does not know our authority: give it the roots (`tacit ca show --pem`), or enrol the node again".into()
        }
        AlertDescription::CertificateExpired => {
            "the client says that our certificate is not valid at this time: its clock is wrong, or ours".into()
        }
        AlertDescription::BadCertificate | AlertDescription::CertificateUnknown => {
            "the client does not take our certificate: does identity.names hold the name by which it calls us, and is its clock right?".into()
        }
        other => format!("the client ended the handshake: {other:?}"),
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyPair};

    use super::*;

    fn alone(name: &str) -> CertificateDer<'static> {
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().clone()
    }

    #[tokio::test]
    async fn nobody_is_trusted_without_roots() {
        let trust = Trust::new(&[], &[]).unwrap();
        assert!(!trust.offer_client_auth());
        let chain = [alone("web-1")];
        assert!(is_unknown(&trust.origin(&chain, UnixTime::now()).unwrap_err()));
        assert_eq!(trust.origin(&[], UnixTime::now()), Err(Error::NoCertificatesPresented));
        let (verified, shown) =
            watching(async { trust.verify_client_cert(&chain[0], &[], UnixTime::now()).map(drop) }).await;
        let said = words(&verified.unwrap_err(), shown.as_ref());
        assert!(said.starts_with("the certificate of web-1 is signed by itself: enrol the node"), "{said}");
    }

    #[test]
    fn each_reason_has_its_words() {
        let mut says = describe(&alone("web-1")).unwrap();
        (says.not_before_ms, says.not_after_ms) = (1_800_000_000_000, 1_800_000_060_000);
        says.is_self_issued = false;
        let said = |error: CertificateError| words(&error.into(), Some(&says));
        assert!(said(CertificateError::Expired).contains("web-1 ended on 2027-01-15 08:01 UTC"));
        assert!(
            said(CertificateError::NotValidYet).contains("from 2027-01-15 08:00 UTC on only: is this machine's clock")
        );
        assert!(said(CertificateError::UnknownIssuer).contains("of another authority"));
        assert!(said(CertificateError::InvalidPurpose).contains("none for clients"));
        assert!(
            words(&CertificateError::Expired.into(), None).contains("the certificate of ? ended on an unknown time")
        );
        let told = |alert| words(&Error::AlertReceived(alert), None);
        assert!(told(AlertDescription::UnknownCA).contains("tacit ca show"));
        assert!(told(AlertDescription::CertificateExpired).contains("clock is wrong"));
        assert!(told(AlertDescription::BadCertificate).contains("identity.names"));
        assert!(told(AlertDescription::HandshakeFailure).contains("HandshakeFailure"));
    }
}
