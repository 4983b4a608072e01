//! The table's stream and the queue of wakes: advances deployments.

use functions::deployment_stepper::{Event, handle};
use lambda_runtime::{Error, LambdaEvent, run, service_fn};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let start = functions::start().await?;
    let role = start.deployment_stepper();
    run(service_fn(|event: LambdaEvent<Event>| async {
        let answer = handle(&role, &start.waker, &start.scope, event.payload).await;
        Ok::<_, Error>(start.hasten(answer).await)
    }))
    .await
}
