//! The chapter `metadata`, as its reader runs it.

mod facts;
mod limits;
mod programs;
mod upstream;

use anyhow::Context;
use harness::{Result, Server};
use metadata::pb::{GetPriceRequest, till_service_client::TillServiceClient};
use tonic::{Code, Request, Status, metadata::MetadataMap, transport::Channel};

fn start_server() -> Result<Server> {
    Ok(harness::start_server("metadata")?.1)
}

async fn client(server: &Server) -> Result<TillServiceClient<Channel>> {
    Ok(TillServiceClient::connect(server.uri()).await?)
}

fn tea_request() -> GetPriceRequest {
    let article = "茶".to_owned();
    GetPriceRequest { article }
}

/// A request with metadata.
fn request_with<T>(message: T, metadata: &[(&'static str, &str)]) -> Result<Request<T>> {
    let mut request = Request::new(message);
    for (key, value) in metadata {
        request.metadata_mut().append(*key, value.parse()?);
    }
    Ok(request)
}

fn string_value(metadata: &MetadataMap, key: &str) -> Result<String> {
    let value = metadata.get(key).with_context(|| format!("no {key}"))?;
    Ok(value.to_str()?.to_owned())
}

/// The code and the message that a call ended with.
fn code_and_message<T>(result: Result<T, Status>) -> (Code, String) {
    match result {
        Ok(_) => (Code::Ok, String::new()),
        Err(status) => (status.code(), status.message().to_owned()),
    }
}
