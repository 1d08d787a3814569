//! The node's key: made here, never sent anywhere. ECDSA on P-256, because every TLS library knows it and a small processor
//! signs with it in a millisecond.

use std::fmt;

use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject as _;

use super::der;

/// A key pair.
pub struct Key {
    pair: EcdsaKeyPair,
    random: SystemRandom,
}

/// Never the key itself.
impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(…)")
    }
}

impl Key {
    /// Makes one; the text is its only form outside this process, for `key.pem`.
    ///
    /// # Errors
    /// When the system gives no random numbers.
    pub fn generate() -> Result<(Self, String), String> {
        let random = SystemRandom::new();
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &random)
            .map_err(|_| "the system gives no random numbers for a key")?;
        let key = Self::from_der(pkcs8.as_ref(), random)?;
        Ok((key, der::pem("PRIVATE KEY", pkcs8.as_ref())))
    }

    /// Reads one that [`Self::generate`] made.
    ///
    /// # Errors
    /// When the text holds no such key.
    pub fn read(pem: &[u8]) -> Result<Self, String> {
        let key = PrivatePkcs8KeyDer::from_pem_slice(pem).map_err(|e| format!("no key in PKCS#8 form: {e}"))?;
        Self::from_der(key.secret_pkcs8_der(), SystemRandom::new())
    }

    fn from_der(pkcs8: &[u8], random: SystemRandom) -> Result<Self, String> {
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, pkcs8, &random)
            .map_err(|e| format!("no usable P-256 key: {e}"))?;
        Ok(Self { pair, random })
    }

    /// The public key, an uncompressed point: 0x04, then both coordinates.
    #[must_use]
    pub fn public(&self) -> &[u8] {
        self.pair.public_key().as_ref()
    }

    /// Signs with ECDSA and SHA-256; the signature is in DER form.
    ///
    /// # Errors
    /// When the system gives no random numbers.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, String> {
        let signature = self.pair.sign(&self.random, message);
        signature.map(|s| s.as_ref().to_vec()).map_err(|_| "the system gives no random numbers to sign with".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ring::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};

    #[test]
    fn a_key_reads_back_and_signs() {
        let (key, pem) = Key::generate().expect("a key");
        let again = Key::read(pem.as_bytes()).expect("it reads back");
        assert_eq!(key.public(), again.public());
        assert_eq!((key.public().len(), key.public()[0]), (65, 4));
        let signature = again.sign(b"hello").expect("a signature");
        let public = UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, key.public());
        assert!(public.verify(b"hello", &signature).is_ok());
        assert!(public.verify(b"other", &signature).is_err());
        let (other, _) = Key::generate().expect("a key");
        assert_ne!(key.public(), other.public(), "each key is its own");
    }

    #[test]
    fn what_is_no_key_is_said_and_a_key_is_never_shown() {
        let wrong = der::pem("PRIVATE KEY", b"nothing of the kind");
        for bad in ["", "hello", wrong.as_str(), "-----BEGIN PRIVATE KEY-----\n"] {
            let error = Key::read(bad.as_bytes()).expect_err(bad);
            assert!(error.starts_with("no "), "{error}");
        }
        let (key, pem) = Key::generate().expect("a key");
        let shown = format!("{key:?}");
        assert_eq!(shown, "Key(…)");
        assert!(pem.starts_with("-----BEGIN PRIVATE KEY-----\n"));
    }
}
