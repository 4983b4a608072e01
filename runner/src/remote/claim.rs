//! Claiming a command, for the first time or again.

use std::time::Duration;

use wire::host::{ClaimResponse, Offer, Refusal, RefusalCode};

use super::lease::Permission;
use crate::client::{BackOff, CallError, Client};
use crate::clock::awake;

/// A command that was claimed.
#[derive(Debug)]
pub(crate) struct Claimed {
    pub(crate) claim: ClaimResponse,
    /// Until when its permission counts, on the clock of [`awake`].
    until: Duration,
}

impl Claimed {
    /// The answer to a claim that was sent at that moment, on the clock of [`awake`].
    pub(crate) fn new(claim: ClaimResponse, sent_at: Duration) -> Self {
        let until = sent_at.saturating_add(Duration::from_millis(claim.lease_ms));
        Self { claim, until }
    }

    pub(super) fn permission(&self) -> Permission {
        Permission::of(self.claim.proceed, self.claim.reason.clone(), self.until)
    }
}

/// Claims a command, however long it takes; an error says why it is not to be had any more.
pub(crate) async fn claim(client: &Client, offer: &Offer) -> Result<Claimed, Refusal> {
    let mut back_off = BackOff::default();
    loop {
        let sent_at = awake();
        match client.claim(offer).await {
            Ok(claim) => return Ok(Claimed::new(claim, sent_at)),
            // A key may be put right; the secret of a batch is what it is.
            Err(CallError::Refused(refusal))
                if refusal.code != RefusalCode::Unauthorized || client.is_pushed() =>
            {
                return Err(refusal);
            }
            Err(error) => client.wait_after(&error, &mut back_off).await,
        }
    }
}
