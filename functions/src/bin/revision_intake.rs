//! Uploads, and revisions that deployments want pinned.

use functions::revision_intake::{Event, handle};
use lambda_runtime::{Error, LambdaEvent, run, service_fn};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let start = functions::start().await?;
    let role = start.revision_intake()?;
    run(service_fn(|event: LambdaEvent<Event>| async {
        let answer = handle(&role, event.payload).await?;
        Ok::<_, Error>(start.hasten(answer).await)
    }))
    .await
}
