//! The collector's own certificate authority.
//!
//! ```text
//! <data_dir>/ca/root.pem        the roots that are trusted, the newest first (one, or two between `rotate` and `retire`)
//!               root-key.pem    the key of the newest, readable by the collector alone
//!               cross.pem       the newest root's key under the name of the one before, between `rotate` and `retire`
//! ```
//!
//! After a rotation everything new is issued by the new root, and comes with the cross certificate: who knows only the old root finds the way from there. Who asks
//! for a certificate gets both roots. Once everybody has, the old one is retired. What is written appears whole or not at all: new files are renamed
//! into place, the key last, and a load that finds the key missing takes the one that waits.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType, SerialNumber, SubjectPublicKeyInfo,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tacit_wire::{Digest, NodeId, SiteId};

use super::certificate::{self, Described, SCHEME, describe};
use super::files::{self, FileError};
use crate::access::secret::{self, NoRandom};

/// The folder below the data folder.
pub const FOLDER: &str = "ca";
const ROOT: &str = "root.pem";
const KEY: &str = "root-key.pem";
const CROSS: &str = "cross.pem";

const DAY_MS: i64 = 86_400_000;
/// Days that a root is valid.
const ROOT_DAYS: i64 = 7300;
/// Days that the collector's own certificate is valid; it is renewed after two thirds of them.
pub const SERVER_DAYS: i64 = 90;
/// A certificate is valid from so long before it is made: clocks differ.
const BEFORE_MS: i64 = 3_600_000;
/// No clock that is right shows a time before this: 2026-01-01.
pub const CLOCK_FLOOR_MS: i64 = 1_767_225_600_000;
/// Digits of a root's hash that a token carries.
const PIN: usize = 32;

/// Why the authority cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// There is none.
    #[error("there is no certificate authority in {0}: `tacit ca init` makes one")]
    Missing(PathBuf),
    /// There is one.
    #[error(
        "there is a certificate authority in {0} already: `tacit ca rotate` replaces its root without losing a node"
    )]
    There(PathBuf),
    /// A file cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// A file is not what it should be.
    #[error("{path}: {why}; restore it from a copy")]
    Broken {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The clock is wrong.
    #[error("this machine's clock says {0}, which is too early to make certificates: set the clock")]
    Clock(String),
    /// A rotation is under way.
    #[error(
        "the root was rotated already and the one before is still trusted: `tacit ca retire` first, once every node has the new one"
    )]
    Turning,
    /// None is under way.
    #[error("there is one root only, and it is in use: `tacit ca rotate` makes the next one")]
    Single,
    /// The system has no random numbers.
    #[error(transparent)]
    Random(#[from] NoRandom),
    /// It cannot be made.
    #[error("a certificate cannot be made: {0}")]
    Make(#[from] rcgen::Error),
}

/// A root that is trusted.
#[derive(Debug, Clone)]
pub struct Root {
    /// The certificate.
    pub der: CertificateDer<'static>,
    /// The same as PEM.
    pub pem: String,
    /// What it says.
    pub says: Described,
}

impl Root {
    fn new(der: CertificateDer<'static>) -> Result<Self, String> {
        let says = describe(&der).ok_or("it holds something that is no certificate")?;
        if !says.is_authority {
            return Err(format!("the certificate of {:?} is not one of an authority", says.name));
        }
        Ok(Self { pem: certificate::pem(&der), der, says })
    }

    /// By which a token names it: the beginning of the SHA-256 over it.
    #[must_use]
    pub fn pin(&self) -> String {
        pin(&self.der)
    }

    /// When it was made, Unix milliseconds, not later than it was.
    #[must_use]
    pub fn made_ms(&self) -> i64 {
        self.says.not_before_ms.saturating_add(BEFORE_MS)
    }
}

/// The beginning of the SHA-256 over a certificate, as a token carries it.
#[must_use]
pub fn pin(der: &[u8]) -> String {
    let mut digits = Digest::of(der).to_string();
    digits.truncate(PIN);
    digits
}

/// Issues certificates.
#[derive(Debug)]
pub struct Authority {
    roots: Vec<Root>,
    cross: Option<CertificateDer<'static>>,
    issuer: Issuer<'static, KeyPair>,
}

/// Whose certificate it is, and how it is known.
#[derive(Debug, Clone)]
pub struct NodeCertificate<'a> {
    /// The node.
    pub node: &'a NodeId,
    /// Its site.
    pub site: &'a SiteId,
    /// Its number, from [`new_serial`].
    pub serial: &'a [u8],
    /// Until when it is valid, Unix milliseconds.
    pub not_after_ms: i64,
}

/// The number of a certificate: 16 random bytes that are a positive number.
///
/// # Errors
/// When the system has no random numbers.
pub fn new_serial() -> Result<[u8; 16], NoRandom> {
    let mut serial: [u8; 16] = secret::random()?;
    serial[0] = serial[0] & 0x7f | 0x40;
    Ok(serial)
}

impl Authority {
    /// Makes an authority in a folder, which is made too.
    ///
    /// # Errors
    /// When there is one already, the clock is wrong, or nothing can be written there.
    pub fn init(folder: &Path, now_ms: i64) -> Result<Self, AuthorityError> {
        if folder.join(ROOT).exists() || folder.join(KEY).exists() {
            return Err(AuthorityError::There(folder.to_owned()));
        }
        check_clock(now_ms, CLOCK_FLOOR_MS)?;
        files::make_folder(folder)?;
        let key = KeyPair::generate()?;
        let root = root_params(now_ms)?.self_signed(&key)?;
        files::write(&folder.join(ROOT), root.pem().as_bytes(), false)?;
        files::write(&folder.join(KEY), key.serialize_pem().as_bytes(), true)?;
        Self::load(folder)
    }

    /// Reads the authority of a folder.
    ///
    /// # Errors
    /// When there is none, or its files do not fit each other.
    pub fn load(folder: &Path) -> Result<Self, AuthorityError> {
        let (root, key) = (folder.join(ROOT), folder.join(KEY));
        if !root.exists() && !key.exists() {
            return Err(AuthorityError::Missing(folder.to_owned()));
        }
        let broken = |path: &Path, why: String| AuthorityError::Broken { path: path.to_owned(), why };
        let roots = certificate::certificates(&files::read(&root)?).map_err(|why| broken(&root, why))?;
        let roots: Result<Vec<_>, _> = roots.into_iter().map(Root::new).collect();
        let roots = roots.map_err(|why| broken(&root, why))?;
        let newest = roots.first().ok_or_else(|| broken(&root, "it is empty".into()))?;
        let pair = own_key(&key, newest)?;
        let issuer = Issuer::from_ca_cert_der(&newest.der, pair)?;
        // What is left of a rotation that did not come to its end means nothing.
        let cross = if roots.len() > 1 { Some(folder.join(CROSS)) } else { None };
        let cross = cross.map(|path| {
            let found = certificate::certificates(&files::read(&path)?).map_err(|why| broken(&path, why))?;
            let cross = found.into_iter().next().ok_or_else(|| broken(&path, "it is empty".into()))?;
            let fits = describe(&cross).is_some_and(|says| says.key == newest.says.key);
            if fits { Ok(cross) } else { Err(broken(&path, "it is of another key than the newest root".into())) }
        });
        Ok(Self { cross: cross.transpose()?, roots, issuer })
    }

    /// Makes a new root, which issues from now on. The old one stays trusted until [`Authority::retire`].
    ///
    /// # Errors
    /// When a rotation is under way already, the clock is wrong, or nothing can be written.
    pub fn rotate(folder: &Path, now_ms: i64) -> Result<Self, AuthorityError> {
        let old = Self::load(folder)?;
        let [before] = old.roots.as_slice() else { return Err(AuthorityError::Turning) };
        check_clock(now_ms, before.says.not_before_ms.max(CLOCK_FLOOR_MS))?;
        let key = KeyPair::generate()?;
        let params = root_params(now_ms)?;
        let root = params.self_signed(&key)?;
        let mut crossed = params;
        crossed.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        crossed.serial_number = Some(SerialNumber::from_slice(&new_serial()?));
        crossed.use_authority_key_identifier_extension = true;
        set_times(&mut crossed, now_ms - BEFORE_MS, before.says.not_after_ms)?;
        let cross = crossed.signed_by(&key, &old.issuer)?;
        let roots = format!("{}{}", root.pem(), before.pem);
        files::replace(&[
            (&folder.join(CROSS), cross.pem().as_bytes(), false),
            (&folder.join(ROOT), roots.as_bytes(), false),
            (&folder.join(KEY), key.serialize_pem().as_bytes(), true),
        ])?;
        Self::load(folder)
    }

    /// Ends the trust in the root before the newest. Whoever knows only that one, or has a certificate of it, is shut out.
    ///
    /// # Errors
    /// When there is one root only, or nothing can be written.
    pub fn retire(folder: &Path) -> Result<Self, AuthorityError> {
        let all = Self::load(folder)?;
        let [newest, _, ..] = all.roots.as_slice() else { return Err(AuthorityError::Single) };
        files::replace(&[(&folder.join(ROOT), newest.pem.as_bytes(), false)])?;
        files::remove(&folder.join(CROSS))?;
        Self::load(folder)
    }

    /// The roots that are trusted, the newest first.
    #[must_use]
    pub fn roots(&self) -> &[Root] {
        &self.roots
    }

    /// The root that issues.
    #[must_use]
    pub fn newest(&self) -> &Root {
        self.roots.first().expect("it was loaded with one")
    }

    /// The certificate of a node, with what leads from it to every root that is trusted, as PEM.
    ///
    /// # Errors
    /// When the clock is wrong or it cannot be made.
    pub fn issue_node(
        &self,
        key: &SubjectPublicKeyInfo,
        whose: &NodeCertificate<'_>,
        now_ms: i64,
    ) -> Result<String, AuthorityError> {
        let mut params = self.leaf(now_ms, whose.not_after_ms, whose.node.as_str())?;
        params.serial_number = Some(SerialNumber::from_slice(whose.serial));
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let name = format!("{SCHEME}{}/{}", whose.site, whose.node);
        params.subject_alt_names = vec![SanType::URI(name.try_into()?)];
        let mut pem = params.signed_by(key, &self.issuer)?.pem();
        if let Some(cross) = &self.cross {
            pem.push_str(&certificate::pem(cross));
        }
        Ok(pem)
    }

    /// Until when a certificate for so many days is valid: never longer than the root that issues it.
    #[must_use]
    pub fn end_of(&self, days: i64, now_ms: i64) -> i64 {
        now_ms.saturating_add(days.saturating_mul(DAY_MS)).min(self.newest().says.not_after_ms)
    }

    /// A certificate for the collector under these names, with its chain, and its key.
    ///
    /// # Errors
    /// When the clock is wrong or it cannot be made.
    pub fn issue_server(
        &self,
        names: &[String],
        now_ms: i64,
    ) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), AuthorityError> {
        let name = names.first().map_or("tacit-collector", String::as_str);
        let mut params = self.leaf(now_ms, self.end_of(SERVER_DAYS, now_ms), name)?;
        params.serial_number = Some(SerialNumber::from_slice(&new_serial()?));
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.subject_alt_names = CertificateParams::new(names.to_vec())?.subject_alt_names;
        let key = KeyPair::generate()?;
        let leaf = params.signed_by(&key, &self.issuer)?;
        let chain = std::iter::once(leaf.der().clone()).chain(self.cross.clone()).collect();
        Ok((chain, PrivatePkcs8KeyDer::from(key.serialize_der()).into()))
    }

    fn leaf(&self, now_ms: i64, not_after_ms: i64, name: &str) -> Result<CertificateParams, AuthorityError> {
        check_clock(now_ms, self.newest().says.not_before_ms.max(CLOCK_FLOOR_MS))?;
        let mut params = CertificateParams::new(Vec::<String>::new())?;
        params.distinguished_name = named(name);
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        set_times(&mut params, now_ms - BEFORE_MS, not_after_ms)?;
        Ok(params)
    }
}

/// The key of the newest root. A rotation that was cut off before its last step is finished here.
fn own_key(path: &Path, newest: &Root) -> Result<KeyPair, AuthorityError> {
    let broken = |why: &str| AuthorityError::Broken { path: path.to_owned(), why: why.into() };
    let fits = |pair: &KeyPair| {
        use rcgen::PublicKeyData as _;
        Digest::of(&pair.subject_public_key_info()).0 == newest.says.key
    };
    let read = |path: &Path| -> Result<KeyPair, AuthorityError> {
        let text = String::from_utf8(files::read(path)?).map_err(|_| broken("it is not PEM"))?;
        KeyPair::from_pem(&text).map_err(|e| broken(&format!("it holds no usable key: {e}")))
    };
    let waiting = files::waiting(path);
    if let Ok(pair) = read(path)
        && fits(&pair)
    {
        return Ok(pair);
    }
    if waiting.exists() {
        let pair = read(&waiting)?;
        if fits(&pair) {
            files::take(path)?;
            return Ok(pair);
        }
    }
    // Said in the words of whatever is wrong with it.
    read(path)?;
    Err(broken("it is not the key of the newest root"))
}

fn root_params(now_ms: i64) -> Result<CertificateParams, AuthorityError> {
    let serial = new_serial()?;
    let mut params = CertificateParams::new(Vec::<String>::new())?;
    // A name of its own, so that nobody looks for the signature of one root with the key of another.
    params.distinguished_name = named(&format!("Tacit root {}", certificate::hex(&serial[..4])));
    params.distinguished_name.push(DnType::OrganizationName, "Tacit");
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(1));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    set_times(&mut params, now_ms - BEFORE_MS, now_ms + ROOT_DAYS * DAY_MS)?;
    Ok(params)
}

fn named(name: &str) -> DistinguishedName {
    let mut names = DistinguishedName::new();
    names.push(DnType::CommonName, name);
    names
}

/// Sets from when to when a certificate is valid.
fn set_times(params: &mut CertificateParams, from_ms: i64, to_ms: i64) -> Result<(), AuthorityError> {
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    let after = |ms: i64| {
        let since = Duration::from_secs(u64::try_from(ms.div_euclid(1000)).ok()?);
        epoch.checked_add(since.try_into().ok()?)
    };
    let wrong = || AuthorityError::Clock(day(from_ms));
    params.not_before = after(from_ms).ok_or_else(wrong)?;
    params.not_after = after(to_ms).ok_or_else(wrong)?;
    Ok(())
}

fn check_clock(now_ms: i64, least_ms: i64) -> Result<(), AuthorityError> {
    if now_ms >= least_ms { Ok(()) } else { Err(AuthorityError::Clock(day(now_ms))) }
}

/// A day for people.
#[must_use]
pub fn day(ms: i64) -> String {
    jiff::Timestamp::from_millisecond(ms)
        .map_or_else(|_| format!("{ms} ms"), |time| time.strftime("%Y-%m-%d %H:%M UTC").to_string())
}

/// By which a change of the files shows.
#[must_use]
pub fn stamp(folder: &Path) -> Vec<Option<(SystemTime, u64)>> {
    [ROOT, KEY, CROSS].iter().map(|name| files::stamp(&folder.join(name))).collect()
}

#[cfg(test)]
#[path = "authority_tests.rs"]
mod tests;
