//! EC2 and Auto Scaling: hosts that come and go.

use functions::fleet_watcher::{Event, handle};
use lambda_runtime::{Error, LambdaEvent, run, service_fn};

#[tokio::main]
async fn main() -> Result<(), Error> {
    let start = functions::start().await?;
    let ec2 = aws_sdk_ec2::Client::new(&start.aws);
    run(service_fn(|event: LambdaEvent<Event>| async {
        handle(&start.control, &ec2, event.payload).await.map_err(Error::from)
    }))
    .await
}
