//! The log of this process, for the tests of what is logged.

use std::{io, time::Duration};

use anyhow::Context;
use tokio::{sync::mpsc, time::timeout};
use tracing::{Level, subscriber::DefaultGuard};

use crate::Result;

/// What is logged on this thread, until it is dropped. Tasks that a runtime of several threads
/// spawns are not among it.
#[derive(Debug)]
pub struct CapturedLog {
    lines: mpsc::UnboundedReceiver<String>,
    _guard: DefaultGuard,
}

impl CapturedLog {
    /// Captures everything from `max_level` up.
    pub fn start(max_level: Level) -> Self {
        let (sender, lines) = mpsc::unbounded_channel();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(max_level)
            .with_ansi(false)
            .with_writer(move || LineWriter(sender.clone()))
            .finish();
        Self {
            lines,
            _guard: tracing::subscriber::set_default(subscriber),
        }
    }

    /// What was logged since the last call.
    pub fn take(&mut self) -> String {
        let mut text = String::new();
        while let Ok(line) = self.lines.try_recv() {
            text += &line;
        }
        text
    }

    /// Waits for a line with `text` in it, and returns it.
    ///
    /// # Errors
    ///
    /// Fails if none is logged within a minute.
    pub async fn wait_for_text(&mut self, text: &str) -> Result<String> {
        let find_line = async {
            loop {
                let line = self.lines.recv().await.context("nothing logs any more")?;
                if line.contains(text) {
                    return Ok(line);
                }
            }
        };
        timeout(Duration::from_secs(60), find_line)
            .await
            .with_context(|| format!("no line with `{text}` was logged"))?
    }
}

struct LineWriter(mpsc::UnboundedSender<String>);

impl io::Write for LineWriter {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(line).into_owned();
        self.0.send(text).map_err(io::Error::other)?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
