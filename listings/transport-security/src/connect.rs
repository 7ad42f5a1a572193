//! How a client finds out that it talks to the right server, and shows who it is.

use std::{
    io::ErrorKind,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
};
use tokio::{
    fs,
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time,
};
use tokio_rustls::TlsConnector;
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint, Identity, Uri};

use crate::tls::HTTP2;

/// How long it may take to connect, and then for the handshake.
const CONNECT: Duration = Duration::from_secs(5);

/// How long a call may take, for [`within`](crate::limit::within).
pub const CALL_LIMIT: Duration = Duration::from_secs(5);

/// What a client says first: the preface of HTTP/2, and SETTINGS without any (RFC
/// 9113, section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// The files of a client.
#[derive(Clone, Debug)]
pub struct Files {
    /// The authorities that it trusts.
    pub ca: PathBuf,
    /// The certificate that it shows, and its key.
    pub identity: Option<(PathBuf, PathBuf)>,
}

// ANCHOR: endpoint
impl Files {
    /// An endpoint for `uri`, whose server has to have a certificate of one of the
    /// authorities, for the name or the address in the URI.
    ///
    /// # Errors
    ///
    /// Fails if a file cannot be used, or the URI does not begin with `https://`.
    pub async fn endpoint(&self, uri: &str) -> Result<Endpoint> {
        let endpoint = Endpoint::from_shared(uri.to_owned())
            .with_context(|| format!("{uri:?} is not a URI"))?;
        // With `http://` tonic sends everything in plain text, whatever TLS it is
        // given below.
        let scheme = endpoint.uri().scheme_str();
        ensure!(scheme == Some("https"), "{uri:?} is not https://…");

        let mut tls = ClientTlsConfig::new()
            .ca_certificate(Certificate::from_pem(read(&self.ca).await?))
            // For the handshake: `connect_timeout` is over when TCP has connected.
            .timeout(CONNECT);
        if let Some((certificate, key)) = &self.identity {
            tls = tls.identity(Identity::from_pem(
                read(certificate).await?,
                read(key).await?,
            ));
        }
        let endpoint = endpoint.tls_config(tls).context("cannot use the files")?;
        // The second limit is over at the response headers.
        Ok(endpoint.connect_timeout(CONNECT).timeout(CALL_LIMIT))
    }
}
// ANCHOR_END: endpoint

// ANCHOR: check
impl Files {
    /// Asks the server at `uri` whether it lets us in. With TLS 1.3 a handshake is
    /// over for the client before the server has looked at its certificate: whether
    /// it will do is known when the first byte comes.
    ///
    /// # Errors
    ///
    /// Fails with the reason if it does not.
    pub async fn check(&self, uri: &Uri) -> Result<()> {
        let host = uri.host().context("the URI has no host")?;
        let host = host.trim_matches(['[', ']']);
        let name = ServerName::try_from(host.to_owned())?;
        let connector = TlsConnector::from(Arc::new(self.config().await?));
        let asking = async {
            let connection = TcpStream::connect((host, uri.port_u16().unwrap_or(443))).await?;
            let mut connection = connector.connect(name, connection).await?;
            let wrote = connection.write_all(PREFACE).await;
            // If it has closed already, the reason is still there to be read.
            match connection.read(&mut [0]).await? {
                0 => Err(wrote.err().unwrap_or(ErrorKind::UnexpectedEof.into())),
                _ => Ok(()),
            }
        };
        time::timeout(CONNECT, asking).await??;
        Ok(())
    }
}
// ANCHOR_END: check

impl Files {
    /// The same for rustls as [`Files::endpoint`] has for tonic.
    async fn config(&self) -> Result<ClientConfig> {
        let mut authorities = RootCertStore::empty();
        for authority in CertificateDer::pem_slice_iter(&read(&self.ca).await?) {
            authorities.add(authority?)?;
        }
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(authorities);
        let mut config = match &self.identity {
            Some((certificate, key)) => {
                let chain = CertificateDer::pem_slice_iter(&read(certificate).await?)
                    .collect::<Result<_, _>>()?;
                let key = PrivateKeyDer::from_pem_slice(&read(key).await?)?;
                config.with_client_auth_cert(chain, key)?
            }
            None => config.with_no_client_auth(),
        };
        config.alpn_protocols = vec![HTTP2.to_vec()];
        Ok(config)
    }
}

async fn read(file: &Path) -> Result<Vec<u8>> {
    let bytes = fs::read(file).await;
    bytes.with_context(|| format!("cannot read {}", file.display()))
}
