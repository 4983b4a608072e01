//! Traffic and alarms, and the sweep of active deployments.

use functions::traffic_evaluator::{Event, handle};
use lambda_runtime::{Error, LambdaEvent, run, service_fn};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let start = functions::start().await?;
    let role = start.traffic_evaluator();
    run(service_fn(|event: LambdaEvent<Event>| async {
        let answer = handle(&role, event.payload).await?;
        Ok::<_, Error>(start.hasten(answer).await)
    }))
    .await
}
