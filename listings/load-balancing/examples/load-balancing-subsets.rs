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
fn by_chance(client: usize, servers: usize) -> Vec<usize> {
    let mut all: Vec<usize> = (0..servers).collect();
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
fn in_rounds(client: usize, servers: usize) -> Vec<usize> {
    let hands = servers / SIZE;
    let (round, hand) = (client / hands, client % hands);
    let mut all: Vec<usize> = (0..servers).collect();
    chance(round).shuffle(&mut all);
    all[hand * SIZE..][..SIZE].to_vec()
}
// ANCHOR_END: in_rounds

// ANCHOR: rendezvous
/// Those with the highest marks, which depend on both: rendezvous hashing.
fn rendezvous(client: usize, servers: usize) -> Vec<usize> {
    let mark = |server: &usize| chance(client * 100_003 + *server).u64(..);
    let mut all: Vec<usize> = (0..servers).collect();
    all.sort_unstable_by_key(mark);
    all.truncate(SIZE);
    all
}
// ANCHOR_END: rendezvous

type Subset = fn(usize, usize) -> Vec<usize>;

fn main() {
    println!("| how | connections | of a server: fewest | most | moved when a server is added |");
    println!("| --- | ---: | ---: | ---: | ---: |");
    let everybody: Subset = |_, servers| (0..servers).collect();
    for (how, subset) in [
        ("each to all", everybody),
        ("by chance", by_chance),
        ("in rounds", in_rounds),
        ("rendezvous", rendezvous),
    ] {
        let mut clients = [0_u32; SERVERS];
        let (mut connections, mut moved) = (0, 0);
        for client in 0..CLIENTS {
            let before = subset(client, SERVERS);
            for server in &before {
                clients[*server] += 1;
            }
            connections += before.len();
            let before: BTreeSet<usize> = before.into_iter().collect();
            let after = subset(client, SERVERS + 1);
            moved += after.iter().filter(|one| !before.contains(one)).count();
        }
        let fewest = clients.iter().min().unwrap_or(&0);
        let most = clients.iter().max().unwrap_or(&0);
        println!("| {how} | {connections} | {fewest} | {most} | {moved} |");
    }
}
