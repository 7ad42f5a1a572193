//! What a customer says of themselves: the metadata of a request.

use std::fmt;

use tonic::{Status, metadata::MetadataMap};

/// More in one call are refused.
pub const MAX_VOUCHERS: usize = 8;

/// A longer name is refused.
pub const MAX_NAME_BYTES: usize = 256;

// ANCHOR: customer
/// Who shops, from the metadata of a request.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Customer {
    /// `name-bin`. It is binary because a name need not be ASCII.
    pub name: Option<String>,
    /// `voucher`, which may come several times.
    pub vouchers: Vec<String>,
}
// ANCHOR_END: customer

// ANCHOR: read
impl Customer {
    /// Reads the metadata that we know. What else there is concerns others.
    ///
    /// # Errors
    ///
    /// `INVALID_ARGUMENT` for a value that is not what its key says.
    pub fn read(metadata: &MetadataMap) -> Result<Self, Status> {
        let name = metadata.get_bin("name-bin").map(|value| {
            let name = value.to_bytes().ok();
            let name = name.filter(|name| (1..=MAX_NAME_BYTES).contains(&name.len()));
            let name = name.and_then(|name| String::from_utf8(name.into()).ok());
            name.ok_or_else(|| refused("name-bin", "send 1 to 256 bytes of UTF-8, in base64"))
        });
        let vouchers = metadata.get_all("voucher").iter().map(|value| {
            let voucher = value.to_str().ok().filter(|voucher| !voucher.is_empty());
            let voucher = voucher.map(str::to_owned);
            voucher.ok_or_else(|| refused("voucher", "send a code in ASCII"))
        });
        let vouchers: Vec<String> = vouchers.take(MAX_VOUCHERS + 1).collect::<Result<_, _>>()?;
        if vouchers.len() > MAX_VOUCHERS {
            return Err(refused("voucher", "send eight of them at most"));
        }
        Ok(Self {
            name: name.transpose()?,
            vouchers,
        })
    }
}

/// Without the vouchers: they are money.
impl fmt::Debug for Customer {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_struct("Customer")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

fn refused(key: &str, what_to_do: &str) -> Status {
    Status::invalid_argument(format!("metadata `{key}` is refused: {what_to_do}"))
}
// ANCHOR_END: read

// ANCHOR: forwarded
/// Of the metadata of a request, what a service may send along when it calls
/// another for it: what the two of them agree on, and nothing else.
pub fn forwarded(incoming: &MetadataMap) -> MetadataMap {
    let mut outgoing = MetadataMap::new();
    for key in ["traceparent", "tracestate", "request-id"] {
        for value in incoming.get_all(key) {
            outgoing.append(key, value.clone());
        }
    }
    outgoing
}
// ANCHOR_END: forwarded
