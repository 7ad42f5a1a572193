//! Whether messages are compressed: tonic decompresses them, and does not say.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
};

use http_body_util::BodyExt;
use tonic::{
    Extensions,
    body::Body,
    codegen::http::{self, Request, Response},
};

// ANCHOR: flags
/// The flags of the messages of a call, in their order: a message begins with a byte
/// that is 1 if it is compressed.
#[derive(Clone, Debug, Default)]
pub struct Flags(Arc<Mutex<VecDeque<bool>>>);

impl Flags {
    /// Those that [`note_flags`] or [`note_response_flags`] takes down.
    pub fn of(extensions: &Extensions) -> Self {
        extensions.get::<Self>().cloned().unwrap_or_default()
    }

    /// Whether the next message is compressed; none if it has not come.
    pub fn next(&self) -> Option<bool> {
        // A call that panicked has left a queue that is whole.
        let mut flags = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        flags.pop_front()
    }

    fn push(&self, compressed: bool) {
        let mut flags = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        flags.push_back(compressed);
    }

    /// Puts itself into `extensions`, and reads what goes through `body`.
    fn note(self, extensions: &mut http::Extensions, body: Body) -> Body {
        extensions.insert(self.clone());
        let mut prefixes = Prefixes::default();
        Body::new(body.map_frame(move |frame| {
            if let Some(data) = frame.data_ref() {
                prefixes.read(data, |compressed| self.push(compressed));
            }
            frame
        }))
    }
}

/// Takes down the flags of a request's messages as they come.
pub fn note_flags(request: Request<Body>) -> Request<Body> {
    let (mut head, body) = request.into_parts();
    let body = Flags::default().note(&mut head.extensions, body);
    Request::from_parts(head, body)
}

/// The same for a response.
pub fn note_response_flags(response: Response<Body>) -> Response<Body> {
    let (mut head, body) = response.into_parts();
    let body = Flags::default().note(&mut head.extensions, body);
    Response::from_parts(head, body)
}
// ANCHOR_END: flags

// ANCHOR: prefixes
/// Finds the prefixes of messages in data that is cut anywhere: a flag, and the
/// length in four bytes.
#[derive(Debug, Default)]
struct Prefixes {
    prefix: Vec<u8>,
    /// How many bytes of a message are still to come.
    left: usize,
}

impl Prefixes {
    fn read(&mut self, mut data: &[u8], mut found: impl FnMut(bool)) {
        while !data.is_empty() {
            let (wanted, in_prefix) = match self.left {
                0 => (5 - self.prefix.len(), true),
                left => (left, false),
            };
            let (taken, rest) = data.split_at(wanted.min(data.len()));
            data = rest;
            if !in_prefix {
                self.left -= taken.len();
                continue;
            }
            self.prefix.extend_from_slice(taken);
            if let [flag, a, b, c, d] = self.prefix[..] {
                found(flag == 1);
                self.left = u32::from_be_bytes([a, b, c, d]) as usize;
                self.prefix.clear();
            }
        }
    }
}
// ANCHOR_END: prefixes

#[cfg(test)]
mod tests {
    use super::Prefixes;

    #[test]
    fn prefixes_are_found_wherever_the_data_is_cut() {
        let data = b"\x00\0\0\0\x03abc\x01\0\0\0\0\x01\0\0\0\x06\x01\x01\x01\x01\x01\x01\0\0\0\0\0";
        for size in 1..=data.len() {
            let (mut prefixes, mut flags) = (Prefixes::default(), Vec::new());
            for part in data.chunks(size) {
                prefixes.read(part, |compressed| flags.push(compressed));
            }
            assert_eq!(flags, [false, true, true, false], "in parts of {size}");
        }
    }
}
