//! Accepting connections when the process has too many files open.

use std::{
    io::{self, ErrorKind},
    time::Duration,
};

use tokio::time::{self, Instant};
use tokio_stream::{Stream, StreamExt};

/// How long to wait before accepting again. Until a file is closed, each attempt
/// fails at once.
const PAUSE: Duration = Duration::from_secs(1);

/// How often a failure that lasts is logged.
const WARNING_INTERVAL: Duration = Duration::from_secs(60);

/// The connections of `incoming`, with a pause after each failure to accept one.
///
/// Accepting fails when the process has as many open files as `ulimit -n` allows.
/// tonic neither logs such an error nor waits: it tries again at once, and so
/// keeps a core busy until a file is closed.
pub fn pause_on_errors<C>(
    incoming: impl Stream<Item = io::Result<C>>,
) -> impl Stream<Item = io::Result<C>> {
    let mut next_warning = Instant::now();
    incoming.then(move |connection| {
        let error = connection.as_ref().err();
        let error = error.filter(|error| !is_of_one_client(error));
        if let Some(error) = error
            && next_warning <= Instant::now()
        {
            tracing::warn!(%error, "cannot accept connections");
            next_warning = Instant::now() + WARNING_INTERVAL;
        }
        let pause = error.map(|_| time::sleep(PAUSE));
        async {
            if let Some(pause) = pause {
                pause.await;
            }
            connection
        }
    })
}

/// Whether the client left before its connection was accepted. The next one can
/// be accepted without a pause.
fn is_of_one_client(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ConnectionAborted | ErrorKind::ConnectionRefused | ErrorKind::ConnectionReset
    )
}
