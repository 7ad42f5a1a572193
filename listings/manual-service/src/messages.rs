//! The messages: this file is the contract, and says what the JSON looks like.

use serde::{Deserialize, Serialize};
use tonic::Code;

use crate::json::Message;

// ANCHOR: messages
/// `{ "name": "Ferris" }`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SayHelloRequest {
    /// The name to greet: 1 to 64 characters, not only white space.
    pub name: String,
}

/// `{ "message": "Hello, Ferris!" }`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SayHelloResponse {
    /// The greeting, ready to be shown.
    pub message: String,
}
// ANCHOR_END: messages

// ANCHOR: codes
/// Only a server reads it, and the client that wrote it can fix it.
impl Message for SayHelloRequest {
    const UNREADABLE: Code = Code::InvalidArgument;
}

/// Only a client reads it, and cannot fix the server.
impl Message for SayHelloResponse {
    const UNREADABLE: Code = Code::Internal;
}
// ANCHOR_END: codes
