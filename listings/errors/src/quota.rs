//! How many may come at once.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use crate::error::Error;

/// So many may come in a [`WINDOW`].
pub const AT_ONCE: u32 = 3;

/// After this long as many may come again.
pub const WINDOW: Duration = Duration::from_secs(2);

/// Counts those who come.
#[derive(Debug, Default)]
pub struct Quota {
    /// When the window began, and how many have come in it.
    window: Mutex<Option<(Instant, u32)>>,
}

impl Quota {
    // ANCHOR: take
    /// Lets one in.
    ///
    /// # Errors
    ///
    /// [`Error::Busy`], with how long to wait.
    pub fn take(&self) -> Result<(), Error> {
        let now = Instant::now();
        // A call that panicked has left it whole: it is written at once.
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        let (began, come) = window
            .filter(|(began, _)| now < *began + WINDOW)
            .unwrap_or((now, 0));
        if come >= AT_ONCE {
            // A little too long is better than too short.
            let retry_after = WINDOW;
            return Err(Error::Busy { retry_after });
        }
        *window = Some((began, come + 1));
        Ok(())
    }
    // ANCHOR_END: take
}
