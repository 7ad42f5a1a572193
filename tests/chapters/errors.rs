//! The chapter `errors`, as its reader runs it, and the limits of a status.

use anyhow::{Context, ensure};
use errors::pb::{
    GetPersonRequest, GetPersonResponse,
    person_service_client::PersonServiceClient,
    person_service_server::{PersonService, PersonServiceServer},
};
use harness::{Listing, Result, Server, spawn_in_process};
use regex::Regex;
use stage::process::Output;
use tempfile::TempDir;
use tonic::{
    Code, Request, Response, Status,
    transport::{self, Channel},
};

/// Starts the server `name` with a folder of people of its own.
fn start_server(listing: &Listing, name: &str) -> Result<(Server, TempDir)> {
    let parent = TempDir::new()?;
    let folder = parent.path().join("people");
    let folder = folder.to_str().context("the path is not UTF-8")?;
    Ok((listing.server_with_args(name, &[folder])?, parent))
}

fn run_client(listing: &Listing, server: &Server, arguments: &[&str]) -> Result<Output> {
    let uri = server.uri();
    listing.run("errors-client", [arguments, &["en", &uri]].concat())
}

/// The problem that the chapter starts from: a person who does not exist and a storage that fails
/// end with the same status.
#[harness::test]
fn careless_server_hides_storage_failures() -> Result {
    let listing = Listing::build("errors")?;
    let (server, folder) = start_server(&listing, "errors-careless-server")?;
    let not_found = run_client(&listing, &server, &["get", "jack"])?;
    folder.close()?;
    let broken = run_client(&listing, &server, &["get", "jack"])?;
    assert_eq!(not_found, broken);
    ensure!(
        not_found.text.starts_with("NotFound: "),
        "{}",
        not_found.text
    );
    let leak = run_client(&listing, &server, &["create", "jack", "18"])?;
    ensure!(leak.text.contains("/people/"), "{}", leak.text);
    Ok(())
}

#[harness::test]
fn storage_failure_details_are_only_logged() -> Result {
    let listing = Listing::build("errors")?;
    let (server, folder) = start_server(&listing, "errors-server")?;
    let path = folder.path().display().to_string();
    let not_found = run_client(&listing, &server, &["get", "jack"])?;
    folder.close()?;
    let broken = run_client(&listing, &server, &["get", "jack"])?;
    ensure!(not_found.text != broken.text);
    let log = server.stop()?.text;
    ensure!(log.contains(&path) && log.contains("No such file"), "{log}");
    for output in [&not_found.text, &broken.text] {
        ensure!(
            !output.contains(&path) && !output.contains("os error"),
            "{output}"
        );
    }
    let id = Regex::new("[0-9a-f-]{36}")?;
    let sent_id = id
        .find(&broken.text)
        .context("no ID in the output")?
        .as_str();
    assert_eq!(id.find(&log).context("no ID in the log")?.as_str(), sent_id);
    Ok(())
}

#[harness::test]
fn invalid_arguments_are_reported() -> Result {
    let listing = Listing::build("errors")?;
    for arguments in [&[][..], &["fire", "jack"], &["create", "jack", "old"]] {
        let output = listing.run("errors-client", arguments)?;
        assert_eq!(output.code, 1);
        ensure!(output.text.contains("say `get NAME`"), "{}", output.text);
    }
    Ok(())
}

/// A status has little room, and the name is in its message and in its details.
#[harness::test]
async fn longest_name_fits_in_the_error() -> Result {
    let listing = Listing::build("errors")?;
    let (server, _folder) = start_server(&listing, "errors-server")?;
    let mut client = PersonServiceClient::connect(server.uri()).await?;
    for letter in ["\u{1}", "李", "\""] {
        let name = letter.repeat(256 / letter.len());
        let request = GetPersonRequest { name };
        let status = client
            .get_person(request)
            .await
            .expect_err("there is no such person");
        assert_eq!(status.code(), Code::NotFound);
        ensure!(!status.details().is_empty());
    }
    Ok(())
}

/// Ends each call with details of as many bytes as the name says.
struct DetailedErrors;

#[tonic::async_trait]
impl PersonService for DetailedErrors {
    async fn get_person(
        &self,
        request: Request<GetPersonRequest>,
    ) -> Result<Response<GetPersonResponse>, Status> {
        let bytes = request.into_inner().name.parse().unwrap_or_default();
        let details = vec![0; bytes].into();
        Err(Status::with_details(Code::NotFound, "", details))
    }
}

async fn status_with_details(bytes: usize) -> Result<Status> {
    let server = transport::Server::builder().add_service(PersonServiceServer::new(DetailedErrors));
    let uri = format!("http://{}", spawn_in_process(server).await?);
    let channel = Channel::from_shared(uri)?.connect().await?;
    let name = bytes.to_string();
    let result = PersonServiceClient::new(channel)
        .get_person(GetPersonRequest { name })
        .await;
    Ok(result.expect_err("each call fails"))
}

/// The details are one header in base64, where 12,000 bytes become 16,000, and a header list may
/// have 16 KiB.
#[harness::test]
async fn error_details_fit_up_to_12_000_bytes() -> Result {
    let status = status_with_details(12_000).await?;
    assert_eq!(
        (status.code(), status.details().len()),
        (Code::NotFound, 12_000)
    );
    for (bytes, code) in [(12_288, Code::Internal), (50_000, Code::ResourceExhausted)] {
        let status = status_with_details(bytes).await?;
        assert_eq!(status.code(), code, "{bytes}");
        assert_eq!(status.message(), "h2 protocol error: http2 error");
        ensure!(status.details().is_empty());
    }
    Ok(())
}
