//! Hook functions, which are called before and after traffic moves (`docs/semantics.md#lambda`).

use engine::deployment::{Deployment, Fact};
use engine::lifecycle::Event;
use serde_json::json;
use tracing::info;

use super::here::Here;
use crate::ports::FunctionError;
use crate::rows::{self, HookRow, Stored};
use crate::table::TableError;
use crate::{Error, hash_of};

impl Here {
    /// Calls the hook function of an event, unless it was called; it says by itself how it went. What it said already is
    /// told again.
    pub(crate) async fn run_hook(
        &self,
        deployment: &Deployment,
        event: Event,
        function: &str,
    ) -> Result<Vec<Fact>, Error> {
        let id = deployment.id();
        let key = HookRow::key_of(id, event);
        let known = rows::load::<HookRow>(&*self.base.table, &key).await?;
        if let Some(Stored { row: hook, .. }) = &known
            && (hook.is_called || hook.status.is_some())
        {
            return Ok(hook.told().into_iter().collect());
        }
        // A call that broke off before it was noted is made again under a new secret: the old one is worth nothing then.
        let secret = self.base.new_token();
        let row = HookRow {
            deployment_id: id.clone(),
            event,
            secret_hash: hash_of(&secret),
            at: self.base.now(),
            is_called: false,
            status: None,
        };
        let write = match &known {
            Some(known) => Stored { row: row.clone(), version: known.version }.replace()?,
            None => rows::create(&row)?,
        };
        match self.base.table.write(&[write]).await {
            Ok(()) => {}
            // Somebody else calls it just now, or it has said how it went: then that is told when this is asked again.
            Err(TableError::Conflict(_)) => return Ok(Vec::new()),
            Err(error) => return Err(error.into()),
        }
        let payload = json!({ "DeploymentId": id, "LifecycleEventHookExecutionId": secret });
        match self.traffic.functions.call(function, &payload.to_string()).await {
            Ok(()) => self.note_called(row).await,
            Err(error @ FunctionError::Unavailable { .. }) => Err(error.into()),
            Err(error @ FunctionError::Refused { .. }) => {
                let failed = Some(format!("The hook function of {event} was not called: {error}."));
                Ok(vec![Fact::HookEnded { event, failed }])
            }
        }
    }

    /// Notes that a hook was called, unless it has already said how it went.
    async fn note_called(&self, row: HookRow) -> Result<Vec<Fact>, Error> {
        let key = HookRow::key_of(&row.deployment_id, row.event);
        info!(deployment = %row.deployment_id, event = %row.event, "the hook function was called");
        let Some(mut stored) = rows::load::<HookRow>(&*self.base.table, &key).await? else {
            return Ok(Vec::new());
        };
        if let Some(told) = stored.row.told() {
            return Ok(vec![told]);
        }
        if stored.row.secret_hash != row.secret_hash {
            // It is called anew, under the secret that counts now; whether it was, is for that call to note.
            return Ok(Vec::new());
        }
        stored.row.is_called = true;
        match self.base.table.write(&[stored.replace()?]).await {
            // It has just said how it went, which is told by itself.
            Ok(()) | Err(TableError::Conflict(_)) => Ok(Vec::new()),
            Err(error) => Err(error.into()),
        }
    }
}
