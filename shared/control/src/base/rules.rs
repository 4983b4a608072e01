//! The rules of minimum healthy hosts that nobody has to configure (`docs/semantics.md#minimum-healthy-hosts`).

use engine::health::{Minimum, Rule};

/// The rule of a configuration for what is no fleet.
pub(crate) const NO_HOSTS: Rule = Rule { minimum: Minimum::FleetPercent(0), predefined: true };

/// The rule of a predefined configuration for servers.
pub(crate) fn predefined(name: &str) -> Option<Rule> {
    let minimum = match name {
        "CodeDeployDefault.OneAtATime" => Minimum::OneAtATime,
        "CodeDeployDefault.HalfAtATime" => Minimum::FleetPercent(50),
        "CodeDeployDefault.AllAtOnce" => Minimum::FleetPercent(0),
        _ => return None,
    };
    Some(Rule { minimum, predefined: true })
}
