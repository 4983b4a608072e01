//! What calls are made on, and where that is in the notation of the template.

use super::function::Function;

/// What calls are made on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum On {
    /// The function's log group.
    Log,
    /// Items of the table.
    Table,
    /// The table and its indexes.
    Lists,
    /// The table's stream.
    Stream,
    /// What was uploaded.
    Revisions,
    /// Bytes of registered revisions.
    Bundles,
    /// Their names.
    BundleNames,
    /// Runners, in the same bucket.
    Runners,
    /// The queue of `revision_intake`.
    Uploads,
    /// The queue of `deployment_stepper`.
    Wakes,
    /// The queue of `hook_dispatcher`.
    Commands,
    /// The queue of `fleet_watcher`.
    Fleet,
    /// What of the latter was given up.
    FleetDead,
    /// The queue of `traffic_evaluator`.
    Traffic,
    /// What of the stream was given up.
    Unheard,
    /// The stack's document, and hosts with the stack's tag: a command needs a right on each.
    Hosts,
    /// Instances with the stack's tag.
    Instances,
    /// Auto Scaling groups with the stack's tag.
    Groups,
    /// Those of them that a deployment has made.
    Copies,
    /// Groups that are made with the stack's tag, and with the one that says which deployment makes them.
    NewCopies,
    /// The tags of copies, as far as they are Cutover's own.
    CopyTags,
    /// What instances of a launch template are made of.
    Launches,
    /// What is tagged while an instance is launched.
    LaunchTags,
    /// Roles that the user has named, for instances and hooks of copied groups.
    CopiedRoles,
    /// Target groups with the stack's tag.
    TargetGroups,
    /// Listeners with the stack's tag.
    Listeners,
    /// Rules of listeners with the stack's tag.
    Rules,
    /// Lambda functions with the stack's tag.
    Functions,
    /// Services of ECS with the stack's tag.
    Services,
    /// Task sets of services of ECS.
    TaskSets,
    /// Tasks of ECS.
    Tasks,
    /// Roles that tasks of ECS have.
    TaskRoles,
    /// The service knows nothing narrower; then [`UNBOUNDED`] has the action.
    Anything,
}

/// Where a right holds, in the notation of the template's `!Sub`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The resource. Where the template chooses one by a condition, there is a place for each.
    pub resource: String,
    /// On which condition: operator, key and value; empty for none.
    pub condition: String,
}

impl On {
    /// Why a right on it is as wide as it is; empty where it holds for one thing of the stack, or for what has its tag.
    pub fn why(self) -> &'static str {
        match self {
            Self::Anything => {
                "The services know no narrower resource for these; `UNBOUNDED` has the reason of each."
            }
            Self::Hosts => {
                "A command needs a right on its document, and on hosts: those with the stack's tag alone."
            }
            Self::Copies | Self::NewCopies => {
                "Copies of Auto Scaling groups have the stack's tag, and one that says which deployment has made them."
            }
            Self::Launches | Self::LaunchTags | Self::CopiedRoles => {
                "What Auto Scaling asks of whoever makes a group with a launch template."
            }
            Self::TaskSets => {
                "Task sets have no tags of the stack; the service was read before, by its tag."
            }
            Self::Tasks => "Tasks of services that were read by their tag.",
            Self::TaskRoles => "Roles that ECS gives to tasks, and nobody else.",
            Self::Log
            | Self::Runners
            | Self::Bundles
            | Self::Table
            | Self::Lists
            | Self::Stream
            | Self::Revisions
            | Self::BundleNames
            | Self::Uploads
            | Self::Wakes
            | Self::Commands
            | Self::Fleet
            | Self::FleetDead
            | Self::Traffic
            | Self::Unheard
            | Self::Instances
            | Self::Groups
            | Self::CopyTags
            | Self::TargetGroups
            | Self::Listeners
            | Self::Rules
            | Self::Functions
            | Self::Services => "",
        }
    }

    /// The places.
    pub fn places(self, function: Function) -> Vec<Place> {
        let log = format!("${{{}Log.Arn}}", function.resource());
        let resources = match self {
            Self::Log => vec![log.as_str()],
            Self::Table => vec!["${Table.Arn}"],
            Self::Lists => vec!["${Table.Arn}", "${Table.Arn}/index/*"],
            Self::Stream => vec!["${Table.StreamArn}"],
            Self::Revisions => vec!["${Revisions.Arn}/*"],
            Self::Bundles => vec!["${Bundles.Arn}/bundles/*"],
            Self::BundleNames => {
                return vec![place("${Bundles.Arn}", "StringEquals s3:prefix bundles/")];
            }
            Self::Runners => vec!["${Bundles.Arn}/runners/*"],
            Self::Uploads => vec!["${Uploads.Arn}"],
            Self::Wakes => vec!["${Wakes.Arn}"],
            Self::Commands => vec!["${Commands.Arn}"],
            Self::Fleet => vec!["${Fleet.Arn}"],
            Self::FleetDead => vec!["${FleetDead.Arn}"],
            Self::Traffic => vec!["${Traffic.Arn}"],
            Self::Unheard => vec!["${Unheard.Arn}"],
            Self::Hosts => return host_places(),
            Self::Instances => return tagged("ec2", "instance/*"),
            Self::Groups => {
                return tagged("autoscaling", "autoScalingGroup:*:autoScalingGroupName/*");
            }
            Self::Copies => return copies("aws:ResourceTag", ""),
            Self::NewCopies => return copies("aws:RequestTag", ""),
            Self::CopyTags => {
                return copies(
                    "aws:ResourceTag",
                    "ForAllValues:StringEquals aws:TagKeys cutover:sized; ",
                );
            }
            Self::Launches => {
                let template = within("ec2", "launch-template/*");
                let condition = format!("ArnLike ec2:LaunchTemplate {template}");
                let all = "arn:${AWS::Partition}:ec2:${AWS::Region}:*:*/*";
                return vec![place(all, &condition)];
            }
            Self::LaunchTags => {
                let launch = "StringEquals ec2:CreateAction RunInstances";
                return vec![place(&within("ec2", "*/*"), launch)];
            }
            Self::CopiedRoles => {
                let services = "ec2.${AWS::URLSuffix} autoscaling.amazonaws.com";
                let condition = format!("StringEquals iam:PassedToService {services}");
                return vec![place("${CopiedRoleArns}", &condition)];
            }
            Self::TargetGroups => return tagged("elasticloadbalancing", "targetgroup/*"),
            Self::Listeners => return tagged("elasticloadbalancing", "listener/*"),
            Self::Rules => return tagged("elasticloadbalancing", "listener-rule/*"),
            Self::Functions => return tagged("lambda", "function:*"),
            Self::Services => return tagged("ecs", "service/*"),
            Self::TaskSets => return vec![place(&within("ecs", "task-set/*"), "")],
            Self::Tasks => return vec![place(&within("ecs", "task/*"), "")],
            Self::TaskRoles => {
                let roles = "arn:${AWS::Partition}:iam::${AWS::AccountId}:role/*";
                return vec![place(
                    roles,
                    "StringEquals iam:PassedToService ecs-tasks.amazonaws.com",
                )];
            }
            Self::Anything => vec!["*"],
        };
        resources.into_iter().map(|resource| place(resource, "")).collect()
    }
}

/// What of a service is in the stack's account and region.
fn within(service: &str, resource: &str) -> String {
    format!("arn:${{AWS::Partition}}:{service}:${{AWS::Region}}:${{AWS::AccountId}}:{resource}")
}

/// What of a service carries the stack's tag.
fn tagged(service: &str, resource: &str) -> Vec<Place> {
    vec![place(
        &within(service, resource),
        "StringEquals aws:ResourceTag/cutover ${AWS::StackName}",
    )]
}

/// Auto Scaling groups whose tags, on them or in the request for them, say that they are the stack's, and made by a
/// deployment.
fn copies(tags: &str, further: &str) -> Vec<Place> {
    let groups = within("autoscaling", "autoScalingGroup:*:autoScalingGroupName/*");
    let made = format!("Null {tags}/cutover:made-by false");
    let of_stack = format!("StringEquals {tags}/cutover ${{AWS::StackName}}");
    vec![place(&groups, &format!("{further}{made}; {of_stack}"))]
}

fn host_places() -> Vec<Place> {
    let own = "arn:${AWS::Partition}:ssm:${AWS::Region}:${AWS::AccountId}:document/${Document}";
    let emulated = "arn:${AWS::Partition}:ssm:${AWS::Region}::document/AWS-RunShellScript";
    let hosts = "arn:${AWS::Partition}:ec2:${AWS::Region}:${AWS::AccountId}:instance/*";
    let tagged = "StringEquals ssm:resourceTag/cutover ${AWS::StackName}";
    vec![place(own, ""), place(emulated, ""), place(hosts, tagged)]
}

/// The key: the stack's own, or the one that its user has named.
pub(super) fn key_places() -> Vec<Place> {
    let through = ["dynamodb", "s3", "sqs"]
        .map(|service| format!("{service}.${{AWS::Region}}.${{AWS::URLSuffix}}"))
        .join(" ");
    let condition = format!("StringEquals kms:ViaService {through}");
    ["${Key.Arn}", "${KeyArn}"].map(|resource| place(resource, &condition)).into()
}

fn place(resource: &str, condition: &str) -> Place {
    Place { resource: resource.to_owned(), condition: condition.to_owned() }
}
