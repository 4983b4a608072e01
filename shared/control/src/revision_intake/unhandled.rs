//! Uploads that could not be handled, where nothing else remembers them for ever: a queue gives a message up after some
//! attempts. They are noted, and the sweep has them tried again until they are handled
//! (`docs/semantics.md#revisions`).

use tracing::warn;

use crate::ports::Uploaded;
use crate::rows::{self, UnhandledUpload};
use crate::table::{Condition, Write};
use crate::{Error, RevisionIntake};

/// How long the sweep waits before it has an upload tried again for the first time, in milliseconds; each time twice as
/// long.
pub(crate) const AGAIN_MS: u64 = 60_000;

/// How long it waits at most, in milliseconds.
pub(crate) const AGAIN_MS_MAX: u64 = 15 * 60_000;

impl RevisionIntake {
    /// Handles an upload that was announced by a message of a queue, and sees to it that it is tried again if it cannot be
    /// handled now. `is_again` says that it was tried before, perhaps by a process that died of it.
    ///
    /// # Errors
    /// Those of [`Self::take_upload`]: the queue may deliver it again as well.
    pub async fn take_announced(&self, uploaded: &Uploaded, is_again: bool) -> Result<(), Error> {
        if is_again {
            self.note_unhandled(uploaded).await;
        }
        let handled = self.take_upload(uploaded).await;
        match &handled {
            Ok(()) if is_again => {
                let key = UnhandledUpload::key_of(uploaded);
                self.base.table.write(&[Write::Delete(key, Condition::None)]).await?;
            }
            Err(_) if !is_again => self.note_unhandled(uploaded).await,
            Ok(()) | Err(_) => {}
        }
        handled
    }

    /// Notes an upload that is not handled, unless it is. What goes wrong is logged: the queue has it as well.
    async fn note_unhandled(&self, uploaded: &Uploaded) {
        let now = self.base.now();
        let row = UnhandledUpload {
            uploaded: uploaded.clone(),
            since: now,
            tries: 0,
            next_at: now.plus_ms(AGAIN_MS),
        };
        let noted = match rows::create(&row) {
            Ok(write) => self.base.table.write(&[write]).await.map_err(Error::from),
            Err(error) => Err(error),
        };
        match noted {
            Err(error) if !error.is_conflict() => {
                let error = &error as &dyn std::error::Error;
                warn!(key = uploaded.key, error, "an upload that is not handled cannot be noted");
            }
            Ok(()) | Err(_) => {}
        }
    }
}
