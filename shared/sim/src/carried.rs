//! What carries the traffic of a deployment, as the checks read it from its row: once more from what is stored, and not as
//! the traffic evaluator reads it.

use control::ports::Service;
use engine::appspec::Alias;
use engine::deployment::Deployment;
use serde::de::DeserializeOwned;
use serde_json::Value;

fn of_kind<T: DeserializeOwned>(deployment: &Deployment, kind: &str) -> Option<T> {
    let carrier = deployment.carrier().filter(|carrier| carrier.kind() == kind)?;
    carrier.settings().ok()
}

/// The alias that a deployment moves.
pub(crate) fn alias_of(deployment: &Deployment) -> Option<Alias> {
    of_kind(deployment, "alias")
}

/// The service that a deployment is of.
pub(crate) fn service_of(deployment: &Deployment) -> Option<Service> {
    of_kind(deployment, "service")
}

/// The target group whose hosts a deployment exchanges.
pub(crate) fn exchanged_in(deployment: &Deployment) -> Option<String> {
    let exchange: Value = of_kind(deployment, "exchange")?;
    exchange.get("group")?.as_str().map(str::to_owned)
}

/// The two target groups of a shift, the old one first; none until it is known which that is.
pub(crate) fn sides_of(deployment: &Deployment) -> Option<(String, String)> {
    let pair: Option<[String; 2]> = of_kind(deployment, "groups");
    let [first, second] = pair.or_else(|| service_of(deployment).map(|service| service.groups))?;
    match deployment.new_side()? {
        0 => Some((second, first)),
        _ => Some((first, second)),
    }
}

/// The target group whose hosts have the traffic before a shift; none until it is known.
pub(crate) fn group_in_use(deployment: &Deployment) -> Option<String> {
    exchanged_in(deployment).or_else(|| sides_of(deployment).map(|(old, _)| old))
}
