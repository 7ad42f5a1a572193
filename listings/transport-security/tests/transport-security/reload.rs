//! New certificates, without a restart.

use std::{fs, net::SocketAddr, path::Path, sync::Arc};

use rustls::{
    ALL_VERSIONS, HandshakeKind,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
};
use tokio_rustls::TlsConnector;

use crate::{Log, Pki, Result, connect, greeter, hello, rustls_config};

/// How a client of HTTP/2 begins.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// The certificate that somebody sees who connects now.
async fn shown(address: SocketAddr, pki: &Pki) -> Result<CertificateDer<'static>> {
    let config = rustls_config(pki, ALL_VERSIONS)?;
    let connection = TcpStream::connect(address).await?;
    let connection = TlsConnector::from(Arc::new(config))
        .connect(ServerName::try_from("localhost")?, connection)
        .await?;
    let certificates = connection.get_ref().1.peer_certificates();
    let certificate = certificates.and_then(<[_]>::first).ok_or("none")?;
    Ok(certificate.clone().into_owned())
}

fn written(folder: &Path) -> Result<CertificateDer<'static>> {
    Ok(CertificateDer::from_pem_file(folder.join("server.pem"))?)
}

#[tokio::test]
async fn new_connections_see_the_new_one_and_old_ones_go_on() -> Result {
    let pki = Pki::new()?;
    let (address, mut tls) = greeter(pki.path()).await?;
    let old = connect(address, &pki.files()).await?;
    hello(old.clone()).await?;
    let first = written(pki.path())?;
    assert_eq!(shown(address, &pki).await?, first);

    pki.issue(30)?;
    assert_eq!(shown(address, &pki).await?, first, "nobody has told it");
    tls.reload().await?;
    let second = written(pki.path())?;
    assert_ne!(first, second);
    assert_eq!(shown(address, &pki).await?, second);
    assert_eq!(hello(old).await?, "Hello, 李雷! You are jack.");
    Ok(())
}

#[tokio::test]
async fn a_bad_one_is_refused_and_the_old_one_stays() -> Result {
    let pki = Pki::new()?;
    let (address, mut tls) = greeter(pki.path()).await?;
    let good = written(pki.path())?;
    let names = ["server.pem", "server.key", "ca.pem"];
    let saved = names.map(|name| fs::read(pki.file(name)));
    let saved: Vec<_> = saved.into_iter().collect::<Result<_, _>>()?;

    let other = Pki::new()?;
    let half = |name: &str| {
        let bytes = fs::read(pki.file(name))?;
        fs::write(pki.file(name), &bytes[..bytes.len() / 2])
    };
    let bad: [(&str, &dyn Fn() -> Result); 8] = [
        ("no pair", &|| {
            fs::copy(other.file("server.key"), pki.file("server.key"))?;
            Ok(())
        }),
        ("not valid now", &|| pki.issue(-1)),
        ("cannot understand", &|| Ok(half("server.pem")?)),
        ("is no private key", &|| Ok(half("server.key")?)),
        ("no certificate is in", &|| {
            Ok(fs::write(pki.file("server.pem"), "李雷")?)
        }),
        ("no certificate is in", &|| {
            Ok(fs::write(pki.file("ca.pem"), "")?)
        }),
        ("cannot read", &|| {
            Ok(fs::remove_file(pki.file("server.pem"))?)
        }),
        ("cannot read", &|| {
            Ok(fs::remove_file(pki.file("server.key"))?)
        }),
    ];
    for (says, spoil) in bad {
        spoil()?;
        let error = tls.reload().await.expect_err(says);
        assert!(format!("{error:#}").contains(says), "{error:#}");
        for (name, bytes) in names.iter().zip(&saved) {
            fs::write(pki.file(name), bytes)?;
        }
        pki.authority()?.issue_client(crate::JACK, 30)?;
        assert_eq!(shown(address, &pki).await?, good);
    }
    // And then a good one is taken.
    pki.issue(30)?;
    tls.reload().await?;
    assert_eq!(shown(address, &pki).await?, written(pki.path())?);
    Ok(())
}

/// The authority of the clients is read again as well.
#[tokio::test]
async fn an_authority_that_is_no_longer_trusted_lets_nobody_in() -> Result {
    let log = Log::begins();
    let (pki, other) = (Pki::new()?, Pki::new()?);
    let (address, mut tls) = greeter(pki.path()).await?;
    let files = pki.files_with(&other);
    assert!(hello(connect(address, &files).await?).await.is_err());
    // Both, while the clients change theirs.
    let own = fs::read_to_string(pki.file("ca.pem"))?;
    let both = own.clone() + &fs::read_to_string(other.file("ca.pem"))?;
    fs::write(pki.file("ca.pem"), both)?;
    tls.reload().await?;
    hello(connect(address, &files).await?).await?;
    hello(connect(address, &pki.files()).await?).await?;
    fs::write(pki.file("ca.pem"), own)?;
    tls.reload().await?;
    assert!(hello(connect(address, &files).await?).await.is_err());
    assert_eq!(log.ends().matches("greeting").count(), 2);
    Ok(())
}

/// Each call on a connection of its own.
#[tokio::test(flavor = "multi_thread")]
async fn no_call_fails_while_certificates_change() -> Result {
    const CALLERS: usize = 4;
    const CALLS: usize = 60;
    const RENEWALS: usize = 6;
    let pki = Arc::new(Pki::new()?);
    let (address, mut tls) = greeter(pki.path()).await?;
    // The client's own files stay: they are not what is renewed here.
    let files = pki.files();
    let old = connect(address, &files).await?;
    let (tell, mut calls) = tokio::sync::mpsc::channel(CALLERS);
    let mut callers = JoinSet::new();
    for _ in 0..CALLERS {
        let (files, tell) = (files.clone(), tell.clone());
        callers.spawn(async move {
            for _ in 0..CALLS {
                let endpoint = files.endpoint(&format!("https://{address}")).await;
                let channel = endpoint.map_err(|error| error.to_string())?.connect().await;
                let channel = channel.map_err(|error| format!("{error:?}"))?;
                let message = hello(channel).await.map_err(|error| format!("{error:?}"))?;
                tell.send(message).await.map_err(|_| "nobody listens")?;
            }
            Ok::<(), String>(())
        });
    }
    drop(tell);
    let mut all = 0;
    let mut seen = Vec::new();
    while let Some(message) = calls.recv().await {
        assert_eq!(message, "Hello, 李雷! You are jack.");
        all += 1;
        // Between calls that have been answered, and those that have not.
        if all % (CALLERS * CALLS / RENEWALS) == 0 {
            pki.issue_named(&["localhost", "127.0.0.1"], 30)?;
            tls.reload().await?;
            assert_eq!(shown(address, &pki).await?, written(pki.path())?);
            seen.push(written(pki.path())?);
            hello(old.clone()).await?;
        }
    }
    while let Some(caller) = callers.join_next().await {
        caller??;
    }
    seen.dedup();
    assert_eq!((all, seen.len()), (CALLERS * CALLS, RENEWALS));
    Ok(())
}

/// A channel keeps the identity that it was built with, and so do its clones: a new
/// one takes the new files.
#[tokio::test]
async fn a_client_s_new_certificate_is_for_a_new_channel() -> Result {
    let pki = Pki::new()?;
    let (address, _tls) = greeter(pki.path()).await?;
    let channel = connect(address, &pki.files()).await?;
    assert_eq!(hello(channel.clone()).await?, "Hello, 李雷! You are jack.");
    pki.authority()?
        .issue_client("spiffe://example.org/jenny", 30)?;
    assert_eq!(hello(channel.clone()).await?, "Hello, 李雷! You are jack.");
    let channel = connect(address, &pki.files()).await?;
    assert_eq!(hello(channel).await?, "Hello, 李雷! You are jenny.");
    Ok(())
}

/// A session that is taken up again would not be asked for its certificate.
#[tokio::test]
async fn each_connection_begins_from_nothing() -> Result {
    let pki = Pki::new()?;
    let (address, _tls) = greeter(pki.path()).await?;
    for version in ALL_VERSIONS {
        // Both connections share what a client remembers.
        let mut config = rustls_config(&pki, &[version])?;
        config.alpn_protocols = vec![b"h2".to_vec()];
        let connector = TlsConnector::from(Arc::new(config));
        for _ in 0..2 {
            let connection = TcpStream::connect(address).await?;
            let name = ServerName::try_from("localhost")?;
            let mut connection = connector.connect(name, connection).await?;
            // Whatever the server had to give it has come before its first byte.
            connection.write_all(PREFACE).await?;
            connection.read_u8().await?;
            let kind = connection.get_ref().1.handshake_kind();
            assert_eq!(kind, Some(HandshakeKind::Full), "{version:?}");
        }
    }
    Ok(())
}
