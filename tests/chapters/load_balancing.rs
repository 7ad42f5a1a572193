//! Three servers, by each policy, and behind a HAProxy that really runs.

use anyhow::{Context, ensure};
use harness::{Listing, Result, Server, answers, typed, workspace};
use xtask::{bench::Measured, program::Program};

const SERVER: &str = "load-balancing-server";
const CLIENT: &str = "load-balancing-client";

/// How many of the answers in the client's output are of the server at `address`.
fn share(output: &str, address: &str) -> usize {
    let answer = format!("This is {address}.");
    let line = output.lines().find(|line| line.ends_with(&answer));
    let times = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    times.unwrap_or_default()
}

/// A real process that is told to end while a real client calls it.
#[test]
fn who_leaves_loses_no_call() -> Result {
    let listing = Listing::build("load-balancing")?;
    let servers: Vec<Server> = (0..3)
        .map(|_| listing.server_with(SERVER, &["1"]))
        .collect::<Result<_>>()?;
    let addresses: Vec<String> = servers.iter().map(|one| one.address.to_string()).collect();
    let arguments = [&["round-robin".to_owned(), "20000".to_owned()], &*addresses].concat();
    let mut client = listing.start(CLIENT, arguments)?;
    let mut servers = servers.into_iter();
    let leaving = servers.next().context("there are three")?;
    ensure!(leaving.stop()?.code == 0);
    // It has heard of it, so it was there meanwhile.
    client.wait_for_text("it says not to")?;
    let output = client.end()?.output;
    let shares: Vec<usize> = addresses.iter().map(|one| share(&output, one)).collect();
    assert_eq!(shares.iter().sum::<usize>(), 20_000, "{output}");
    ensure!(shares[0] < shares[1], "{output}");
    Ok(())
}

/// What HAProxy makes of one connection, and of one that is silent.
#[test]
#[ignore = "needs haproxy on the PATH"]
fn a_proxy_deals_out_connections_or_calls() -> Result {
    let listing = Listing::build("load-balancing")?;
    let printed = listing.example("load-balancing-bench", &["proxy"])?;
    let row = |of: &str| -> Result<Vec<&str>> {
        let line = printed.lines().find(|line| line.starts_with(of));
        Ok(line.with_context(|| printed.clone())?.split(',').collect())
    };
    let shares = |of: &str| -> Result<Vec<u32>> {
        let numbers = row(of)?.into_iter().skip(1);
        let mut numbers: Vec<u32> = numbers.map(str::parse).collect::<Result<_, _>>()?;
        numbers[1..].sort_unstable();
        Ok(numbers)
    };
    let tcp = shares("HAProxy: tcp.cfg")?;
    assert_eq!(tcp[1..], [0, 0, tcp[0]], "{printed}");
    let http2 = shares("HAProxy: http2.cfg")?;
    ensure!(http2[3] - http2[1] <= 1, "{printed}");
    // A silent connection is cut. Keepalive helps against TCP's limit, and not HTTP's.
    assert_eq!(row("tcp.cfg")?, ["tcp.cfg", "Unknown", "Ok"]);
    assert_eq!(row("http2.cfg")?, ["http2.cfg", "Internal", "Internal"]);
    Ok(())
}

/// The commands of the page, to the letter.
#[test]
#[ignore = "needs haproxy on the PATH, and 50051 to 50053 and 50080 to be free"]
fn the_commands_of_the_page_start_the_proxy() -> Result {
    const PROXY: &str = "haproxy -f haproxy/http2.cfg";
    const CALLS: &str = "cargo run --bin load-balancing-client one 3000 127.0.0.1:50080";
    let listing = Listing::build("load-balancing")?;
    let ports = ["127.0.0.1:50051", "127.0.0.1:50052", "127.0.0.1:50053"];
    let _servers: Vec<Server> = ports
        .iter()
        .map(|port| listing.serving(SERVER, &[port]))
        .collect::<Result<_>>()?;
    let mut command = typed(PROXY);
    command.current_dir(listing.dir());
    let _proxy = Program::start(command)?;
    answers("127.0.0.1:50080".parse()?)?;
    let end = listing.run(CLIENT, CALLS.split(' ').skip(4))?;
    let shares = ports.map(|port| share(&end.output, port));
    assert_eq!(shares.iter().sum::<usize>(), 3000, "{}", end.output);
    ensure!(shares.iter().all(|share| *share >= 999), "{}", end.output);
    Ok(())
}

/// What the pages say of the figures.
#[test]
fn what_the_pages_say_was_measured() -> Result {
    let measured = Measured::read(&workspace(), "load-balancing")?;
    let measured = measured.context("nothing was measured")?;
    let p99 = |policy, ms| measured.number(&[policy, ms], "p99 in ms");
    let to_it = |policy, ms| measured.number(&[policy, ms], "% to the slow one");
    // With one of three slow, one call in three is, in turn or by chance.
    for policy in ["round-robin", "tonic"] {
        ensure!(p99(policy, "100")? > 100.0);
        ensure!((30.0..37.0).contains(&to_it(policy, "100")?));
    }
    // Tens of times.
    let times = p99("round-robin", "100")? / p99("least-pending", "100")?;
    ensure!(times > 10.0, "only {times}");
    ensure!(to_it("least-pending", "100")? < 1.0);
    ensure!(to_it("least-pending", "10")? > 1.5);
    for ms in ["10", "100"] {
        ensure!(p99("p2c-ewma", ms)? < p99("round-robin", ms)? / 2.0);
        ensure!(to_it("p2c-ewma", ms)? < 1.0);
    }

    let failed = |policy, event| measured.number(&[policy, event], "failed");
    let calls = measured.number(&["tonic", "is not there"], "calls")?;
    assert_eq!(calls, 9000.0);
    for policy in ["pick-first", "round-robin", "least-pending"] {
        for event in ["is not there", "is stopped", "is new"] {
            assert_eq!(failed(policy, event)?, 0.0, "{policy}: {event}");
        }
        // Those that were under way.
        ensure!(failed(policy, "is killed")? < 50.0, "{policy}");
    }
    let share = failed("round-robin", "fails at once")? / calls;
    ensure!((0.33..0.34).contains(&share), "{share}");
    // By tonic about a third; by the time alone more than that.
    for event in ["is not there", "is killed", "is stopped"] {
        ensure!(failed("tonic", event)? > 0.0, "{event}");
    }
    let black_hole = failed("p2c-ewma", "is not there")?;
    ensure!(black_hole > calls / 3.0, "{black_hole}");
    ensure!(black_hole > failed("tonic", "is not there")?);

    let proxied = |mode: &str, server| measured.number(&[mode, "900"], server);
    let tcp = ["first", "second", "third"].map(|server| proxied("HAProxy: tcp.cfg", server));
    let mut tcp = tcp.into_iter().collect::<Result<Vec<_>>>()?;
    tcp.sort_by(f64::total_cmp);
    assert_eq!(tcp, [0.0, 0.0, 900.0]);
    for server in ["first", "second", "third"] {
        assert_eq!(proxied("HAProxy: http2.cfg", server)?, 300.0);
    }
    let memory = measured.number(&["1000"], "kB for each with both its ends")?;
    ensure!((20.0..45.0).contains(&memory), "{memory}");
    Ok(())
}
