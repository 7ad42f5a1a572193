//! A server that begins an answer and never ends it, in plain HTTP/2 frames. It
//! answers PINGs, so no keepalive finds it out.

use std::{
    io,
    net::SocketAddr,
    process::{Output, Stdio},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    process::Command,
    sync::mpsc,
    time::{interval, timeout},
};

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;

/// `:status: 200` and `content-type: application/grpc`, in HPACK.
const OK: &[u8] = b"\x88\x5f\x10application/grpc";

/// How far an answer comes.
#[derive(Clone, Copy, Debug)]
pub enum Answer {
    /// Not even the response headers.
    Nothing,
    /// The response headers.
    Headers,
    /// The headers, and half of a message.
    HalfMessage,
    /// The headers and a message, but no trailers.
    Message(&'static [u8]),
    /// The headers, and a long message of which a byte comes every second.
    ByteASecond,
}

/// What `program` prints and how it ends, with the arguments `before`, the URI of such
/// a server, and the arguments `after`.
///
/// # Panics
///
/// If the program goes on for a minute, which measures nothing: no limit of a
/// client is as long, and each is shorter by half at least.
pub async fn run(program: &str, before: &[&str], after: &[&str], answer: Answer) -> Output {
    let address = serve(answer).await.expect("there is a free port");
    let output = Command::new(program)
        .args(before)
        .arg(format!("http://{address}"))
        .args(after)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let ended = timeout(Duration::from_secs(60), output).await;
    let ended = ended.unwrap_or_else(|_| panic!("{program} hangs after {answer:?}"));
    ended.expect("the program starts")
}

/// Answers each call so, on a port that the system chose.
pub async fn serve(answer: Answer) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((connection, _)) = listener.accept().await {
            tokio::spawn(speak(connection, answer));
        }
    });
    Ok(address)
}

async fn speak(connection: TcpStream, answer: Answer) -> io::Result<()> {
    let (mut reader, mut writer) = connection.into_split();
    let (frames, mut sent) = mpsc::channel::<Vec<u8>>(16);
    tokio::spawn(async move {
        while let Some(frame) = sent.recv().await {
            writer.write_all(&frame).await?;
        }
        io::Result::Ok(())
    });
    let send = async |frame| frames.send(frame).await.map_err(io::Error::other);

    reader.read_exact(&mut [0; 24]).await?; // the preface
    send(frame(SETTINGS, 0, 0, b"")).await?;
    loop {
        let mut head = [0; 9];
        reader.read_exact(&mut head).await?;
        let [a, b, c, kind, flags, stream @ ..] = head;
        let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
        reader.read_exact(&mut payload).await?;
        let stream = u32::from_be_bytes(stream);
        match kind {
            SETTINGS if flags & ACK == 0 => send(frame(SETTINGS, ACK, 0, b"")).await?,
            PING if flags & ACK == 0 => send(frame(PING, ACK, 0, &payload)).await?,
            HEADERS if !matches!(answer, Answer::Nothing) => {
                send(frame(HEADERS, END_HEADERS, stream, OK)).await?;
                match answer {
                    Answer::Nothing | Answer::Headers => {}
                    Answer::HalfMessage => {
                        send(frame(DATA, 0, stream, b"\0\0\0\0\x02\x0a")).await?
                    }
                    Answer::Message(message) => send(frame(DATA, 0, stream, message)).await?,
                    Answer::ByteASecond => {
                        send(frame(DATA, 0, stream, b"\0\0\x01\0\0")).await?;
                        let frames = frames.clone();
                        tokio::spawn(async move {
                            let mut seconds = interval(Duration::from_secs(1));
                            while frames.send(frame(DATA, 0, stream, b"\x0a")).await.is_ok() {
                                seconds.tick().await;
                            }
                        });
                    }
                }
            }
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
