//! Connections from which nothing comes. The clock is paused.

use std::time::Duration;

use deadlines::patience::Patience;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, duplex},
    time::{Instant, sleep, timeout},
};
use tonic::{service::Routes, transport::Server};

const SILENCE: Duration = Duration::from_secs(20);

/// The first bytes of every connection of HTTP/2, and an empty SETTINGS frame.
const HELLO: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// How long a server of tonic keeps a client that says this and no more.
async fn kept(server: Server, says: &[u8]) -> Duration {
    let (mut client, connection) = duplex(1024);
    let connection = Patience::new(connection, SILENCE);
    let incoming = tokio_stream::once(Ok::<_, std::io::Error>(connection));
    let mut server = server;
    let server = server.add_routes(Routes::default());
    tokio::spawn(server.serve_with_incoming(incoming));
    let began = Instant::now();
    client.write_all(says).await.expect("there is room");
    client
        .read_to_end(&mut Vec::new())
        .await
        .expect("it is closed");
    began.elapsed()
}

#[tokio::test(start_paused = true)]
async fn whoever_says_nothing_of_http2_is_sent_away() {
    for says in [&b""[..], &HELLO[..10]] {
        let server = Server::builder().http2_keepalive_interval(Some(SILENCE / 4));
        assert_eq!(kept(server, says).await, SILENCE);
    }
}

/// The keepalive of the server is sooner, once it has begun.
#[tokio::test(start_paused = true)]
async fn whoever_falls_silent_later_is_missed_by_the_keepalive() {
    let server = Server::builder()
        .http2_keepalive_interval(Some(SILENCE / 4))
        .http2_keepalive_timeout(Some(SILENCE / 4));
    assert!(kept(server, HELLO).await < SILENCE);
}

/// A byte every now and then would make the preface last for minutes.
#[tokio::test(start_paused = true)]
async fn the_beginning_has_one_limit_for_all_of_its_bytes() {
    let (mut client, connection) = duplex(1024);
    let connection = Patience::new(connection, SILENCE);
    let incoming = tokio_stream::once(Ok::<_, std::io::Error>(connection));
    let mut server = Server::builder().http2_keepalive_interval(Some(SILENCE / 4));
    let server = server.add_routes(Routes::default());
    tokio::spawn(server.serve_with_incoming(incoming));
    let began = Instant::now();
    for &byte in HELLO {
        if client.write_all(&[byte]).await.is_err() {
            break;
        }
        sleep(SILENCE * 9 / 10).await;
    }
    // It was closed at the limit, and the next byte found it so.
    assert!(began.elapsed() < SILENCE * 2, "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn whoever_says_a_little_now_and_then_stays() {
    let (mut client, connection) = duplex(1024);
    let mut connection = Patience::new(connection, SILENCE);
    client.write_all(HELLO).await.expect("there is room");
    let mut read = [0; HELLO.len()];
    connection.read_exact(&mut read).await.expect("it is open");
    for _ in 0..10 {
        sleep(SILENCE - Duration::from_millis(1)).await;
        client.write_all("茶".as_bytes()).await.expect("it is open");
        let mut read = [0; 3];
        connection.read_exact(&mut read).await.expect("it is open");
        assert_eq!(read, "茶".as_bytes());
    }
    let began = Instant::now();
    let error = connection.read_u8().await.expect_err("nothing comes");
    assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
    assert_eq!(began.elapsed(), SILENCE);
}

/// tonic 0.14.9. When this test fails, [`Patience`] is no longer needed.
#[tokio::test(start_paused = true)]
async fn without_it_they_stay() {
    for says in [&b""[..], &HELLO[..10]] {
        let (mut client, connection) = duplex(1024);
        let incoming = tokio_stream::once(Ok::<_, std::io::Error>(connection));
        let server = Server::builder()
            .http2_keepalive_interval(Some(SILENCE / 4))
            .http2_keepalive_timeout(Some(SILENCE / 4))
            .max_connection_age(SILENCE)
            .timeout(SILENCE)
            .add_routes(Routes::default());
        tokio::spawn(server.serve_with_incoming(incoming));
        client.write_all(says).await.expect("there is room");
        let mut all = Vec::new();
        let closed = timeout(SILENCE * 1000, client.read_to_end(&mut all)).await;
        assert!(closed.is_err(), "{closed:?}");
    }
}
