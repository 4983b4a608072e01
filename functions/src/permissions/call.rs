//! A row of the table.

use super::function::Function;
use super::places::On;

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
    pub(super) const fn needs(mut self, actions: &'static [&'static str]) -> Self {
        self.actions = actions;
        self
    }
}

/// A call that needs the action of its operation.
pub(super) const fn call(
    by: &'static str,
    operation: &'static str,
    on: On,
    key: &'static [&'static str],
    functions: &'static [Function],
) -> Call {
    Call { by, operation, actions: &[], on, key, functions }
}
