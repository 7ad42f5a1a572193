//! One name and many servers, with registries that really run.

use std::net::{SocketAddr, TcpListener};

use anyhow::{Context, ensure};
use harness::{Listing, Result, Server, answers, typed, workspace};
use service_discovery::registry::etcd::pb::{PutRequest, kv_client::KvClient};
use tempfile::TempDir;
use xtask::{
    bench::Measured,
    program::{Keyboard, Program},
};

const SERVER: &str = "service-discovery-server";
const CLIENT: &str = "service-discovery-client";

/// How the pages start them.
const ETCD: &str = "etcd";
const CONSUL: &str = "consul agent -dev";

/// A registry on ports that are free, which can be started again.
struct Registry {
    command: &'static str,
    address: SocketAddr,
    others: [SocketAddr; 2],
    program: Option<Program>,
    data: TempDir,
}

impl Registry {
    fn start(command: &'static str) -> Result<Self> {
        let free = || TcpListener::bind("127.0.0.1:0")?.local_addr();
        let mut registry = Self {
            command,
            address: free()?,
            others: [free()?, free()?],
            program: None,
            data: TempDir::new()?,
        };
        registry.run()?;
        Ok(registry)
    }

    /// Starts it, with a memory that is empty.
    fn run(&mut self) -> Result {
        self.program = None;
        self.data = TempDir::new()?;
        let (address, [one, two]) = (self.address, self.others);
        let ports = match self.command {
            ETCD => format!(
                "--data-dir={} --listen-client-urls=http://{address} \
                 --advertise-client-urls=http://{address} --listen-peer-urls=http://{one} \
                 --initial-advertise-peer-urls=http://{one} \
                 --initial-cluster=default=http://{one}",
                self.data.path().join("etcd").display()
            ),
            _ => format!(
                "-http-port={} -serf-lan-port={} -server-port={} -dns-port=-1 -grpc-port=-1 -grpc-tls-port=-1 \
                 -serf-wan-port=-1",
                address.port(),
                one.port(),
                two.port()
            ),
        };
        let command = typed(&format!("{} {ports}", self.command));
        self.program = Some(Program::start(command)?);
        answers(address)
    }

    fn target(&self) -> String {
        let scheme = self.command.split(' ').next().unwrap_or_default();
        format!("{scheme}://{}/greeter", self.address)
    }
}

/// Starts a client that calls once a second for as long as we look.
fn client(listing: &Listing, target: &str) -> Result<(Program, Keyboard)> {
    listing.start_with_keyboard(CLIENT, [target, "600"])
}

fn called(client: &mut Keyboard, server: &Server) -> Result {
    client.wait_for(&format!("This is {}.", server.address))?;
    Ok(())
}

/// The registry is started with an empty memory in the middle: whoever lives is
/// registered again, and is called.
fn forgetting(command: &'static str) -> Result {
    let listing = Listing::build("service-discovery")?;
    let mut registry = Registry::start(command)?;
    let target = registry.target();
    let mut server = listing.server_with(SERVER, &[&target])?;
    server.program.wait_for_text("registered service")?;
    let (_program, mut client) = client(&listing, &target)?;
    called(&mut client, &server)?;
    registry.run()?;
    server
        .program
        .wait_for_text("the registry has forgotten us")?;
    let another = listing.server_with(SERVER, &[&target])?;
    called(&mut client, &another)?;
    called(&mut client, &server)?;

    // At Ctrl-C it says goodbye.
    let output = server.stop()?.output;
    let registered = output.matches("INFO registered service").count();
    ensure!(registered == 2, "{output}");
    ensure!(output.contains("INFO deregistered service"), "{output}");
    Ok(())
}

#[test]
#[ignore = "needs etcd on the PATH"]
fn etcd_may_forget_everybody() -> Result {
    forgetting(ETCD)
}

#[test]
#[ignore = "needs consul on the PATH"]
fn consul_may_forget_everybody() -> Result {
    forgetting(CONSUL)
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs etcd on the PATH"]
async fn a_bad_record_in_etcd_is_left_out() -> Result {
    let listing = Listing::build("service-discovery")?;
    let registry = Registry::start(ETCD)?;
    let target = registry.target();
    let put = PutRequest {
        key: "/services/greeter/世界".into(),
        value: "world".into(),
        lease: 0,
    };
    KvClient::connect(format!("http://{}", registry.address))
        .await?
        .put(put)
        .await?;
    // With nobody else there: an error in time.
    let end = listing.run(CLIENT, [&target, "1"])?.output;
    ensure!(end.contains("a bad record"), "{end}");
    ensure!(
        end.contains(&format!("Unavailable: {target}: nobody is there")),
        "{end}"
    );
    let server = listing.server_with(SERVER, &[&target])?;
    let (_program, mut client) = client(&listing, &target)?;
    client.wait_for("a bad record")?;
    called(&mut client, &server)
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs consul on the PATH"]
async fn a_bad_record_in_consul_is_left_out() -> Result {
    let listing = Listing::build("service-discovery")?;
    let registry = Registry::start(CONSUL)?;
    let target = registry.target();
    // Consul takes it: it cannot know what we call.
    let url = format!("http://{}/v1/agent/service/register", registry.address);
    let put = reqwest::Client::new().put(url);
    let put = put.body(r#"{"ID": "世界", "Name": "greeter", "Address": "nowhere", "Port": 1}"#);
    ensure!(put.send().await?.status().is_success());
    let end = listing.run(CLIENT, [&target, "1"])?.output;
    ensure!(end.contains("a bad record"), "{end}");
    ensure!(
        end.contains(&format!("Unavailable: {target}: nobody is there")),
        "{end}"
    );
    let server = listing.server_with(SERVER, &[&target])?;
    let (_program, mut client) = client(&listing, &target)?;
    client.wait_for("a bad record")?;
    called(&mut client, &server)
}

/// A registry that is not there, and then is.
#[test]
#[ignore = "needs etcd and consul on the PATH"]
fn a_registry_may_come_late() -> Result {
    let listing = Listing::build("service-discovery")?;
    for command in [ETCD, CONSUL] {
        let mut registry = Registry::start(command)?;
        registry.program = None;
        let target = registry.target();
        let mut server = listing.server_with(SERVER, &[&target])?;
        server.program.wait_for_text("no answer")?;
        let (_program, mut client) = client(&listing, &target)?;
        client.wait_for("lost the registry")?;
        client.wait_for(&format!("Unavailable: {target}: "))?;
        registry.run()?;
        called(&mut client, &server)?;
    }
    Ok(())
}

/// The commands of the pages, to the letter.
#[test]
#[ignore = "needs etcd and consul on the PATH, and their ports and 50051 to be free"]
fn the_commands_of_the_pages_start_both_registries() -> Result {
    let listing = Listing::build("service-discovery")?;
    for (registry, port, server, client) in [
        (
            ETCD,
            2379,
            "cargo run --bin service-discovery-server 127.0.0.1:50051 etcd://127.0.0.1:2379/greeter",
            "cargo run --bin service-discovery-client etcd://127.0.0.1:2379/greeter",
        ),
        (
            CONSUL,
            8500,
            "cargo run --bin service-discovery-server 127.0.0.1:50051 consul://127.0.0.1:8500/greeter",
            "cargo run --bin service-discovery-client consul://127.0.0.1:8500/greeter",
        ),
    ] {
        let folder = TempDir::new()?;
        let mut command = typed(registry);
        command.current_dir(folder.path());
        let _registry = Program::start(command)?;
        answers(([127, 0, 0, 1], port).into())?;
        let arguments = |typed: &'static str| typed.split(' ').skip(4);
        let arguments_of_server: Vec<_> = arguments(server).collect();
        let mut server = listing.serving(SERVER, &arguments_of_server)?;
        server.program.wait_for_text("registered service")?;
        let end = listing.run(CLIENT, arguments(client))?;
        let greeting = "Hello, 李雷! This is 127.0.0.1:50051.\n";
        assert_eq!(end.output, greeting.repeat(6));
        server.stop()?;
    }
    Ok(())
}

/// Servers that join, leave and are killed, and registries that are away for half a
/// minute: all side by side, so that the half minute is waited for once.
#[test]
#[ignore = "needs etcd and consul on the PATH"]
fn no_call_of_the_drill_fails() -> Result {
    let listing = Listing::build("service-discovery")?;
    let printed = listing.example("service-discovery-bench", &[])?;
    let rows: Vec<Vec<&str>> = printed
        .lines()
        .skip(1)
        .map(|row| row.split(',').collect())
        .collect();
    for registry in ["in the process", "etcd", "Consul"] {
        let events = rows.iter().filter(|row| row[0] == registry);
        let wanted = if registry == "in the process" { 5 } else { 7 };
        assert_eq!(events.clone().count(), wanted, "{printed}");
        for row in events {
            let calls: u64 = row[3].parse()?;
            ensure!(calls > 0 && row[5] == "0", "{row:?}");
        }
    }
    Ok(())
}

/// What the page says of the drill.
#[test]
fn what_the_page_says_of_the_drill_was_measured() -> Result {
    let drill = Measured::read(&workspace(), "service-discovery")?;
    let drill = drill.context("nothing was measured")?;
    let (mut calls, mut retried) = (0.0, 0.0);
    for registry in ["in the process", "etcd", "Consul"] {
        let mut events = vec![
            "two servers come",
            "a third joins",
            "one deregisters",
            "one is killed",
            "a fourth joins",
        ];
        if registry != "in the process" {
            events.extend(["the registry is stopped", "it is back and a fifth joins"]);
        }
        for what in events {
            let row = |column| drill.number(&[registry, what], column);
            assert_eq!(row("failed")?, 0.0, "{registry}: {what}");
            calls += row("calls")?;
            retried += row("retried")?;
        }
        let row = |what, column| drill.number(&[registry, what], column);
        // Less than a second, and a lease and what etcd takes to find that it is over.
        for what in ["a third joins", "one deregisters", "a fourth joins"] {
            ensure!(row(what, "ms")? < 1000.0, "{registry}: {what}");
        }
        ensure!(row("one is killed", "ms")? < 4000.0, "{registry}");
        assert_eq!(row("one deregisters", "retried")?, 0.0);
        if registry != "in the process" {
            assert_eq!(row("the registry is stopped", "retried")?, 0.0);
            ensure!(row("the registry is stopped", "calls")? > 10_000.0);
        }
    }
    ensure!(calls > 50_000.0 && retried < 100.0, "{calls}, {retried}");
    Ok(())
}
