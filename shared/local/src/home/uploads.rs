//! Uploads to a home's bucket, on their way to the use cases.

use std::collections::BTreeMap;
use std::time::Duration;

use control::Control;
use control::ports::Uploaded;
use tracing::warn;

/// How often uploads are looked at again that were announced and not handled to the end.
const SWEEP: Duration = Duration::from_secs(60);

/// Hands each upload to the use cases, and acknowledges it once it is handled. One that cannot be handled now is tried
/// again; the others do not wait for it.
pub(super) async fn take(control: Control, mut uploads: object_store::Uploads) {
    let mut tasks = tokio::task::JoinSet::new();
    let mut in_hand: BTreeMap<tokio::task::Id, u64> = BTreeMap::new();
    let mut sweep = tokio::time::interval(SWEEP);
    sweep.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            upload = uploads.next() => match upload {
                None => return,
                Some(upload) if in_hand.values().any(|known| *known == upload.identity) => {}
                Some(upload) => {
                    let identity = upload.identity;
                    in_hand.insert(tasks.spawn(take_upload(control.clone(), upload)).id(), identity);
                }
            },
            Some(handled) = tasks.join_next_with_id() => {
                let task = match &handled {
                    Ok((task, ())) => *task,
                    Err(error) => error.id(),
                };
                let Some(identity) = in_hand.remove(&task) else { continue };
                if let Err(error) = handled {
                    warn!(%error, "an upload was not handled to the end; it is looked at again soon");
                } else if let Err(error) = uploads.acknowledge(identity).await {
                    warn!(%error, "the upload is looked at again soon");
                }
            }
            _ = sweep.tick() => if let Err(error) = uploads.announce_again().await {
                warn!(%error, "uploads that were not handled cannot be read; will try again");
            },
        }
    }
}

async fn take_upload(control: Control, upload: object_store::Uploaded) {
    let identity = format!("{:020}", upload.identity);
    let uploaded = Uploaded {
        bucket: upload.bucket,
        key: upload.key,
        version: Some(identity.clone()),
        identity,
        order: upload.identity,
        rank: String::new(),
        e_tag: Some(upload.etag),
        size: Some(upload.size),
    };
    let mut pause = Duration::from_millis(50);
    while let Err(error) = control.revision_intake().take_upload(&uploaded).await {
        warn!(
            key = uploaded.key,
            error = &error as &dyn std::error::Error,
            "an upload cannot be handled now; will try again"
        );
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_secs(10));
    }
}
