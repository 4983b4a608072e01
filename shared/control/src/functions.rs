//! Aliases of Lambda functions, and the hook functions that are called before and after their traffic moves
//! (`docs/semantics.md#lambda`).

use engine::deployment::{Alias, Carrier, Deployment, Fact, Failure, FailureCode, Request};
use engine::lifecycle::Event;
use serde_json::json;
use tracing::info;

use crate::ports::FunctionError;
use crate::rows::{self, HookRow, HookStatus, Stored};
use crate::table::TableError;
use crate::{Control, Error, hash_of};

impl Control {
    /// Asks the alias which version has its traffic.
    pub(crate) async fn find_alias(&self, alias: &Alias) -> Result<Vec<Fact>, Error> {
        match self.traffic.functions.standing(alias).await {
            Ok(found) => Ok(vec![Fact::SidesFound { percent_of_second: found.percent }]),
            Err(error @ FunctionError::Unavailable { .. }) => Err(error.into()),
            Err(error @ FunctionError::Refused { .. }) => {
                let code = FailureCode::InvalidFunction;
                let why = Failure { code, message: error.to_string() };
                Ok(vec![Fact::ShiftRefused { request: Request::FindSides, why }])
            }
        }
    }

    /// Calls the hook function of an event, unless it was called; it says by itself how it went. What it said already is
    /// told again.
    pub(crate) async fn run_hook(
        &self,
        deployment: &Deployment,
        event: Event,
    ) -> Result<Vec<Fact>, Error> {
        let Some(function) = hook_of(deployment, event) else { return Ok(Vec::new()) };
        let id = deployment.id();
        let key = HookRow::key_of(id, event);
        let known = rows::load::<HookRow>(&*self.table, &key).await?;
        if let Some(Stored { row: hook, .. }) = &known
            && (hook.is_called || hook.status.is_some())
        {
            return Ok(hook.told().into_iter().collect());
        }
        // A call that broke off before it was noted is made again under a new secret: the old one is worth nothing then.
        let secret = self.new_token();
        let row = HookRow {
            deployment_id: id.clone(),
            event,
            secret_hash: hash_of(&secret),
            at: self.now(),
            is_called: false,
            status: None,
        };
        let write = match &known {
            Some(known) => Stored { row: row.clone(), version: known.version }.replace()?,
            None => rows::create(&row)?,
        };
        match self.table.write(&[write]).await {
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
        let Some(mut stored) = rows::load::<HookRow>(&*self.table, &key).await? else {
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
        match self.table.write(&[stored.replace()?]).await {
            // It has just said how it went, which is told by itself.
            Ok(()) | Err(TableError::Conflict(_)) => Ok(Vec::new()),
            Err(error) => Err(error.into()),
        }
    }

    /// Takes what a hook function says, if it knows the secret that one was called with.
    pub(crate) async fn take_hook_status(
        &self,
        deployment: &Deployment,
        secret: &str,
        status: HookStatus,
    ) -> Result<Taken, Error> {
        let hash = hash_of(secret);
        let hooks = deployment.carrier().and_then(Carrier::hooks);
        for event in hooks.into_iter().flat_map(|hooks| hooks.keys()) {
            loop {
                let key = HookRow::key_of(deployment.id(), *event);
                let hook = rows::load::<HookRow>(&*self.table, &key).await?;
                let Some(mut hook) = hook.filter(|hook| hook.row.secret_hash == hash) else {
                    break;
                };
                match hook.row.status {
                    Some(known) if known == status => return Ok(Taken::Now),
                    Some(_) => return Ok(Taken::Before),
                    None => {}
                }
                hook.row.status = Some(status);
                let told = hook.row.told();
                match self.table.write(&[hook.replace()?]).await {
                    Ok(()) => {
                        self.bell.ring(deployment.id(), told.into_iter().collect());
                        return Ok(Taken::Now);
                    }
                    Err(TableError::Conflict(_)) => {}
                    Err(error) => return Err(error.into()),
                }
            }
        }
        Ok(Taken::Unknown)
    }
}

/// What became of what a hook function said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Taken {
    /// It is known now.
    Now,
    /// The hook had said something else before.
    Before,
    /// No hook has such a secret.
    Unknown,
}

fn hook_of(deployment: &Deployment, event: Event) -> Option<&str> {
    deployment.carrier()?.hooks()?.get(&event).map(String::as_str)
}
