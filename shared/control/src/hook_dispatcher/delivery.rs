//! What comes of sending a batch its command: it was accepted, or refused and why. Both are written on the batch's item,
//! which the deployment hears of (`docs/semantics.md#sending`).

use engine::Timestamp;
use engine::deployment::{Deployment, Fact, Refusal};
use tracing::{info, warn};
use wire::host::BatchKey;

use super::here::Here;
use crate::Error;
use crate::ports::CloudError;
use crate::rows::{self, BatchRow, CommandRow, HostRow, RefusedBatch, Stored};
use crate::table::{TableError, Write};

/// What an error means to the batch that could not be sent.
pub(crate) fn refusal_of(error: &Error) -> Refusal {
    let mut message = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        let cause_says = cause.to_string();
        if !message.contains(&cause_says) {
            message.push_str(": ");
            message.push_str(&cause_says);
        }
        source = cause.source();
    }
    Refusal { denied: matches!(error, Error::Cloud(CloudError::Refused { .. })), message }
}

impl Here {
    /// Sends the hosts of a batch that have to be pushed to their command, and tells what came of it. A batch that was accepted
    /// is not sent again; one that may have been is, and both copies may be claimed.
    pub(super) async fn deliver(
        &self,
        deployment: &Deployment,
        number: u32,
        hosts: Vec<Stored<HostRow>>,
    ) -> Result<Option<Fact>, Error> {
        let is_awaited = deployment.sending().any(|sending| sending == number);
        if hosts.is_empty() && !is_awaited {
            return Ok(None);
        }
        let batch = BatchKey { deployment_id: deployment.id().clone(), number };
        let known = rows::load::<BatchRow>(&*self.base.table, &BatchRow::key_of(&batch)).await?;
        let at = self.base.now();
        let known = known.unwrap_or_else(|| Stored { row: BatchRow::new(batch, at), version: 0 });
        if let Some(at) = known.row.was_accepted_at() {
            // The word of it may be lost.
            return if is_awaited {
                self.note_accepted(known, Vec::new(), at).await
            } else {
                Ok(None)
            };
        }
        let mut batch = known;
        match self.push(deployment, &mut batch, hosts).await {
            Ok(commands) => {
                let at = self.base.now();
                self.note_accepted(batch, commands, at).await
            }
            Err(error @ Error::Cloud(_)) => self.note_refused(batch, &error).await,
            Err(error) => Err(error),
        }
    }

    /// Notes that a batch was accepted. If this is lost, it is sent once more.
    async fn note_accepted(
        &self,
        mut batch: Stored<BatchRow>,
        commands: Vec<String>,
        at: Timestamp,
    ) -> Result<Option<Fact>, Error> {
        loop {
            let mut writes = Vec::new();
            for command in &commands {
                let (command, batch) = (command.clone(), batch.row.batch.clone());
                let place = self.place.clone();
                writes.push(rows::put(&CommandRow { command, batch, at, place })?);
            }
            batch.row.commands.extend(commands.iter().cloned());
            batch.row.accepted_at = Some(at);
            batch.row.refused = None;
            writes.push(batch.write()?);
            match self.base.table.write(&writes).await {
                Ok(()) => {
                    info!(batch = %batch.row.batch, commands = ?batch.row.commands, "accepted");
                    return Ok(batch.row.told());
                }
                // Another copy of the message did something, too.
                Err(TableError::Conflict(key)) => {
                    match rows::load(&*self.base.table, &key).await? {
                        Some(newer) => batch = newer,
                        None => return Ok(None),
                    }
                }
                Err(error) => return Err(error.into()),
            }
            if batch.row.was_accepted_at().is_some() {
                return Ok(batch.row.told());
            }
        }
    }

    /// Notes why a batch was refused.
    async fn note_refused(
        &self,
        mut batch: Stored<BatchRow>,
        error: &Error,
    ) -> Result<Option<Fact>, Error> {
        warn!(batch = %batch.row.batch, error = error as &dyn std::error::Error, "refused; it is tried again");
        batch.row.refused = Some(RefusedBatch { at: self.base.now(), refusal: refusal_of(error) });
        match self.base.table.write(&[batch.write()?]).await {
            Ok(()) => Ok(batch.row.told()),
            // Another copy of the message tells what came of it.
            Err(TableError::Conflict(_)) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

impl Stored<BatchRow> {
    /// The write that stores the batch, if nobody changed it meanwhile.
    pub(super) fn write(&self) -> Result<Write, Error> {
        if self.version == 0 { rows::create(&self.row) } else { self.replace() }
    }
}
