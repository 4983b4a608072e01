//! Systems Manager: what became of commands on EC2 hosts.

use functions::hook_dispatcher::{Event, handle};
use lambda_runtime::{Error, LambdaEvent, run, service_fn};

#[tokio::main]
async fn main() -> Result<(), Error> {
    let start = functions::start().await?;
    run(service_fn(|event: LambdaEvent<Event>| async {
        handle(&start.control, event.payload).await.map_err(Error::from)
    }))
    .await
}
