//! Lambda functions: the weights of their aliases, and calls of those that are hooks.

use std::collections::HashMap;

use async_trait::async_trait;
use aws_sdk_lambda::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_lambda::operation::get_alias::GetAliasOutput;
use aws_sdk_lambda::primitives::Blob;
use aws_sdk_lambda::types::{AliasRoutingConfiguration, InvocationType};
use aws_sdk_lambda::{Client, Config};
use control::ports::{AliasStanding, CloudError, FunctionError, Functions};
use engine::appspec::Alias;

use crate::error::{HasStatus, cloud_error};

const SERVICE: &str = "Lambda";

/// Refusals that pass: somebody else has just changed the alias or is about to.
const CHANGED: [&str; 2] = ["PreconditionFailedException", "ResourceConflictException"];

/// Functions of Lambda in one region.
#[derive(Debug, Clone)]
pub struct LambdaFunctions {
    client: Client,
}

impl LambdaFunctions {
    /// The functions that a client of this configuration reaches.
    pub fn new(config: impl Into<Config>) -> Self {
        Self { client: Client::from_conf(config.into()) }
    }

    async fn alias(&self, alias: &Alias) -> Result<GetAliasOutput, FunctionError> {
        let asked = self.client.get_alias().function_name(&alias.function).name(&alias.alias);
        asked.send().await.map_err(|error| error_of(&name_of(alias), "GetAlias", error))
    }
}

#[async_trait]
impl Functions for LambdaFunctions {
    async fn standing(&self, alias: &Alias) -> Result<AliasStanding, FunctionError> {
        let found = self.alias(alias).await?;
        let weights = found.routing_config.and_then(|routing| routing.additional_version_weights);
        let main = found.function_version.unwrap_or_default();
        let percent = percent_of(alias, &main, &weights.unwrap_or_default())
            .map_err(|message| FunctionError::Refused { name: name_of(alias), message })?;
        Ok(AliasStanding { percent, revision: found.revision_id.unwrap_or_default() })
    }

    async fn split(&self, alias: &Alias, percent: u8, revision: &str) -> Result<(), FunctionError> {
        // Only the alias that was read is changed: what comes late finds another revision of it, and does nothing.
        let main = if percent >= 100 { &alias.new } else { &alias.old };
        let weight = f64::from(percent) / 100.0;
        let is_shared = (1..100).contains(&percent);
        let weights = is_shared.then(|| (alias.new.clone(), weight)).into_iter().collect();
        let routing =
            AliasRoutingConfiguration::builder().set_additional_version_weights(Some(weights));
        let request = self.client.update_alias().function_name(&alias.function).name(&alias.alias);
        let request = request.function_version(main).routing_config(routing.build());
        let request = request.revision_id(revision);
        let done = request.send().await;
        done.map(drop).map_err(|error| error_of(&name_of(alias), "UpdateAlias", error))
    }

    async fn call(&self, function: &str, payload: &str) -> Result<(), FunctionError> {
        let request = self.client.invoke().function_name(function);
        let request = request.invocation_type(InvocationType::Event).payload(Blob::new(payload));
        request.send().await.map(drop).map_err(|error| error_of(function, "Invoke", error))
    }
}

fn name_of(alias: &Alias) -> String {
    format!("{}:{}", alias.function, alias.alias)
}

/// How much the new version has, where the alias points to `main` and gives `weights` to others.
fn percent_of(alias: &Alias, main: &str, weights: &HashMap<String, f64>) -> Result<u8, String> {
    let is_known = |version: &str| version == alias.old || version == alias.new;
    let mut all = weights.keys().map(String::as_str).chain([main]);
    if let Some(stranger) = all.find(|version| !is_known(version)) {
        return Err(format!(
            "the alias sends traffic to version {stranger}, and the AppSpec names the versions {} and {}: point the alias to \
             the CurrentVersion, or name the one that it points to",
            alias.old, alias.new
        ));
    }
    let weight = |version: &str| weights.get(version).copied().unwrap_or(0.0);
    let share = if main == alias.new { 1.0 - weight(&alias.old) } else { weight(&alias.new) };
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "it is between 0 and 100"
    )]
    let percent = (share.clamp(0.0, 1.0) * 100.0).round() as u8;
    Ok(percent)
}

fn error_of<E, R>(name: &str, operation: &'static str, error: SdkError<E, R>) -> FunctionError
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    R: std::fmt::Debug + Send + Sync + HasStatus + 'static,
{
    let name = name.to_owned();
    let code = error.code().unwrap_or_default().to_owned();
    match cloud_error(SERVICE, operation, error) {
        CloudError::Refused { message, .. } if !CHANGED.contains(&code.as_str()) => {
            let hint = match code.as_str() {
                "AccessDenied" | "AccessDeniedException" => {
                    "; does the function carry the tag `cutover` with the name of Cutover's stack?"
                }
                _ => "",
            };
            FunctionError::Refused { name, message: format!("{operation}: {message}{hint}") }
        }
        error @ (CloudError::Refused { .. } | CloudError::Unavailable { .. }) => {
            FunctionError::Unavailable { name, source: Box::new(error) }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn alias() -> Alias {
        Alias {
            function: "shop".into(),
            alias: "live".into(),
            old: "3".into(),
            new: "4".into(),
            hooks: BTreeMap::new(),
        }
    }

    fn percent(main: &str, weights: &[(&str, f64)]) -> Result<u8, String> {
        let weights = weights.iter().map(|(version, weight)| ((*version).to_owned(), *weight));
        percent_of(&alias(), main, &weights.collect())
    }

    #[test]
    fn the_share_of_the_new_version_is_told_whichever_the_alias_points_to() {
        assert_eq!(percent("3", &[]), Ok(0));
        assert_eq!(percent("3", &[("4", 0.1)]), Ok(10));
        assert_eq!(percent("4", &[]), Ok(100));
        assert_eq!(percent("4", &[("3", 0.29)]), Ok(71));
    }

    #[test]
    fn an_alias_of_other_versions_is_refused() {
        assert!(percent("2", &[]).unwrap_err().contains("version 2"));
        assert!(percent("3", &[("7", 0.5)]).unwrap_err().contains("version 7"));
    }
}
