//! HTTP/2 by hand (RFC 9113), for tests that send what no library sends, or stop half-way.

/// What a client sends first, before any frame.
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Kinds of frames.
pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;

/// A flag of DATA and HEADERS.
pub const END_STREAM: u8 = 1;
/// A flag of SETTINGS and PING.
pub const ACK: u8 = 1;
/// A flag of HEADERS.
pub const END_HEADERS: u8 = 4;

/// Settings.
pub const MAX_CONCURRENT_STREAMS: u16 = 3;
pub const INITIAL_WINDOW_SIZE: u16 = 4;
pub const MAX_FRAME_SIZE: u16 = 5;
pub const MAX_HEADER_LIST_SIZE: u16 = 6;

/// The window of a stream or connection, if nothing else is agreed on.
pub const DEFAULT_WINDOW: u32 = 65_535;

/// A frame.
///
/// # Panics
///
/// If the payload does not fit into a frame, which has 24 bits for its length.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).ok();
    let length = length.filter(|length| length >> 24 == 0);
    let length = length.expect("the payload fits into a frame").to_be_bytes();
    let stream = stream.to_be_bytes();
    [&length[1..], &[kind, flags], &stream, payload].concat()
}

/// The kind, the flags and the length of a frame, from its header.
pub fn parse_header([a, b, c, kind, flags, ..]: [u8; 9]) -> (u8, u8, usize) {
    (kind, flags, u32::from_be_bytes([0, a, b, c]) as usize)
}

/// The numbers and values in the payload of SETTINGS.
pub fn settings(payload: &[u8]) -> impl Iterator<Item = (u16, u32)> {
    let (settings, _) = payload.as_chunks::<6>();
    settings
        .iter()
        .map(|&[a, b, value @ ..]| (u16::from_be_bytes([a, b]), u32::from_be_bytes(value)))
}
