//! Who calls: an interceptor that knows the callers by their keys.

use std::{collections::HashMap, fmt, str::FromStr, sync::Arc};

use anyhow::{Context, ensure};
use tonic::{Request, Status, metadata::MetadataValue, service::Interceptor};

/// The key of the metadata that holds the caller's key.
pub const API_KEY: &str = "api-key";

// ANCHOR: caller
/// Who makes a call, for its handler to find in the request's extensions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller(pub Arc<str>);
// ANCHOR_END: caller

/// The names of those who may call, by key.
#[derive(Clone)]
pub struct Callers {
    names: Arc<HashMap<Vec<u8>, Arc<str>>>,
}

// ANCHOR: interceptor
impl Interceptor for Callers {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        let key = request.metadata().get(API_KEY);
        let caller = self.find(sent(key.map(MetadataValue::as_bytes))?)?;
        request.extensions_mut().insert(caller);
        Ok(request)
    }
}
// ANCHOR_END: interceptor

// ANCHOR: find
/// The key that was sent.
///
/// # Errors
///
/// `UNAUTHENTICATED` if there is none.
pub fn sent(key: Option<&[u8]>) -> Result<&[u8], Status> {
    key.ok_or_else(|| Status::unauthenticated("metadata `api-key` is missing: send your key"))
}

impl Callers {
    /// Whose key this is.
    ///
    /// # Errors
    ///
    /// `UNAUTHENTICATED` if it is nobody's. The message does not repeat the key:
    /// it may be a good one with a slip in it, and messages are logged.
    pub fn find(&self, key: &[u8]) -> Result<Caller, Status> {
        let name = self.names.get(key).ok_or_else(|| {
            Status::unauthenticated("metadata `api-key` is nobody's: ask for a new key")
        })?;
        Ok(Caller(Arc::clone(name)))
    }
}
// ANCHOR_END: find

// ANCHOR: from_str
/// A line for each caller, with the key and the name. Empty lines, and those
/// that begin with `#`, are left out.
impl FromStr for Callers {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut names = HashMap::new();
        for (line, text) in (1..).zip(text.lines().map(str::trim)) {
            if text.is_empty() || text.starts_with('#') {
                continue;
            }
            // A key is a secret: the line itself is not shown.
            let (key, name) = text
                .split_once(' ')
                .with_context(|| format!("line {line} is not a key, a space and a name"))?;
            let known = names.insert(key.into(), name.trim().into());
            ensure!(known.is_none(), "line {line} has the key of a line above");
        }
        Ok(Self {
            names: Arc::new(names),
        })
    }
}

/// Without the keys.
impl fmt::Debug for Callers {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_set().entries(self.names.values()).finish()
    }
}
// ANCHOR_END: from_str
