//! Clients that stall: HTTP/2 written by hand, since no library stops half-way through a frame.

use std::{
    collections::BTreeMap,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    sync::Arc,
    thread,
};

use anyhow::{Context, bail};
use harness::{
    Result,
    http2::{
        self, ACK, DATA, DEFAULT_WINDOW, END_HEADERS, END_STREAM, GOAWAY, HEADERS,
        INITIAL_WINDOW_SIZE, PING, PREFACE, SETTINGS,
    },
};
use rustls::{ClientConfig, ClientConnection, StreamOwned};

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
        self.write(&http2::frame(kind, flags, stream, payload))
    }

    fn read_frame(&mut self) -> Result<(u8, u8, Vec<u8>)> {
        let mut header = [0; 9];
        self.transport.read_exact(&mut header)?;
        let (kind, flags, length) = http2::parse_header(header);
        let mut payload = vec![0; length];
        self.transport.read_exact(&mut payload)?;
        Ok((kind, flags, payload))
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

    /// Waits until the server has read all that was sent, and returns its settings if they come
    /// before its answer.
    pub fn ping(&mut self) -> Result<BTreeMap<u16, u32>> {
        self.frame(PING, 0, 0, b"are you?")?;
        let mut settings = BTreeMap::new();
        loop {
            match self.read_frame()? {
                (PING, flags, _) if flags & ACK != 0 => return Ok(settings),
                (SETTINGS, 0, payload) => {
                    settings.extend(http2::settings(&payload));
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

    /// Sends frames without a pause until the server closes the connection. They are answers to
    /// pings that never were: the server has nothing to send back, and so never waits.
    pub fn flood(mut self, path: &str) -> Result {
        self.begin(DEFAULT_WINDOW)?;
        self.headers(path, None)?;
        self.ping()?;
        let frames = http2::frame(PING, ACK, 0, b"are you?").repeat(4000);
        thread::spawn(move || while self.write(&frames).is_ok() {});
        Ok(())
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

    /// The stream of responses that it asks for, if it does.
    fn stream(self, methods: &Methods) -> Option<(&'static str, &'static [u8])> {
        match self {
            Self::ServerStream => methods.open_server_stream,
            _ => methods.server_stream.or(methods.open_server_stream),
        }
    }

    /// Whether the server has a method for it, if it calls one.
    pub fn has_method(self, methods: &Methods) -> bool {
        match self {
            Self::ZeroWindowStream | Self::ServerStream => self.stream(methods).is_some(),
            Self::BidirectionalStream => methods.bidirectional.is_some(),
            _ => true,
        }
    }

    /// Connects to a server and stalls, until the server closes the connection. If it reads nothing
    /// any more, it also ends when the connection is dropped that this returns.
    pub fn stall(
        self,
        address: SocketAddr,
        tls: Option<&Arc<ClientConfig>>,
        methods: &Methods,
    ) -> Result<Option<Connection>> {
        if self == Self::None {
            return Ok(None);
        }
        // A silent one does not begin with TLS, either.
        let tls = tls.filter(|_| self != Self::Silent);
        let mut connection = Connection::open(address, tls)?;
        match self {
            Self::None | Self::Silent => return Ok(Some(connection)),
            Self::HalfPreface => {
                connection.write(&PREFACE[..16])?;
                return Ok(Some(connection));
            }
            Self::HalfFrame => {
                connection.write(PREFACE)?;
                connection.write(&[0, 0, 6, SETTINGS, 0])?;
                return Ok(Some(connection));
            }
            Self::ZeroWindowUnary | Self::ZeroWindowStream => connection.begin(0)?,
            _ => connection.begin(DEFAULT_WINDOW)?,
        }
        let key = methods.api_key;
        match self {
            Self::HalfRequest => {
                connection.headers(methods.unary.0, key)?;
                connection.frame(DATA, 0, 1, &[0, 0, 0, 0, 100, b'h', b'a'])?;
            }
            Self::ZeroWindowUnary => connection.call(methods.unary, key)?,
            Self::ZeroWindowStream | Self::ServerStream => {
                connection.call(self.stream(methods).context("no such method")?, key)?;
            }
            Self::BidirectionalStream => {
                connection.headers(methods.bidirectional.context("no such method")?, key)?;
            }
            _ => {}
        }
        connection.ping().context("the server does not answer")?;
        if self == Self::Frozen {
            return Ok(Some(connection));
        }
        // Ends when the server closes the connection, at the latest when its process ends.
        thread::spawn(move || connection.stay(self != Self::Idle));
        Ok(None)
    }
}
