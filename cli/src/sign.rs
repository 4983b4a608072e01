//! Signs requests with AWS Signature Version 4.

use std::time::SystemTime;

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4::SigningParams;

/// Why a request cannot be signed.
pub(crate) type SignError = Box<dyn std::error::Error + Send + Sync>;

/// What a request is signed for, and how.
pub(crate) struct Signer<'a> {
    /// The keys.
    pub(crate) credentials: Credentials,
    /// The region.
    pub(crate) region: &'a str,
    /// The name that the service signs by.
    pub(crate) service: &'a str,
    /// What is particular to the service.
    pub(crate) settings: SigningSettings,
}

impl Signer<'_> {
    /// Signs the request as it stands; headers that come later are not signed.
    pub(crate) fn sign<B>(
        self,
        request: &mut http::Request<B>,
        body: SignableBody<'_>,
    ) -> Result<(), SignError> {
        let Self { credentials, region, service, settings } = self;
        let identity = credentials.into();
        let parameters = SigningParams::builder()
            .identity(&identity)
            .region(region)
            .name(service)
            .time(SystemTime::now())
            .settings(settings)
            .build()?
            .into();
        let url = request.uri().to_string();
        let mut headers = Vec::new();
        for (name, value) in request.headers() {
            headers.push((name.as_str(), value.to_str()?));
        }
        let method = request.method().as_str();
        let signable = SignableRequest::new(method, &url, headers.into_iter(), body)?;
        let (instructions, _) = sign(signable, &parameters)?.into_parts();
        instructions.apply_to_request_http1x(request);
        Ok(())
    }
}
