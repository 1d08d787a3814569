//! What a certificate or a request for one says. Nothing is judged here: rustls verifies certificates, [`super::enrol`] decides about requests.

use rcgen::{PKCS_ECDSA_P256_SHA256, PublicKeyData as _, SubjectPublicKeyInfo};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, CertificateSigningRequestDer};
use tacit_wire::{Digest, NodeId, SiteId};
use x509_parser::certificate::X509Certificate;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer as _;

/// Scheme of the name that says which node of which site somebody is: `tacit://SITE/NODE`.
pub const SCHEME: &str = "tacit://";
/// Bytes of an uncompressed point of P-256.
const POINT: usize = 65;
/// Letters of a name that are shown.
const SHOWN: usize = 64;
/// Columns of a PEM text.
const COLUMNS: usize = 64;

/// What a certificate says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Described {
    /// The common name, for messages; empty when there is none.
    pub name: String,
    /// Node and site, when it is the certificate of a node.
    pub whose: Option<(NodeId, SiteId)>,
    /// SHA-256 over its public key.
    pub key: [u8; 32],
    /// Its number, in hexadecimal digits.
    pub serial: String,
    /// Since when it is valid, Unix milliseconds.
    pub not_before_ms: i64,
    /// Until when, Unix milliseconds.
    pub not_after_ms: i64,
    /// Whether it was issued under its own name.
    pub is_self_issued: bool,
    /// Whether it may issue others.
    pub is_authority: bool,
}

/// Reads a certificate; `None` when it is none.
#[must_use]
pub fn describe(der: &[u8]) -> Option<Described> {
    let (rest, x509) = x509_parser::parse_x509_certificate(der).ok()?;
    if !rest.is_empty() {
        return None;
    }
    let name = common_name(&x509);
    let ms = |seconds: i64| seconds.saturating_mul(1000);
    Some(Described {
        whose: name.as_deref().and_then(|name| whose(&x509, name)),
        name: name.unwrap_or_default().chars().filter(|c| !c.is_control()).take(SHOWN).collect(),
        key: Digest::of(x509.public_key().raw).0,
        serial: serial(x509.raw_serial()),
        not_before_ms: ms(x509.validity().not_before.timestamp()),
        not_after_ms: ms(x509.validity().not_after.timestamp()),
        is_self_issued: x509.subject().as_raw() == x509.issuer().as_raw(),
        is_authority: x509.is_ca(),
    })
}

/// The common name, when there is exactly one.
fn common_name(x509: &X509Certificate<'_>) -> Option<String> {
    let mut names = x509.subject().iter_common_name();
    let name = names.next()?.as_str().ok()?.to_owned();
    names.next().is_none().then_some(name)
}

/// Node and site of a certificate with this common name: exactly one name of our scheme has to say the same.
fn whose(x509: &X509Certificate<'_>, name: &str) -> Option<(NodeId, SiteId)> {
    let alternatives = x509.subject_alternative_name().ok()??;
    let mut ours = alternatives.value.general_names.iter().filter_map(|name| match name {
        GeneralName::URI(uri) => uri.strip_prefix(SCHEME),
        _ => None,
    });
    let (site, node) = ours.next()?.split_once('/')?;
    if ours.next().is_some() || node != name {
        return None;
    }
    Some((node.parse().ok()?, site.parse().ok()?))
}

/// A certificate's number without leading zeros.
fn serial(bytes: &[u8]) -> String {
    let start = bytes.iter().position(|b| *b != 0).unwrap_or(bytes.len().saturating_sub(1));
    hex(&bytes[start..])
}

/// Bytes as hexadecimal digits.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// A request for a certificate whose signature is right. Names and extensions that it asks for are not even read: what a certificate says
/// is decided here.
#[derive(Debug, Clone)]
pub struct Requested {
    /// The key that the certificate is to be for.
    pub public_key: SubjectPublicKeyInfo,
    /// SHA-256 over it.
    pub key: [u8; 32],
}

/// Reads a request and checks that whoever sends it has the key.
///
/// # Errors
/// What is wrong with it.
pub fn request(pem: &str) -> Result<Requested, &'static str> {
    let der = CertificateSigningRequestDer::from_pem_slice(pem.as_bytes())
        .map_err(|_| "it is not a PEM text with one CERTIFICATE REQUEST")?;
    let (rest, request) = X509CertificationRequest::from_der(&der).map_err(|_| "it cannot be read as PKCS #10")?;
    if !rest.is_empty() {
        return Err("something follows it");
    }
    let raw = request.certification_request_info.subject_pki.raw;
    const KIND: &str = "its key is not one of ECDSA on P-256";
    let public_key = SubjectPublicKeyInfo::from_der(raw).map_err(|_| KIND)?;
    let point = public_key.der_bytes();
    if public_key.algorithm() != &PKCS_ECDSA_P256_SHA256 || point.len() != POINT || point[0] != 4 {
        return Err(KIND);
    }
    request.verify_signature().map_err(|_| "its signature does not fit its key")?;
    // As it will stand in the certificate.
    let key = Digest::of(&public_key.subject_public_key_info()).0;
    Ok(Requested { public_key, key })
}

/// The certificates of a PEM text, in order.
///
/// # Errors
/// When there is none, or something is no certificate.
pub fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let list: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match list {
        Ok(list) if list.is_empty() => Err("it holds no certificate in PEM form".into()),
        Ok(list) => Ok(list),
        Err(e) => Err(format!("it is not PEM: {e}")),
    }
}

/// A certificate as PEM.
#[must_use]
pub fn pem(der: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut letters = String::with_capacity(der.len().div_ceil(3) * 4);
    for three in der.chunks(3) {
        let part = |n: usize| u32::from(three.get(n).copied().unwrap_or(0));
        let word = part(0) << 16 | part(1) << 8 | part(2);
        for n in 0..4 {
            let letter = char::from(LETTERS[(word >> (18 - 6 * n)) as usize & 63]);
            letters.push(if n <= three.len() { letter } else { '=' });
        }
    }
    let mut out = String::from("-----BEGIN CERTIFICATE-----\n");
    let mut rest = letters.as_str();
    while !rest.is_empty() {
        let (line, more) = rest.split_at(rest.len().min(COLUMNS));
        out.push_str(line);
        out.push('\n');
        rest = more;
    }
    out.push_str("-----END CERTIFICATE-----\n");
    out
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair, PKCS_ECDSA_P384_SHA384, SanType};

    use super::*;

    fn params(name: &str, uris: &[&str]) -> CertificateParams {
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.subject_alt_names = uris.iter().map(|uri| SanType::URI((*uri).try_into().unwrap())).collect();
        params
    }

    #[test]
    fn a_node_is_who_both_names_say() {
        let key = KeyPair::generate().unwrap();
        let of = |name: &str, uris: &[&str]| {
            let certificate = params(name, uris).self_signed(&key).unwrap();
            describe(certificate.der()).unwrap()
        };
        let good = of("web-1", &["tacit://lab/web-1"]);
        assert_eq!(good.whose, Some(("web-1".parse().unwrap(), "lab".parse().unwrap())));
        assert_eq!((good.name.as_str(), good.is_self_issued, good.is_authority), ("web-1", true, false));
        assert_eq!(good.key, Digest::of(&key.subject_public_key_info()).0);
        let others: [(&str, &[&str]); 7] = [
            ("web-1", &[]),
            ("web-1", &["tacit://lab/web-2"]),
            ("web-1", &["tacit://lab/web-1", "tacit://home/web-1"]),
            ("Web_1", &["tacit://lab/Web_1"]),
            ("web-1", &["tacit://Lab/web-1"]),
            ("web-1", &["tacit://lab"]),
            ("web-1", &["https://lab/web-1"]),
        ];
        for (name, uris) in others {
            assert_eq!(of(name, uris).whose, None, "{name} {uris:?}");
        }
        assert_eq!(describe(b"no certificate"), None);
        assert_eq!(describe(&[]), None);
    }

    #[test]
    fn a_request_proves_its_key() {
        let key = KeyPair::generate().unwrap();
        let text = params("whoever", &[]).serialize_request(&key).unwrap().pem().unwrap();
        let requested = request(&text).unwrap();
        assert_eq!(requested.key, Digest::of(&key.subject_public_key_info()).0);

        let large = KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap();
        let other = params("whoever", &[]).serialize_request(&large).unwrap().pem().unwrap();
        assert!(request(&other).unwrap_err().contains("P-256"));
        let certificate = params("whoever", &[]).self_signed(&key).unwrap().pem();
        for wrong in ["", "no request", &certificate] {
            assert!(request(wrong).unwrap_err().contains("CERTIFICATE REQUEST"), "{wrong}");
        }
        // One letter of the signature is another.
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        let last = lines.len() - 2;
        let changed = if lines[last].starts_with('A') { "B" } else { "A" };
        lines[last].replace_range(..1, changed);
        assert!(request(&lines.join("\n")).is_err());
    }

    #[test]
    fn pem_is_read_back() {
        let certificate = params("web-1", &[]).self_signed(&KeyPair::generate().unwrap()).unwrap();
        let text = pem(certificate.der());
        assert_eq!(text, certificate.pem());
        assert_eq!(certificates(text.as_bytes()).unwrap(), [certificate.der().clone()]);
        assert!(certificates(b"nothing").unwrap_err().contains("no certificate"));
    }

    #[test]
    fn numbers_have_no_leading_zeros() {
        assert_eq!(serial(&[0, 0x8f, 1]), "8f01");
        assert_eq!(serial(&[0]), "00");
        assert_eq!(serial(&[]), "");
    }
}
