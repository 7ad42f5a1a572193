//! The chapter `authentication`, as its reader runs it.

mod facts;

use std::{fs, path::PathBuf, process::Command};

use anyhow::{Context, ensure};
use authentication::{
    discovery::{Discovery, http_client},
    grant::Grant,
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use harness::{AuthPrograms, Result, split_command, workspace};
use oauth2::{ClientId, ClientSecret, TokenResponse};
use stage::{bench::Results, process::Process};
use tempfile::TempDir;

const SERVER: &str = "authentication-server";
const ISSUER: &str = "authentication-issuer";
const CLIENT: &str = "authentication-client";
const LOGIN: &str = "authentication-login";

/// Requests a token for a service from the issuer at `url`.
pub async fn request_token(programs: &AuthPrograms, url: &str) -> Result<String> {
    let http = http_client()?;
    let discovery = Discovery::of(&http, url).await?;
    let mut grant = Grant::ClientCredentials {
        id: ClientId::new("teller".to_owned()),
        secret: ClientSecret::new(programs.secret("teller.secret")?),
        scope: "accounts.read accounts.write".to_owned(),
    };
    let token = grant.ask(&http, &discovery).await?;
    Ok(token.access_token().secret().clone())
}

#[harness::test]
fn service_may_use_only_the_requested_scopes() -> Result {
    let programs = AuthPrograms::build()?;
    let issuer = programs.start_issuer("300", "120")?;
    let server = programs.start_server(&issuer.url, "60", "info")?;
    let client = programs.run_client(&server, &issuer.url, &[])?;
    let lines: Vec<_> = client.text.lines().collect();
    assert_eq!(
        lines,
        [
            "balance: 100000 cents are in the account",
            "transfer: 99500 cents are in the account",
            "close: PermissionDenied, your token is good, and does not allow this method",
        ]
    );
    let client = programs.run_client(&server, &issuer.url, &["accounts.read"])?;
    ensure!(
        client.text.contains("transfer: PermissionDenied"),
        "{}",
        client.text
    );
    let log = server.stop()?;
    assert_eq!(log.code, 0);
    ensure!(log.text.contains("not allowed"), "{}", log.text);
    Ok(())
}

/// Only the issuer, the times and the ID of a token may differ from those on the page.
#[harness::test]
async fn token_on_the_page_matches_an_issued_one() -> Result {
    let page = workspace().src().join("authentication/index.md");
    let page = fs::read_to_string(page)?;
    let shown = page
        .split("```json\n")
        .nth(1)
        .context("no JSON on the page")?;
    let shown = shown.split("```").next().unwrap_or_default();
    let mut shown: serde_json::Value = serde_json::from_str(shown)?;

    let programs = AuthPrograms::build()?;
    let issuer = programs.start_issuer("300", "120")?;
    let token = request_token(&programs, &issuer.url).await?;
    let claims = token.split('.').nth(1).context("no claims in the token")?;
    let claims: serde_json::Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims)?)?;

    let lifetime =
        |claims: &serde_json::Value| Some(claims["exp"].as_u64()? - claims["iat"].as_u64()?);
    assert_eq!(lifetime(&shown), lifetime(&claims));
    let id_length = |claims: &serde_json::Value| claims["jti"].as_str().map(str::len);
    assert_eq!(id_length(&shown), id_length(&claims));
    assert_eq!(shown["iss"], "http://127.0.0.1:50080");
    for claim in ["iss", "iat", "exp", "jti"] {
        shown[claim] = claims[claim].clone();
    }
    assert_eq!(shown, claims);
    Ok(())
}

/// Without TLS, keys or an issuer, the programs neither send tokens nor accept them.
#[harness::test]
fn unsafe_configurations_are_rejected() -> Result {
    let programs = AuthPrograms::build()?;
    let issuer = programs.start_issuer("300", "120")?;
    let empty = TempDir::new()?;
    let empty = empty.path().to_str().context("the path is not UTF-8")?;
    let (secrets, url) = (programs.secrets(), issuer.url.as_str());
    let http = format!(
        "http://{}",
        programs.start_server(url, "60", "info")?.address
    );
    for (program, arguments, message) in [
        (
            SERVER,
            vec!["127.0.0.1:0", url, empty],
            "authentication-certificates makes it",
        ),
        (
            SERVER,
            vec!["127.0.0.1:0", "http://127.0.0.1:1", secrets],
            "cannot ask the issuer",
        ),
        (
            SERVER,
            vec!["127.0.0.1:0", "http://login.example.com", secrets],
            "is not safe to ask: use https",
        ),
        (
            SERVER,
            vec!["127.0.0.1:0", url, secrets, "soon"],
            "is no number of seconds",
        ),
        (
            CLIENT,
            vec![&http, url, secrets],
            "is not safe for a token: use https",
        ),
        (CLIENT, vec![&http, url, empty], "cannot read"),
        (
            ISSUER,
            vec!["0.0.0.0:0", empty],
            "can be reached from outside",
        ),
        (
            LOGIN,
            vec![&http, "http://127.0.0.1:1", secrets],
            "cannot ask the issuer",
        ),
    ] {
        let output = programs.run(program, &arguments)?;
        ensure!(
            output.code == 1 && output.text.contains(message),
            "{message}: {}",
            output.text
        );
    }
    // An invalid key.
    fs::write(programs.secrets_dir().join("server.key"), "no key")?;
    let output = programs.run(SERVER, &["127.0.0.1:0", url, secrets])?;
    ensure!(
        output.code == 1 && output.text.contains("is the certificate good?"),
        "{}",
        output.text
    );
    Ok(())
}

/// The server's certificate is from another authority than the one that the client trusts.
#[harness::test]
fn no_token_is_sent_to_an_untrusted_server() -> Result {
    let programs = AuthPrograms::build()?;
    let issuer = programs.start_issuer("300", "120")?;
    let server = programs.start_server(&issuer.url, "60", "debug")?;
    programs.make_certificates()?;
    let client = programs.run_client(&server, &issuer.url, &[])?;
    ensure!(
        client.code == 1 && client.text.contains("cannot reach"),
        "{}",
        client.text
    );
    ensure!(client.text.contains("certificate"), "{}", client.text);
    Ok(())
}

#[cfg(unix)]
#[harness::test]
fn secret_files_are_readable_only_by_their_owner() -> Result {
    use std::os::unix::fs::PermissionsExt;

    let programs = AuthPrograms::build()?;
    programs.start_issuer("300", "120")?;
    let mut secret_files = 0;
    for file in fs::read_dir(programs.secrets_dir())? {
        let file = file?;
        let name = file.file_name().to_string_lossy().into_owned();
        if name.ends_with(".pem") || name == ".gitignore" {
            continue;
        }
        assert_eq!(
            file.metadata()?.permissions().mode() & 0o777,
            0o600,
            "{name}"
        );
        secret_files += 1;
    }
    assert_eq!(secret_files, 4, "a key, a secret, two passwords");
    Ok(())
}

/// The client's token lives for five minutes, and the server fetches the keys again every second.
#[harness::test]
fn revoking_a_key_invalidates_its_tokens() -> Result {
    let programs = AuthPrograms::build()?;
    let mut issuer = programs.start_issuer("300", "120")?;
    let server = programs.start_server(&issuer.url, "1", "info")?;
    let uri = server.https_uri();
    let arguments = [
        uri.as_str(),
        &issuer.url,
        programs.secrets(),
        "accounts.read",
        "90",
    ];
    let client = programs.start(CLIENT, &arguments)?;
    issuer
        .process
        .wait_for_text("kind=\"client_credentials\"")?;
    issuer.stdin.type_line("revoke")?;
    issuer.process.wait_for_text("revoked")?;
    let client = client.wait()?;
    assert_eq!(client.code, 1);
    ensure!(client.text.contains("Unauthenticated"), "{}", client.text);
    let log = server.stop()?.text;
    ensure!(log.contains("a token signed with an unknown key"), "{log}");
    // A token that is signed with the new key is accepted.
    let server = programs.start_server(&issuer.url, "1", "info")?;
    let client = programs.run_client(&server, &issuer.url, &["accounts.read", "1"])?;
    ensure!(client.text.contains(" 0 failed"), "{}", client.text);
    Ok(())
}

#[harness::test]
fn issuer_rejects_unknown_commands_and_stops_cleanly() -> Result {
    let programs = AuthPrograms::build()?;
    let mut issuer = programs.start_issuer("300", "120")?;
    issuer.stdin.type_line("rotate them")?;
    issuer.process.wait_for_text("say `rotate` or `revoke`")?;
    issuer.stdin.type_line("rotate")?;
    issuer.process.wait_for_text("rotated")?;
    // It goes on after the end of its input, and Ctrl-C stops it while it waits for a line.
    issuer.stdin.close();
    programs.start_server(&issuer.url, "60", "info")?;
    issuer.process.interrupt()?;
    assert_eq!(issuer.process.wait()?.code, 0);
    let mut issuer = programs.start_issuer("300", "120")?;
    issuer.process.terminate()?;
    assert_eq!(issuer.process.wait()?.code, 0);
    Ok(())
}

/// At TRACE, in all programs.
#[harness::test]
fn no_secret_is_logged() -> Result {
    let programs = AuthPrograms::build()?;
    let mut issuer = programs.start_issuer("1", "1")?;
    let server = programs.start_server(&issuer.url, "1", "trace")?;
    let client = programs.run_client(&server, &issuer.url, &["accounts.read", "2", "trace"])?;
    ensure!(client.text.contains(" 0 failed"), "{}", client.text);
    ensure!(client.text.contains("a new token"), "{}", client.text);
    issuer.process.interrupt()?;
    let issuer_log = issuer.process.wait()?.text;
    let key = programs.secret("server.key")?;
    let key = key.lines().nth(1).context("no second line in the key")?;
    let logs = [client.text, server.stop()?.text, issuer_log].concat();
    ensure!(logs.len() > 10_000, "not everything was logged: {logs}");
    let secrets =
        ["teller.secret", "jack.password", "李雷.password"].map(|file| programs.secret(file));
    for secret in secrets {
        ensure!(!logs.contains(&secret?), "a secret is in a log");
    }
    ensure!(
        !logs.contains(key) && !logs.contains("eyJ"),
        "a key or a token is in a log"
    );
    Ok(())
}

/// The statements of the page hold for the recorded results.
#[harness::test]
fn page_agrees_with_the_benchmark() -> Result {
    let results = Results::read(&workspace(), "authentication")?.context("there are no results")?;
    for (in_flight, token_ratios) in [("1", 1.5..1.9), ("10", 1.5..2.2), ("100", 2.0..3.5)] {
        let tls = results.number(&[in_flight], "time over TLS / plain text")?;
        ensure!((1.0..1.15).contains(&tls), "{in_flight} in flight: {tls}");
        let token = results.number(&[in_flight], "time with a token / without")?;
        ensure!(
            token_ratios.contains(&token),
            "{in_flight} in flight: {token}"
        );
    }
    let seconds_per_call =
        |curve| Ok::<_, anyhow::Error>(1.0 / results.number(&[curve, "100"], "calls/s")?);
    // The benchmark kept two cores busy.
    let check = 2.0 * (seconds_per_call("TLS and a token")? - seconds_per_call("TLS")?);
    ensure!((30e-6..50e-6).contains(&check), "{check} s");
    Ok(())
}

/// The client gets a new token every few seconds, and the issuer rotates its key for each.
#[harness::test(needs = "a minute", exclusive)]
fn rotating_keys_for_a_minute_fails_no_calls() -> Result {
    let programs = AuthPrograms::build()?;
    let mut issuer = programs.start_issuer("6", "2")?;
    let server = programs.start_server(&issuer.url, "1", "info")?;
    let uri = server.https_uri();
    let arguments = [
        uri.as_str(),
        &issuer.url,
        programs.secrets(),
        "accounts.read",
        "60",
    ];
    let client = programs.start(CLIENT, &arguments)?;
    // Rotate once for each token that the issuer logs.
    for _ in 0..12 {
        issuer.stdin.wait_for("kind=\"client_credentials\"")?;
        issuer.stdin.type_line("rotate")?;
    }
    let client = client.wait()?;
    println!("{}", client.text);
    ensure!(
        client.code == 0 && client.text.contains(" 0 failed"),
        "{}",
        client.text
    );
    let log = server.stop()?.text;
    ensure!(!log.contains("not let in"), "{log}");
    Ok(())
}

/// The folder of the independent authorization server.
fn oidc_provider_dir() -> PathBuf {
    workspace().root().join("tests/interop/oidc-provider")
}

/// Starts it by the command of the page, but on a free port, with the secrets of the test.
fn start_oidc_provider(secrets: &str, lifetime: &str) -> Result<(Process, String)> {
    const COMMAND: &str = "node tests/interop/oidc-provider/provider.mjs";
    let mut command = split_command(COMMAND);
    command.current_dir(workspace().root());
    command.args(["0", secrets, lifetime]);
    let mut process = Process::start(command)?;
    let line = process.wait_for("listening on ")?;
    Ok((process, line.replace("listening on ", "http://")))
}

#[harness::test(needs = "Node, and the packages of tests/interop/oidc-provider")]
fn service_authenticates_with_oidc_provider() -> Result {
    let programs = AuthPrograms::build()?;
    let (_provider, url) = start_oidc_provider(programs.secrets(), "3")?;
    let server = programs.start_server(&url, "60", "info")?;
    // For longer than a token lives.
    let client = programs.run_client(&server, &url, &["accounts.read", "8"])?;
    ensure!(client.text.contains(" 0 failed"), "{}", client.text);
    let client = programs.run_client(&server, &url, &["accounts.read"])?;
    ensure!(
        client.text.contains("balance: 100000 cents"),
        "{}",
        client.text
    );
    ensure!(
        client.text.contains("transfer: PermissionDenied"),
        "{}",
        client.text
    );
    Ok(())
}

/// Opens the URL that `authentication-login` prints in a browser, and logs in as `person`.
fn log_in(programs: &AuthPrograms, issuer: &str, person: &[&str]) -> Result {
    let server = programs.start_server(issuer, "60", "info")?;
    let uri = server.https_uri();
    // The command on the page is `cargo run --bin authentication-login`.
    let mut login = programs.start(LOGIN, &[uri.as_str(), issuer, programs.secrets()])?;
    let url = login
        .wait_for("log in here: ")?
        .replace("log in here: ", "");
    let browser = Command::new("node")
        .arg(oidc_provider_dir().join("browser.mjs"))
        .arg(workspace().tools())
        .arg(&url)
        .args(person)
        .output()
        .context("cannot start node")?;
    let stdout = String::from_utf8_lossy(&browser.stdout);
    ensure!(
        browser.status.success(),
        "{stdout}{}",
        String::from_utf8_lossy(&browser.stderr)
    );
    ensure!(stdout.contains("You can close this page"), "{stdout}");
    let login = login.wait()?;
    ensure!(
        login.code == 0 && login.text.contains("5000 cents are in your account"),
        "{}",
        login.text
    );
    Ok(())
}

#[harness::test(
    needs = "Node, Chromium, and the packages of tests/interop/oidc-provider and tests/browser"
)]
fn person_logs_in_at_oidc_provider() -> Result {
    let programs = AuthPrograms::build()?;
    let (_provider, url) = start_oidc_provider(programs.secrets(), "300")?;
    log_in(&programs, &url, &["李雷"])
}

#[harness::test(needs = "Node, Chromium, and the packages of tests/browser")]
fn person_logs_in_at_the_issuer_of_the_listing() -> Result {
    let programs = AuthPrograms::build()?;
    let issuer = programs.start_issuer("300", "120")?;
    let password = programs.secret("jack.password")?;
    log_in(&programs, &issuer.url, &["jack", &password])
}
