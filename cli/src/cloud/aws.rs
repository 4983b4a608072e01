//! AWS's libraries find keys, regions and endpoints, where all of AWS's tools find them.

use aws_config::default_provider::credentials::DefaultCredentialsChain;
use aws_config::profile::ProfileFileCredentialsProvider;
use aws_config::provider_config::ProviderConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::ProvideCredentials as _;
use aws_credential_types::provider::error::CredentialsError;
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::Provider;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::{Builder, Connector};
use aws_smithy_runtime_api::client::http::SharedHttpClient;

/// The HTTP client of AWS's libraries: TLS with ring, by way of the proxy that the environment names.
fn http_client() -> SharedHttpClient {
    Builder::new().build_with_connector_fn(|settings, _| {
        let mut connector = Connector::builder();
        connector.set_connector_settings(settings.cloned());
        connector
            .proxy_config(ProxyConfig::from_env())
            .tls_provider(Provider::Rustls(CryptoMode::Ring))
            .build()
    })
}

/// What the environment and the profile say about everything but keys.
pub(crate) async fn settings(profile: Option<&str>, region: Option<String>) -> SdkConfig {
    let mut loader = aws_config::defaults(BehaviorVersion::latest()).http_client(http_client());
    if let Some(profile) = profile {
        loader = loader.profile_name(profile);
    }
    if let Some(region) = region {
        loader = loader.region(Region::new(region));
    }
    loader.no_credentials().load().await
}

/// The keys of a profile, or else those that AWS's tools find without one.
pub(super) async fn resolve(
    profile: Option<&str>,
    region: &str,
) -> Result<Credentials, CredentialsError> {
    let providers = ProviderConfig::without_region()
        .with_behavior_version(Some(BehaviorVersion::latest()))
        .with_http_client(http_client())
        .with_region(Some(Region::new(region.to_owned())));
    match profile {
        Some(profile) => {
            let provider = ProfileFileCredentialsProvider::builder()
                .configure(&providers)
                .profile_name(profile);
            provider.build().provide_credentials().await
        }
        None => {
            let chain = DefaultCredentialsChain::builder().configure(providers).build().await;
            chain.provide_credentials().await
        }
    }
}
