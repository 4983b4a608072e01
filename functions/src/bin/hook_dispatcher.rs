//! Commands to EC2 hosts, and what became of them.

use functions::hook_dispatcher::{Event, handle};
use lambda_runtime::{Error, LambdaEvent, run, service_fn};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let start = functions::start().await?;
    let role = start.hook_dispatcher()?;
    run(service_fn(|event: LambdaEvent<Event>| async {
        let answer = handle(&role, event.payload).await?;
        Ok::<_, Error>(start.hasten(answer).await)
    }))
    .await
}
