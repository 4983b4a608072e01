//! HTTP: CodeDeploy's API, Cutover's own, and the host protocol.

use lambda_http::Error;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let start = functions::start().await?;
    let router = functions::api::router(start.operator_api()?, start.host_api()?);
    lambda_http::run(router).await
}
