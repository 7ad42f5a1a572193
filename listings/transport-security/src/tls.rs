//! What a server shows and whom it lets in: from files that may change while it
//! runs.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, Result, ensure};
use rustls::{
    RootCertStore, ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::{NoServerSessionStorage, WebPkiClientVerifier},
    version::{TLS12, TLS13},
};
use time::format_description::well_known::Rfc3339;
use tokio::{fs, sync::watch};

/// The protocol that is spoken inside, by its name in TLS.
pub(crate) const HTTP2: &[u8] = b"h2";

// ANCHOR: tls
/// The files of a server, and what it made of them.
pub struct Tls {
    folder: PathBuf,
    config: watch::Sender<Arc<ServerConfig>>,
}

impl Tls {
    /// Reads `server.pem`, `server.key` and `ca.pem` in `folder`.
    ///
    /// # Errors
    ///
    /// Fails if they cannot be read, do not belong together, or are not valid now.
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
    for authority in certificates(&folder.join("ca.pem")).await? {
        authorities.add(authority)?;
    }
    let shown = check(&chain)?;

    let provider = Arc::new(ring::default_provider());
    let authorities = Arc::new(authorities);
    let clients =
        WebPkiClientVerifier::builder_with_provider(authorities, provider.clone()).build()?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13, &TLS12])?
        .with_client_cert_verifier(clients)
        .with_single_cert(chain, key)
        .context("server.pem and server.key are no pair")?;
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
/// rustls checks what others show, and not what is its own.
fn check(chain: &[CertificateDer]) -> Result<Shown> {
    let own = chain.first().context("there is no certificate")?;
    let (_, own) = x509_parser::parse_x509_certificate(own).context("it is no certificate")?;
    let serial = own.raw_serial_as_string();
    let until = own.validity().not_after.to_datetime().format(&Rfc3339)?;
    ensure!(
        own.validity().is_valid(),
        "the certificate is not valid now, but until {until}"
    );
    Ok(Shown { serial, until })
}
// ANCHOR_END: check
