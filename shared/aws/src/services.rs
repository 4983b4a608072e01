//! Services of ECS with the external deployment controller, and their task sets. The weights of their target groups are in
//! `forwarding`.

use async_trait::async_trait;
use aws_sdk_ecs::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_ecs::types::{
    AssignPublicIp, AwsVpcConfiguration, CapacityProviderStrategyItem, DeploymentControllerType,
    DesiredStatus, LoadBalancer, NetworkConfiguration, Scale, ScaleUnit, Service as EcsService,
    StabilityStatus, TaskSet as EcsTaskSet,
};
use aws_sdk_ecs::{Client, Config};
use control::ports::{BalancerError, CloudError, Service, ServiceError, Services};
use engine::DeploymentId;
use engine::appspec::{Capacity, Network};
use engine::deployment::TaskSet;

use crate::balancers::TargetGroups;
use crate::error::{HasStatus, cloud_error};

const SERVICE: &str = "ECS";

/// How many tasks of a task set have to have stopped before it counts as failing, and at most how many: half of those that
/// are wanted, between these.
const FAILURES: (usize, usize) = (3, 100);

/// Services of ECS in one region.
#[derive(Debug, Clone)]
pub struct EcsServices {
    client: Client,
    groups: TargetGroups,
}

/// The task sets of a service, as far as they matter.
struct Sets {
    /// The ARNs of the two target groups.
    groups: [String; 2],
    all: Vec<EcsTaskSet>,
}

impl Sets {
    /// Those in one of the two target groups that are not being ended.
    fn on(&self, side: u8) -> impl Iterator<Item = &EcsTaskSet> {
        let group = self.groups.get(usize::from(side)).cloned();
        self.all.iter().filter(move |set| is_in(set, group.as_deref()) && !is_over(set))
    }
}

impl EcsServices {
    /// The services that a client of this configuration reaches, and the target groups that their tasks are in.
    pub fn new(config: impl Into<Config>, groups: TargetGroups) -> Self {
        Self { client: Client::from_conf(config.into()), groups }
    }

    /// The service, if it can be deployed to.
    async fn described(&self, service: &Service) -> Result<EcsService, ServiceError> {
        let request = self.client.describe_services().cluster(&service.cluster);
        let found = request.services(&service.name).send().await;
        let found = found.map_err(|error| error_of(service, "DescribeServices", error))?;
        let found = found.services.unwrap_or_default().into_iter().next();
        let Some(found) = found.filter(|found| found.status.as_deref() == Some("ACTIVE")) else {
            return Err(refused(service, "there is no active service of that name".to_owned()));
        };
        match found.deployment_controller.as_ref().map(|controller| &controller.r#type) {
            Some(DeploymentControllerType::External) => Ok(found),
            other => Err(refused(service, migration(other))),
        }
    }

    async fn sets(&self, service: &Service) -> Result<Sets, ServiceError> {
        let [first, second] = &service.groups;
        let groups = [self.arn_of(service, first).await?, self.arn_of(service, second).await?];
        let found = self.described(service).await?;
        Ok(Sets { groups, all: found.task_sets.unwrap_or_default() })
    }

    async fn arn_of(&self, service: &Service, group: &str) -> Result<String, ServiceError> {
        match self.groups.ask_for(group).await {
            Ok(known) => Ok(known.arn),
            Err(error @ (BalancerError::Unknown { .. } | BalancerError::Refused { .. })) => {
                Err(refused(service, error.to_string()))
            }
            Err(error @ BalancerError::Unavailable { .. }) => {
                Err(ServiceError::Unavailable { name: name_of(service), source: Box::new(error) })
            }
        }
    }

    /// Ends what earlier deployments have left in the target group that new tasks are to be in.
    async fn clear(
        &self,
        service: &Service,
        sets: &Sets,
        side: u8,
        id: &DeploymentId,
    ) -> Result<(), ServiceError> {
        for left in sets.on(side).filter(|set| !is_of(set, id)) {
            if is_primary(left) {
                let Some(with_traffic) = sets.on(1 - side.min(1)).next() else {
                    let group = service.groups.get(usize::from(side)).cloned().unwrap_or_default();
                    let message = format!(
                        "its only tasks are in the target group `{group}`, and the listener sends the traffic to the other \
                         one: give `{group}` the traffic"
                    );
                    return Err(refused(service, message));
                };
                self.make_primary(service, with_traffic).await?;
            }
            self.end(service, left).await?;
        }
        Ok(())
    }

    async fn make_primary(&self, service: &Service, set: &EcsTaskSet) -> Result<(), ServiceError> {
        let request = self.client.update_service_primary_task_set();
        let request = request.cluster(&service.cluster).service(&service.name);
        let done = request.set_primary_task_set(set.task_set_arn.clone()).send().await;
        done.map(drop).map_err(|error| error_of(service, "UpdateServicePrimaryTaskSet", error))
    }

    async fn end(&self, service: &Service, set: &EcsTaskSet) -> Result<(), ServiceError> {
        let request = self.client.delete_task_set();
        let request = request.cluster(&service.cluster).service(&service.name);
        // Its tasks have no traffic, so that nothing is gained by scaling it down before.
        let request = request.set_task_set(set.task_set_arn.clone()).force(true);
        match request.send().await {
            Ok(_) => Ok(()),
            Err(error) if error.code() == Some("TaskSetNotFoundException") => Ok(()),
            Err(error) => Err(error_of(service, "DeleteTaskSet", error)),
        }
    }

    /// Makes the task set of a deployment. What the AppSpec does not say is as in the task set that has the traffic.
    async fn create(
        &self,
        service: &Service,
        group: &str,
        base: Option<&EcsTaskSet>,
        id: &DeploymentId,
    ) -> Result<EcsTaskSet, ServiceError> {
        let tasks = &service.tasks;
        let balancer = LoadBalancer::builder()
            .target_group_arn(group)
            .container_name(&tasks.container)
            .container_port(i32::from(tasks.port));
        let whole = Scale::builder().value(100.0).unit(ScaleUnit::Percent).build();
        let given: Vec<_> =
            tasks.capacity.iter().map(capacity_of).collect::<Result<_, _>>().map_err(|error| {
                ServiceError::Unavailable { name: name_of(service), source: Box::new(error) }
            })?;
        let base_capacity = base.and_then(|base| base.capacity_provider_strategy.clone());
        let capacity = if given.is_empty() { base_capacity.unwrap_or_default() } else { given };
        let launch = base.and_then(|base| base.launch_type.clone()).filter(|_| capacity.is_empty());
        let platform = tasks.platform_version.clone();
        let network = tasks.network.as_ref().map(network_of);
        let request = self.client.create_task_set();
        let request = request.cluster(&service.cluster).service(&service.name);
        let made = request
            .external_id(id.as_str())
            .client_token(id.as_str())
            .task_definition(&tasks.definition)
            .load_balancers(balancer.build())
            .set_network_configuration(
                network.or_else(|| base.and_then(|base| base.network_configuration.clone())),
            )
            .set_service_registries(base.and_then(|base| base.service_registries.clone()))
            .set_launch_type(launch)
            .set_capacity_provider_strategy(Some(capacity).filter(|of| !of.is_empty()))
            .set_platform_version(
                platform.or_else(|| base.and_then(|base| base.platform_version.clone())),
            )
            .scale(base.and_then(|base| base.scale.clone()).unwrap_or(whole))
            .send()
            .await
            .map_err(|error| error_of(service, "CreateTaskSet", error))?;
        made.task_set.ok_or_else(|| {
            refused(
                service,
                "ECS did not tell of the task set that it was to make: deploy again".to_owned(),
            )
        })
    }

    /// Refuses a task set whose tasks stop again and again, with what ECS says of one of them.
    async fn check_tasks(&self, service: &Service, set: &EcsTaskSet) -> Result<(), ServiceError> {
        let request = self.client.list_tasks().cluster(&service.cluster);
        let request = request.set_started_by(set.id.clone()).desired_status(DesiredStatus::Stopped);
        let found = request.send().await.map_err(|error| error_of(service, "ListTasks", error))?;
        let stopped = found.task_arns.unwrap_or_default();
        let Some(first) = stopped.first() else { return Ok(()) };
        let half = usize::try_from(set.computed_desired_count).unwrap_or(0).div_ceil(2);
        if stopped.len() < half.clamp(FAILURES.0, FAILURES.1) {
            return Ok(());
        }
        let request = self.client.describe_tasks().cluster(&service.cluster).tasks(first);
        let found = request.send().await;
        let found = found.map_err(|error| error_of(service, "DescribeTasks", error))?;
        let reason =
            found.tasks.unwrap_or_default().into_iter().find_map(|task| task.stopped_reason);
        let reason = reason.unwrap_or_else(|| "ECS gives no reason".to_owned());
        let count = stopped.len();
        let message = format!("{count} of them have stopped, the last one because: {reason}");
        Err(ServiceError::Failing { name: name_of(service), message })
    }
}

#[async_trait]
impl Services for EcsServices {
    async fn check(&self, service: &Service) -> Result<(), ServiceError> {
        self.described(service).await.map(drop)
    }

    async fn bring_up(
        &self,
        service: &Service,
        side: u8,
        id: &DeploymentId,
    ) -> Result<Vec<TaskSet>, ServiceError> {
        let mut sets = self.sets(service).await?;
        self.clear(service, &sets, side, id).await?;
        sets.all.retain(|set| {
            !is_in(set, sets.groups.get(usize::from(side)).map(String::as_str)) || is_of(set, id)
        });
        if sets.on(side).next().is_none() {
            let group = sets.groups.get(usize::from(side)).cloned().unwrap_or_default();
            let base = sets.on(1 - side.min(1)).next();
            let made = self.create(service, &group, base, id).await?;
            sets.all.push(made);
        }
        for set in sets.on(side).filter(|set| !is_steady(set)) {
            self.check_tasks(service, set).await?;
        }
        let shown = |side: u8| sets.on(side).map(move |set| shown(set, side)).collect::<Vec<_>>();
        Ok([shown(0), shown(1)].concat())
    }

    async fn keep_only(&self, service: &Service, kept: u8) -> Result<bool, ServiceError> {
        let sets = self.sets(service).await?;
        let left: Vec<&EcsTaskSet> = sets.on(1 - kept.min(1)).collect();
        if left.is_empty() {
            return Ok(true);
        }
        match sets.on(kept).next() {
            Some(kept) if !is_primary(kept) => self.make_primary(service, kept).await?,
            Some(_) => {}
            // Of a service that had no tasks before, those that are not wanted are ended all the same.
            None if left.iter().any(|set| is_primary(set)) => {
                let message = "no task set is left in the other target group to become the primary one: deploy to it, or end \
                               this one by hand";
                return Err(refused(service, message.to_owned()));
            }
            None => {}
        }
        for set in left {
            self.end(service, set).await?;
        }
        Ok(self.sets(service).await?.on(1 - kept.min(1)).next().is_none())
    }
}

fn name_of(service: &Service) -> String {
    format!("{}:{}", service.cluster, service.name)
}

fn refused(service: &Service, message: String) -> ServiceError {
    ServiceError::Refused { name: name_of(service), message }
}

/// Why a service of another deployment controller is not deployed to, and how one comes to be that is.
fn migration(kind: Option<&DeploymentControllerType>) -> String {
    let kind = kind.map_or("ECS", DeploymentControllerType::as_str);
    format!(
        "its deployment controller is `{kind}`, and it has to be `EXTERNAL`. ECS does not change that of a service: create \
         one beside it with `--deployment-controller type=EXTERNAL` and the same desired count, name it in the group's \
         ecsServices, deploy, and delete the old one when the new one has the traffic (docs/semantics.md#ecs)"
    )
}

fn is_in(set: &EcsTaskSet, group: Option<&str>) -> bool {
    let balancers = set.load_balancers.iter().flatten();
    balancers
        .filter_map(|balancer| balancer.target_group_arn.as_deref())
        .any(|arn| Some(arn) == group)
}

fn is_of(set: &EcsTaskSet, id: &DeploymentId) -> bool {
    set.external_id.as_deref() == Some(id.as_str())
}

fn is_primary(set: &EcsTaskSet) -> bool {
    set.status.as_deref() == Some("PRIMARY")
}

fn is_over(set: &EcsTaskSet) -> bool {
    set.status.as_deref() == Some("DRAINING")
}

fn is_steady(set: &EcsTaskSet) -> bool {
    set.stability_status == Some(StabilityStatus::SteadyState)
        && set.pending_count == 0
        && set.running_count >= set.computed_desired_count
}

fn shown(set: &EcsTaskSet, side: u8) -> TaskSet {
    let count = |number: i32| u32::try_from(number).unwrap_or(0);
    TaskSet {
        id: set.id.clone().unwrap_or_default(),
        side,
        desired: count(set.computed_desired_count),
        pending: count(set.pending_count),
        running: count(set.running_count),
        is_steady: is_steady(set),
    }
}

fn network_of(network: &Network) -> NetworkConfiguration {
    let public =
        if network.assign_public_ip { AssignPublicIp::Enabled } else { AssignPublicIp::Disabled };
    let vpc = AwsVpcConfiguration::builder()
        .set_subnets(Some(network.subnets.clone()))
        .set_security_groups(Some(network.security_groups.clone()))
        .assign_public_ip(public);
    NetworkConfiguration::builder().set_awsvpc_configuration(vpc.build().ok()).build()
}

fn capacity_of(
    capacity: &Capacity,
) -> Result<CapacityProviderStrategyItem, aws_sdk_ecs::error::BuildError> {
    let number = |number: u32| i32::try_from(number).unwrap_or(i32::MAX);
    CapacityProviderStrategyItem::builder()
        .capacity_provider(&capacity.provider)
        .base(number(capacity.base))
        .weight(number(capacity.weight))
        .build()
}

fn error_of<E, R>(service: &Service, operation: &'static str, error: SdkError<E, R>) -> ServiceError
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    R: std::fmt::Debug + Send + Sync + HasStatus + 'static,
{
    let code = error.code().unwrap_or_default().to_owned();
    match cloud_error(SERVICE, operation, error) {
        CloudError::Refused { message, .. } => {
            let hint = match code.as_str() {
                "AccessDenied" | "AccessDeniedException" => {
                    "; does the service carry the tag `cutover` with the name of Cutover's stack?"
                }
                _ => "",
            };
            refused(service, format!("{operation}: {message}{hint}"))
        }
        error @ CloudError::Unavailable { .. } => {
            ServiceError::Unavailable { name: name_of(service), source: Box::new(error) }
        }
    }
}
