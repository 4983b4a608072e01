//! Who may call operations.

use futures::future::BoxFuture;
use http::request::Parts;
use wire::codedeploy::ApiError;

/// Decides who may call operations. Hosts are not asked for it: they bring their own keys and tokens.
pub trait Guard: Send + Sync + 'static {
    /// Lets the request in, or says why not.
    fn check<'a>(&'a self, parts: &'a Parts, body: &'a [u8])
    -> BoxFuture<'a, Result<(), ApiError>>;
}

/// Lets everybody in: for a router behind something that checks callers itself.
#[derive(Debug, Clone, Copy)]
pub struct Open;

impl Guard for Open {
    fn check<'a>(
        &'a self,
        _parts: &'a Parts,
        _body: &'a [u8],
    ) -> BoxFuture<'a, Result<(), ApiError>> {
        Box::pin(std::future::ready(Ok(())))
    }
}
