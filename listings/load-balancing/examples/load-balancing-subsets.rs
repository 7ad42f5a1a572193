//! `cargo run --example load-balancing-subsets`: a thousand clients and a thousand
//! servers, and who is connected to whom.

use std::collections::BTreeSet;

use fastrand::Rng;

const CLIENTS: usize = 1000;
const SERVERS: usize = 1000;

/// How many servers each client is connected to.
const SIZE: usize = 20;

/// Chance that can be had again. (Of neighbouring seeds, the first numbers are alike:
/// so they are spread.)
fn chance(seed: usize) -> Rng {
    Rng::with_seed((seed as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

// ANCHOR: by_chance
/// So many of them by chance.
fn by_chance(client: usize, servers: &[usize]) -> Vec<usize> {
    let mut all = servers.to_vec();
    // Of the client's own, and always the same.
    chance(client).shuffle(&mut all);
    all.truncate(SIZE);
    all
}
// ANCHOR_END: by_chance

// ANCHOR: in_rounds
/// Clients come in rounds. In each the servers are shuffled and dealt, so that every
/// server has one client of the round. (Google's book on site reliability calls it
/// deterministic subsetting.)
fn in_rounds(client: usize, servers: &[usize]) -> Vec<usize> {
    let hands = servers.len() / SIZE;
    let (round, hand) = (client / hands, client % hands);
    let mut all = servers.to_vec();
    chance(round).shuffle(&mut all);
    all[hand * SIZE..][..SIZE].to_vec()
}
// ANCHOR_END: in_rounds

// ANCHOR: rendezvous
/// Those with the lowest marks, each of which depends on the client and that one server:
/// rendezvous hashing.
fn rendezvous(client: usize, servers: &[usize]) -> Vec<usize> {
    let mark = |server: &usize| chance(client * 100_003 + *server).u64(..);
    let mut all = servers.to_vec();
    all.sort_unstable_by_key(mark);
    all.truncate(SIZE);
    all
}
// ANCHOR_END: rendezvous

type Subset = fn(usize, &[usize]) -> Vec<usize>;

/// How many connections are new when the servers are these others.
fn moved(subset: Subset, before: &[usize], after: &[usize]) -> usize {
    let new = |client| {
        let before: BTreeSet<usize> = subset(client, before).into_iter().collect();
        let after = subset(client, after);
        after.iter().filter(|one| !before.contains(one)).count()
    };
    (0..CLIENTS).map(new).sum()
}

fn main() {
    println!("| how | connections | of a server: fewest | most | new if one is added | removed |");
    println!("| --- | ---: | ---: | ---: | ---: | ---: |");
    let servers: Vec<usize> = (0..SERVERS).collect();
    // Of a list that is sorted, as one of addresses is, a server goes anywhere. (At the
    // end, one more would move almost nothing of a shuffled list: fastrand's `shuffle`
    // begins at the front, and makes one more swap.)
    let mut added = servers.clone();
    added.insert(SERVERS / 2, SERVERS);
    let mut removed = servers.clone();
    removed.remove(SERVERS / 2);
    let everybody: Subset = |_, servers| servers.to_vec();
    for (how, subset) in [
        ("each to all", everybody),
        ("by chance", by_chance),
        ("in rounds", in_rounds),
        ("rendezvous", rendezvous),
    ] {
        let mut clients = [0_u32; SERVERS];
        let mut connections = 0;
        for client in 0..CLIENTS {
            for server in subset(client, &servers) {
                clients[server] += 1;
                connections += 1;
            }
        }
        let fewest = clients.iter().min().unwrap_or(&0);
        let most = clients.iter().max().unwrap_or(&0);
        let added = moved(subset, &servers, &added);
        let removed = moved(subset, &servers, &removed);
        println!("| {how} | {connections} | {fewest} | {most} | {added} | {removed} |");
    }
}
