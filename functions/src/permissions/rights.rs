//! What the table has of one function: its calls and its rights.

use std::collections::BTreeSet;

use super::call::Call;
use super::function::Function;
use super::places::{Place, key_places};
use super::table::CALLS;

impl Function {
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
