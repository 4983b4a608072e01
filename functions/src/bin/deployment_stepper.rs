//! The table's stream and the queue of wakes: advances deployments.

use functions::deployment_stepper::{Event, handle};
use lambda_runtime::{Error, LambdaEvent, run, service_fn};

#[tokio::main]
async fn main() -> Result<(), Error> {
    let start = functions::start().await?;
    run(service_fn(|event: LambdaEvent<Event>| async {
        Ok::<_, Error>(handle(&start.control, &start.scope, event.payload).await)
    }))
    .await
}
