//! What Protocol Buffers become in Rust: a message with a field of every kind.

// ANCHOR: pb
/// What the build script generated: a module for each part of a package's name.
pub mod pb {
    include!(concat!(env!("OUT_DIR"), "/pb.rs"));
}
// ANCHOR_END: pb
