//! What hook functions say of how they went.

use engine::deployment::Deployment;

use crate::rows::{self, HookRow, HookStatus};
use crate::table::TableError;
use crate::{Error, OperatorApi, hash_of};

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

impl OperatorApi {
    /// Takes what a hook function says, if it knows the secret that one was called with.
    pub(crate) async fn take_hook_status(
        &self,
        deployment: &Deployment,
        secret: &str,
        status: HookStatus,
    ) -> Result<Taken, Error> {
        let hash = hash_of(secret);
        for event in deployment.hook_events().unwrap_or_default() {
            loop {
                let key = HookRow::key_of(deployment.id(), *event);
                let hook = rows::load::<HookRow>(&*self.base.table, &key).await?;
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
                match self.base.table.write(&[hook.replace()?]).await {
                    Ok(()) => {
                        self.base.waker.wake(deployment.id(), told.into_iter().collect());
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
