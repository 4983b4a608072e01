//! HTTP: CodeDeploy's API, Cutover's own, and the host protocol.

use lambda_http::Error;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let start = functions::start().await?.with_bundles()?.with_balancers();
    lambda_http::run(functions::api::router(start.control)).await
}
