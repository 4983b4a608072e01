//! A host of a group, as it is found before it is enrolled.

use engine::Timestamp;
use engine::deployment::Creator;
use engine::zonal;

use crate::ports::Instance;
use crate::rows::{Before, DeploymentRow, HostRow, OnPremises, Transport};

/// The tag of an on-premises instance that names its zone (`docs/semantics.md#zones`).
const ZONE_TAG: &str = "zone";

/// A host that belongs to a group. Ordered by name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Member {
    /// Its name: that of an on-premises instance, or an instance id.
    pub(crate) name: String,
    is_pushed: bool,
    /// Its availability zone.
    pub(crate) zone: Option<String>,
    unfit: Option<String>,
}

impl Member {
    /// A host that asks by itself. No cloud knows its zone, so that its own tag `zone` is it.
    pub(crate) fn polling(host: OnPremises) -> Self {
        let zone = host.tags.get(ZONE_TAG).and_then(|tag| zonal::name_in(tag)).map(str::to_owned);
        Self { name: host.name, is_pushed: false, zone, unfit: None }
    }

    /// An instance, whose commands are pushed to it if it carries the tag.
    pub(crate) fn pushed(instance: Instance, (key, value): &(String, String)) -> Self {
        let is_tagged = instance.tags.get(key) == Some(value);
        let unfit = (!is_tagged).then(|| {
            format!(
                "The instance `{}` does not carry the tag `{key}` with the value `{value}`, and commands may only be sent to instances that do. Tag it.",
                instance.id
            )
        });
        Self { name: instance.id, is_pushed: true, zone: instance.zone, unfit }
    }

    /// Whether it is an instance.
    pub(crate) fn is_instance(&self) -> bool {
        self.is_pushed
    }

    /// Whether it carries the tag of what may be touched.
    pub(crate) fn is_fit(&self) -> bool {
        self.unfit.is_none()
    }

    /// The row of the host in a deployment.
    pub(crate) fn enrolled(
        self,
        deployment: &DeploymentRow,
        ordinal: u32,
        before: Before,
    ) -> HostRow {
        let order = deployment.deployment.order();
        // A host that stops its application before it leaves is no better or worse for it.
        let tells = deployment.keeps_members() && order.creator != Creator::Departure;
        let generation = tells.then_some(order.generation);
        // All hosts of a deployment have the same time, by which they are found.
        let at: Timestamp = order.created_at;
        let row = HostRow::enrolled(&order.id, &order.group_id, ordinal, self.name, at, before);
        let transport = if self.is_pushed { Transport::Push } else { Transport::Poll };
        HostRow { transport, zone: self.zone, unfit: self.unfit, generation, ..row }
    }
}
