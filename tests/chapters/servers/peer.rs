//! Clients that stall: HTTP/2 written by hand, since no library stops half-way through a frame.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    sync::Arc,
    thread,
};

use anyhow::{Context, bail};
use harness::Result;
use rustls::{ClientConfig, ClientConnection, StreamOwned};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;

/// END_STREAM of DATA and HEADERS; ACK of SETTINGS and PING.
const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;

const MAX_CONCURRENT_STREAMS: u16 = 3;
const INITIAL_WINDOW_SIZE: u16 = 4;

/// What a client does, and then stops doing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Peer {
    /// It is not there.
    None,
    /// It connects, and sends nothing.
    Silent,
    /// It sends the first 16 of the preface's 24 bytes.
    HalfPreface,
    /// It sends the preface and five bytes of a frame's header.
    HalfFrame,
    /// It has no call, and answers pings.
    Idle,
    /// It has no call, and reads nothing any more.
    Frozen,
    /// It has sent half a message, and answers pings.
    HalfRequest,
    /// Its window has no room for the response to a unary call; it answers pings.
    ZeroWindowUnary,
    /// The same for a stream of responses.
    ZeroWindowStream,
    /// It reads a stream of responses that does not end.
    ServerStream,
    /// It has not ended its stream of requests.
    BidirectionalStream,
}

/// A connection of such a client. Dropping it closes it.
pub struct Connection {
    transport: Box<dyn Transport>,
}

trait Transport: Read + Write + Send {}

impl<T: Read + Write + Send> Transport for T {}

/// What a server tells its client first.
#[derive(Debug, Default)]
pub struct Settings {
    /// How many streams may be open, if it says so.
    pub max_concurrent_streams: Option<u32>,
}

impl Connection {
    /// Connects, with TLS if there is a configuration of it.
    pub fn open(address: SocketAddr, tls: Option<&Arc<ClientConfig>>) -> Result<Self> {
        let socket = TcpStream::connect(address)?;
        socket.set_nodelay(true)?;
        let transport: Box<dyn Transport> = match tls {
            None => Box::new(socket),
            Some(config) => {
                let name = "localhost".try_into()?;
                let connection = ClientConnection::new(Arc::clone(config), name)?;
                Box::new(StreamOwned::new(connection, socket))
            }
        };
        Ok(Self { transport })
    }

    pub fn write(&mut self, bytes: &[u8]) -> Result {
        self.transport.write_all(bytes)?;
        Ok(self.transport.flush()?)
    }

    fn frame(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Result {
        let length = u32::try_from(payload.len())?.to_be_bytes();
        let stream = stream.to_be_bytes();
        let header = [&length[1..], &[kind, flags], &stream].concat();
        self.write(&[&header, payload].concat())
    }

    fn read_frame(&mut self) -> Result<(u8, u8, Vec<u8>)> {
        let mut header = [0; 9];
        self.transport.read_exact(&mut header)?;
        let length = u32::from_be_bytes([0, header[0], header[1], header[2]]);
        let mut payload = vec![0; usize::try_from(length)?];
        self.transport.read_exact(&mut payload)?;
        Ok((header[3], header[4], payload))
    }

    /// Sends the preface, with a window of `window` bytes for each stream.
    pub fn begin(&mut self, window: u32) -> Result {
        self.write(PREFACE)?;
        let setting = [
            &INITIAL_WINDOW_SIZE.to_be_bytes()[..],
            &window.to_be_bytes(),
        ];
        self.frame(SETTINGS, 0, 0, &setting.concat())
    }

    /// Sends the headers of a call, with an API key if there is one.
    fn headers(&mut self, path: &str, api_key: Option<&str>) -> Result {
        let mut block = vec![0x83, 0x86]; // :method POST, :scheme http
        let mut field = |name: &[u8], value: &str| -> Result {
            block.extend(name);
            block.push(u8::try_from(value.len())?);
            block.extend(value.as_bytes());
            Ok(())
        };
        field(b"\x04", path)?; // :path
        field(b"\x01", "localhost")?; // :authority
        field(b"\x0f\x10", "application/grpc")?; // content-type
        field(b"\x00\x02te", "trailers")?;
        if let Some(key) = api_key {
            field(b"\x00\x07api-key", key)?;
        }
        self.frame(HEADERS, END_HEADERS, 1, &block)
    }

    /// Sends the headers of a call and its only message.
    pub fn call(&mut self, (path, message): (&str, &[u8]), api_key: Option<&str>) -> Result {
        self.headers(path, api_key)?;
        let length = u32::try_from(message.len())?.to_be_bytes();
        let message = [&[0][..], &length, message].concat();
        self.frame(DATA, END_STREAM, 1, &message)
    }

    /// Waits until the server has read all that was sent, and returns what it told first.
    pub fn ping(&mut self) -> Result<Settings> {
        self.frame(PING, 0, 0, b"are you?")?;
        let mut settings = Settings::default();
        loop {
            match self.read_frame()? {
                (PING, flags, _) if flags & ACK != 0 => return Ok(settings),
                (SETTINGS, 0, payload) => {
                    for setting in payload.chunks_exact(6) {
                        let id = u16::from_be_bytes([setting[0], setting[1]]);
                        let value = u32::from_be_bytes(setting[2..].try_into()?);
                        if id == MAX_CONCURRENT_STREAMS {
                            settings.max_concurrent_streams = Some(value);
                        }
                    }
                    self.frame(SETTINGS, ACK, 0, &[])?;
                }
                (GOAWAY, _, payload) => bail!("the server sent GOAWAY: {payload:?}"),
                _ => {}
            }
        }
    }

    /// The next message of the response, which fits into a frame; none at its end.
    pub fn message(&mut self) -> Result<Option<Vec<u8>>> {
        loop {
            let (kind, flags, payload) = self.read_frame()?;
            match kind {
                DATA => return Ok(Some(payload[5..].to_vec())),
                HEADERS if flags & END_STREAM != 0 => return Ok(None),
                _ => {}
            }
        }
    }

    /// Answers pings until the server closes the connection; leaves it if `has_call` is false and
    /// the server takes no new calls.
    fn stay(mut self, has_call: bool) {
        while let Ok((kind, flags, payload)) = self.read_frame() {
            let answered = match kind {
                PING if flags & ACK == 0 => self.frame(PING, ACK, 0, &payload),
                SETTINGS if flags & ACK == 0 => self.frame(SETTINGS, ACK, 0, &[]),
                // An idle client closes its connection at the last GOAWAY. The one before it
                // names the largest stream there can be.
                GOAWAY if !has_call && payload[..4] != [0x7f, 0xff, 0xff, 0xff] => return,
                _ => Ok(()),
            };
            if answered.is_err() {
                return;
            }
        }
    }
}

/// The methods that a server has for such clients, with a message for each.
#[derive(Clone, Copy, Debug)]
pub struct Methods {
    pub unary: (&'static str, &'static [u8]),
    /// A header that the methods ask for.
    pub api_key: Option<&'static str>,
    pub server_stream: Option<(&'static str, &'static [u8])>,
    pub open_server_stream: Option<(&'static str, &'static [u8])>,
    pub bidirectional: Option<&'static str>,
}

impl Peer {
    pub const ALL: [(Self, &str); 11] = [
        (Self::None, "none"),
        (Self::Silent, "silent"),
        (Self::HalfPreface, "half a preface"),
        (Self::HalfFrame, "half a frame"),
        (Self::Idle, "idle"),
        (Self::Frozen, "frozen"),
        (Self::HalfRequest, "half a request"),
        (Self::ZeroWindowUnary, "zero window, unary"),
        (Self::ZeroWindowStream, "zero window, stream"),
        (Self::ServerStream, "open server stream"),
        (Self::BidirectionalStream, "open bidirectional stream"),
    ];

    /// Connects to a server and stalls, until what it returns is dropped or the server closes
    /// the connection. `None` if the server has no method for it.
    pub fn stall(
        self,
        address: SocketAddr,
        tls: Option<&Arc<ClientConfig>>,
        methods: &Methods,
    ) -> Result<Option<Stalled>> {
        let key = methods.api_key;
        let open = || Connection::open(address, tls);
        let mut connection = match self {
            Self::None => return Ok(Some(Stalled(None))),
            // Before a handshake of TLS, too.
            Self::Silent => return Stalled::keep(Connection::open(address, None)?),
            Self::HalfPreface => {
                let mut connection = open()?;
                connection.write(&PREFACE[..16])?;
                return Stalled::keep(connection);
            }
            Self::HalfFrame => {
                let mut connection = open()?;
                connection.write(PREFACE)?;
                connection.write(&[0, 0, 6, SETTINGS, 0])?;
                return Stalled::keep(connection);
            }
            Self::ZeroWindowUnary | Self::ZeroWindowStream => {
                let mut connection = open()?;
                connection.begin(0)?;
                connection
            }
            _ => {
                let mut connection = open()?;
                connection.begin(65_535)?;
                connection
            }
        };
        match self {
            Self::HalfRequest => {
                connection.headers(methods.unary.0, key)?;
                connection.frame(DATA, 0, 1, &[0, 0, 0, 0, 100, b'h', b'a'])?;
            }
            Self::ZeroWindowUnary => connection.call(methods.unary, key)?,
            Self::ZeroWindowStream | Self::ServerStream => {
                let ending = methods.server_stream.filter(|_| self != Self::ServerStream);
                let Some(method) = ending.or(methods.open_server_stream) else {
                    return Ok(None);
                };
                connection.call(method, key)?;
            }
            Self::BidirectionalStream => {
                let Some(path) = methods.bidirectional else {
                    return Ok(None);
                };
                connection.headers(path, key)?;
            }
            _ => {}
        }
        connection.ping().context("the server does not answer")?;
        if self == Self::Frozen {
            return Stalled::keep(connection);
        }
        // Ends when the server closes the connection, at the latest when its process ends.
        let has_call = self != Self::Idle;
        thread::spawn(move || connection.stay(has_call));
        Ok(Some(Stalled(None)))
    }
}

/// A client that has stalled. Dropping it closes its connection, if it does nothing any more.
pub struct Stalled(#[expect(dead_code, reason = "held until it is dropped")] Option<Connection>);

impl Stalled {
    #[expect(clippy::unnecessary_wraps, reason = "what `stall` returns")]
    fn keep(connection: Connection) -> Result<Option<Self>> {
        Ok(Some(Self(Some(connection))))
    }
}
