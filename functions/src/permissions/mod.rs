//! What the functions ask of AWS, and the rights that they need for it: one table, from which the statements of the roles in
//! `template.yaml` are written.
//!
//! A new call of an adapter is a new row of the table; `UPDATE_EXPECT=1 cargo test -p whole --test it statements` then writes
//! the statements anew.

mod places;
mod statements;
mod table;

use std::collections::BTreeSet;

use places::key_places;
pub use places::{On, Place};
pub use statements::{launch_statements, statements};
pub use table::{CALLS, UNBOUNDED};

/// The functions, in the order of the template.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Function {
    /// Uploads become revisions.
    RevisionIntake,
    /// Advances deployments.
    DeploymentStepper,
    /// Sends commands to hosts.
    HookDispatcher,
    /// Moves traffic, reads alarms, and sweeps.
    TrafficEvaluator,
    /// Hosts that come and go.
    FleetWatcher,
    /// HTTP.
    Api,
}

impl Function {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::RevisionIntake,
        Self::DeploymentStepper,
        Self::HookDispatcher,
        Self::TrafficEvaluator,
        Self::FleetWatcher,
        Self::Api,
    ];

    /// The name of its resource in the template.
    pub fn resource(self) -> &'static str {
        match self {
            Self::RevisionIntake => "RevisionIntake",
            Self::DeploymentStepper => "DeploymentStepper",
            Self::HookDispatcher => "HookDispatcher",
            Self::TrafficEvaluator => "TrafficEvaluator",
            Self::FleetWatcher => "FleetWatcher",
            Self::Api => "Api",
        }
    }

    /// The calls that it makes.
    pub fn calls(self) -> impl Iterator<Item = &'static Call> {
        CALLS.iter().filter(move |call| call.functions.contains(&self))
    }

    /// Its rights: each action, and where.
    pub fn rights(self) -> BTreeSet<(&'static str, Place)> {
        let mut rights = BTreeSet::new();
        for call in self.calls() {
            let mut allow = |actions: &[&'static str], places: &[Place]| {
                let pairs =
                    actions.iter().flat_map(|action| places.iter().map(|at| (*action, at.clone())));
                rights.extend(pairs);
            };
            allow(call.actions(), &call.on.places(self));
            allow(call.key, &key_places());
        }
        rights
    }

    /// Whether the table has it that this function calls an operation of a service, each as the SDK names it.
    pub fn makes(self, service: &str, operation: &str) -> bool {
        self.calls().any(|call| call.operation.split_once(':') == Some((service, operation)))
    }
}

/// A call, or what another service does with the function's role.
#[derive(Debug)]
pub struct Call {
    /// Who calls: a port's method, which names its adapter's; or a service with the function's role: Lambda, ECS, or Auto
    /// Scaling.
    pub by: &'static str,
    /// The service and its operation, as `dynamodb:Query`. Of what Lambda calls, one that stands for the rest.
    pub operation: &'static str,
    /// The actions that IAM asks for, if it is not one that is called as the operation is.
    actions: &'static [&'static str],
    /// What it is made on.
    pub on: On,
    /// The actions that it takes on the key that things are encrypted with. The service acts for the caller there.
    pub key: &'static [&'static str],
    /// The functions that make it.
    pub functions: &'static [Function],
}

impl Call {
    /// The actions that IAM asks for, on what the call is made on.
    pub fn actions(&self) -> &[&'static str] {
        if self.actions.is_empty() { std::slice::from_ref(&self.operation) } else { self.actions }
    }

    /// A call that needs other actions than the one of its operation.
    const fn needs(mut self, actions: &'static [&'static str]) -> Self {
        self.actions = actions;
        self
    }
}

/// A call that needs the action of its operation.
const fn call(
    by: &'static str,
    operation: &'static str,
    on: On,
    key: &'static [&'static str],
    functions: &'static [Function],
) -> Call {
    Call { by, operation, actions: &[], on, key, functions }
}
