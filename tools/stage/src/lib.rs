//! How a listing is run: exported, built, its programs started, their output recorded.

pub mod bench;
pub mod build;
pub mod codegen_excerpt;
pub mod export;
pub mod mdbook;
pub mod process;
pub mod programs;
pub mod session;
pub mod transcripts;
pub mod wire;
