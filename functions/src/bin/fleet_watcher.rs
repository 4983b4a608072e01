//! EC2 hosts that come and go, and the rosters of deployments.

use functions::fleet_watcher::{Event, handle};
use lambda_runtime::{Error, LambdaEvent, run, service_fn};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let start = functions::start().await?;
    let role = start.fleet_watcher();
    run(service_fn(|event: LambdaEvent<Event>| async {
        let answer = Box::pin(handle(&role, event.payload)).await?;
        Ok::<_, Error>(start.hasten(answer).await)
    }))
    .await
}
