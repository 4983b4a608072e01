//! The table: each call, what it is made on, and the functions that make it.

use super::call::{Call, call};
use super::function::Function::{
    self, Api, DeploymentStepper, FleetWatcher, HookDispatcher, RevisionIntake, TrafficEvaluator,
};
use super::places::On;

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
    // Requests that are handed over, and wakes.
    call("Messages::hand_over", "sqs:SendMessage", On::Uploads, SENDS, DRIVERS),
    call("Messages::hand_over", "sqs:SendMessage", On::Commands, SENDS, DRIVERS),
    call("Messages::hand_over", "sqs:SendMessage", On::Fleet, SENDS, DRIVERS),
    call("Messages::hand_over", "sqs:SendMessage", On::Traffic, SENDS, STEPPER),
    call("Messages::keep_up", "sqs:SendMessage", On::Fleet, SENDS, DRIVERS),
    call("Messages::keep_up", "sqs:SendMessage", On::Fleet, SENDS, &[FleetWatcher, Api]),
    call("Messages::handle_again", "sqs:SendMessage", On::Uploads, SENDS, EVALUATOR),
    call("Waker::wake_at, park", "sqs:SendMessage", On::Wakes, SENDS, DRIVERS),
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
