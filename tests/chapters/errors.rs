//! The registry that says what is wrong, as its reader runs it.

use anyhow::{Context, ensure};
use errors::pb::{
    GetPersonRequest, GetPersonResponse,
    person_service_client::PersonServiceClient,
    person_service_server::{PersonService, PersonServiceServer},
};
use harness::{Listing, Result};
use regex::Regex;
use tempfile::TempDir;
use tonic::{
    Code, Request, Response, Status,
    transport::{Channel, Server},
};
use xtask::program::Ended;

/// A server of this name whose people are in a folder of its own.
fn server(listing: &Listing, name: &str) -> Result<(harness::Server, TempDir)> {
    let parent = TempDir::new()?;
    let folder = parent.path().join("people");
    let folder = folder.to_str().context("its name is text")?;
    Ok((listing.server_with(name, &[folder])?, parent))
}

fn client(listing: &Listing, server: &harness::Server, arguments: &[&str]) -> Result<Ended> {
    let uri = server.uri();
    listing.run("errors-client", [arguments, &["en", &uri]].concat())
}

/// What the chapter starts from.
#[test]
fn with_the_careless_server_nobody_and_broken_are_one() -> Result {
    let listing = Listing::build("errors")?;
    let (server, folder) = server(&listing, "errors-careless-server")?;
    let nobody = client(&listing, &server, &["get", "jack"])?;
    folder.close()?;
    let broken = client(&listing, &server, &["get", "jack"])?;
    assert_eq!(nobody, broken);
    ensure!(nobody.output.starts_with("NotFound: "), "{}", nobody.output);
    let leak = client(&listing, &server, &["create", "jack", "18"])?;
    ensure!(leak.output.contains("/people/"), "{}", leak.output);
    Ok(())
}

#[test]
fn with_ours_they_are_two_and_the_log_alone_knows_why() -> Result {
    let listing = Listing::build("errors")?;
    let (server, folder) = server(&listing, "errors-server")?;
    let path = folder.path().display().to_string();
    let nobody = client(&listing, &server, &["get", "jack"])?;
    folder.close()?;
    let broken = client(&listing, &server, &["get", "jack"])?;
    ensure!(nobody.output != broken.output);
    let log = server.stop()?.output;
    ensure!(log.contains(&path) && log.contains("No such file"), "{log}");
    for output in [&nobody.output, &broken.output] {
        ensure!(
            !output.contains(&path) && !output.contains("os error"),
            "{output}"
        );
    }
    let number = Regex::new("[0-9a-f-]{36}")?;
    let told = number.find(&broken.output).context("a number")?.as_str();
    assert_eq!(number.find(&log).context("the same")?.as_str(), told);
    Ok(())
}

#[test]
fn the_client_says_what_it_takes() -> Result {
    let listing = Listing::build("errors")?;
    for wrong in [&[][..], &["fire", "jack"], &["create", "jack", "old"]] {
        let end = listing.run("errors-client", wrong)?;
        assert_eq!(end.code, 1);
        ensure!(end.output.contains("say `get NAME`"), "{}", end.output);
    }
    Ok(())
}

/// The longest that a caller can make the registry say.
#[tokio::test(flavor = "multi_thread")]
async fn the_longest_name_comes_back_whole() -> Result {
    let listing = Listing::build("errors")?;
    let (server, _folder) = server(&listing, "errors-server")?;
    let mut client = PersonServiceClient::connect(server.uri()).await?;
    for letter in ["\u{1}", "李", "\""] {
        let name = letter.repeat(256 / letter.len());
        let request = GetPersonRequest { name };
        let status = client.get_person(request).await.expect_err("nobody");
        assert_eq!(status.code(), Code::NotFound);
        ensure!(!status.details().is_empty());
    }
    Ok(())
}

/// Ends each call with as many bytes of details as the name says.
struct Wordy;

#[tonic::async_trait]
impl PersonService for Wordy {
    async fn get_person(
        &self,
        request: Request<GetPersonRequest>,
    ) -> Result<Response<GetPersonResponse>, Status> {
        let bytes = request.into_inner().name.parse().unwrap_or_default();
        let details = vec![0; bytes].into();
        Err(Status::with_details(Code::NotFound, "", details))
    }
}

async fn wordy(bytes: usize) -> Result<Status> {
    let server = Server::builder().add_service(PersonServiceServer::new(Wordy));
    let uri = format!("http://{}", crate::serving(server).await?);
    let channel = Channel::from_shared(uri)?.connect().await?;
    let name = bytes.to_string();
    let result = PersonServiceClient::new(channel)
        .get_person(GetPersonRequest { name })
        .await;
    Ok(result.expect_err("it is an error"))
}

/// They are in one header, as base64: 12,000 bytes are 16,000 there.
#[tokio::test]
async fn details_have_room_for_twelve_thousand_bytes() -> Result {
    let status = wordy(12_000).await?;
    assert_eq!(
        (status.code(), status.details().len()),
        (Code::NotFound, 12_000)
    );
    for (bytes, code) in [(12_288, Code::Internal), (50_000, Code::ResourceExhausted)] {
        let status = wordy(bytes).await?;
        assert_eq!(status.code(), code, "{bytes}");
        assert_eq!(status.message(), "h2 protocol error: http2 error");
        ensure!(status.details().is_empty());
    }
    Ok(())
}
