//! What a server survives: clients that stall, and a system that has no more
//! files to open.

use std::{error::Error, io};

use hello_world::{DRAIN_TIMEOUT, MAX_REQUEST_BYTES, incoming::pause_on_errors};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Duration, Instant},
};
use tokio_stream::StreamExt;
use tonic::Code;

use crate::greeting::TestServer;

/// The clock is paused: it jumps to the next limit as soon as nothing else is left
/// to do.
#[tokio::test(start_paused = true)]
async fn a_client_that_stalls_cannot_hold_up_a_shutdown() -> Result<(), Box<dyn Error>> {
    for sent in ["", "PRI * HTTP/2.0\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"] {
        let greeting = TestServer::start().await?;
        let mut client = TcpStream::connect(greeting.address).await?;
        client.write_all(sent.as_bytes()).await?;
        // The server speaks first once it has accepted the connection.
        client.read_u8().await?;

        let told = Instant::now();
        greeting.stop.send(()).expect("the server runs");
        greeting.server.await??;
        assert_eq!(
            told.elapsed().as_secs(),
            DRAIN_TIMEOUT.as_secs(),
            "{sent:?}"
        );
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn failing_to_accept_pauses_before_the_next_attempt() {
    let too_many_files = || io::Error::from_raw_os_error(24);
    let attempts = [Err(too_many_files()), Err(too_many_files()), Ok(1), Ok(2)];
    let begun = Instant::now();
    let results = pause_on_errors(tokio_stream::iter(attempts));
    let connections: Vec<i32> = results.filter_map(Result::ok).collect().await;
    assert_eq!(connections, [1, 2]);
    assert_eq!(
        begun.elapsed().as_secs(),
        2,
        "one second after each failure"
    );
}

#[tokio::test(start_paused = true)]
async fn a_client_that_left_early_delays_no_other() {
    let attempts = [Err(io::ErrorKind::ConnectionAborted.into()), Ok(1)];
    let begun = Instant::now();
    let results = pause_on_errors(tokio_stream::iter(attempts));
    let connections: Vec<i32> = results.filter_map(Result::ok).collect().await;
    assert_eq!(connections, [1]);
    assert_eq!(begun.elapsed(), Duration::ZERO);
}

#[tokio::test]
async fn a_request_over_the_limit_is_not_read() -> Result<(), Box<dyn Error>> {
    let greeting = TestServer::start().await?;
    let name = "x".repeat(MAX_REQUEST_BYTES);
    let status = greeting.greet(&name).await;
    let status = status.expect_err("the request is too large");
    assert_eq!(status.code(), Code::OutOfRange);
    Ok(())
}
