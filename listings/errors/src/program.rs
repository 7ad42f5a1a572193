//! What the programs of this crate have in common.

use tracing_subscriber::{
    filter::{LevelFilter, Targets},
    layer::SubscriberExt,
    util::SubscriberInitExt,
};

/// Logs what this crate has to say, to the standard output.
pub fn log() {
    let ours = Targets::new().with_target("errors", LevelFilter::INFO);
    // Whatever collects the lines adds the time: journald, or a container's runtime.
    let lines = tracing_subscriber::fmt::layer()
        .without_time()
        .with_target(false);
    tracing_subscriber::registry().with(lines).with(ours).init();
}
