//! An issuer that does whatever a test wants, and a server that counts the calls that
//! get through to its handlers.

#![allow(dead_code, reason = "each example uses a part of it")]

pub mod attacks;

use std::{
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use authentication::{
    AUDIENCE,
    accounts::Accounts,
    certificates,
    discovery::{Discovery, http_client},
    grant::Grant,
    issuer::{self, Issuer, Settings},
    jwks::{Freshness, Keys},
    pb::{
        CloseAccountRequest, CloseAccountResponse, GetBalanceRequest, GetBalanceResponse,
        TransferRequest, TransferResponse, WatchTransfersRequest,
        account_service_client::AccountServiceClient, account_service_server::AccountService,
    },
    token::Verifier,
};
use axum::{Json, Router, extract::State, http::StatusCode, routing::get};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use jsonwebtoken::get_current_timestamp;
use oauth2::{ClientId, ClientSecret};
use ring::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair},
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{net::TcpListener, sync::watch};
use tonic::{
    Request, Response, Status,
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint},
};

pub type Result<T = (), E = Box<dyn std::error::Error + Send + Sync>> = std::result::Result<T, E>;

/// A key that tokens can be forged with.
pub struct Key {
    pub name: &'static str,
    pair: EcdsaKeyPair,
}

impl Key {
    pub fn new(name: &'static str) -> Self {
        let random = SystemRandom::new();
        let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let pair = EcdsaKeyPair::generate_pkcs8(algorithm, &random).expect("a key");
        let pair = EcdsaKeyPair::from_pkcs8(algorithm, pair.as_ref(), &random).expect("a key");
        Self { name, pair }
    }

    /// The point on the curve, as everybody may know it.
    pub fn public(&self) -> &[u8] {
        self.pair.public_key().as_ref()
    }

    pub fn jwk(&self) -> Value {
        let point = self.public();
        json!({
            "kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": self.name,
            "x": BASE64.encode(&point[1..33]), "y": BASE64.encode(&point[33..]),
        })
    }

    /// A token with this header.
    pub fn sign_with(&self, header: &Value, claims: &Value) -> String {
        let message = message(header, claims);
        let signature = self.pair.sign(&SystemRandom::new(), message.as_bytes());
        format!("{message}.{}", BASE64.encode(signature.expect("signed")))
    }

    /// A token with the right header.
    pub fn sign(&self, claims: &Value) -> String {
        self.sign_with(&self.header(), claims)
    }

    pub fn header(&self) -> Value {
        json!({ "alg": "ES256", "typ": "at+jwt", "kid": self.name })
    }
}

/// What is signed.
pub fn message(header: &Value, claims: &Value) -> String {
    let [header, claims] = [header, claims].map(|part| BASE64.encode(part.to_string()));
    format!("{header}.{claims}")
}

/// An issuer with the keys that a test gives it.
#[derive(Clone)]
pub struct FakeIssuer {
    pub name: String,
    published: Arc<Mutex<Vec<Value>>>,
    down: Arc<AtomicBool>,
    fetches: Arc<watch::Sender<usize>>,
}

impl FakeIssuer {
    pub async fn start(keys: &[&Key]) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let issuer = Self {
            name: format!("http://{}", listener.local_addr()?),
            published: Arc::default(),
            down: Arc::default(),
            fetches: Arc::new(watch::Sender::new(0)),
        };
        issuer.publish(keys);
        let router = Router::new()
            .route("/.well-known/openid-configuration", get(discovery))
            .route("/jwks", get(jwks))
            .with_state(issuer.clone());
        tokio::spawn(axum::serve(listener, router).into_future());
        Ok(issuer)
    }

    pub fn publish(&self, keys: &[&Key]) {
        let keys = keys.iter().map(|key| key.jwk()).collect();
        self.publish_all(keys);
    }

    pub fn publish_all(&self, keys: Vec<Value>) {
        let mut published = self
            .published
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *published = keys;
    }

    pub fn is_down(&self, down: bool) {
        self.down.store(down, Ordering::SeqCst);
    }

    /// How often the keys were asked for.
    pub fn fetches(&self) -> watch::Receiver<usize> {
        self.fetches.subscribe()
    }

    /// Claims that are all right.
    pub fn claims(&self) -> Value {
        let now = get_current_timestamp();
        json!({
            "iss": self.name, "aud": AUDIENCE, "sub": "李雷", "iat": now, "exp": now + 300,
            "scope": "accounts.read accounts.write",
        })
    }

    pub async fn keys(&self, freshness: Freshness) -> Result<Keys> {
        let http = http_client()?;
        let discovery = Discovery::of(&http, &self.name).await?;
        Ok(Keys::fetch(http, discovery.jwks_uri, freshness).await?)
    }

    pub async fn verifier(&self, freshness: Freshness) -> Result<Verifier> {
        Ok(Verifier::new(
            &self.name,
            AUDIENCE,
            self.keys(freshness).await?,
        ))
    }
}

async fn discovery(State(issuer): State<FakeIssuer>) -> Json<Value> {
    let name = issuer.name;
    Json(json!({
        "issuer": name,
        "jwks_uri": format!("{name}/jwks"),
        "token_endpoint": format!("{name}/token"),
        "authorization_endpoint": format!("{name}/authorize"),
    }))
}

async fn jwks(State(issuer): State<FakeIssuer>) -> Result<Json<Value>, StatusCode> {
    issuer.fetches.send_modify(|fetches| *fetches += 1);
    if issuer.down.load(Ordering::SeqCst) {
        return Err(StatusCode::INTERNAL_SERVER_ERROR);
    }
    let published = issuer.published.lock();
    let keys = published.unwrap_or_else(PoisonError::into_inner).clone();
    Ok(Json(json!({ "keys": keys })))
}

/// The secret of the service, and of each person.
pub const SECRET: &str = "a-secret-of-the-service";
pub const PASSWORD: &str = "a-password-of-a-person";

/// The issuer of this crate, and its name.
pub async fn real_issuer(life: Duration, ahead: Duration) -> Result<(Arc<Issuer>, String)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let name = format!("http://{}", listener.local_addr()?);
    let people = ["jack", "李雷"].map(|who| (who.to_owned(), PASSWORD.to_owned()));
    let issuer = Arc::new(Issuer::new(Settings {
        name: name.clone(),
        life,
        ahead,
        services: vec![("teller".to_owned(), SECRET.to_owned())],
        people: people.into(),
    })?);
    let serving = issuer::serve(listener, Arc::clone(&issuer), std::future::pending());
    tokio::spawn(serving);
    Ok((issuer, name))
}

/// A server for the tokens of this issuer.
pub async fn server_of(issuer: &str, freshness: Freshness) -> Result<Running> {
    let http = http_client()?;
    let discovery = Discovery::of(&http, issuer).await?;
    let keys = Keys::fetch(http, discovery.jwks_uri, freshness).await?;
    Running::start(Verifier::new(issuer, AUDIENCE, keys)).await
}

/// The service that calls for itself, and what it asks with.
pub fn teller(scope: &str) -> Grant {
    Grant::ClientCredentials {
        id: ClientId::new("teller".to_owned()),
        secret: ClientSecret::new(SECRET.to_owned()),
        scope: scope.to_owned(),
    }
}

/// Never waits between two fetches, and only fetches when it has to.
pub const EAGER: Freshness = Freshness {
    refresh: Duration::from_secs(3600),
    cooldown: Duration::ZERO,
    stale: Duration::from_secs(3600),
};

/// The accounts, and how many calls have come to them.
#[derive(Clone)]
pub struct Counting {
    accounts: Accounts,
    pub calls: Arc<AtomicUsize>,
}

impl Counting {
    pub fn new() -> Self {
        Self {
            accounts: Accounts::new([("李雷", 5_000), ("jack", 5_000), ("teller", 5_000)]),
            calls: Arc::default(),
        }
    }

    pub fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }

    fn count(&self) -> &Accounts {
        self.calls.fetch_add(1, Ordering::SeqCst);
        &self.accounts
    }
}

#[tonic::async_trait]
impl AccountService for Counting {
    async fn get_balance(
        &self,
        request: Request<GetBalanceRequest>,
    ) -> Result<Response<GetBalanceResponse>, Status> {
        // Nobody behind the door has the token.
        assert!(!request.metadata().contains_key("authorization"));
        self.count().get_balance(request).await
    }

    async fn transfer(
        &self,
        request: Request<TransferRequest>,
    ) -> Result<Response<TransferResponse>, Status> {
        AccountService::transfer(self.count(), request).await
    }

    type WatchTransfersStream = <Accounts as AccountService>::WatchTransfersStream;

    async fn watch_transfers(
        &self,
        request: Request<WatchTransfersRequest>,
    ) -> Result<Response<Self::WatchTransfersStream>, Status> {
        self.count().watch_transfers(request).await
    }

    async fn close_account(
        &self,
        request: Request<CloseAccountRequest>,
    ) -> Result<Response<CloseAccountResponse>, Status> {
        self.count().close_account(request).await
    }
}

/// A server behind TLS.
pub struct Running {
    pub uri: String,
    pub authority: Certificate,
    pub accounts: Counting,
    folder: TempDir,
}

impl Running {
    pub async fn start(verifier: Verifier) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        certificates::make(folder.path())?;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let accounts = Counting::new();
        let running = Self {
            uri: format!("https://{}", listener.local_addr()?),
            authority: certificates::authority(folder.path())?,
            accounts: accounts.clone(),
            folder,
        };
        let identity = certificates::identity(running.folder.path())?;
        tokio::spawn(authentication::serve(
            listener,
            identity,
            verifier,
            accounts,
            std::future::pending(),
        ));
        Ok(running)
    }

    /// Where its certificate is.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A way to it that sends nothing by itself.
    pub async fn channel(&self) -> Result<Channel> {
        let tls = ClientTlsConfig::new().ca_certificate(self.authority.clone());
        let endpoint = Endpoint::from_shared(self.uri.clone())?;
        Ok(endpoint.tls_config(tls)?.connect().await?)
    }

    pub async fn client(&self) -> Result<AccountServiceClient<Channel>> {
        Ok(AccountServiceClient::new(self.channel().await?))
    }
}

/// A request with this token.
pub fn with<T>(message: T, token: &str) -> Request<T> {
    let mut request = Request::new(message);
    let value = format!("Bearer {token}").parse().expect("a token is ASCII");
    request.metadata_mut().insert("authorization", value);
    request
}
