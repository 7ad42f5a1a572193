//! Those who connect, and say nothing.

use std::{io::ErrorKind, sync::Arc, time::Duration};

use rustls::{ALL_VERSIONS, pki_types::ServerName};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, duplex},
    net::TcpStream,
    time::Instant,
};
use tokio_rustls::TlsConnector;
use transport_security::{
    accept::{HANDSHAKE, HANDSHAKES, handshake},
    tls::Tls,
};

use crate::{Pki, Result, connect, greeter, hello, rustls_config};

#[tokio::test]
async fn a_hundred_silent_ones_hold_up_nobody() -> Result {
    let pki = Pki::new()?;
    let (address, _tls) = greeter(pki.path()).await?;
    let mut silent = Vec::new();
    for number in 0..100 {
        let mut connection = TcpStream::connect(address).await?;
        // Some begin a record of TLS, and do not go on.
        if number % 2 == 0 {
            connection.write_all(&[22, 3, 1, 1]).await?;
        }
        silent.push(connection);
    }
    assert_eq!(
        hello(connect(address, &pki.files()).await?).await?,
        "Hello, 李雷! You are jack."
    );
    Ok(())
}

/// More than there are places: a client that comes then waits until some have gone.
#[tokio::test]
async fn whoever_waits_for_a_place_gets_one() -> Result {
    let pki = Pki::new()?;
    let (address, _tls) = greeter(pki.path()).await?;
    let mut silent = Vec::new();
    for _ in 0..HANDSHAKES + 10 {
        silent.push(TcpStream::connect(address).await?);
    }
    let last = TcpStream::connect(address).await?;
    drop(silent);
    let connector = TlsConnector::from(Arc::new(rustls_config(&pki, ALL_VERSIONS)?));
    connector
        .connect(ServerName::try_from("localhost")?, last)
        .await?;
    Ok(())
}

/// The clock is paused. At the other end somebody says `bytes`, and never closes.
async fn kept(bytes: &[u8]) -> Result<(ErrorKind, Duration, Vec<u8>)> {
    let pki = Pki::new()?;
    let tls = Tls::open(pki.path()).await?;
    let config = tls.config().borrow().clone();
    let (mut peer, connection) = duplex(1024);
    peer.write_all(bytes).await?;
    let began = Instant::now();
    let error = handshake(connection, config).await.err();
    let took = began.elapsed();
    let mut answer = Vec::new();
    peer.read_to_end(&mut answer).await?;
    Ok((error.ok_or("it is no handshake")?.kind(), took, answer))
}

#[tokio::test(start_paused = true)]
async fn silence_ends_after_a_while() -> Result {
    for bytes in [&b""[..], &[22, 3, 1, 1]] {
        let (error, took, answer) = kept(bytes).await?;
        assert_eq!((error, took), (ErrorKind::TimedOut, HANDSHAKE));
        assert!(answer.is_empty());
    }
    Ok(())
}

/// A client that is refused is told, and does not keep us long.
#[tokio::test(start_paused = true)]
async fn a_refused_one_is_given_time_to_read_the_alert() -> Result {
    let (error, took, answer) = kept("李雷 and no TLS".as_bytes()).await?;
    assert_eq!((error, took), (ErrorKind::InvalidData, HANDSHAKE));
    assert_eq!(answer.first(), Some(&21));
    Ok(())
}
