//! The sweep: every minute all active deployments are read again, and what was lost is made up for.

use std::panic::AssertUnwindSafe;

use engine::{DeploymentId, Timestamp};
use futures::FutureExt as _;
use tracing::{info, warn};

use crate::ports::Measure;
use crate::ports::UploadAgain;
use crate::revision_intake::unhandled::{AGAIN_MS, AGAIN_MS_MAX};
use crate::rows::{self, DeploymentRow, Stored, UnhandledUpload};
use crate::table::{Index, Key, Query, TableError};
use crate::{Error, TrafficEvaluator};

/// How far ahead a sweep arms wakes, in milliseconds: until well after the next one, which comes within a minute.
const SWEEP_ARMS_MS: u64 = 150_000;

impl TrafficEvaluator {
    /// Arms the next wakes of all active deployments, as their rows say, and refreshes each of them, those first that
    /// should have been woken longest ago. So whoever starts anew, and knows of no wake, is late for none, and a wake that
    /// was lost is made up for. Returns how many there are.
    pub async fn sweep(&self) -> Result<usize, Error> {
        let mut query = Query::prefix(DeploymentRow::WAKING, "", 100);
        let stepper = self.deployment_stepper();
        let mut swept = 0;
        let now = self.base.now();
        loop {
            let page = self.base.table.query_index(Index::Waking, &query).await?;
            let wakes = self.wakes(&page.items).await;
            if query.after.is_none() {
                // The first is the one that should have been woken longest ago.
                let first = wakes.first().map_or(0, |(_, at)| now.since_ms(*at));
                self.base.meter.take(Measure::OldestOverdue(first));
            }
            // What comes later is armed by the next sweep.
            for (id, at) in wakes.iter().filter(|(_, at)| at.since_ms(now) <= SWEEP_ARMS_MS) {
                self.base.waker.wake_at(id, *at).await;
            }
            for id in page.items.iter().filter_map(DeploymentRow::id_in) {
                swept += 1;
                // One that panics keeps nobody else from being read.
                match AssertUnwindSafe(stepper.refresh(&id)).catch_unwind().await {
                    Ok(Ok(_)) => {}
                    Ok(Err(error)) => {
                        warn!(deployment = %id, error = &error as &dyn std::error::Error, "could not be advanced; the next sweep tries again");
                    }
                    Err(_) => {
                        warn!(deployment = %id, "its step panicked; the next sweep tries again");
                    }
                }
            }
            match page.next {
                Some(next) => query.after = Some(next),
                None => break,
            }
        }
        if let Err(error) = self.recheck_all().await {
            let error = &error as &dyn std::error::Error;
            warn!(
                error,
                "traffic of ended deployments could not be looked at; the next sweep tries again"
            );
        }
        if let Err(error) = self.sweep_uploads().await {
            let error = &error as &dyn std::error::Error;
            warn!(error, "uploads that are not handled cannot be read; the next sweep tries again");
        }
        if swept > 0 {
            info!(deployments = swept, "swept");
        }
        Ok(swept)
    }

    /// When the deployments at these places want to be woken. Where that cannot be read, refreshing them says why.
    async fn wakes(&self, places: &[Key]) -> Vec<(DeploymentId, Timestamp)> {
        let rows = rows::load_readable::<DeploymentRow>(&*self.base.table, places).await;
        let rows = rows.unwrap_or_default().into_iter().map(|stored| stored.row);
        rows.filter_map(|row| Some((row.deployment.id().clone(), row.wake_at?))).collect()
    }

    /// Has uploads tried again that could not be handled. One that cannot be asked for is left to the next sweep.
    ///
    /// # Errors
    /// When they cannot be found out.
    pub(crate) async fn sweep_uploads(&self) -> Result<(), Error> {
        let query = Query::prefix(UnhandledUpload::ALL, "", 100);
        let all: Vec<Stored<UnhandledUpload>> = rows::load_all(&*self.base.table, query).await?;
        let now = self.base.now();
        for mut upload in all.into_iter().filter(|upload| upload.row.next_at <= now) {
            let wait_ms = AGAIN_MS.saturating_mul(1 << upload.row.tries.min(10)).min(AGAIN_MS_MAX);
            upload.row.tries = upload.row.tries.saturating_add(1);
            upload.row.next_at = now.plus_ms(wait_ms);
            match self.base.table.write(&[upload.replace()?]).await {
                Ok(()) => {}
                // It was handled just now.
                Err(TableError::Conflict(_)) => continue,
                Err(error) => return Err(error.into()),
            }
            let UnhandledUpload { uploaded, tries, .. } = upload.row;
            info!(key = uploaded.key, tries, "an upload is tried again");
            if let Err(error) = self.messages.handle_again(&UploadAgain { again: uploaded }).await {
                let error = &error as &dyn std::error::Error;
                warn!(error, "an upload cannot be tried again now; a later sweep does");
            }
        }
        Ok(())
    }
}
