//! Uploads that could not be handled, where nothing else remembers them for ever: a queue gives a message up after some
//! attempts. They are noted, and the sweep has them tried again until they are handled
//! (`docs/semantics.md#revisions`).

use serde::{Deserialize, Serialize};
use tracing::{info, warn};

use crate::intake::Uploaded;
use crate::rows::{self, Stored, UnhandledUpload};
use crate::table::{Condition, Query, TableError, Write};
use crate::{Control, Error};

/// How long the sweep waits before it has an upload tried again for the first time, in milliseconds; each time twice as
/// long.
const AGAIN_MS: u64 = 60_000;

/// How long it waits at most, in milliseconds.
const AGAIN_MS_MAX: u64 = 15 * 60_000;

/// What the sweep sends to whoever handles uploads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct UploadAgain {
    /// The upload.
    pub again: Uploaded,
}

impl Control {
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
                self.table.write(&[Write::Delete(key, Condition::None)]).await?;
            }
            Err(_) if !is_again => self.note_unhandled(uploaded).await,
            Ok(()) | Err(_) => {}
        }
        handled
    }

    /// Notes an upload that is not handled, unless it is. What goes wrong is logged: the queue has it as well.
    async fn note_unhandled(&self, uploaded: &Uploaded) {
        let now = self.now();
        let row = UnhandledUpload {
            uploaded: uploaded.clone(),
            since: now,
            tries: 0,
            next_at: now.plus_ms(AGAIN_MS),
        };
        let noted = match rows::create(&row) {
            Ok(write) => self.table.write(&[write]).await.map_err(Error::from),
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

    /// Has uploads tried again that could not be handled. One that cannot be asked for is left to the next sweep.
    ///
    /// # Errors
    /// When they cannot be found out.
    pub(crate) async fn sweep_uploads(&self) -> Result<(), Error> {
        let query = Query::prefix(UnhandledUpload::ALL, "", 100);
        let all: Vec<Stored<UnhandledUpload>> = rows::load_all(&*self.table, query).await?;
        let now = self.now();
        for mut upload in all.into_iter().filter(|upload| upload.row.next_at <= now) {
            let wait_ms = AGAIN_MS.saturating_mul(1 << upload.row.tries.min(10)).min(AGAIN_MS_MAX);
            upload.row.tries = upload.row.tries.saturating_add(1);
            upload.row.next_at = now.plus_ms(wait_ms);
            match self.table.write(&[upload.replace()?]).await {
                Ok(()) => {}
                // It was handled just now.
                Err(TableError::Conflict(_)) => continue,
                Err(error) => return Err(error.into()),
            }
            let UnhandledUpload { uploaded, tries, .. } = upload.row;
            info!(key = uploaded.key, tries, "an upload is tried again");
            if let Err(error) =
                self.cloud.errands.handle_again(&UploadAgain { again: uploaded }).await
            {
                let error = &error as &dyn std::error::Error;
                warn!(error, "an upload cannot be tried again now; a later sweep does");
            }
        }
        Ok(())
    }
}
