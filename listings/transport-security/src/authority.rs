//! A certificate authority of our own, in a folder.

use std::{
    fs,
    io::{ErrorKind, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, SanType,
};
use tempfile::NamedTempFile;
use time::{Duration, OffsetDateTime};

/// How long the authority itself is valid, in days.
const AUTHORITY_DAYS: i64 = 10 * 365;

/// The longest that it issues for, in days. A key that was stolen is of use for as
/// long as its certificate.
pub const MAX_DAYS: i64 = 365;

/// Clocks differ: what is valid from now on would not be valid yet elsewhere.
const EARLY: Duration = Duration::hours(1);

// ANCHOR: authority
/// Signs certificates. A peer that trusts `ca.pem` believes what they say.
pub struct Authority {
    folder: PathBuf,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// The authority in `folder`, which is made if there is none.
    ///
    /// # Errors
    ///
    /// Fails if the folder cannot be written, or what is there cannot be read.
    pub fn open(folder: &Path) -> Result<Self> {
        let folder = folder.to_owned();
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {folder:?}"))?;
        // Whatever else happens, nobody commits a key.
        save(&folder.join(".gitignore"), "*\n", Readers::All)?;

        let (certificate, key) = (folder.join("ca.pem"), folder.join("ca.key"));
        if !key.try_exists()? {
            make(&certificate, &key)?;
        }
        let key = KeyPair::from_pem(&read(&key)?).context("cannot understand ca.key")?;
        let issuer = Issuer::from_ca_cert_pem(&read(&certificate)?, key)
            .context("cannot understand ca.pem")?;
        Ok(Self { folder, issuer })
    }
}
// ANCHOR_END: authority

/// Makes an authority.
fn make(certificate: &Path, key: &Path) -> Result<()> {
    let pair = KeyPair::generate()?;
    let mut params = CertificateParams::default();
    // It signs certificates, and no further authorities.
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    // No two authorities may have one name: a peer that checks a certificate looks
    // for its issuer by that.
    let number = params.key_identifier(&pair);
    let number: String = number.iter().take(4).map(|b| format!("{b:02x}")).collect();
    params.distinguished_name = named(format!("authority {number}"));
    (params.not_before, params.not_after) = validity(AUTHORITY_DAYS);
    save(certificate, &params.self_signed(&pair)?.pem(), Readers::All)?;
    save(key, &pair.serialize_pem(), Readers::Owner)
}

// ANCHOR: issue
impl Authority {
    /// Issues a certificate for a server that is reached by these names, DNS or IP.
    /// It goes to `server.pem`, and its key to `server.key`.
    ///
    /// # Errors
    ///
    /// Fails if there is no name, one that cannot be, or the files cannot be written.
    pub fn issue_server(&self, names: &[String], days: i64) -> Result<()> {
        ensure!(!names.is_empty(), "a server has a name: say which");
        let mut params = CertificateParams::new(names)?;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.issue("server", params, days)
    }

    /// Issues a certificate for the client that `uri` names. It goes to
    /// `client.pem`, and its key to `client.key`.
    ///
    /// # Errors
    ///
    /// Fails if `uri` is not ASCII, or the files cannot be written.
    pub fn issue_client(&self, uri: &str, days: i64) -> Result<()> {
        let mut params = CertificateParams::default();
        params.subject_alt_names = vec![SanType::URI(uri.try_into()?)];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.issue("client", params, days)
    }

    /// A new key each time: that of the last certificate may have been stolen.
    fn issue(&self, whose: &str, mut params: CertificateParams, days: i64) -> Result<()> {
        ensure!(
            (-MAX_DAYS..=MAX_DAYS).contains(&days),
            "{days} days are too many: say {MAX_DAYS} at most"
        );
        let pair = KeyPair::generate()?;
        params.distinguished_name = named(whose.to_owned());
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        (params.not_before, params.not_after) = validity(days);
        let certificate = params.signed_by(&pair, &self.issuer)?;

        let file = |kind| self.folder.join(format!("{whose}.{kind}"));
        save(&file("key"), &pair.serialize_pem(), Readers::Owner)?;
        save(&file("pem"), &certificate.pem(), Readers::All)
    }
}
// ANCHOR_END: issue

fn named(name: String) -> DistinguishedName {
    let mut full = DistinguishedName::new();
    full.push(DnType::CommonName, name);
    full
}

/// From when until when. A negative number of days is for those who want to see
/// what an expired certificate does.
fn validity(days: i64) -> (OffsetDateTime, OffsetDateTime) {
    let now = OffsetDateTime::now_utc();
    let ends = now + Duration::days(days);
    (now.min(ends) - EARLY, ends)
}

fn read(file: &Path) -> Result<String> {
    fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))
}

// ANCHOR: save
/// Who may read a file.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Readers {
    Owner,
    All,
}

/// Puts `text` into `file` at once: a program that reads it at any moment finds the
/// old text or the new one, never a half.
fn save(file: &Path, text: &str, readers: Readers) -> Result<()> {
    let save = || {
        let folder = file.parent().ok_or(ErrorKind::NotFound)?;
        // Only its owner can read it, from the moment that it exists.
        let mut new = NamedTempFile::new_in(folder)?;
        new.write_all(text.as_bytes())?;
        if readers == Readers::All {
            let all = fs::Permissions::from_mode(0o644);
            new.as_file().set_permissions(all)?;
        }
        new.as_file().sync_all()?;
        new.persist(file)?;
        Ok::<(), std::io::Error>(())
    };
    save().with_context(|| format!("cannot write {}", file.display()))
}
// ANCHOR_END: save
