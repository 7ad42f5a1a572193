//! What a server shows and which clients it lets in: from files that may change
//! while it runs.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, Result, ensure};
use rustls::{
    RootCertStore, ServerConfig,
    client::verify_server_cert_signed_by_trust_anchor,
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, PrivateKeyDer, UnixTime, pem::PemObject},
    server::{NoServerSessionStorage, ParsedCertificate, WebPkiClientVerifier},
    version::{TLS12, TLS13},
};
use time::format_description::well_known::Rfc3339;
use tokio::{fs, sync::watch};
use x509_parser::{
    certificate::X509Certificate, extensions::GeneralName, time::ASN1Time, x509::X509Version,
};

use crate::causes::defect;

/// The protocol that is spoken inside, by its name in TLS.
pub(crate) const HTTP2: &[u8] = b"h2";

// ANCHOR: tls
/// The files of a server, and what it made of them.
pub struct Tls {
    folder: PathBuf,
    config: watch::Sender<Arc<ServerConfig>>,
}

impl Tls {
    /// Reads three files in `folder`: `server.pem`, the server's certificate followed by
    /// its intermediates; `server.key`; and `ca.pem`, the authorities whose clients are
    /// let in, and of which one has to have issued `server.pem`.
    ///
    /// # Errors
    ///
    /// Fails if they cannot be read, do not belong together, or if a client that trusts
    /// `ca.pem` would not accept `server.pem` now.
    pub async fn open(folder: impl Into<PathBuf>) -> Result<Self> {
        let folder = folder.into();
        let (config, Shown { serial, until }) = load(&folder).await?;
        tracing::info!(%serial, %until, "certificate");
        let config = watch::Sender::new(Arc::new(config));
        Ok(Self { folder, config })
    }

    /// Reads the files again. Connections that are made from now on find the new
    /// certificate, and have to come from clients of the new `ca.pem`. Those that
    /// exist go on.
    ///
    /// # Errors
    ///
    /// As [`Tls::open`]: then all stays as it is.
    pub async fn reload(&mut self) -> Result<()> {
        let (config, Shown { serial, until }) = load(&self.folder).await?;
        self.config.send_replace(Arc::new(config));
        tracing::info!(%serial, %until, "new certificate");
        Ok(())
    }

    /// What [`serve`](crate::serve) needs: always the newest.
    pub fn config(&self) -> watch::Receiver<Arc<ServerConfig>> {
        self.config.subscribe()
    }
}
// ANCHOR_END: tls

// ANCHOR: load
async fn load(folder: &Path) -> Result<(ServerConfig, Shown)> {
    let chain = certificates(&folder.join("server.pem")).await?;
    let key = folder.join("server.key");
    let key = PrivateKeyDer::from_pem_slice(&read(&key).await?)
        .with_context(|| format!("{} is no private key", key.display()))?;
    let mut authorities = RootCertStore::empty();
    for (number, authority) in (1..).zip(certificates(&folder.join("ca.pem")).await?) {
        let which = format!("certificate {number} in ca.pem");
        // It may stay in the file beside its successor. rustls would go on trusting it.
        if let Err(error) = check_dates(&which, &parse(&which, &authority)?) {
            tracing::warn!(%error, "ignoring an authority");
            continue;
        }
        let added = authorities.add(authority);
        added.with_context(|| format!("{which} cannot be used"))?;
    }
    let provider = Arc::new(ring::default_provider());
    let shown = check(&chain, &authorities, &provider)?;

    let authorities = Arc::new(authorities);
    let clients =
        WebPkiClientVerifier::builder_with_provider(authorities, provider.clone()).build()?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13, &TLS12])?
        .with_client_cert_verifier(clients)
        .with_single_cert(chain, key)
        .map_err(|error| {
            let problem = match error {
                rustls::Error::InconsistentKeys(_) => "server.pem and server.key are no pair",
                _ => "server.key cannot be used",
            };
            anyhow::Error::new(error).context(problem)
        })?;
    config.alpn_protocols = vec![HTTP2.to_vec()];
    // A session that is resumed skips the check of the client's certificate, which
    // may have expired since.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok((config, shown))
}
// ANCHOR_END: load

async fn read(file: &Path) -> Result<Vec<u8>> {
    let bytes = fs::read(file).await;
    bytes.with_context(|| format!("cannot read {}", file.display()))
}

async fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let bytes = read(file).await?;
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    let all = all.with_context(|| format!("cannot understand {}", file.display()))?;
    ensure!(!all.is_empty(), "no certificate is in {}", file.display());
    Ok(all)
}

/// A certificate, for the log.
struct Shown {
    serial: String,
    until: String,
}

// ANCHOR: check
/// Checks what clients will check: rustls looks at what others show, not at its own.
fn check(
    chain: &[CertificateDer],
    authorities: &RootCertStore,
    provider: &CryptoProvider,
) -> Result<Shown> {
    // Each of them first, so that the error can say which one it is.
    for (number, certificate) in (1..).zip(chain) {
        let which = format!("certificate {number} in server.pem");
        let certificate = parse(&which, certificate)?;
        let version = certificate.version();
        ensure!(
            version == X509Version::V3,
            "{which} is of X.509 version {}, which has no names and no purposes: \
             TLS needs version 3",
            version.0 + 1
        );
        check_dates(&which, &certificate)?;
    }
    let (own, intermediates) = chain.split_first().context("there is no certificate")?;
    verify_server_cert_signed_by_trust_anchor(
        &ParsedCertificate::try_from(own)?,
        authorities,
        intermediates,
        UnixTime::now(),
        provider.signature_verification_algorithms.all,
    )
    .map_err(|error| {
        let problem = problem(&error);
        anyhow::Error::new(error).context(problem)
    })?;

    let own = parse("the server's certificate", own)?;
    let names = own.subject_alternative_name()?;
    let named = names.is_some_and(|names| {
        let mut names = names.value.general_names.iter();
        names.any(|name| matches!(name, GeneralName::DNSName(_) | GeneralName::IPAddress(_)))
    });
    ensure!(
        named,
        "server.pem is for no name: a client looks there for the name or address that it calls"
    );
    Ok(Shown {
        serial: own.raw_serial_as_string(),
        until: own.validity().not_after.to_datetime().format(&Rfc3339)?,
    })
}
// ANCHOR_END: check

fn parse<'a>(which: &str, certificate: &'a [u8]) -> Result<X509Certificate<'a>> {
    let parsed = x509_parser::parse_x509_certificate(certificate);
    let (_, certificate) = parsed.with_context(|| format!("{which} is no certificate of X.509"))?;
    Ok(certificate)
}

fn check_dates(which: &str, certificate: &X509Certificate) -> Result<()> {
    let (validity, now) = (certificate.validity(), ASN1Time::now());
    let [from, until] = [validity.not_before, validity.not_after].map(|time| time.to_datetime());
    ensure!(
        validity.not_before <= now,
        "{which} is not valid now, but from {}",
        from.format(&Rfc3339)?
    );
    ensure!(
        now <= validity.not_after,
        "{which} is not valid now, but until {}",
        until.format(&Rfc3339)?
    );
    Ok(())
}

/// Why no client would accept `server.pem`.
fn problem(error: &rustls::Error) -> &'static str {
    use rustls::{CertificateError as Cause, Error::InvalidCertificate};
    match error {
        InvalidCertificate(Cause::UnknownIssuer) => {
            "no chain leads from server.pem to a valid authority in ca.pem: \
             is an intermediate certificate missing?"
        }
        InvalidCertificate(Cause::InvalidPurpose | Cause::InvalidPurposeContext { .. }) => {
            "server.pem is not for servers: it needs the extended key usage serverAuth, or none"
        }
        _ => defect(error).unwrap_or("clients that trust ca.pem would refuse server.pem"),
    }
}
