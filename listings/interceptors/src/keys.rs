//! Who calls, looked up for each call: a layer, as an interceptor cannot wait.

use std::{
    mem,
    path::{Path, PathBuf},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use http::HeaderValue;
use tonic::{Status, body::Body};
use tower::{Layer, Service};

use crate::callers::{API_KEY, Caller, Callers, sent};

// ANCHOR: look_up
/// Looks the caller up in the file as it is now: a key that was taken out of it
/// no longer opens anything.
///
/// # Errors
///
/// As [`sent`] and [`Callers::find`], and `UNAVAILABLE` if the file cannot be read.
pub async fn look_up(keys: &Path, key: Option<&[u8]>) -> Result<Caller, Status> {
    // Before anything is read: a client that sends nothing costs nothing.
    let key = sent(key)?;
    let text = tokio::fs::read_to_string(keys).await;
    let callers = text
        .map_err(anyhow::Error::from)
        .and_then(|text| text.parse::<Callers>());
    let callers = callers.map_err(|error| {
        // Ours to know, and nothing to the caller.
        tracing::error!(%error, keys = %keys.display(), "cannot look keys up");
        Status::unavailable("keys cannot be looked up now: try again later")
    })?;
    callers.find(key)
}
// ANCHOR_END: look_up

// ANCHOR: layer
/// Lets a call pass once its caller is known.
#[derive(Clone, Debug)]
pub struct KeyLayer {
    keys: Arc<Path>,
}

impl KeyLayer {
    /// With a file of keys, in the form that [`Callers`] reads.
    pub fn new(keys: PathBuf) -> Self {
        Self { keys: keys.into() }
    }
}

impl<S> Layer<S> for KeyLayer {
    type Service = KeyService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        let keys = Arc::clone(&self.keys);
        KeyService { keys, inner }
    }
}
// ANCHOR_END: layer

/// See [`KeyLayer`].
#[derive(Clone, Debug)]
pub struct KeyService<S> {
    keys: Arc<Path>,
    inner: S,
}

// ANCHOR: service
impl<S, B> Service<http::Request<Body>> for KeyService<S>
where
    S: Service<http::Request<Body>, Response = http::Response<B>> + Clone + Send + 'static,
    S::Future: Send,
    B: Default,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: http::Request<Body>) -> Self::Future {
        let keys = Arc::clone(&self.keys);
        // The future outlives this borrow, so it takes a service along: the one
        // that was asked whether it is ready. Its clone was not asked.
        let clone = self.inner.clone();
        let mut inner = mem::replace(&mut self.inner, clone);
        Box::pin(async move {
            let key = request.headers().get(API_KEY);
            match look_up(&keys, key.map(HeaderValue::as_bytes)).await {
                Ok(caller) => {
                    request.extensions_mut().insert(caller);
                    inner.call(request).await
                }
                Err(status) => Ok(status.into_http()),
            }
        })
    }
}
// ANCHOR_END: service
