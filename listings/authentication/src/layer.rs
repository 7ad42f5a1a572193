//! What stands at the door: who are you, and may you do this?

use std::{
    mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use http::{HeaderMap, header::AUTHORIZATION};
use tonic::{Status, body::Body};
use tower::{Layer, Service};

use crate::{
    expiry::UntilExpiry,
    policy::Policy,
    token::{Claims, Rejection, Verifier},
};

/// Lets a call pass once it is known whose it is, and that they may make it. The
/// handler finds [`Claims`] in the request's extensions, and no token.
#[derive(Clone, Debug)]
pub struct AuthLayer {
    door: Arc<Door>,
}

impl AuthLayer {
    /// With one who knows good tokens, and what each method needs.
    pub fn new(verifier: Verifier, policy: Policy) -> Self {
        let door = Arc::new(Door { verifier, policy });
        Self { door }
    }
}

impl<S> Layer<S> for AuthLayer {
    type Service = AuthService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        let door = Arc::clone(&self.door);
        AuthService { door, inner }
    }
}

#[derive(Debug)]
struct Door {
    verifier: Verifier,
    policy: Policy,
}

// ANCHOR: bearer
/// The token that was sent.
fn bearer(headers: &HeaderMap) -> Result<&str, Rejection> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let value = values.next().ok_or(Rejection::Missing)?;
    // Which of two counts? A proxy in front of us may take the other one.
    if values.next().is_some() {
        return Err(Rejection::Twice);
    }
    let value = value.to_str().map_err(|_| Rejection::Scheme)?;
    match value.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => Ok(token),
        _ => Err(Rejection::Scheme),
    }
}
// ANCHOR_END: bearer

// ANCHOR: door
impl Door {
    /// Who calls; nobody, if the method is everybody's.
    async fn let_in(&self, method: &str, headers: &HeaderMap) -> Result<Option<Claims>, Status> {
        if self.policy.is_public(method) {
            return Ok(None);
        }
        let claims = match bearer(headers) {
            Ok(token) => self.verifier.verify(token).await,
            Err(rejection) => Err(rejection),
        };
        let claims = claims.map_err(|rejection| {
            tracing::info!(method, cause = %rejection, "not let in");
            rejection.status()
        })?;
        if !self.policy.allows(method, &claims) {
            tracing::info!(method, who = claims.sub, "not allowed");
            return Err(Status::permission_denied(
                "your token is good, and does not allow this method",
            ));
        }
        Ok(Some(claims))
    }
}
// ANCHOR_END: door

/// See [`AuthLayer`].
#[derive(Clone, Debug)]
pub struct AuthService<S> {
    door: Arc<Door>,
    inner: S,
}

// ANCHOR: service
impl<S> Service<http::Request<Body>> for AuthService<S>
where
    S: Service<http::Request<Body>, Response = http::Response<Body>> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = http::Response<Body>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: http::Request<Body>) -> Self::Future {
        let door = Arc::clone(&self.door);
        // The one that was asked whether it is ready, instead of its clone.
        let clone = self.inner.clone();
        let mut inner = mem::replace(&mut self.inner, clone);
        Box::pin(async move {
            let claims = door.let_in(request.uri().path(), request.headers()).await;
            let claims = match claims {
                Ok(claims) => claims,
                // Nothing of the body has been read.
                Err(status) => return Ok(status.into_http()),
            };
            // Nobody behind this needs it, so nobody can log it or send it on.
            request.headers_mut().remove(AUTHORIZATION);
            let Some(claims) = claims else {
                return inner.call(request).await;
            };
            let expiry = claims.exp;
            request.extensions_mut().insert(claims);
            let response = inner.call(request).await?;
            Ok(response.map(|body| Body::new(UntilExpiry::new(body, expiry))))
        })
    }
}
// ANCHOR_END: service
