//! What the service does for each caller, and how long a stream goes on.

use std::time::Duration;

use authentication::{
    accounts::Accounts,
    layer::AuthLayer,
    pb::{
        CloseAccountRequest, GetBalanceRequest, TransferRequest, WatchTransfersRequest,
        account_service_client::AccountServiceClient,
        account_service_server::{AccountService, AccountServiceServer},
    },
    policy::{METHODS, Policy},
};
use jsonwebtoken::get_current_timestamp;
use tokio::time::{self, Instant};
use tonic::{Code, Request, Status};
use tower::Layer;

use crate::support::{EAGER, FakeIssuer, Key, Result, with};

/// Nothing here takes this long.
const LONG: Duration = Duration::from_secs(60);

/// The service and its door, without a transport.
macro_rules! client {
    ($issuer:expr) => {{
        let accounts = Accounts::new([("李雷", 5_000), ("jack", 5_000)]);
        let layer = AuthLayer::new($issuer.verifier(EAGER).await?, Policy::new(METHODS));
        AccountServiceClient::new(layer.layer(AccountServiceServer::new(accounts)))
    }};
}

fn transfer(to: &str, cents: u64) -> TransferRequest {
    let to = to.to_owned();
    TransferRequest { to, cents }
}

#[tokio::test]
async fn everybody_has_their_own_account() -> Result {
    let key = Key::new("good");
    let issuer = FakeIssuer::start(&[&key]).await?;
    let mut client = client!(issuer);
    let of = |who: &str| {
        let mut claims = issuer.claims();
        claims["sub"] = who.into();
        key.sign(&claims)
    };
    let (li, jack, nobody) = (of("李雷"), of("jack"), of("nobody"));
    let mut watched = client
        .watch_transfers(with(WatchTransfersRequest {}, &jack))
        .await?
        .into_inner();

    let left = client.transfer(with(transfer("jack", 500), &li)).await?;
    assert_eq!(left.into_inner().cents, 4_500);
    for (token, cents) in [(&li, 4_500), (&jack, 5_500)] {
        let balance = client
            .get_balance(with(GetBalanceRequest {}, token))
            .await?;
        assert_eq!(balance.into_inner().cents, cents);
    }
    let told = time::timeout(LONG, watched.message()).await??;
    let told = told.ok_or("nothing was told")?;
    assert_eq!(
        (told.from.as_str(), told.to.as_str(), told.cents),
        ("李雷", "jack", 500)
    );

    for (token, request, code) in [
        (&li, transfer("jack", 0), Code::InvalidArgument),
        (&li, transfer("李雷", 1), Code::InvalidArgument),
        (&li, transfer("nobody", 1), Code::NotFound),
        (&li, transfer("jack", 4_501), Code::FailedPrecondition),
        (&nobody, transfer("jack", 1), Code::NotFound),
    ] {
        let status = client.transfer(with(request, token)).await;
        assert_eq!(status.expect_err("refused").code(), code);
    }
    let status = client
        .close_account(with(CloseAccountRequest {}, &li))
        .await;
    assert_eq!(status.expect_err("refused").code(), Code::PermissionDenied);
    Ok(())
}

/// Somebody has forgotten the layer: then nobody is anybody.
#[tokio::test]
async fn without_its_layer_the_service_takes_nobody() {
    let accounts = Accounts::new([("", 5_000)]);
    let status = accounts
        .get_balance(Request::new(GetBalanceRequest {}))
        .await;
    assert_eq!(status.expect_err("who calls?").code(), Code::Internal);
}

/// There is no socket here, so the clock can be turned.
#[tokio::test]
async fn a_stream_ends_with_its_token() -> Result {
    let key = Key::new("good");
    let issuer = FakeIssuer::start(&[&key]).await?;
    let mut client = client!(issuer);
    let mut claims = issuer.claims();
    claims["exp"] = (get_current_timestamp() + 600).into();
    let token = key.sign(&claims);

    time::pause();
    let began = Instant::now();
    let request = with(WatchTransfersRequest {}, &token);
    let mut transfers = client.watch_transfers(request).await?.into_inner();
    // Before it has expired, what happens is told.
    time::advance(Duration::from_secs(300)).await;
    let mut jack = claims.clone();
    jack["sub"] = "jack".into();
    client
        .transfer(with(transfer("李雷", 1), &key.sign(&jack)))
        .await?;
    assert!(transfers.message().await?.is_some());

    // An hour of a clock that does not wait.
    let ended = time::timeout(Duration::from_secs(3600), transfers.message()).await?;
    let status = ended.expect_err("it has expired");
    assert_eq!(status.code(), Code::Unauthenticated);
    assert_eq!(
        status.message(),
        "the token has expired: call again with a new one"
    );
    // Until then, and for as long as clocks may differ.
    let lasted = began.elapsed().as_secs();
    assert!((629..=631).contains(&lasted), "{lasted} s");
    assert!(transfers.message().await?.is_none());
    Ok(())
}

/// A typing error in the policy would refuse a method to everybody.
#[test]
fn the_policy_names_methods_that_are_there() {
    let known = ["GetBalance", "Transfer", "WatchTransfers", "CloseAccount"]
        .map(|method| format!("/account.v1.AccountService/{method}"));
    let accounts = METHODS
        .iter()
        .filter(|(path, _)| path.starts_with("/account"));
    for (path, _) in accounts {
        assert!(known.contains(&(*path).to_owned()), "{path}");
    }
}

/// A reader who is too slow is told so.
#[tokio::test]
async fn what_was_missed_is_told() -> Result {
    let key = Key::new("good");
    let issuer = FakeIssuer::start(&[&key]).await?;
    let mut client = client!(issuer);
    let token = key.sign(&issuer.claims());
    let watched = client
        .watch_transfers(with(WatchTransfersRequest {}, &token))
        .await?;
    for _ in 0..100 {
        client.transfer(with(transfer("jack", 1), &token)).await?;
    }
    let mut watched = watched.into_inner();
    let status: Status = loop {
        match watched.message().await {
            Ok(Some(_)) => {}
            Ok(None) => return Err("it has ended well".into()),
            Err(status) => break status,
        }
    };
    assert_eq!(status.code(), Code::DataLoss);
    Ok(())
}
