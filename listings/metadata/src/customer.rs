//! What the metadata of a request says about the customer.

use std::fmt;

use tonic::{Status, metadata::MetadataMap};

/// The largest number of vouchers in one call.
pub const MAX_VOUCHERS: usize = 8;

/// The length of the longest name, in bytes.
pub const MAX_NAME_BYTES: usize = 256;

/// The customer, as the metadata of a request describes them.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Customer {
    /// `name-bin`. It is binary because a name need not be ASCII.
    pub name: Option<String>,
    /// `voucher`, which may come several times.
    pub vouchers: Vec<String>,
}

// ANCHOR: read
impl Customer {
    /// Reads the keys that the till knows, and ignores all others.
    ///
    /// # Errors
    ///
    /// `INVALID_ARGUMENT` if a value is malformed, or if there are too many vouchers.
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
            return Err(refused("voucher", "send at most eight of them"));
        }
        Ok(Self {
            name: name.transpose()?,
            vouchers,
        })
    }
}

/// Leaves out the vouchers, since they are money.
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
/// The metadata of a request that a service may forward when it calls another service:
/// only the keys on which both have agreed.
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
