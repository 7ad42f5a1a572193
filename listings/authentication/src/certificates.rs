//! A certificate for development.

use std::{fs, path::Path, time::Duration};

use anyhow::Context;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose,
};
use std::time::SystemTime;
use tonic::transport::{Certificate, Identity};

use crate::secrets;

/// How long they are valid.
const VALID: Duration = Duration::from_secs(30 * 24 * 60 * 60);

// ANCHOR: make
/// Makes a certificate of an authority of its own: `ca.pem` is for clients, and
/// `server.pem` with `server.key` for a server on this machine. The authority's key
/// is thrown away: nobody can make another certificate with it.
///
/// # Errors
///
/// Fails if they cannot be made or written.
pub fn make(folder: &Path) -> anyhow::Result<()> {
    let mut params = CertificateParams::new([])?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params
        .distinguished_name
        .push(DnType::CommonName, "an authority for development");
    valid(&mut params);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;

    let names = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
    let mut params = CertificateParams::new(names)?;
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params
        .distinguished_name
        .push(DnType::CommonName, "accounts");
    valid(&mut params);
    let key = KeyPair::generate()?;
    let certificate = params.signed_by(&key, &authority)?;

    secrets::folder(folder)?;
    secrets::write(&folder.join("server.key"), &key.serialize_pem())?;
    fs::write(folder.join("server.pem"), certificate.pem())?;
    fs::write(folder.join("ca.pem"), authority.pem())?;
    Ok(())
}
// ANCHOR_END: make

fn valid(params: &mut CertificateParams) {
    let now = SystemTime::now();
    params.not_before = now.into();
    params.not_after = (now + VALID).into();
}

/// The server's certificate and key.
///
/// # Errors
///
/// Fails if one of them is missing.
pub fn identity(folder: &Path) -> anyhow::Result<Identity> {
    let certificate = read(folder, "server.pem")?;
    Ok(Identity::from_pem(certificate, read(folder, "server.key")?))
}

/// The authority that clients trust.
///
/// # Errors
///
/// Fails if it is missing.
pub fn authority(folder: &Path) -> anyhow::Result<Certificate> {
    Ok(Certificate::from_pem(read(folder, "ca.pem")?))
}

fn read(folder: &Path, name: &str) -> anyhow::Result<String> {
    let path = folder.join(name);
    fs::read_to_string(&path).with_context(|| {
        let path = path.display();
        format!("cannot read {path}: authentication-certificates makes it")
    })
}
