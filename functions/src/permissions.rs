//! What the functions ask of AWS, and the rights that they need for it: one table, which the roles in `template.yaml`
//! are held against by a test, right for right.
//!
//! A new call of an adapter is a new row here and a new right in the template; the test says which is missing, or spare.

use std::collections::BTreeSet;

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

/// What calls are made on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
fn key_places() -> Vec<Place> {
    let through = ["dynamodb", "s3", "sqs"]
        .map(|service| format!("{service}.${{AWS::Region}}.${{AWS::URLSuffix}}"))
        .join(" ");
    let condition = format!("StringEquals kms:ViaService {through}");
    ["${Key.Arn}", "${KeyArn}"].map(|resource| place(resource, &condition)).into()
}

fn place(resource: &str, condition: &str) -> Place {
    Place { resource: resource.to_owned(), condition: condition.to_owned() }
}

/// The actions that are allowed on everything, and why no less will do.
pub const UNBOUNDED: [(&str, &str); 17] = [
    ("autoscaling:DescribeAutoScalingGroups", "a list; Auto Scaling knows no resource for it"),
    ("autoscaling:DescribeLifecycleHooks", "a list; Auto Scaling knows no resource for it"),
    (
        "autoscaling:DescribeNotificationConfigurations",
        "a list; Auto Scaling knows no resource for it",
    ),
    ("autoscaling:DescribePolicies", "a list; Auto Scaling knows no resource for it"),
    ("autoscaling:DescribeScalingActivities", "a list; Auto Scaling knows no resource for it"),
    ("autoscaling:DescribeScheduledActions", "a list; Auto Scaling knows no resource for it"),
    (
        "cloudwatch:DescribeAlarms",
        "CloudWatch tells of alarms that are composed of others only whom it tells of all",
    ),
    (
        "dynamodb:ListStreams",
        "Lambda wants it for a stream's mapping; DynamoDB knows no resource for it",
    ),
    ("ec2:DescribeInstances", "a list; EC2 knows no resource for it"),
    ("ecs:CreateTaskSet", "ECS knows no resource for it; the service was read before, by its tag"),
    ("ecs:ListTasks", "a list; ECS knows no resource for it"),
    (
        "elasticloadbalancing:DescribeListeners",
        "a list; Elastic Load Balancing knows no resource for it",
    ),
    (
        "elasticloadbalancing:DescribeRules",
        "a list; Elastic Load Balancing knows no resource for it",
    ),
    (
        "elasticloadbalancing:DescribeTargetGroups",
        "a list; Elastic Load Balancing knows no resource for it",
    ),
    (
        "elasticloadbalancing:DescribeTargetHealth",
        "a list; Elastic Load Balancing knows no resource for it",
    ),
    ("ssm:DescribeInstanceInformation", "a list; Systems Manager knows no resource for it"),
    ("ssm:GetCommandInvocation", "Systems Manager gives commands no resource"),
];

use Function::{
    Api, DeploymentStepper, FleetWatcher, HookDispatcher, RevisionIntake, TrafficEvaluator,
};

const ALL: &[Function] = &Function::ALL;
/// Those that advance deployments, and hand over what shall be done.
const DRIVERS: &[Function] = &[DeploymentStepper, TrafficEvaluator];
const INTAKE: &[Function] = &[RevisionIntake];
const STEPPER: &[Function] = &[DeploymentStepper];
const DISPATCHER: &[Function] = &[HookDispatcher];
const WATCHER: &[Function] = &[FleetWatcher];
const EVALUATOR: &[Function] = &[TrafficEvaluator];
/// Those that look at balancers: for hosts that wait, for what is withdrawn, and for hosts that may be changed.
const BALANCING: &[Function] = &[TrafficEvaluator, Api, FleetWatcher];
/// Those that take hosts out, and let them in.
const IN_AND_OUT: &[Function] = &[TrafficEvaluator, Api];

const NO_KEY: &[&str] = &[];
/// What reading something that is encrypted takes.
const DECRYPTS: &[&str] = &["kms:Decrypt"];
/// What keeping an object takes.
const ENCRYPTS: &[&str] = &["kms:GenerateDataKey"];
/// What sending a message takes: SQS uses a data key again, and reads it for that.
const SENDS: &[&str] = &["kms:Decrypt", "kms:GenerateDataKey"];

/// What Lambda does with a queue that it reads for a function.
const RECEIVES: &[&str] = &["sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:ReceiveMessage"];

/// The table.
pub const CALLS: &[Call] = &[
    // Records.
    call("Table::get", "dynamodb:GetItem", On::Table, DECRYPTS, ALL),
    call("Table::get_many", "dynamodb:BatchGetItem", On::Table, DECRYPTS, ALL),
    call("Table::query, query_index", "dynamodb:Query", On::Lists, DECRYPTS, ALL),
    call("Table::write, of one", "dynamodb:PutItem", On::Table, DECRYPTS, ALL),
    call("Table::write, of one", "dynamodb:DeleteItem", On::Table, DECRYPTS, ALL),
    call("Table::write, of several", "dynamodb:TransactWriteItems", On::Table, DECRYPTS, ALL)
        .needs(&["dynamodb:ConditionCheckItem", "dynamodb:DeleteItem", "dynamodb:PutItem"]),
    // Bundles and runners.
    call("Bundles::pin", "s3:GetObject", On::Revisions, DECRYPTS, INTAKE)
        .needs(&["s3:GetObject", "s3:GetObjectVersion"]),
    call("Bundles::read", "s3:GetObject", On::Revisions, DECRYPTS, &[RevisionIntake, Api])
        .needs(&["s3:GetObject", "s3:GetObjectVersion"]),
    call("Bundles::pin", "s3:HeadObject", On::Bundles, DECRYPTS, INTAKE).needs(&["s3:GetObject"]),
    call("Bundles::pin", "s3:PutObject", On::Bundles, ENCRYPTS, INTAKE),
    call("Bundles::kept_before", "s3:ListObjectsV2", On::BundleNames, NO_KEY, INTAKE)
        .needs(&["s3:ListBucket"]),
    call("Bundles::remove", "s3:HeadObject", On::Bundles, DECRYPTS, INTAKE)
        .needs(&["s3:GetObject"]),
    call("Bundles::remove", "s3:DeleteObject", On::Bundles, NO_KEY, INTAKE)
        .needs(&["s3:DeleteObject", "s3:DeleteObjectVersion"]),
    call("S3Bundles::keep_runner", "s3:HeadObject", On::Runners, DECRYPTS, DISPATCHER)
        .needs(&["s3:GetObject"]),
    call("S3Bundles::keep_runner", "s3:PutObject", On::Runners, ENCRYPTS, DISPATCHER),
    // These two sign a URL. It is a host that calls, with the right of the function.
    call("Bundles::url", "s3:GetObject", On::Bundles, DECRYPTS, &[Api]),
    call("Bundles::runner_url", "s3:GetObject", On::Runners, DECRYPTS, &[Api]),
    // Errands and wakes.
    call("Errands::hand_over", "sqs:SendMessage", On::Uploads, SENDS, DRIVERS),
    call("Errands::hand_over", "sqs:SendMessage", On::Commands, SENDS, DRIVERS),
    call("Errands::hand_over", "sqs:SendMessage", On::Fleet, SENDS, DRIVERS),
    call("Errands::hand_over", "sqs:SendMessage", On::Traffic, SENDS, STEPPER),
    call("Errands::keep_up", "sqs:SendMessage", On::Fleet, SENDS, DRIVERS),
    call("Errands::keep_up", "sqs:SendMessage", On::Fleet, SENDS, &[FleetWatcher, Api]),
    call("Errands::handle_again", "sqs:SendMessage", On::Uploads, SENDS, EVALUATOR),
    call("Bell::ring_at, park", "sqs:SendMessage", On::Wakes, SENDS, DRIVERS),
    call("Redelivery::hasten", "sqs:ChangeMessageVisibility", On::Uploads, NO_KEY, INTAKE),
    call("Redelivery::hasten", "sqs:ChangeMessageVisibility", On::Wakes, NO_KEY, STEPPER),
    call("Redelivery::hasten", "sqs:ChangeMessageVisibility", On::Commands, NO_KEY, DISPATCHER),
    call("Redelivery::hasten", "sqs:ChangeMessageVisibility", On::Fleet, NO_KEY, WATCHER),
    call("Redelivery::hasten", "sqs:ChangeMessageVisibility", On::Traffic, NO_KEY, EVALUATOR),
    // Commands to hosts.
    call("Push::send", "ssm:SendCommand", On::Hosts, NO_KEY, DISPATCHER),
    call("Push::outcome", "ssm:GetCommandInvocation", On::Anything, NO_KEY, DISPATCHER),
    call(
        "Push::reachable",
        "ssm:DescribeInstanceInformation",
        On::Anything,
        NO_KEY,
        &[HookDispatcher, FleetWatcher],
    ),
    // The fleet.
    call(
        "Fleet::select, describe",
        "ec2:DescribeInstances",
        On::Anything,
        NO_KEY,
        &[HookDispatcher, FleetWatcher, TrafficEvaluator],
    ),
    call("Fleet::terminate", "ec2:TerminateInstances", On::Instances, NO_KEY, EVALUATOR),
    call(
        "Scaling::terminate",
        "autoscaling:TerminateInstanceInAutoScalingGroup",
        On::Groups,
        NO_KEY,
        EVALUATOR,
    ),
    call(
        "Scaling::running, copy, delete_copy",
        "autoscaling:DescribeAutoScalingGroups",
        On::Anything,
        NO_KEY,
        &[FleetWatcher, TrafficEvaluator],
    ),
    call("Scaling::keep_hooks, copy", "autoscaling:PutLifecycleHook", On::Groups, NO_KEY, WATCHER),
    call("Scaling::keep_hooks", "autoscaling:DeleteLifecycleHook", On::Groups, NO_KEY, WATCHER),
    call(
        "Scaling::heartbeat",
        "autoscaling:RecordLifecycleActionHeartbeat",
        On::Groups,
        NO_KEY,
        WATCHER,
    ),
    call("Scaling::release", "autoscaling:CompleteLifecycleAction", On::Groups, NO_KEY, WATCHER),
    call(
        "Scaling::set_suspended, copy",
        "autoscaling:SuspendProcesses",
        On::Groups,
        NO_KEY,
        WATCHER,
    ),
    call("Scaling::set_suspended", "autoscaling:ResumeProcesses", On::Groups, NO_KEY, WATCHER),
    // Copies of groups.
    call("Scaling::copy", "autoscaling:CreateAutoScalingGroup", On::NewCopies, NO_KEY, WATCHER),
    call("Scaling::copy", "autoscaling:UpdateAutoScalingGroup", On::Copies, NO_KEY, WATCHER),
    call("Scaling::copy", "autoscaling:CreateOrUpdateTags", On::CopyTags, NO_KEY, WATCHER),
    call("Scaling::copy", "autoscaling:EnableMetricsCollection", On::Copies, NO_KEY, WATCHER),
    call("Scaling::copy", "autoscaling:PutNotificationConfiguration", On::Copies, NO_KEY, WATCHER),
    call("Scaling::copy", "autoscaling:PutScalingPolicy", On::Copies, NO_KEY, WATCHER),
    call("Scaling::copy", "autoscaling:PutScheduledUpdateGroupAction", On::Copies, NO_KEY, WATCHER),
    call("Scaling::copy", "autoscaling:DescribeLifecycleHooks", On::Anything, NO_KEY, WATCHER),
    call(
        "Scaling::copy",
        "autoscaling:DescribeNotificationConfigurations",
        On::Anything,
        NO_KEY,
        WATCHER,
    ),
    call("Scaling::copy", "autoscaling:DescribePolicies", On::Anything, NO_KEY, WATCHER),
    call("Scaling::copy", "autoscaling:DescribeScalingActivities", On::Anything, NO_KEY, WATCHER),
    call("Scaling::copy", "autoscaling:DescribeScheduledActions", On::Anything, NO_KEY, WATCHER),
    call(
        "Scaling::delete_copy",
        "autoscaling:DeleteAutoScalingGroup",
        On::Copies,
        NO_KEY,
        EVALUATOR,
    ),
    // What Auto Scaling asks of whoever makes a group with a launch template. Only where the user has named roles.
    call("Auto Scaling, the launch", "ec2:RunInstances", On::Launches, NO_KEY, WATCHER),
    call("Auto Scaling, the launch", "ec2:CreateTags", On::LaunchTags, NO_KEY, WATCHER),
    call("Auto Scaling, the roles", "iam:PassRole", On::CopiedRoles, NO_KEY, WATCHER),
    // Traffic.
    call(
        "Balancers, each method",
        "elasticloadbalancing:DescribeTargetGroups",
        On::Anything,
        NO_KEY,
        BALANCING,
    ),
    call(
        "Balancers::standing",
        "elasticloadbalancing:DescribeTargetHealth",
        On::Anything,
        NO_KEY,
        BALANCING,
    ),
    call(
        "Balancers::admit",
        "elasticloadbalancing:RegisterTargets",
        On::TargetGroups,
        NO_KEY,
        IN_AND_OUT,
    ),
    call(
        "Balancers::drain",
        "elasticloadbalancing:DeregisterTargets",
        On::TargetGroups,
        NO_KEY,
        IN_AND_OUT,
    ),
    call(
        "Balancers::split, percent",
        "elasticloadbalancing:DescribeListeners",
        On::Anything,
        NO_KEY,
        EVALUATOR,
    ),
    call(
        "Balancers::split, percent",
        "elasticloadbalancing:DescribeRules",
        On::Anything,
        NO_KEY,
        EVALUATOR,
    ),
    call(
        "Balancers::split",
        "elasticloadbalancing:ModifyListener",
        On::Listeners,
        NO_KEY,
        EVALUATOR,
    ),
    call("Balancers::split", "elasticloadbalancing:ModifyRule", On::Rules, NO_KEY, EVALUATOR),
    call("Functions::standing", "lambda:GetAlias", On::Functions, NO_KEY, EVALUATOR),
    call("Functions::split", "lambda:UpdateAlias", On::Functions, NO_KEY, EVALUATOR),
    call("Functions::call", "lambda:Invoke", On::Functions, NO_KEY, EVALUATOR)
        .needs(&["lambda:InvokeFunction"]),
    call("Services::check", "ecs:DescribeServices", On::Services, NO_KEY, EVALUATOR),
    call("Services::bring_up", "ecs:CreateTaskSet", On::Anything, NO_KEY, EVALUATOR),
    call("ECS, the roles of tasks", "iam:PassRole", On::TaskRoles, NO_KEY, EVALUATOR),
    call("Services::bring_up", "ecs:ListTasks", On::Anything, NO_KEY, EVALUATOR),
    call("Services::bring_up", "ecs:DescribeTasks", On::Tasks, NO_KEY, EVALUATOR),
    call("Services::keep_only", "ecs:UpdateServicePrimaryTaskSet", On::Services, NO_KEY, EVALUATOR),
    call("Services::keep_only", "ecs:DeleteTaskSet", On::TaskSets, NO_KEY, EVALUATOR),
    call("Alarms::read", "cloudwatch:DescribeAlarms", On::Anything, NO_KEY, EVALUATOR),
    // What Lambda does with a function's role.
    call("Lambda, what was printed", "logs:PutLogEvents", On::Log, NO_KEY, ALL)
        .needs(&["logs:CreateLogStream", "logs:PutLogEvents"]),
    call("Lambda, the queue", "sqs:ReceiveMessage", On::Uploads, DECRYPTS, INTAKE).needs(RECEIVES),
    call("Lambda, the queue", "sqs:ReceiveMessage", On::Wakes, DECRYPTS, STEPPER).needs(RECEIVES),
    call("Lambda, the queue", "sqs:ReceiveMessage", On::Commands, DECRYPTS, DISPATCHER)
        .needs(RECEIVES),
    call("Lambda, the queue", "sqs:ReceiveMessage", On::Fleet, DECRYPTS, WATCHER).needs(RECEIVES),
    call("Lambda, the queue", "sqs:ReceiveMessage", On::Traffic, DECRYPTS, EVALUATOR)
        .needs(RECEIVES),
    call("Lambda, the stream", "dynamodb:GetRecords", On::Stream, DECRYPTS, STEPPER).needs(&[
        "dynamodb:DescribeStream",
        "dynamodb:GetRecords",
        "dynamodb:GetShardIterator",
    ]),
    call("Lambda, the stream", "dynamodb:ListStreams", On::Anything, NO_KEY, STEPPER),
    call("Lambda, given up records", "sqs:SendMessage", On::Unheard, SENDS, STEPPER),
    call("Lambda, given up events", "sqs:SendMessage", On::FleetDead, SENDS, WATCHER),
];
