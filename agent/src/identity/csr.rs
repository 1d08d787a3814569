//! The request for a certificate (PKCS#10, RFC 2986), written by hand: it is ten elements, and a library for it would be the
//! larger part of this folder in the binary.
//!
//! ```text
//! CertificationRequest ::= SEQUENCE {
//!     CertificationRequestInfo ::= SEQUENCE {
//!         version INTEGER 0, subject Name, SubjectPublicKeyInfo, attributes [0] {} },
//!     signatureAlgorithm SEQUENCE { ecdsa-with-SHA256 }, signature BIT STRING }
//! ```
//!
//! It asks for a name only. What the certificate says beyond it (site, purpose, lifetime) is the collector's decision.

use super::der::{BIT_STRING, COMMON_NAME, CONTEXT_0, INTEGER, OID, SEQUENCE, SET, UTF8_STRING, pem, tlv};
use super::key::Key;

/// id-ecPublicKey, 1.2.840.10045.2.1.
const EC_PUBLIC_KEY: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
/// prime256v1, 1.2.840.10045.3.1.7.
const PRIME256V1: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
/// ecdsa-with-SHA256, 1.2.840.10045.4.3.2.
const ECDSA_WITH_SHA256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02];
/// Version 0, and the number of unused bits of a bit string.
const ZERO: &[u8] = &[0];

/// A request with this common name for the certificate of `key`, in PEM form; its signature proves that we have the key.
///
/// # Errors
/// When the system gives no random numbers to sign with.
pub fn request(key: &Key, name: &str) -> Result<String, String> {
    let info = info(key.public(), name);
    let signature = key.sign(&info)?;
    let algorithm = tlv(SEQUENCE, &[&tlv(OID, &[ECDSA_WITH_SHA256])]);
    let signature = tlv(BIT_STRING, &[ZERO, &signature]);
    Ok(pem("CERTIFICATE REQUEST", &tlv(SEQUENCE, &[&info, &algorithm, &signature])))
}

fn info(public: &[u8], name: &str) -> Vec<u8> {
    let name = tlv(SEQUENCE, &[&tlv(OID, &[COMMON_NAME]), &tlv(UTF8_STRING, &[name.as_bytes()])]);
    let subject = tlv(SEQUENCE, &[&tlv(SET, &[&name])]);
    let algorithm = tlv(SEQUENCE, &[&tlv(OID, &[EC_PUBLIC_KEY]), &tlv(OID, &[PRIME256V1])]);
    let public = tlv(SEQUENCE, &[&algorithm, &tlv(BIT_STRING, &[ZERO, public])]);
    let version = tlv(INTEGER, &[ZERO]);
    tlv(SEQUENCE, &[&version, &subject, &public, &tlv(CONTEXT_0, &[])])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Byte for byte what `openssl asn1parse` shows of a request with the same name and key.
    #[test]
    fn the_signed_part_has_this_structure() {
        let public: Vec<u8> = std::iter::once(4).chain(1..=64).collect();
        let info = info(&public, "web-1");
        let expected = [
            &[0x30, 0x72, 0x02, 0x01, 0x00][..],
            &[0x30, 0x10, 0x31, 0x0e, 0x30, 0x0c, 0x06, 0x03, 0x55, 0x04, 0x03, 0x0c, 0x05],
            b"web-1",
            &[0x30, 0x59, 0x30, 0x13, 0x06, 0x07],
            EC_PUBLIC_KEY,
            &[0x06, 0x08],
            PRIME256V1,
            &[0x03, 0x42, 0x00],
            &public,
            &[0xa0, 0x00],
        ]
        .concat();
        assert_eq!(info, expected);
    }

    #[test]
    fn the_whole_is_a_pem_block_with_its_signature_at_the_end() {
        use ring::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
        let (key, _) = Key::generate().expect("a key");
        let text = request(&key, "web-1").expect("a request");
        assert!(text.starts_with("-----BEGIN CERTIFICATE REQUEST-----\nMIH"), "{text}");
        let info = info(key.public(), "web-1");
        let signature = key.sign(&info).expect("a signature");
        assert!(UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, key.public()).verify(&info, &signature).is_ok());
    }
}
