//! The chapter `load-balancing`, as its reader runs it: three servers, with each policy and behind
//! HAProxy.

use anyhow::{Context, ensure};
use harness::{Listing, Result, Server, split_command, wait_until_listening, workspace};
use stage::{bench::Results, process::Process};

const SERVER: &str = "load-balancing-server";
const CLIENT: &str = "load-balancing-client";

/// How many responses in the client's output came from the server at `address`.
fn responses_from(output: &str, address: &str) -> usize {
    let greeting = format!("This is {address}.");
    let line = output.lines().find(|line| line.ends_with(&greeting));
    let count = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    count.unwrap_or_default()
}

/// The server is stopped while the client calls it.
#[harness::test]
fn draining_a_server_drops_no_calls() -> Result {
    let listing = Listing::build("load-balancing")?;
    let servers: Vec<Server> = (0..3)
        .map(|_| listing.server_with_args(SERVER, &["1"]))
        .collect::<Result<_>>()?;
    let addresses: Vec<String> = servers
        .iter()
        .map(|server| server.address.to_string())
        .collect();
    let arguments = [&["round-robin".to_owned(), "20000".to_owned()], &*addresses].concat();
    let mut client = listing.start(CLIENT, arguments)?;
    let mut servers = servers.into_iter();
    let drained = servers.next().context("no server")?;
    ensure!(drained.stop()?.code == 0);
    // The client has noticed, so it was still running.
    client.wait_for_text("it says not to")?;
    let output = client.wait()?.text;
    let responses: Vec<usize> = addresses
        .iter()
        .map(|address| responses_from(&output, address))
        .collect();
    assert_eq!(responses.iter().sum::<usize>(), 20_000, "{output}");
    ensure!(responses[0] < responses[1], "{output}");
    Ok(())
}

/// In TCP mode HAProxy sends a whole connection to one server, and in HTTP mode each call to the
/// next. Both modes close an idle connection.
#[harness::test(needs = "haproxy")]
fn proxy_balances_connections_or_calls() -> Result {
    let listing = Listing::build("load-balancing")?;
    let printed = listing.example("load-balancing-bench", &["proxy"])?;
    let row = |name: &str| -> Result<Vec<&str>> {
        let line = printed.lines().find(|line| line.starts_with(name));
        Ok(line.with_context(|| printed.clone())?.split(',').collect())
    };
    let counts = |name: &str| -> Result<Vec<u32>> {
        let numbers = row(name)?.into_iter().skip(1);
        let mut numbers: Vec<u32> = numbers.map(str::parse).collect::<Result<_, _>>()?;
        numbers[1..].sort_unstable();
        Ok(numbers)
    };
    let tcp = counts("HAProxy: tcp.cfg")?;
    assert_eq!(tcp[1..], [0, 0, tcp[0]], "{printed}");
    let http2 = counts("HAProxy: http2.cfg")?;
    ensure!(http2[3] - http2[1] <= 1, "{printed}");
    // How a call ends that is silent for longer than the proxy's timeout, without keepalive and with
    // it. Keepalive resets the timeout of TCP mode, but not that of HTTP mode.
    assert_eq!(row("tcp.cfg")?, ["tcp.cfg", "Unknown", "Ok"]);
    assert_eq!(row("http2.cfg")?, ["http2.cfg", "Internal", "Internal"]);
    Ok(())
}

#[harness::test(needs = "haproxy, and free ports 50051 to 50053 and 50080", exclusive)]
fn page_commands_start_the_proxy() -> Result {
    const PROXY: &str = "haproxy -f haproxy/http2.cfg";
    const CALLS: &str = "cargo run --bin load-balancing-client one 3000 127.0.0.1:50080";
    let listing = Listing::build("load-balancing")?;
    let addresses = ["127.0.0.1:50051", "127.0.0.1:50052", "127.0.0.1:50053"];
    let _servers: Vec<Server> = addresses
        .iter()
        .map(|address| listing.start_server(SERVER, &[address]))
        .collect::<Result<_>>()?;
    let mut command = split_command(PROXY);
    command.current_dir(listing.dir());
    let _proxy = Process::start(command)?;
    wait_until_listening("127.0.0.1:50080".parse()?)?;
    let output = listing.run(CLIENT, CALLS.split(' ').skip(4))?;
    let responses = addresses.map(|address| responses_from(&output.text, address));
    assert_eq!(responses.iter().sum::<usize>(), 3000, "{}", output.text);
    ensure!(
        responses.iter().all(|count| *count >= 999),
        "{}",
        output.text
    );
    Ok(())
}

/// The statements of the pages hold for the recorded results.
#[harness::test]
fn pages_agree_with_the_benchmark() -> Result {
    let results = Results::read(&workspace(), "load-balancing")?;
    let results = results.context("there are no results")?;
    let p99 = |policy, ms| results.number(&[policy, ms], "p99 in ms");
    let percent_to_slow = |policy, ms| results.number(&[policy, ms], "% to the slow one");
    // If one server of three is slow, so is one call in three, whether servers are chosen in turn or
    // at random.
    for policy in ["round-robin", "tonic"] {
        ensure!(p99(policy, "100")? > 100.0);
        ensure!((30.0..37.0).contains(&percent_to_slow(policy, "100")?));
    }
    // The page speaks of tens of times.
    let ratio = p99("round-robin", "100")? / p99("least-pending", "100")?;
    ensure!(ratio > 10.0, "only {ratio}");
    ensure!(percent_to_slow("least-pending", "100")? < 1.0);
    ensure!(percent_to_slow("least-pending", "10")? > 1.5);
    for ms in ["10", "100"] {
        ensure!(p99("p2c-ewma", ms)? < p99("round-robin", ms)? / 2.0);
        ensure!(percent_to_slow("p2c-ewma", ms)? < 1.0);
    }

    let failed = |policy, event| results.number(&[policy, event], "failed");
    let calls = results.number(&["tonic", "is not there"], "calls")?;
    assert_eq!(calls, 9000.0);
    for policy in ["pick-first", "round-robin", "least-pending"] {
        for event in ["is not there", "is stopped", "is new"] {
            assert_eq!(failed(policy, event)?, 0.0, "{policy}: {event}");
        }
        // Only calls that were in progress.
        ensure!(failed(policy, "is killed")? < 50.0, "{policy}");
    }
    let share = failed("round-robin", "fails at once")? / calls;
    ensure!((0.33..0.34).contains(&share), "{share}");
    // tonic's own balancing fails some calls. By latency only, a server that fails at once looks like
    // the best, and gets more than a third of the calls.
    for event in ["is not there", "is killed", "is stopped"] {
        ensure!(failed("tonic", event)? > 0.0, "{event}");
    }
    let black_hole = failed("p2c-ewma", "is not there")?;
    ensure!(black_hole > calls / 3.0, "{black_hole}");
    ensure!(black_hole > failed("tonic", "is not there")?);

    let proxied = |mode: &str, server| results.number(&[mode, "900"], server);
    let tcp = ["first", "second", "third"].map(|server| proxied("HAProxy: tcp.cfg", server));
    let mut tcp = tcp.into_iter().collect::<Result<Vec<_>>>()?;
    tcp.sort_by(f64::total_cmp);
    assert_eq!(tcp, [0.0, 0.0, 900.0]);
    for server in ["first", "second", "third"] {
        assert_eq!(proxied("HAProxy: http2.cfg", server)?, 300.0);
    }
    let memory = results.number(&["1000"], "kB for each with both its ends")?;
    ensure!((20.0..45.0).contains(&memory), "{memory}");
    Ok(())
}
