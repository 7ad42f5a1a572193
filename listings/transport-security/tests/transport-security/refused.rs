//! Everything that must not get in, or must not be talked to.

use std::{fs, net::SocketAddr, path::Path, sync::Arc};

use rustls::{
    AlertDescription, CertificateError, ClientConfig,
    pki_types::{PrivateKeyDer, ServerName, pem::PemObject},
    version::TLS12,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tonic::{
    Code,
    transport::{Channel, Identity, Server, ServerTlsConfig, server::TcpIncoming},
};
use transport_security::{
    causes::{advice, causes},
    connect::Files,
    greeter::Greeter,
    pb::greeter_service_server::GreeterServiceServer,
    tls::Tls,
};

use crate::{Log, Pki, Result, connect, greeter, hello, rustls_config};

/// What TLS says of it.
fn tls(error: &(dyn std::error::Error + 'static)) -> Option<rustls::Error> {
    causes(error).find_map(|cause| cause.downcast_ref().cloned())
}

/// A client that connects and must not be let in: its first call fails, and the
/// server says why.
async fn refused(address: SocketAddr, files: &Files) -> Result<AlertDescription> {
    let status = hello(connect(address, files).await?).await;
    let status = status.expect_err("it was let in");
    // Whether the request or the alert was first, or the request was lost between the
    // two and waited for its timeout. Of the alert there is the text, and no error of
    // rustls to match on: h2 keeps no more.
    let last = causes(&status).last().map(ToString::to_string);
    let last = last.ok_or("no cause")?;
    match status.code() {
        Code::Unknown => assert!(last.contains("fatal alert"), "{last}"),
        Code::Cancelled => assert!(
            last.contains("connection") || last == "Timeout expired",
            "{last}"
        ),
        other => panic!("{other:?}"),
    }
    assert_eq!(tls(&status), None);
    let uri = format!("https://{address}").parse()?;
    let error = files.check(&uri).await.expect_err("it was let in");
    assert!(advice(error.as_ref()).is_some(), "{error:?}");
    match tls(error.as_ref()) {
        Some(rustls::Error::AlertReceived(alert)) => Ok(alert),
        other => panic!("{other:?}"),
    }
}

/// A server that the client must not talk to: it does not even connect.
async fn distrusted(uri: String, files: &Files) -> Result<CertificateError> {
    let error = files.endpoint(&uri).await?.connect().await;
    let error = error.expect_err("it was trusted");
    assert!(advice(&error).is_some(), "{error:?}");
    match tls(&error) {
        Some(rustls::Error::InvalidCertificate(error)) => Ok(error),
        other => panic!("{other:?}"),
    }
}

/// A server that does not look at its own certificate.
pub async fn careless(folder: &Path) -> Result<SocketAddr> {
    let identity = Identity::from_pem(
        fs::read(folder.join("server.pem"))?,
        fs::read(folder.join("server.key"))?,
    );
    let server = Server::builder()
        .tls_config(ServerTlsConfig::new().identity(identity))?
        .add_service(GreeterServiceServer::new(Greeter));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(server.serve_with_incoming(TcpIncoming::from(listener)));
    Ok(address)
}

#[tokio::test]
async fn names_and_addresses_that_are_in_the_certificate_are_good() -> Result {
    let pki = Pki::new()?;
    let (address, _tls) = greeter(pki.path()).await?;
    for host in ["127.0.0.1", "localhost"] {
        let uri = format!("https://{host}:{}", address.port());
        let channel = pki.files().endpoint(&uri).await?.connect().await?;
        assert_eq!(hello(channel).await?, "Hello, 李雷! You are jack.");
        pki.files().check(&uri.parse()?).await?;
    }
    Ok(())
}

#[tokio::test]
async fn others_are_not() -> Result {
    let log = Log::begins();
    let pki = Pki::new()?;
    for names in [
        &["greeter.example.org"][..],
        &["127.0.0.2"],
        // An address is not a name, and a name is not an address.
        &["localhost"],
    ] {
        pki.issue_named(names, 30)?;
        let (address, _tls) = greeter(pki.path()).await?;
        let error = distrusted(format!("https://{address}"), &pki.files()).await?;
        assert!(
            matches!(error, CertificateError::NotValidForNameContext { .. }),
            "{error:?}"
        );
    }
    pki.issue_named(&["127.0.0.1"], 30)?;
    let (address, _tls) = greeter(pki.path()).await?;
    let uri = format!("https://localhost:{}", address.port());
    distrusted(uri, &pki.files()).await?;
    assert!(!log.ends().contains("greeting"));
    Ok(())
}

#[tokio::test]
async fn a_server_of_another_authority() -> Result {
    let log = Log::begins();
    let (pki, other) = (Pki::new()?, Pki::new()?);
    let (address, _tls) = greeter(other.path()).await?;
    let error = distrusted(format!("https://{address}"), &pki.files()).await?;
    assert_eq!(error, CertificateError::UnknownIssuer);
    assert!(!log.ends().contains("greeting"));
    Ok(())
}

#[tokio::test]
async fn a_server_whose_certificate_has_expired() -> Result {
    let pki = Pki::new()?;
    pki.issue(-1)?;
    let address = careless(pki.path()).await?;
    let error = distrusted(format!("https://{address}"), &pki.files()).await?;
    assert!(
        matches!(error, CertificateError::ExpiredContext { .. }),
        "{error:?}"
    );
    // Ours does not even start.
    let error = Tls::open(pki.path()).await.err().ok_or("it starts")?;
    assert!(error.to_string().contains("not valid now"), "{error}");
    Ok(())
}

#[tokio::test]
async fn a_client_without_a_certificate() -> Result {
    let log = Log::begins();
    let pki = Pki::new()?;
    let (address, _tls) = greeter(pki.path()).await?;
    let nobody = Files {
        identity: None,
        ..pki.files()
    };
    let alert = refused(address, &nobody).await?;
    assert_eq!(alert, AlertDescription::CertificateRequired);
    let log = log.ends();
    assert!(log.contains("peer sent no certificates"), "{log}");
    assert!(!log.contains("greeting"), "{log}");
    Ok(())
}

#[tokio::test]
async fn a_client_of_another_authority() -> Result {
    let log = Log::begins();
    let (pki, other) = (Pki::new()?, Pki::new()?);
    let (address, _tls) = greeter(pki.path()).await?;
    let alert = refused(address, &pki.files_with(&other)).await?;
    assert_eq!(alert, AlertDescription::UnknownCA);
    assert!(!log.ends().contains("greeting"));
    Ok(())
}

#[tokio::test]
async fn a_client_whose_certificate_has_expired() -> Result {
    let log = Log::begins();
    let pki = Pki::new()?;
    let (address, _tls) = greeter(pki.path()).await?;
    pki.issue(-1)?;
    let alert = refused(address, &pki.files()).await?;
    assert_eq!(alert, AlertDescription::CertificateExpired);
    assert!(!log.ends().contains("greeting"));
    Ok(())
}

/// What was issued for one purpose does not do for the other.
#[tokio::test]
async fn a_server_s_certificate_is_no_client_s() -> Result {
    let log = Log::begins();
    let pki = Pki::new()?;
    let (address, _tls) = greeter(pki.path()).await?;
    let files = Files {
        identity: Some((pki.file("server.pem"), pki.file("server.key"))),
        ..pki.files()
    };
    let status = hello(connect(address, &files).await?).await;
    assert!(status.is_err());
    assert!(!log.ends().contains("greeting"));
    Ok(())
}

/// A connection of TCP on which somebody says `bytes`: the answer.
async fn answer(address: SocketAddr, bytes: &[u8]) -> Result<Vec<u8>> {
    let mut connection = TcpStream::connect(address).await?;
    connection.write_all(bytes).await?;
    connection.shutdown().await?;
    let mut answer = Vec::new();
    connection.read_to_end(&mut answer).await?;
    Ok(answer)
}

/// A record with a `ClientHello` of this version (RFC 4346, section 7.4.1.2).
fn client_hello(version: [u8; 2], extensions: &[u8]) -> Vec<u8> {
    let mut hello = version.to_vec();
    hello.extend([7; 32]); // random
    hello.push(0); // no session
    hello.extend([0, 2, 0xc0, 0x13]); // TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA
    hello.extend([1, 0]); // no compression
    hello.extend(extensions);
    let length = u8::try_from(hello.len()).expect("it is short");
    let mut record = vec![22, 3, 1, 0, length + 4, 1, 0, 0, length];
    record.extend(hello);
    record
}

#[tokio::test]
async fn tls_before_1_2() -> Result {
    /// One extension: `signature_algorithms`, rsa_pkcs1_sha256. Those who know TLS
    /// 1.2 as well send it.
    const WITH_ALGORITHMS: &[u8] = &[0, 8, 0, 13, 0, 4, 0, 2, 4, 1];

    let log = Log::begins();
    let pki = Pki::new()?;
    let (address, _tls) = greeter(pki.path()).await?;
    // SSL 3.0, TLS 1.0, TLS 1.1.
    for version in [[3, 0], [3, 1], [3, 2]] {
        for (extensions, alert) in [
            (WITH_ALGORITHMS, AlertDescription::ProtocolVersion),
            (&[], AlertDescription::HandshakeFailure),
        ] {
            let answer = answer(address, &client_hello(version, extensions)).await?;
            // An alert, and a fatal one.
            let alert = [2, alert.into()];
            assert_eq!((answer[0], &answer[5..]), (21, &alert[..]), "{version:?}");
        }
    }
    let log = log.ends();
    assert!(
        log.contains("Tls12NotOffered") && !log.contains("greeting"),
        "{log}"
    );
    Ok(())
}

/// A client of rustls, with what is said of it.
async fn raw(
    address: SocketAddr,
    pki: &Pki,
    change: impl FnOnce(&mut ClientConfig),
) -> Result<TlsStream<TcpStream>> {
    let mut config = rustls_config(pki, &[&TLS12])?;
    change(&mut config);
    let connection = TcpStream::connect(address).await?;
    let connector = TlsConnector::from(Arc::new(config));
    let name = ServerName::try_from("localhost")?;
    Ok(connector.connect(name, connection).await?)
}

#[tokio::test]
async fn tls_1_2_and_http2_or_nothing() -> Result {
    let pki = Pki::new()?;
    let (address, _tls) = greeter(pki.path()).await?;
    let h2 = raw(address, &pki, |config| {
        config.alpn_protocols = vec![b"http/1.1".to_vec(), b"h2".to_vec()];
    });
    let h2 = h2.await?;
    let session = h2.get_ref().1;
    assert_eq!(session.alpn_protocol(), Some(&b"h2"[..]));
    let version = session.protocol_version();
    assert_eq!(version, Some(rustls::ProtocolVersion::TLSv1_2));

    let http1 = raw(address, &pki, |config| {
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
    });
    let error = http1.await.err().ok_or("it was let in")?;
    let alert = rustls::Error::AlertReceived(AlertDescription::NoApplicationProtocol);
    assert_eq!(tls(error.as_ref()), Some(alert));
    Ok(())
}

#[tokio::test]
async fn plain_text() -> Result {
    let log = Log::begins();
    let pki = Pki::new()?;
    let (address, _tls) = greeter(pki.path()).await?;
    let channel = Channel::from_shared(format!("http://{address}"))?;
    let status = hello(channel.connect().await?).await;
    let code = status.expect_err("it was let in").code();
    assert!(matches!(code, Code::Internal | Code::Cancelled), "{code:?}");
    for bytes in [&b"GET / HTTP/1.1\r\n\r\n"[..], "李雷".as_bytes(), &[0; 100]] {
        // An alert, or nothing.
        let answer = answer(address, bytes).await?;
        assert!(answer.is_empty() || answer[0] == 21, "{answer:?}");
    }
    // And it goes on.
    hello(connect(address, &pki.files()).await?).await?;
    let log = log.ends();
    assert!(log.contains("InvalidContentType"), "{log}");
    assert_eq!(log.matches("greeting").count(), 1, "{log}");
    Ok(())
}

/// Our client does not send anything in plain text.
#[tokio::test]
async fn a_uri_without_tls() -> Result {
    let pki = Pki::new()?;
    for uri in ["http://127.0.0.1:1", "127.0.0.1:1", "unix:///run/x"] {
        let error = pki.files().endpoint(uri).await.err().ok_or("it is good")?;
        assert!(error.to_string().contains("is not https://"), "{error:#}");
    }
    Ok(())
}

/// Not at TRACE, not of the one who is refused, not of a pair that does not fit.
#[tokio::test]
async fn no_key_is_in_any_log() -> Result {
    let log = Log::begins();
    let (pki, other) = (Pki::new()?, Pki::new()?);
    let (address, mut tls) = greeter(pki.path()).await?;
    hello(connect(address, &pki.files()).await?).await?;
    refused(address, &pki.files_with(&other)).await?;
    let keys = ["server", "client", "ca"].map(|whose| format!("{whose}.key"));
    let keys = keys.iter().flat_map(|key| [pki.file(key), other.file(key)]);
    let keys: Vec<_> = keys.map(fs::read_to_string).collect::<Result<_, _>>()?;
    fs::copy(other.file("server.key"), pki.file("server.key"))?;
    let error = tls.reload().await.expect_err("it is no pair");
    fs::write(pki.file("server.key"), &keys[0][..100])?;
    let worse = tls.reload().await.expect_err("it is half of a key");
    let log = log.ends() + &format!("{error:?} {worse:?} {:?}", pki.files());
    assert!(log.contains("TRACE") && log.contains("greeting"));
    for key in keys {
        let secret = PrivateKeyDer::from_pem_slice(key.as_bytes())?;
        let secret = &secret.secret_der()[40..60];
        let hex: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
        let list = format!("{secret:?}");
        assert!(!log.contains(&hex) && !log.contains(list.trim_matches(['[', ']'])));
        for line in key.lines().filter(|line| !line.starts_with('-')) {
            assert!(!log.contains(line), "{line}");
        }
    }
    Ok(())
}
