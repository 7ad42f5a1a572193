//! The behaviour of tonic that the chapter `authentication` describes.

use std::sync::mpsc;

use anyhow::ensure;
use authentication::{
    accounts::Accounts,
    certificates,
    pb::{
        GetBalanceRequest, TransferRequest, WatchTransfersRequest,
        account_service_client::AccountServiceClient, account_service_server::AccountServiceServer,
    },
    token::Claims,
};
use harness::{Result, spawn_in_process};
use tonic::{
    Code, Request, Status,
    metadata::AsciiMetadataValue,
    transport::{Channel, ClientTlsConfig, Server},
};

/// A request with `authorization`, marked as sensitive.
fn request_with_authorization(value: &'static str) -> Request<GetBalanceRequest> {
    let mut request = Request::new(GetBalanceRequest {});
    let mut value = AsciiMetadataValue::from_static(value);
    value.set_sensitive(true);
    request.metadata_mut().insert("authorization", value);
    request
}

/// `set_sensitive` hides a value from `Debug`, and only on the side that called it.
#[harness::test]
async fn sensitive_mark_is_not_sent_to_the_server() -> Result {
    let (sender, shown) = mpsc::channel();
    let service =
        AccountServiceServer::with_interceptor(Accounts::new([]), move |request: Request<()>| {
            sender.send(format!("{:?}", request.metadata())).ok();
            Err(Status::unauthenticated("rejected"))
        });
    let address = spawn_in_process(Server::builder().add_service(service)).await?;
    let mut client = AccountServiceClient::connect(format!("http://{address}")).await?;
    let request = request_with_authorization("Bearer of-bad-news");
    ensure!(format!("{request:?}").contains("Sensitive"));
    client
        .get_balance(request)
        .await
        .expect_err("each call is rejected");
    ensure!(shown.recv()?.contains("of-bad-news"));
    Ok(())
}

/// tonic ignores the TLS configuration of an `http://` URI, and the call succeeds in plain text.
#[harness::test]
async fn http_uri_with_tls_config_is_plain_text() -> Result {
    let folder = tempfile::tempdir()?;
    certificates::make(folder.path())?;
    let service = AccountServiceServer::new(Accounts::new([]));
    // A server without TLS.
    let address = spawn_in_process(Server::builder().add_service(service)).await?;
    let tls = ClientTlsConfig::new().ca_certificate(certificates::authority(folder.path())?);
    let endpoint = Channel::from_shared(format!("http://{address}"))?.tls_config(tls)?;
    let mut client = AccountServiceClient::new(endpoint.connect().await?);
    let status = client
        .get_balance(request_with_authorization("Bearer a-token"))
        .await;
    // This status is the handler's, so the call has arrived.
    assert_eq!(
        status
            .expect_err("no layer has authenticated the caller")
            .code(),
        Code::Internal
    );
    Ok(())
}

/// A header of more than 16 KiB ends its call, and one of more than 64 KiB the connection, with all
/// calls on it.
#[harness::test(current_thread)]
async fn very_long_header_ends_other_calls_on_the_connection() -> Result {
    let authenticate_as_jack = |mut request: Request<()>| {
        let claims: Claims = serde_json::from_str(r#"{"sub": "jack", "exp": 0}"#)
            .map_err(|error| Status::internal(error.to_string()))?;
        request.extensions_mut().insert(claims);
        Ok(request)
    };
    let accounts = Accounts::new([("jack", 5_000), ("李雷", 5_000)]);
    let service = AccountServiceServer::with_interceptor(accounts, authenticate_as_jack);
    let address = spawn_in_process(Server::builder().add_service(service)).await?;
    for (bytes, code, other_calls_go_on) in [
        (15_000, None, true),
        (17_000, Some(Code::Unknown), true),
        (64_000, Some(Code::Unknown), true),
        (66_000, Some(Code::ResourceExhausted), false),
    ] {
        let mut client = AccountServiceClient::connect(format!("http://{address}")).await?;
        let watched = client.watch_transfers(WatchTransfersRequest {}).await?;
        let mut request = Request::new(GetBalanceRequest {});
        let value = "x".repeat(bytes).parse()?;
        request.metadata_mut().insert("authorization", value);
        let result = client.get_balance(request).await;
        assert_eq!(result.err().map(|status| status.code()), code, "{bytes}");
        let to = "李雷".to_owned();
        client.transfer(TransferRequest { to, cents: 1 }).await?;
        let watched = watched.into_inner().message().await;
        assert_eq!(watched.is_ok(), other_calls_go_on, "{bytes}: {watched:?}");
    }
    Ok(())
}
