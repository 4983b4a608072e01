//! What several operations share: moments, tags, the settings that a group keeps and a deployment overrides.

use std::time::Duration;

use engine::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A moment on the wire: a JSON number of seconds since the Unix epoch, with milliseconds as its fraction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Seconds(Timestamp);

impl From<Timestamp> for Seconds {
    fn from(at: Timestamp) -> Self {
        Self(at)
    }
}

impl From<Seconds> for Timestamp {
    fn from(seconds: Seconds) -> Self {
        seconds.0
    }
}

impl Serialize for Seconds {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(Duration::from_millis(self.0.0).as_secs_f64())
    }
}

impl<'de> Deserialize<'de> for Seconds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let given = f64::deserialize(deserializer)?;
        // What is before the epoch is before everything that is kept here; the epoch is, too.
        let since_epoch = Duration::try_from_secs_f64(given.max(0.0))
            .ok()
            .and_then(|time| time.checked_add(Duration::from_micros(500)))
            .and_then(|rounded| u64::try_from(rounded.as_millis()).ok());
        since_epoch.map(|ms| Self(Timestamp(ms))).ok_or_else(|| {
            serde::de::Error::custom(format!(
                "`{given}` is no moment; give it in seconds since 1970-01-01T00:00Z"
            ))
        })
    }
}

shape! {
    as "PascalCase";
    /// A tag.
    Tag {
        /// Its key.
        key: String,
        /// Its value.
        value: String,
    }
}

shape! {
    as "PascalCase";
    /// A filter for the tags of EC2 instances or of on-premises instances; both kinds have the same members.
    TagFilter {
        /// The key, unless any will do.
        key: String,
        /// The value, unless any will do.
        value: String,
        /// A [`TagFilterType`].
        r#type: String,
    }
}

words! {
    /// What a tag filter compares.
    TagFilterType {
        /// There is a tag with the key.
        KeyOnly = "KEY_ONLY",
        /// There is a tag with the value.
        ValueOnly = "VALUE_ONLY",
        /// There is a tag with the key and the value.
        KeyAndValue = "KEY_AND_VALUE",
    }
}

shape! {
    /// Groups of tag filters: an instance matches if it matches at least one filter of every group.
    Ec2TagSet {
        /// The groups.
        ec2_tag_set_list: Vec<Vec<TagFilter>>,
    }
}

shape! {
    /// Groups of tag filters: an instance matches if it matches at least one filter of every group.
    OnPremisesTagSet {
        /// The groups.
        on_premises_tag_set_list: Vec<Vec<TagFilter>>,
    }
}

words! {
    /// Where an application runs.
    ComputePlatform {
        /// On hosts.
        Server = "Server",
        /// In Lambda functions.
        Lambda = "Lambda",
        /// In ECS services.
        Ecs = "ECS",
    }
}

shape! {
    /// A CloudWatch alarm.
    Alarm {
        /// Its name.
        name: String,
    }
}

shape! {
    /// Which alarms stop a deployment.
    AlarmConfiguration {
        /// Whether they do.
        enabled: bool,
        /// Whether a deployment goes on while the state of the alarms cannot be read.
        ignore_poll_alarm_failure: bool,
        /// The alarms.
        alarms: Vec<Alarm>,
    }
}

shape! {
    /// When a deployment is rolled back.
    AutoRollbackConfiguration {
        /// Whether it is at all.
        enabled: bool,
        /// What makes it so: [`AutoRollbackEvent`]s.
        events: Vec<String>,
    }
}

words! {
    /// What makes a deployment be rolled back.
    AutoRollbackEvent {
        /// It failed.
        DeploymentFailure = "DEPLOYMENT_FAILURE",
        /// An alarm stopped it.
        DeploymentStopOnAlarm = "DEPLOYMENT_STOP_ON_ALARM",
        /// Somebody stopped it.
        DeploymentStopOnRequest = "DEPLOYMENT_STOP_ON_REQUEST",
    }
}

shape! {
    /// How hosts are replaced.
    DeploymentStyle {
        /// A [`DeploymentType`].
        deployment_type: String,
        /// A [`DeploymentOption`].
        deployment_option: String,
    }
}

words! {
    /// Whether hosts are updated or replaced.
    DeploymentType {
        /// Updated.
        InPlace = "IN_PLACE",
        /// Replaced.
        BlueGreen = "BLUE_GREEN",
    }
}

words! {
    /// Whether a load balancer takes part.
    DeploymentOption {
        /// It does.
        WithTrafficControl = "WITH_TRAFFIC_CONTROL",
        /// It does not.
        WithoutTrafficControl = "WITHOUT_TRAFFIC_CONTROL",
    }
}

shape! {
    /// How a blue/green deployment proceeds.
    BlueGreenDeploymentConfiguration {
        /// What becomes of the old hosts.
        terminate_blue_instances_on_deployment_success: BlueInstanceTerminationOption,
        /// What happens when the new ones are ready.
        deployment_ready_option: DeploymentReadyOption,
        /// Where the new ones come from.
        green_fleet_provisioning_option: GreenFleetProvisioningOption,
    }
}

shape! {
    /// What becomes of the old hosts of a blue/green deployment.
    BlueInstanceTerminationOption {
        /// An [`InstanceAction`].
        action: String,
        /// How long they are kept, in minutes.
        termination_wait_time_in_minutes: i32,
    }
}

words! {
    /// What becomes of a host that was replaced.
    InstanceAction {
        /// It is terminated.
        Terminate = "TERMINATE",
        /// It is left.
        KeepAlive = "KEEP_ALIVE",
    }
}

shape! {
    /// What happens when the new hosts of a blue/green deployment are ready.
    DeploymentReadyOption {
        /// A [`DeploymentReadyAction`].
        action_on_timeout: String,
        /// How long to wait for a manual rerouting, in minutes.
        wait_time_in_minutes: i32,
    }
}

words! {
    /// What happens when nobody continues a deployment that is ready.
    DeploymentReadyAction {
        /// It goes on by itself.
        ContinueDeployment = "CONTINUE_DEPLOYMENT",
        /// It is stopped.
        StopDeployment = "STOP_DEPLOYMENT",
    }
}

shape! {
    /// Where the new hosts of a blue/green deployment come from.
    GreenFleetProvisioningOption {
        /// A [`GreenFleetProvisioningAction`].
        action: String,
    }
}

words! {
    /// Where new hosts come from.
    GreenFleetProvisioningAction {
        /// They are there already.
        DiscoverExisting = "DISCOVER_EXISTING",
        /// The Auto Scaling group is copied.
        CopyAutoScalingGroup = "COPY_AUTO_SCALING_GROUP",
    }
}

shape! {
    /// The load balancers of a group.
    LoadBalancerInfo {
        /// Classic Load Balancers.
        elb_info_list: Vec<ElbInfo>,
        /// Target groups.
        target_group_info_list: Vec<TargetGroupInfo>,
        /// Pairs of target groups, for ECS.
        target_group_pair_info_list: Vec<TargetGroupPairInfo>,
    }
}

shape! {
    /// A Classic Load Balancer.
    ElbInfo {
        /// Its name.
        name: String,
    }
}

shape! {
    /// A target group.
    TargetGroupInfo {
        /// Its name.
        name: String,
    }
}

shape! {
    /// Two target groups between which traffic is shifted.
    TargetGroupPairInfo {
        /// The target groups.
        target_groups: Vec<TargetGroupInfo>,
        /// The path of production traffic.
        prod_traffic_route: TrafficRoute,
        /// The path of test traffic.
        test_traffic_route: TrafficRoute,
    }
}

shape! {
    /// The listeners that traffic comes through.
    TrafficRoute {
        /// Their ARNs.
        listener_arns: Vec<String>,
    }
}

shape! {
    /// What is done to Auto Scaling groups during a deployment.
    Ec2DeploymentOptions {
        /// [`AutoScalingGroupProcess`]es that are suspended.
        auto_scaling_group_processes_to_suspend: Vec<String>,
    }
}

words! {
    /// A process of an Auto Scaling group.
    AutoScalingGroupProcess {
        /// Termination of instances.
        Terminate = "Terminate",
        /// Balancing of availability zones.
        AzRebalance = "AZRebalance",
        /// Replacement of instances.
        InstanceRefresh = "InstanceRefresh",
        /// Scheduled scaling.
        ScheduledActions = "ScheduledActions",
    }
}
