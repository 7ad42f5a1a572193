//! Checks access tokens.

use jsonwebtoken::{Algorithm, Validation, decode, decode_header, errors::ErrorKind};
use serde::{Deserialize, Deserializer, de::Error as _};
use serde_json::Number;
use thiserror::Error;
use tonic::Status;

use crate::{
    es256,
    jwks::{Keys, NoKey},
};

/// A longer token is not looked at, in bytes.
pub const MAX_TOKEN: usize = 8 * 1024;

/// A longer subject is refused, in bytes.
const MAX_SUBJECT: usize = 256;

/// How far the issuer's clock may be from ours, in seconds. A token is good for so
/// long after it has expired, and before it is valid.
pub const SKEW: u64 = 30;

// ANCHOR: claims
/// What a token says of its subject, for the handler to find in the request's
/// extensions.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Claims {
    /// Who it is: a person, or a service that acts for itself.
    pub sub: String,
    /// What they may do: words, separated by spaces.
    #[serde(default)]
    scope: String,
    /// When it expires, in whole seconds since 1970.
    #[serde(deserialize_with = "whole_seconds")]
    pub exp: u64,
}

/// A time of RFC 7519, section 2, which may have a fraction. It is cut off.
fn whole_seconds<'de, D: Deserializer<'de>>(time: D) -> Result<u64, D::Error> {
    let time = Number::deserialize(time)?;
    // Not from the float in each case: it is less exact than a large integer.
    let seconds = time
        .as_u64()
        .or(time.as_f64().map(|seconds| seconds as u64));
    seconds.ok_or_else(|| D::Error::custom("a time is a number"))
}

impl Claims {
    /// Whether they may do this.
    pub fn allow(&self, scope: &str) -> bool {
        self.scope.split(' ').any(|allowed| allowed == scope)
    }
}
// ANCHOR_END: claims

// ANCHOR: rejection
/// Why somebody is not let in: for our log. Nothing of the token is in it.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Rejection {
    /// There is no token.
    #[error("no token")]
    Missing,
    /// There is more than one header for it.
    #[error("two authorization headers")]
    Twice,
    /// The header holds something else.
    #[error("no bearer token in the authorization header")]
    Scheme,
    /// It has more than [`MAX_TOKEN`] bytes.
    #[error("a token that is too long")]
    Long,
    /// It is not a JWT, or one of its claims is missing or of another type.
    #[error("a token that cannot be read, or lacks a claim")]
    Malformed,
    /// It is not signed with ES256, or says that its signature is not all there is to
    /// it.
    #[error("a token that is signed in another way")]
    Algorithm,
    /// It is a JWT for something else, such as an ID token.
    #[error("no access token, but something else that is signed")]
    Type,
    /// Its issuer has no such key.
    #[error("a token signed with an unknown key")]
    Key,
    /// The signature is not of that key, or of another token.
    #[error("a signature that is not the issuer's")]
    Signature,
    /// This claim is missing, or cannot be.
    #[error("a token without a good claim `{0}`")]
    Claim(String),
    /// Another issuer has made it.
    #[error("a token of another issuer")]
    Issuer,
    /// It is for another service.
    #[error("a token for another service")]
    Audience,
    /// It is no longer valid.
    #[error("an expired token")]
    Expired,
    /// It is not valid yet.
    #[error("a token that is not valid yet")]
    Early,
    /// It cannot be told: the issuer is down, and has been for long.
    #[error("a token that cannot be checked: there are no keys")]
    NoKeys,
}

impl Rejection {
    /// What the caller is told: what to do, but not how near it was.
    pub fn status(&self) -> Status {
        match self {
            Self::NoKeys => Status::unavailable("tokens cannot be checked now: try again later"),
            Self::Missing => Status::unauthenticated(
                "metadata `authorization` is missing: send `Bearer` and a token",
            ),
            Self::Twice => {
                Status::unauthenticated("metadata `authorization` is there twice: send one")
            }
            Self::Scheme => Status::unauthenticated(
                "metadata `authorization` is of another kind: send `Bearer` and a token",
            ),
            _ => Status::unauthenticated("the token is not valid here: get a new one"),
        }
    }
}
// ANCHOR_END: rejection

/// Checks the tokens of one issuer for one service.
#[derive(Clone, Debug)]
pub struct Verifier {
    keys: Keys,
    validation: Validation,
    token_type: String,
}

/// The type of an access token that follows RFC 9068.
pub const AT_JWT: &str = "at+jwt";

impl Verifier {
    // ANCHOR: new
    /// For tokens that this issuer makes, with these keys, for this audience.
    pub fn new(issuer: &str, audience: &str, keys: Keys) -> Self {
        es256::install();
        let mut validation = Validation::new(Algorithm::ES256);
        validation.set_issuer(&[issuer]);
        validation.set_audience(&[audience]);
        // Without this line, a token that leaves one of them out would pass.
        validation.set_required_spec_claims(&["iss", "aud", "sub", "exp"]);
        // And without this one, a token from the future.
        validation.validate_nbf = true;
        validation.leeway = SKEW;
        Self {
            keys,
            validation,
            token_type: AT_JWT.to_owned(),
        }
    }
    // ANCHOR_END: new

    // ANCHOR: token_type
    /// For an issuer whose access tokens have another `typ` in their header than
    /// [`AT_JWT`]: many say `JWT`. An empty string stands for tokens without a `typ`.
    ///
    /// ID tokens say `JWT` as well. Then the audience alone keeps them out, so make sure
    /// that the issuer knows no client under the name of this service's audience.
    pub fn with_token_type(mut self, token_type: &str) -> Self {
        self.token_type = token_type.to_owned();
        self
    }
    // ANCHOR_END: token_type

    // ANCHOR: verify
    /// What the token says, if it is good.
    ///
    /// # Errors
    ///
    /// Says what is wrong with it.
    pub async fn verify(&self, token: &str) -> Result<Claims, Rejection> {
        // Before anything is read: the caller has not shown who they are.
        if token.len() > MAX_TOKEN {
            return Err(Rejection::Long);
        }
        let header = decode_header(token).map_err(|error| rejection(error.kind()))?;
        if header.alg != Algorithm::ES256 || header.crit.is_some() {
            return Err(Rejection::Algorithm);
        }
        // RFC 9068. Without it an ID token of the same issuer would do, which each
        // website gets that a person logs in to.
        let sent = header.typ.unwrap_or_default().to_ascii_lowercase();
        let sent = sent.strip_prefix("application/").unwrap_or(&sent);
        if !self.token_type.eq_ignore_ascii_case(sent) {
            return Err(Rejection::Type);
        }
        let name = header.kid.ok_or(Rejection::Key)?;
        let key = self.keys.find(&name).await.map_err(|none| match none {
            NoKey::Unknown => Rejection::Key,
            NoKey::Unavailable => Rejection::NoKeys,
        })?;
        let token = decode::<Claims>(token, &key, &self.validation);
        let claims = token.map_err(|error| rejection(error.kind()))?.claims;
        if claims.sub.is_empty() || claims.sub.len() > MAX_SUBJECT {
            return Err(Rejection::Claim("sub".to_owned()));
        }
        Ok(claims)
    }
    // ANCHOR_END: verify
}

/// The messages of these errors are not used: some show what was sent.
fn rejection(error: &ErrorKind) -> Rejection {
    match error {
        ErrorKind::InvalidAlgorithm | ErrorKind::UnsupportedAlgorithm => Rejection::Algorithm,
        ErrorKind::InvalidSignature => Rejection::Signature,
        ErrorKind::MissingRequiredClaim(claim) | ErrorKind::InvalidClaimFormat(claim) => {
            Rejection::Claim(claim.clone())
        }
        ErrorKind::InvalidIssuer => Rejection::Issuer,
        ErrorKind::InvalidAudience => Rejection::Audience,
        ErrorKind::ExpiredSignature => Rejection::Expired,
        ErrorKind::ImmatureSignature => Rejection::Early,
        _ => Rejection::Malformed,
    }
}
