//! Uploads: registers revisions and starts the deployments that want them.

use functions::revision_intake::{Event, handle};
use lambda_runtime::{Error, LambdaEvent, run, service_fn};

#[tokio::main]
async fn main() -> Result<(), Error> {
    let start = functions::start().await?;
    run(service_fn(|event: LambdaEvent<Event>| async {
        handle(&start.control, event.payload).await.map_err(Error::from)
    }))
    .await
}
