//! EC2 Auto Scaling: lifecycle hooks and suspended processes. Copies of groups are in `scaling_copy`.

use async_trait::async_trait;
use aws_sdk_autoscaling::error::ProvideErrorMetadata as _;
use aws_sdk_autoscaling::types::AutoScalingGroup;
use aws_sdk_autoscaling::{Client, Config};
use control::ports::{CloudError, CopyStanding, GroupCopy, Hooks, LifecycleAction, Scaling};

use crate::error::cloud_error;

pub(crate) const SERVICE: &str = "Auto Scaling";

/// How long a hook holds an instance without a heartbeat, in seconds.
const HEARTBEAT_S: i32 = 600;

/// What Auto Scaling calls the moments at which hooks hold instances.
const LAUNCHING: &str = "autoscaling:EC2_INSTANCE_LAUNCHING";
const TERMINATING: &str = "autoscaling:EC2_INSTANCE_TERMINATING";

/// Auto Scaling groups.
#[derive(Debug, Clone)]
pub struct AutoScaling {
    pub(crate) client: Client,
}

impl AutoScaling {
    /// The groups that a client of this configuration reaches.
    pub fn new(config: impl Into<Config>) -> Self {
        Self { client: Client::from_conf(config.into()) }
    }

    /// The group of a name, if there is one.
    pub(crate) async fn described(
        &self,
        group: &str,
    ) -> Result<Option<AutoScalingGroup>, CloudError> {
        let request = self.client.describe_auto_scaling_groups().auto_scaling_group_names(group);
        let found = request.send().await;
        let found =
            found.map_err(|error| cloud_error(SERVICE, "DescribeAutoScalingGroups", error))?;
        Ok(found.auto_scaling_groups.unwrap_or_default().into_iter().next())
    }

    async fn put(
        &self,
        group: &str,
        hook: &str,
        transition: &str,
        unanswered: &str,
    ) -> Result<(), CloudError> {
        let request = self
            .client
            .put_lifecycle_hook()
            .auto_scaling_group_name(group)
            .lifecycle_hook_name(hook)
            .lifecycle_transition(transition)
            .heartbeat_timeout(HEARTBEAT_S)
            .default_result(unanswered);
        let put = request.send().await;
        put.map(drop).map_err(|error| cloud_error(SERVICE, "PutLifecycleHook", error))
    }

    async fn delete(&self, group: &str, hook: &str) -> Result<(), CloudError> {
        let request = self
            .client
            .delete_lifecycle_hook()
            .auto_scaling_group_name(group)
            .lifecycle_hook_name(hook);
        match request.send().await {
            Ok(_) => Ok(()),
            // There is no such hook, or no such group: that is what is wanted.
            Err(error) if is_gone(error.code(), error.message()) => Ok(()),
            Err(error) => Err(cloud_error(SERVICE, "DeleteLifecycleHook", error)),
        }
    }
}

/// Whether a refusal says that a group, a hook or a hold does not exist.
pub(crate) fn is_gone(code: Option<&str>, message: Option<&str>) -> bool {
    let message = message.unwrap_or_default().to_lowercase();
    code == Some("ValidationError")
        && ["not found", "no active lifecycle action", "does not exist", "no lifecycle hook"]
            .iter()
            .any(|words| message.contains(words))
}

#[async_trait]
impl Scaling for AutoScaling {
    async fn keep_hooks(&self, hooks: &Hooks) -> Result<(), CloudError> {
        let group = &hooks.scaling_group;
        if hooks.is_launch_wanted {
            // A host without its revision must not be put to use.
            self.put(group, &hooks.launch, LAUNCHING, "ABANDON").await?;
        } else {
            self.delete(group, &hooks.launch).await?;
        }
        if hooks.is_termination_wanted {
            self.put(group, &hooks.termination, TERMINATING, "CONTINUE").await
        } else {
            self.delete(group, &hooks.termination).await
        }
    }

    async fn heartbeat(&self, action: &LifecycleAction) -> Result<(), CloudError> {
        let request = self
            .client
            .record_lifecycle_action_heartbeat()
            .auto_scaling_group_name(&action.scaling_group)
            .lifecycle_hook_name(&action.hook)
            .lifecycle_action_token(&action.token)
            .instance_id(&action.instance);
        match request.send().await {
            Ok(_) => Ok(()),
            Err(error) if is_gone(error.code(), error.message()) => Ok(()),
            Err(error) => Err(cloud_error(SERVICE, "RecordLifecycleActionHeartbeat", error)),
        }
    }

    async fn release(&self, action: &LifecycleAction, abandon: bool) -> Result<(), CloudError> {
        let request = self
            .client
            .complete_lifecycle_action()
            .auto_scaling_group_name(&action.scaling_group)
            .lifecycle_hook_name(&action.hook)
            .lifecycle_action_token(&action.token)
            .instance_id(&action.instance)
            .lifecycle_action_result(if abandon { "ABANDON" } else { "CONTINUE" });
        match request.send().await {
            Ok(_) => Ok(()),
            Err(error) if is_gone(error.code(), error.message()) => Ok(()),
            Err(error) => Err(cloud_error(SERVICE, "CompleteLifecycleAction", error)),
        }
    }

    async fn running(
        &self,
        scaling_group: &str,
        processes: &[String],
    ) -> Result<Vec<String>, CloudError> {
        let Some(group) = self.described(scaling_group).await? else { return Ok(Vec::new()) };
        let suspended: Vec<String> = group
            .suspended_processes
            .into_iter()
            .flatten()
            .filter_map(|process| process.process_name)
            .collect();
        Ok(processes.iter().filter(|process| !suspended.contains(process)).cloned().collect())
    }

    async fn set_suspended(
        &self,
        scaling_group: &str,
        processes: &[String],
        suspended: bool,
    ) -> Result<(), CloudError> {
        if processes.is_empty() {
            // Without names, Auto Scaling would take all processes.
            return Ok(());
        }
        let names = Some(processes.to_vec());
        let (code, message, error) = if suspended {
            let request = self
                .client
                .suspend_processes()
                .auto_scaling_group_name(scaling_group)
                .set_scaling_processes(names);
            let Err(error) = request.send().await else { return Ok(()) };
            let (code, message) =
                (error.code().map(str::to_owned), error.message().map(str::to_owned));
            (code, message, cloud_error(SERVICE, "SuspendProcesses", error))
        } else {
            let request = self
                .client
                .resume_processes()
                .auto_scaling_group_name(scaling_group)
                .set_scaling_processes(names);
            let Err(error) = request.send().await else { return Ok(()) };
            let (code, message) =
                (error.code().map(str::to_owned), error.message().map(str::to_owned));
            (code, message, cloud_error(SERVICE, "ResumeProcesses", error))
        };
        if is_gone(code.as_deref(), message.as_deref()) { Ok(()) } else { Err(error) }
    }

    async fn terminate(&self, instance: &str) -> Result<(), CloudError> {
        let request = self
            .client
            .terminate_instance_in_auto_scaling_group()
            .instance_id(instance)
            .should_decrement_desired_capacity(true);
        match request.send().await {
            Ok(_) => Ok(()),
            Err(error) if is_gone(error.code(), error.message()) => Ok(()),
            Err(error) => Err(cloud_error(SERVICE, "TerminateInstanceInAutoScalingGroup", error)),
        }
    }

    async fn copy(&self, copy: &GroupCopy) -> Result<CopyStanding, CloudError> {
        self.make_copy(copy).await
    }

    async fn delete_copy(&self, scaling_group: &str) -> Result<bool, CloudError> {
        self.delete_made(scaling_group).await
    }
}
