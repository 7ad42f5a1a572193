//! The codec: how messages become bytes, and bytes messages.

use std::marker::PhantomData;

use bytes::{Buf, BufMut};
use serde::{Serialize, de::DeserializeOwned};
use tonic::{
    Code, Status,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
};

// ANCHOR: message
/// A message that travels as JSON.
pub trait Message: Serialize + DeserializeOwned + Send + 'static {
    /// What a call ends with if this message cannot be read.
    ///
    /// Client and server have the same codec, which is not told on whose side
    /// it is: what it reads tells.
    const UNREADABLE: Code;
}
// ANCHOR_END: message

// ANCHOR: codec
/// Writes messages `T` and reads messages `U`.
///
/// A client writes requests and reads responses; a server, the other way round.
#[derive(Debug)]
pub struct JsonCodec<T, U>(PhantomData<(T, U)>);

// Derived, it would want a default of the messages too.
impl<T, U> Default for JsonCodec<T, U> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T: Message, U: Message> Codec for JsonCodec<T, U> {
    type Encode = T;
    type Decode = U;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self::default()
    }

    fn decoder(&mut self) -> Self {
        Self::default()
    }
}
// ANCHOR_END: codec

// ANCHOR: encode
impl<T: Message, U> Encoder for JsonCodec<T, U> {
    type Item = T;
    type Error = Status;

    fn encode(&mut self, message: T, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        serde_json::to_writer(buffer.writer(), &message)
            .map_err(|error| Status::internal(format!("cannot write the message: {error}")))
    }
}
// ANCHOR_END: encode

// ANCHOR: decode
impl<T, U: Message> Decoder for JsonCodec<T, U> {
    type Item = U;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<U>, Status> {
        // All of it: tonic would take what is left for the next message.
        let bytes = buffer.copy_to_bytes(buffer.remaining());
        let message = serde_json::from_slice(&bytes).map_err(|error| {
            Status::new(U::UNREADABLE, format!("cannot read the message: {error}"))
        })?;
        Ok(Some(message))
    }
}
// ANCHOR_END: decode
