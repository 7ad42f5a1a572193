//! What becomes of a connection on which many calls are cancelled at once.

use std::{error::Error, io, net::SocketAddr};

use streaming::{Till, pb::till_service_server::TillServiceServer, serve};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tonic::transport::{Server, server::TcpIncoming};

const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// Makes so many calls in one write and cancels each of them, as a client does when
/// the task is dropped that it makes its calls in. Then it makes one more.
///
/// # Errors
///
/// What the server says when it closes the connection instead of answering that.
async fn cancel(address: SocketAddr, calls: u32) -> io::Result<Result<(), String>> {
    let mut connection = TcpStream::connect(address).await?;
    let mut all = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    all.extend(frame(SETTINGS, 0, 0, b""));
    let headers = [
        b"\x83\x86\x04\x1a/till.v1.TillService/AddUp".as_slice(), // POST, http, the path
        b"\x0f\x10\x10application/grpc",                          // content-type
        b"\x00\x02te\x08trailers",
    ]
    .concat();
    let cancel = 8_u32.to_be_bytes(); // the reason CANCEL
    for call in 0..calls {
        all.extend(frame(HEADERS, END_HEADERS, 2 * call + 1, &headers));
        all.extend(frame(RST_STREAM, 0, 2 * call + 1, &cancel));
    }
    let last = 2 * calls + 1;
    all.extend(frame(HEADERS, END_HEADERS | END_STREAM, last, &headers));
    connection.write_all(&all).await?;
    loop {
        let mut head = [0; 9];
        connection.read_exact(&mut head).await?;
        let [a, b, c, kind, _, stream @ ..] = head;
        let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
        connection.read_exact(&mut payload).await?;
        match (kind, u32::from_be_bytes(stream)) {
            (HEADERS, stream) if stream == last => return Ok(Ok(())),
            // Behind the last stream and the reason.
            (GOAWAY, _) => return Ok(Err(String::from_utf8_lossy(&payload[8..]).into())),
            _ => {}
        }
    }
}

/// A frame of HTTP/2 (RFC 9113, section 4.1).
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("it is short");
    let mut frame = length.to_be_bytes()[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// A server that tolerates `resets` calls that were cancelled before it has accepted them.
async fn serve_with_reset_limit(resets: Option<usize>) -> io::Result<SocketAddr> {
    let incoming = TcpIncoming::from(TcpListener::bind("127.0.0.1:0").await?);
    let address = incoming.local_addr()?;
    let server = Server::builder()
        .http2_max_pending_accept_reset_streams(resets)
        .add_service(TillServiceServer::new(Till::default()))
        .serve_with_incoming(incoming);
    tokio::spawn(server);
    Ok(address)
}

/// tonic 0.14.9. The server reads all that has come before it accepts a call, and
/// takes more than twenty calls among it that were cancelled for an attack.
#[tokio::test]
async fn by_default_a_burst_of_cancelled_calls_ends_the_connection() -> io::Result<()> {
    let address = serve_with_reset_limit(None).await?;
    assert_eq!(cancel(address, 20).await?, Ok(()));
    let ended = cancel(address, 21).await?;
    assert_eq!(ended, Err("too_many_resets".to_owned()));
    Ok(())
}

#[tokio::test]
async fn with_room_for_them_a_thousand_cancelled_calls_harm_no_other() -> io::Result<()> {
    let address = serve_with_reset_limit(Some(1000)).await?;
    assert_eq!(cancel(address, 1000).await?, Ok(()));
    Ok(())
}

#[tokio::test]
async fn a_thousand_cancelled_calls_do_not_end_a_connection_of_ours() -> Result<(), Box<dyn Error>>
{
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(serve(listener, std::future::pending()));
    assert_eq!(cancel(address, 1000).await?, Ok(()));
    Ok(())
}
