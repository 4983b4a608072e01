//! `cutover init`: makes an application and a group.

use serde_json::json;
use wire::codedeploy::{
    Alarm, AlarmConfiguration, AutoRollbackConfiguration, AutoRollbackEvent,
    BlueGreenDeploymentConfiguration, BlueInstanceTerminationOption, ComputePlatform,
    CreateApplication, CreateDeploymentGroup, DeleteApplication, DeploymentOption,
    DeploymentReadyAction, DeploymentReadyOption, DeploymentStyle, DeploymentType, Ec2TagSet,
    ErrorName, GetDeploymentGroup, GroupSettings, InstanceAction, LoadBalancerInfo,
    OnPremisesTagSet, TagFilter, TagFilterType, TargetGroupInfo, UpdateDeploymentGroup,
};

use super::Context;
use crate::client::Client;
use crate::failure::{Exit, Failure};
use crate::names::{GroupName, tag};
use crate::output::{self, Format};

/// CodeDeploy wants a role to be named; Cutover does not use it.
const ROLE: &str = "arn:aws:iam::000000000000:role/cutover";

/// Makes an application and a group of hosts, or changes the group if it exists
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  cutover init shop/web --tag role=web --config CodeDeployDefault.HalfAtATime --auto-rollback"
)]
pub(crate) struct Args {
    /// The application and the group
    #[arg(value_name = "APP/GROUP")]
    group: GroupName,
    /// A tag that the group's hosts have; given more than once, hosts need all of them. At home the default is `home=yes`,
    /// which is every host; in the cloud, tags of EC2 instances and of registered hosts both count
    #[arg(long = "tag", value_name = "K=V", value_parser = tag)]
    tags: Vec<(String, String)>,
    /// The deployment configuration, CodeDeployDefault.OneAtATime by default
    #[arg(long, value_name = "NAME")]
    config: Option<String>,
    /// Roll back when a deployment fails, and when an alarm stops it
    #[arg(long)]
    auto_rollback: bool,
    /// A target group that the hosts get their traffic from, as `home:NAME` or `haproxy:NAME`
    #[arg(long = "balancer", value_name = "NAME")]
    balancers: Vec<String>,
    /// The hosts get no traffic that a balancer counts on: deployments take them out of none
    #[arg(long, conflicts_with_all = ["balancers", "blue_green"])]
    no_balancer: bool,
    /// Deploy to the hosts without traffic, then move the traffic: between two target groups of one balancer, or by
    /// exchanging the hosts of a single target group
    #[arg(long, requires = "balancers")]
    blue_green: bool,
    /// Wait this long for `cutover continue` before the traffic moves; after that the deployment stops
    #[arg(long, value_name = "MINUTES", requires = "blue_green")]
    ready_wait: Option<u16>,
    /// Keep the old version this long after all traffic has moved, so that an alarm can still take the traffic back
    #[arg(long, value_name = "MINUTES", requires = "blue_green")]
    keep: Option<u16>,
    /// Terminate the old instances when that time is over
    #[arg(long, requires = "blue_green")]
    terminate: bool,
    /// An alarm that stops a deployment, as `home:web error_rate>5%` or `prometheus:EXPRESSION`
    #[arg(long = "alarm", value_name = "ALARM")]
    alarms: Vec<String>,
    /// No alarm stops a deployment
    #[arg(long, conflicts_with = "alarms")]
    no_alarm: bool,
}

/// What became of the group.
enum Made {
    Created,
    Updated,
    Unchanged,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<Exit, Failure> {
    let client = context.connect()?;
    ensure_hosts(&client, &args).await?;
    let application_created = create_application(&client, &args.group.application).await?;
    let group = match create_or_update(&client, &args).await {
        Err(failure) if application_created => {
            // Nothing is left of what was refused. If this fails as well, the first reason is the one to hear of.
            let application_name = Some(args.group.application.clone());
            drop(client.call(&DeleteApplication { application_name }).await);
            return Err(failure);
        }
        made => made?,
    };
    let GroupName { application, group: name } = &args.group;
    match context.format {
        Format::Json => output::json(&json!({
            "applicationName": application,
            "applicationCreated": application_created,
            "deploymentGroupName": name,
            "deploymentGroupCreated": matches!(group, Made::Created),
            "deploymentGroupUpdated": matches!(group, Made::Updated),
        })),
        Format::Text => {
            let verb = if application_created { "created" } else { "exists" };
            output::line(&format!("application {application} {verb}"));
            let what = match group {
                Made::Created => "created",
                Made::Updated => "exists; it was updated with the given options",
                Made::Unchanged => "exists; nothing was changed",
            };
            output::line(&format!("group {} {what}", args.group));
            output::note(&format!("next: cutover push DIR {application}"));
        }
    }
    Ok(Exit::Done)
}

/// At home all hosts are meant if no tags are given. In the cloud that would be a group without hosts, of which only its
/// first deployment tells.
async fn ensure_hosts(client: &Client, args: &Args) -> Result<(), Failure> {
    if !args.tags.is_empty() || !client.connection().origin.is_cloud() {
        return Ok(());
    }
    let GroupName { application, group } = &args.group;
    let request = GetDeploymentGroup {
        application_name: Some(application.clone()),
        deployment_group_name: Some(group.clone()),
    };
    match client.call(&request).await {
        Ok(_) => Ok(()),
        Err(error)
            if error.is(ErrorName::ApplicationDoesNotExist)
                || error.is(ErrorName::DeploymentGroupDoesNotExist) =>
        {
            let message = format!(
                "the group {} does not exist, and no tag says which hosts are its own",
                args.group
            );
            Err(Failure::new(Exit::WrongUse, message).hint(format!(
                "`cutover init {} --tag KEY=VALUE` makes it of the hosts with that tag",
                args.group
            )))
        }
        Err(error) => Err(error.into()),
    }
}

/// Whether it had to be created.
async fn create_application(client: &Client, name: &str) -> Result<bool, Failure> {
    let request = CreateApplication {
        application_name: Some(name.to_owned()),
        compute_platform: Some(ComputePlatform::Server.name().to_owned()),
        ..CreateApplication::default()
    };
    match client.call(&request).await {
        Ok(_) => Ok(true),
        Err(error) if error.is(ErrorName::ApplicationAlreadyExists) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

async fn create_or_update(client: &Client, args: &Args) -> Result<Made, Failure> {
    let home = [("home".to_owned(), "yes".to_owned())];
    let is_cloud = client.connection().origin.is_cloud();
    let given = settings(args, &args.tags, is_cloud);
    let tags = if args.tags.is_empty() { &home[..] } else { &args.tags };
    let made = settings(args, tags, is_cloud);
    let request = CreateDeploymentGroup {
        application_name: Some(args.group.application.clone()),
        deployment_group_name: Some(args.group.group.clone()),
        settings: GroupSettings { service_role_arn: Some(ROLE.to_owned()), ..made },
        ..CreateDeploymentGroup::default()
    };
    match client.call(&request).await {
        Ok(_) => return Ok(Made::Created),
        Err(error) if error.is(ErrorName::DeploymentGroupAlreadyExists) => {}
        Err(error) => return Err(error.into()),
    }
    if given == GroupSettings::default() {
        return Ok(Made::Unchanged);
    }
    let request = UpdateDeploymentGroup {
        application_name: Some(args.group.application.clone()),
        current_deployment_group_name: Some(args.group.group.clone()),
        settings: given,
        ..UpdateDeploymentGroup::default()
    };
    client.call(&request).await?;
    Ok(Made::Updated)
}

/// The settings that are given; each tag is a group of filters of its own, so that a host needs all of them.
/// In the cloud they are looked for on EC2 instances as well as on registered hosts.
fn settings(args: &Args, tags: &[(String, String)], is_cloud: bool) -> GroupSettings {
    let filter = |(key, value): &(String, String)| {
        vec![TagFilter {
            key: Some(key.clone()),
            value: Some(value.clone()),
            r#type: Some(TagFilterType::KeyAndValue.name().to_owned()),
        }]
    };
    let filters: Vec<_> = tags.iter().map(filter).collect();
    let ec2_tag_set = (is_cloud && !tags.is_empty())
        .then(|| Ec2TagSet { ec2_tag_set_list: Some(filters.clone()) });
    let on_premises_tag_set =
        (!tags.is_empty()).then_some(OnPremisesTagSet { on_premises_tag_set_list: Some(filters) });
    let auto_rollback_configuration = args.auto_rollback.then(|| AutoRollbackConfiguration {
        enabled: Some(true),
        events: Some(
            [AutoRollbackEvent::DeploymentFailure, AutoRollbackEvent::DeploymentStopOnAlarm]
                .map(|event| event.name().to_owned())
                .into(),
        ),
    });
    let name = |name: &String| Some(name.clone());
    let groups = args.balancers.iter().map(|group| TargetGroupInfo { name: name(group) });
    let alarms = args.alarms.iter().map(|alarm| Alarm { name: name(alarm) });
    // Nothing that is named, or that nothing shall be.
    let is_said = args.no_balancer || !args.balancers.is_empty();
    let option = match args.no_balancer {
        true => DeploymentOption::WithoutTrafficControl,
        false => DeploymentOption::WithTrafficControl,
    };
    let kind = if args.blue_green { DeploymentType::BlueGreen } else { DeploymentType::InPlace };
    GroupSettings {
        deployment_config_name: args.config.clone(),
        ec2_tag_set,
        on_premises_tag_set,
        auto_rollback_configuration,
        load_balancer_info: is_said.then(|| LoadBalancerInfo {
            target_group_info_list: Some(groups.collect()),
            ..LoadBalancerInfo::default()
        }),
        deployment_style: is_said.then(|| DeploymentStyle {
            deployment_type: Some(kind.name().to_owned()),
            deployment_option: Some(option.name().to_owned()),
        }),
        blue_green_deployment_configuration: args.blue_green.then(|| blue_green(args)),
        alarm_configuration: (args.no_alarm || !args.alarms.is_empty()).then(|| {
            AlarmConfiguration {
                enabled: Some(!args.no_alarm),
                alarms: Some(alarms.collect()),
                ..AlarmConfiguration::default()
            }
        }),
        ..GroupSettings::default()
    }
}

/// How a blue/green deployment waits.
fn blue_green(args: &Args) -> BlueGreenDeploymentConfiguration {
    let ready = match args.ready_wait {
        Some(_) => DeploymentReadyAction::StopDeployment,
        None => DeploymentReadyAction::ContinueDeployment,
    };
    let old = if args.terminate { InstanceAction::Terminate } else { InstanceAction::KeepAlive };
    BlueGreenDeploymentConfiguration {
        deployment_ready_option: Some(DeploymentReadyOption {
            action_on_timeout: Some(ready.name().to_owned()),
            wait_time_in_minutes: args.ready_wait.map(i32::from),
        }),
        terminate_blue_instances_on_deployment_success: Some(BlueInstanceTerminationOption {
            action: Some(old.name().to_owned()),
            termination_wait_time_in_minutes: args.keep.map(i32::from),
        }),
        green_fleet_provisioning_option: None,
    }
}
