//! The chapter `service-discovery`, as its reader runs it, with real registries.

use std::net::{SocketAddr, TcpListener};

use anyhow::{Context, ensure};
use harness::{Listing, Result, Server, split_command, wait_until_listening, workspace};
use service_discovery::registry::etcd::pb::{PutRequest, kv_client::KvClient};
use stage::{
    bench::Results,
    process::{Process, Stdin},
};
use tempfile::TempDir;

const SERVER: &str = "service-discovery-server";
const CLIENT: &str = "service-discovery-client";

/// The commands of the pages.
const ETCD: &str = "etcd";
const CONSUL: &str = "consul agent -dev";

/// A registry on free ports, which can be restarted there.
struct Registry {
    command: &'static str,
    address: SocketAddr,
    internal: [SocketAddr; 2],
    process: Option<Process>,
    data: TempDir,
}

impl Registry {
    fn start(command: &'static str) -> Result<Self> {
        let free_address = || TcpListener::bind("127.0.0.1:0")?.local_addr();
        let mut registry = Self {
            command,
            address: free_address()?,
            internal: [free_address()?, free_address()?],
            process: None,
            data: TempDir::new()?,
        };
        registry.restart()?;
        Ok(registry)
    }

    /// Starts it without any data.
    fn restart(&mut self) -> Result {
        self.process = None;
        self.data = TempDir::new()?;
        let (address, [one, two]) = (self.address, self.internal);
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
        let command = split_command(&format!("{} {ports}", self.command));
        self.process = Some(Process::start(command)?);
        wait_until_listening(address)
    }

    fn target(&self) -> String {
        let scheme = self.command.split(' ').next().unwrap_or_default();
        format!("{scheme}://{}/greeter", self.address)
    }
}

/// Starts a client that calls once a second, for longer than a test takes.
fn start_client(listing: &Listing, target: &str) -> Result<(Process, Stdin)> {
    listing.start_with_stdin(CLIENT, [target, "600"])
}

fn wait_for_response(client: &mut Stdin, server: &Server) -> Result {
    client.wait_for(&format!("This is {}.", server.address))?;
    Ok(())
}

/// Restarts the registry without its data: the running server registers again and is called again.
fn assert_server_registers_again(command: &'static str) -> Result {
    let listing = Listing::build("service-discovery")?;
    let mut registry = Registry::start(command)?;
    let target = registry.target();
    let mut server = listing.server_with_args(SERVER, &[&target])?;
    server.process.wait_for_text("registered service")?;
    let (_process, mut client) = start_client(&listing, &target)?;
    wait_for_response(&mut client, &server)?;
    registry.restart()?;
    server
        .process
        .wait_for_text("the registry has forgotten us")?;
    let new_server = listing.server_with_args(SERVER, &[&target])?;
    wait_for_response(&mut client, &new_server)?;
    wait_for_response(&mut client, &server)?;

    // Ctrl-C deregisters it.
    let output = server.stop()?.text;
    let registered = output.matches("INFO registered service").count();
    ensure!(registered == 2, "{output}");
    ensure!(output.contains("INFO deregistered service"), "{output}");
    Ok(())
}

#[harness::test(needs = "etcd")]
fn servers_register_again_after_etcd_loses_its_data() -> Result {
    assert_server_registers_again(ETCD)
}

#[harness::test(needs = "Consul")]
fn servers_register_again_after_consul_loses_its_data() -> Result {
    assert_server_registers_again(CONSUL)
}

#[harness::test(needs = "etcd")]
async fn invalid_record_in_etcd_is_skipped() -> Result {
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
    // The name has no other server, so the call fails, and soon.
    let output = listing.run(CLIENT, [&target, "1"])?.text;
    ensure!(output.contains("a bad record"), "{output}");
    ensure!(
        output.contains(&format!("Unavailable: {target}: nobody is there")),
        "{output}"
    );
    let server = listing.server_with_args(SERVER, &[&target])?;
    let (_process, mut client) = start_client(&listing, &target)?;
    client.wait_for("a bad record")?;
    wait_for_response(&mut client, &server)
}

#[harness::test(needs = "Consul")]
async fn invalid_record_in_consul_is_skipped() -> Result {
    let listing = Listing::build("service-discovery")?;
    let registry = Registry::start(CONSUL)?;
    let target = registry.target();
    // Consul accepts the record, since it does not know what the address is for.
    let url = format!("http://{}/v1/agent/service/register", registry.address);
    let put = reqwest::Client::new().put(url);
    let put = put.body(r#"{"ID": "世界", "Name": "greeter", "Address": "nowhere", "Port": 1}"#);
    ensure!(put.send().await?.status().is_success());
    let output = listing.run(CLIENT, [&target, "1"])?.text;
    ensure!(output.contains("a bad record"), "{output}");
    ensure!(
        output.contains(&format!("Unavailable: {target}: nobody is there")),
        "{output}"
    );
    let server = listing.server_with_args(SERVER, &[&target])?;
    let (_process, mut client) = start_client(&listing, &target)?;
    client.wait_for("a bad record")?;
    wait_for_response(&mut client, &server)
}

/// The registry starts after the server and the client.
#[harness::test(needs = "etcd and Consul")]
fn programs_wait_for_a_late_registry() -> Result {
    let listing = Listing::build("service-discovery")?;
    for command in [ETCD, CONSUL] {
        let mut registry = Registry::start(command)?;
        registry.process = None;
        let target = registry.target();
        let mut server = listing.server_with_args(SERVER, &[&target])?;
        server.process.wait_for_text("no answer")?;
        let (_process, mut client) = start_client(&listing, &target)?;
        client.wait_for("lost the registry")?;
        client.wait_for(&format!("Unavailable: {target}: "))?;
        registry.restart()?;
        wait_for_response(&mut client, &server)?;
    }
    Ok(())
}

#[harness::test(needs = "etcd and Consul, and their ports and 50051 free", exclusive)]
fn page_commands_start_both_registries() -> Result {
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
        let mut command = split_command(registry);
        command.current_dir(folder.path());
        let _registry = Process::start(command)?;
        wait_until_listening(([127, 0, 0, 1], port).into())?;
        let arguments = |command: &'static str| command.split(' ').skip(4);
        let server_arguments: Vec<_> = arguments(server).collect();
        let mut server = listing.start_server(SERVER, &server_arguments)?;
        server.process.wait_for_text("registered service")?;
        let output = listing.run(CLIENT, arguments(client))?;
        let greeting = "Hello, 李雷! This is 127.0.0.1:50051.\n";
        assert_eq!(output.text, greeting.repeat(6));
        server.stop()?;
    }
    Ok(())
}

/// Servers join, leave and are killed, and registries are down for half a minute. All registries are
/// tried at once, so that the half minute passes only once.
#[harness::test(needs = "etcd and Consul")]
fn failure_drill_fails_no_calls() -> Result {
    let listing = Listing::build("service-discovery")?;
    let printed = listing.example("service-discovery-bench", &[])?;
    let rows: Vec<Vec<&str>> = printed
        .lines()
        .skip(1)
        .map(|row| row.split(',').collect())
        .collect();
    for registry in ["in the process", "etcd", "Consul"] {
        let events = rows.iter().filter(|row| row[0] == registry);
        let expected = if registry == "in the process" { 5 } else { 7 };
        assert_eq!(events.clone().count(), expected, "{printed}");
        for row in events {
            let calls: u64 = row[3].parse()?;
            ensure!(calls > 0 && row[5] == "0", "{row:?}");
        }
    }
    Ok(())
}

/// The statements of the page hold for the recorded results.
#[harness::test]
fn page_agrees_with_the_failure_drill() -> Result {
    let results = Results::read(&workspace(), "service-discovery")?;
    let results = results.context("there are no results")?;
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
        for event in events {
            let row = |column| results.number(&[registry, event], column);
            assert_eq!(row("failed")?, 0.0, "{registry}: {event}");
            calls += row("calls")?;
            retried += row("retried")?;
        }
        let row = |event, column| results.number(&[registry, event], column);
        // A change takes less than a second. After a kill, the lease has to expire first, and etcd has to
        // notice.
        for event in ["a third joins", "one deregisters", "a fourth joins"] {
            ensure!(row(event, "ms")? < 1000.0, "{registry}: {event}");
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
