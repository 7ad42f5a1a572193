//! How a program asks an issuer for a token.

use anyhow::anyhow;
use oauth2::{
    AuthType, ClientId, ClientSecret, RefreshToken, RequestTokenError, Scope, TokenResponse,
    TokenUrl,
    basic::{BasicClient, BasicErrorResponse, BasicTokenResponse},
};

use crate::{AUDIENCE, discovery::Discovery};

/// What a token is got with.
#[derive(Clone, Debug)]
pub enum Grant {
    /// A service's own secret, and what it asks to be allowed.
    ClientCredentials {
        /// Its name.
        id: ClientId,
        /// What it knows.
        secret: ClientSecret,
        /// Scopes, with blanks between.
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
    ) -> anyhow::Result<BasicTokenResponse> {
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
/// An error without the answer that could not be read: a token may be in it, and
/// `Debug` of the library's error shows it.
pub fn explain<E: std::error::Error>(
    error: RequestTokenError<E, BasicErrorResponse>,
) -> anyhow::Error {
    match error {
        RequestTokenError::ServerResponse(answer) => {
            anyhow!("the issuer gives no token: {}", answer.error())
        }
        RequestTokenError::Request(error) => {
            anyhow!("the issuer cannot be asked for a token: {error}")
        }
        _ => anyhow!("the issuer's answer is no token"),
    }
}
// ANCHOR_END: explain
