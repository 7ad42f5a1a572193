//! Finds the messages in the bytes of a body.

// ANCHOR: messages
/// The bytes before each message: whether it is compressed, and its length.
const PREFIX: usize = 5;

/// Reads the prefixes of a body that comes in pieces. Where a piece ends has
/// nothing to do with where a message does.
#[derive(Debug, Default)]
pub struct Messages {
    number: u64,
    prefix: [u8; PREFIX],
    /// How much of the prefix has come.
    filled: usize,
    /// How much of the message behind the last prefix is still to come, in bytes.
    left: usize,
}

impl Messages {
    /// Calls `begins` with the number and the length in bytes of each message
    /// whose prefix is complete with this piece. The first has the number 1.
    pub fn read(&mut self, mut piece: &[u8], mut begins: impl FnMut(u64, u32)) {
        loop {
            let content = piece.len().min(self.left);
            piece = &piece[content..];
            self.left -= content;
            let Some((&byte, rest)) = piece.split_first() else {
                return;
            };
            piece = rest;
            self.prefix[self.filled] = byte;
            self.filled += 1;
            if self.filled == PREFIX {
                let [_compressed, length @ ..] = self.prefix;
                let length = u32::from_be_bytes(length);
                self.filled = 0;
                self.left = length as usize;
                self.number += 1;
                begins(self.number, length);
            }
        }
    }
}
// ANCHOR_END: messages
