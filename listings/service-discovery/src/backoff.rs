//! How long to wait before trying again.

use std::time::Duration;

/// Exponential backoff, so that a server in trouble is not hurried; with jitter, so
/// that not everybody comes back at once.
#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    /// The pause after the first failure.
    pub first: Duration,
    /// The longest there is.
    pub longest: Duration,
}

impl Backoff {
    // ANCHOR: pause
    /// The pause after so many failures in a row: it doubles with each, and one half
    /// of it is up to chance.
    pub fn pause(self, failures: u32) -> Duration {
        let doublings = failures.saturating_sub(1).min(16);
        let pause = self.first.saturating_mul(1 << doublings).min(self.longest);
        pause.mul_f64(0.5 + fastrand::f64() / 2.0)
    }
    // ANCHOR_END: pause
}
