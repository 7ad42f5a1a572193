//! How a program asks an issuer for a token.

use oauth2::{
    AuthType, ClientId, ClientSecret, HttpClientError, RefreshToken, RequestTokenError, Scope,
    TokenResponse, TokenUrl,
    basic::{BasicClient, BasicErrorResponse, BasicErrorResponseType, BasicTokenResponse},
};
use thiserror::Error;

use crate::{AUDIENCE, discovery::Discovery, escape::escape};

/// What can happen to a request to an issuer.
type HttpError = HttpClientError<reqwest::Error>;

/// What a token is got with.
#[derive(Clone, Debug)]
pub enum Grant {
    /// A service's own secret, and what it asks to be allowed.
    ClientCredentials {
        /// Its name.
        id: ClientId,
        /// What it knows.
        secret: ClientSecret,
        /// Scopes, separated by spaces.
        scope: String,
    },
    /// What came with the last token when a person had logged in. Each is good for
    /// one time.
    Refresh {
        /// The name of the program that they have logged in with.
        id: ClientId,
        /// It.
        token: RefreshToken,
    },
}

impl Grant {
    /// Asks for a token.
    ///
    /// # Errors
    ///
    /// Fails if the issuer cannot be asked, or gives none.
    pub async fn ask(
        &mut self,
        http: &reqwest::Client,
        issuer: &Discovery,
    ) -> Result<BasicTokenResponse, NoToken> {
        let url = TokenUrl::from_url(issuer.token_endpoint.clone());
        let response = match self {
            Self::ClientCredentials { id, secret, scope } => {
                let client = BasicClient::new(id.clone())
                    .set_client_secret(secret.clone())
                    .set_auth_type(AuthType::BasicAuth)
                    .set_token_uri(url);
                let scopes = scope.split_whitespace().map(str::to_owned).map(Scope::new);
                client
                    .exchange_client_credentials()
                    .add_scopes(scopes)
                    .add_extra_param("resource", AUDIENCE)
                    .request_async(http)
                    .await
            }
            Self::Refresh { id, token } => {
                let client = BasicClient::new(id.clone()).set_token_uri(url);
                client
                    .exchange_refresh_token(token)
                    .add_extra_param("resource", AUDIENCE)
                    .request_async(http)
                    .await
            }
        };
        let response = response.map_err(explain)?;
        if let (Self::Refresh { token, .. }, Some(next)) = (self, response.refresh_token()) {
            *token = next.clone();
        }
        Ok(response)
    }
}

// ANCHOR: explain
/// Why there is no token.
#[derive(Debug, Error)]
pub enum NoToken {
    /// The issuer refuses, for this reason of RFC 6749, section 5.2.
    #[error("the issuer gives no token: {}", escape(.0.as_ref()))]
    Refused(BasicErrorResponseType),
    /// There is no answer, or an incomplete one: the issuer may have given a token.
    #[error("the issuer cannot be asked for a token")]
    Unreachable(#[source] HttpError),
    /// The answer is something else, for instance a proxy's page.
    #[error("the issuer's answer is no token")]
    Unreadable,
    /// There is a token, and we cannot use it.
    #[error("the issuer's token {0}")]
    Unusable(&'static str),
}

/// An error without the answer that could not be read: a token may be in it, and
/// `Debug` of the library's error shows it.
pub fn explain(error: RequestTokenError<HttpError, BasicErrorResponse>) -> NoToken {
    match error {
        RequestTokenError::ServerResponse(answer) => NoToken::Refused(answer.error().clone()),
        RequestTokenError::Request(error) => NoToken::Unreachable(error),
        _ => NoToken::Unreadable,
    }
}
// ANCHOR_END: explain
