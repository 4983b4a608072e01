//! HTTP: CodeDeploy's API, Cutover's own, and the host protocol.

use lambda_http::Error;

#[tokio::main]
async fn main() -> Result<(), Error> {
    let start = functions::start().await?;
    lambda_http::run(functions::api::router(start.control)).await
}
