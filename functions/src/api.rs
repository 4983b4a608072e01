//! HTTP: the router that home serves too, behind API Gateway.

use api::Guard;
use axum::Router;
use control::{HostApi, OperatorApi};
use futures::future::BoxFuture;
use http::request::Parts;
use lambda_http::request::RequestContext;
use wire::codedeploy::{ApiError, ErrorName};

/// Lets in whom API Gateway has identified by IAM. It checks signatures for its own service, `execute-api`, since
/// nobody but AWS can check those of its users' keys; a client that signs for CodeDeploy is refused there.
struct ByGateway;

impl Guard for ByGateway {
    fn check<'a>(
        &'a self,
        parts: &'a Parts,
        _body: &'a [u8],
    ) -> BoxFuture<'a, Result<(), ApiError>> {
        let caller = caller(parts).map(drop).ok_or_else(|| {
            ErrorName::AccessDenied.because(
                "the caller is not known; API Gateway must authorize this route with AWS_IAM",
            )
        });
        Box::pin(std::future::ready(caller))
    }
}

/// The ARN of the user or role that API Gateway has identified.
fn caller(parts: &Parts) -> Option<&str> {
    let Some(RequestContext::ApiGatewayV2(context)) = parts.extensions.get() else { return None };
    context.authorizer.as_ref()?.iam.as_ref()?.user_arn.as_deref()
}

/// The router as the function serves it: IAM decides by the path, so that operations have no other.
pub fn router(operators: OperatorApi, hosts: HostApi) -> Router {
    api::named_router(operators, hosts, ByGateway)
}
