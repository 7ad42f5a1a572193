//! `cargo xtask wire`: stands between a client and a server, and prints the
//! HTTP/2 frames that make up the calls.
//!
//! Frames are those of RFC 9113, sections 4.1 and 6; headers are compressed
//! after RFC 7541. Frames that carry no part of a call (SETTINGS, PING,
//! WINDOW_UPDATE …) are passed on and not printed. CONTINUATION frames are printed
//! as a part of their HEADERS.

use std::{
    io::{self, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    process,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
};

use anyhow::{Context, Result, ensure};
use clap::Args;
use loona_hpack::Decoder;

/// What a client sends first, before any frame (RFC 9113, section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Connections, and the threads that print them.
type Open = Mutex<Vec<(TcpStream, JoinHandle<()>)>>;

/// The arguments of `cargo xtask wire`.
#[derive(Clone, Copy, Debug, Args)]
pub struct Addresses {
    /// Where to listen for the client.
    #[arg(long, default_value = "127.0.0.1:50050")]
    listen: SocketAddr,
    /// Where the server listens.
    #[arg(long, default_value = "127.0.0.1:50051")]
    to: SocketAddr,
}

/// Listens for the client, and passes each connection on to the server, until Ctrl-C.
///
/// # Errors
///
/// Fails if it cannot listen.
pub fn tap(Addresses { listen, to }: Addresses) -> Result<()> {
    let open = Arc::new(Open::default());
    let ending = Arc::clone(&open);
    ctrlc::set_handler(move || {
        // What a client has sent is here, though it may not be printed yet: it is
        // still read, and nothing after it.
        for (client, printing) in lock(&ending).drain(..) {
            client.shutdown(Shutdown::Read).ok();
            printing.join().ok();
        }
        process::exit(0)
    })
    .context("cannot wait for Ctrl-C")?;
    let listener =
        TcpListener::bind(listen).with_context(|| format!("cannot listen on {listen}"))?;
    println!(
        "listening on {}, passing on to {to}",
        listener.local_addr()?
    );
    for client in listener.incoming() {
        let client = client?;
        let other = client.try_clone()?;
        let printing = thread::spawn(move || {
            if let Err(error) = connection(&client, to) {
                eprintln!("error: {error:#}");
                client.shutdown(Shutdown::Both).ok();
            }
        });
        let mut open = lock(&open);
        open.retain(|(_, printing)| !printing.is_finished());
        open.push((other, printing));
    }
    Ok(())
}

/// Each change leaves it whole.
fn lock(open: &Open) -> MutexGuard<'_, Vec<(TcpStream, JoinHandle<()>)>> {
    open.lock().unwrap_or_else(PoisonError::into_inner)
}

fn connection(client: &TcpStream, to: SocketAddr) -> Result<()> {
    let server =
        TcpStream::connect(to).with_context(|| format!("cannot reach the server at {to}"))?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let mut preface = [0; PREFACE.len()];
    (&*client).read_exact(&mut preface)?;
    ensure!(
        preface == PREFACE,
        "the client does not speak HTTP/2 in plain text"
    );
    (&server).write_all(&preface)?;

    thread::scope(|scope| {
        scope.spawn(|| pass_on("client", client, &server));
        pass_on("server", &server, client);
    });
    Ok(())
}

/// Passes frames on until either side closes.
fn pass_on(who: &'static str, from: &TcpStream, to: &TcpStream) {
    let mut printer = Printer {
        who,
        decoder: Decoder::new(),
        block: Vec::new(),
        end: "",
    };
    while let Ok(Some(frame)) = Frame::read(from) {
        // Printed before it is passed on: the answer cannot overtake it.
        printer.print(&frame);
        if (&*to).write_all(&frame.bytes()).is_err() {
            break;
        }
    }
    to.shutdown(Shutdown::Both).ok();
    from.shutdown(Shutdown::Both).ok();
}

/// Prints the frames of one direction.
struct Printer {
    who: &'static str,
    /// Decoding depends on all headers that came before on this connection.
    decoder: Decoder<'static>,
    /// The headers so far, if more of them follow in CONTINUATION frames.
    block: Vec<u8>,
    end: &'static str,
}

impl Printer {
    fn print(&mut self, frame: &Frame) {
        const HEADERS: u8 = 1;
        const CONTINUATION: u8 = 9;
        let kind = frame.head[3];
        if kind != CONTINUATION {
            self.end = if kind <= HEADERS && frame.flag(0x1) {
                ", END_STREAM"
            } else {
                ""
            };
        }
        let (name, content) = match kind {
            0 => ("DATA", dump(frame.content())),
            HEADERS | CONTINUATION => {
                self.block.extend(frame.content());
                if !frame.flag(0x4) {
                    return;
                }
                ("HEADERS", self.fields())
            }
            3 => ("RST_STREAM", dump(frame.content())),
            _ => return,
        };
        let text = format!(
            "\n{}: {name}, stream {}{}\n{content}",
            self.who,
            frame.stream(),
            self.end
        );
        let mut screen = io::stdout().lock();
        // If nobody reads any more, the calls go on all the same.
        screen
            .write_all(text.as_bytes())
            .and_then(|()| screen.flush())
            .ok();
    }

    fn fields(&mut self) -> String {
        let fields = self.decoder.decode(&std::mem::take(&mut self.block));
        match fields {
            Ok(fields) => fields
                .iter()
                .map(|(name, value)| {
                    format!(
                        "  {}: {}\n",
                        String::from_utf8_lossy(name),
                        String::from_utf8_lossy(value)
                    )
                })
                .collect(),
            Err(error) => format!("  headers that cannot be decoded: {error:?}\n"),
        }
    }
}

struct Frame {
    head: [u8; 9],
    payload: Vec<u8>,
}

impl Frame {
    /// The next frame; none at the end of the connection.
    fn read(mut from: impl Read) -> io::Result<Option<Self>> {
        let mut head = [0; 9];
        match from.read_exact(&mut head) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            other => other?,
        }
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let mut payload = vec![0; length];
        from.read_exact(&mut payload)?;
        Ok(Some(Self { head, payload }))
    }

    fn bytes(&self) -> Vec<u8> {
        [&self.head[..], &self.payload].concat()
    }

    fn stream(&self) -> u32 {
        u32::from_be_bytes([
            self.head[5] & 0x7f,
            self.head[6],
            self.head[7],
            self.head[8],
        ])
    }

    fn flag(&self, bit: u8) -> bool {
        self.head[4] & bit != 0
    }

    /// The payload without padding and priority (flags PADDED and PRIORITY).
    fn content(&self) -> &[u8] {
        let mut content = &self.payload[..];
        if self.flag(0x8) && !content.is_empty() {
            let padding = usize::from(content[0]);
            content = content[1..]
                .get(..content.len().saturating_sub(1 + padding))
                .unwrap_or_default();
        }
        if self.head[3] == 1 && self.flag(0x20) {
            content = content.get(5..).unwrap_or_default();
        }
        content
    }
}

/// Bytes in hexadecimal and, where they are printable ASCII, as text.
fn dump(bytes: &[u8]) -> String {
    let mut text = String::new();
    for row in bytes.chunks(16) {
        let hex: Vec<_> = row.iter().map(|byte| format!("{byte:02x}")).collect();
        let ascii: String = row
            .iter()
            .map(|&byte| {
                if byte.is_ascii_graphic() || byte == b' ' {
                    char::from(byte)
                } else {
                    '.'
                }
            })
            .collect();
        text += &format!("  {:<47}  {ascii}\n", hex.join(" "));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_frames_and_leaves_out_padding() {
        // DATA, END_STREAM and PADDED, on stream 3: two bytes of padding.
        let bytes = [0, 0, 5, 0, 0x9, 0, 0, 0, 3, 2, b'h', b'i', 0, 0];
        let frame = Frame::read(&bytes[..])
            .expect("it can be read")
            .expect("it is there");
        assert_eq!(
            (frame.stream(), frame.flag(1), frame.content()),
            (3, true, &b"hi"[..])
        );
        assert_eq!(frame.bytes(), bytes);
        assert!(Frame::read(&[][..]).expect("an end is no error").is_none());
    }

    #[test]
    fn dumps_bytes_with_their_text() {
        assert_eq!(dump(b"\x00Hi"), format!("  {:<47}  .Hi\n", "00 48 69"));
    }
}
