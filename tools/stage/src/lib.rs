//! How a listing is run: exported, built, its programs started, their output recorded.

pub mod bench;
pub mod build;
pub mod codegen_excerpt;
pub mod export;
pub mod mdbook;
pub mod process;
pub mod programs;
pub mod session;
pub mod solved;
pub mod transcripts;
pub mod wire;

use book::rules::{BOOK_RULES, PAGE_RULES, Rule};

/// All rules that need no rendered site: those for what is written, and those for what is run.
pub fn rules() -> impl Iterator<Item = &'static Rule> {
    let of_runs = [&bench::RULE, &programs::RULE];
    PAGE_RULES.iter().chain(BOOK_RULES).copied().chain(of_runs)
}
