//! The adapter of Auto Scaling on moto: groups that are copied, and copies that are deleted. moto keeps what it is told, and
//! has each instance in service at once. It knows no notifications and no failed launches, and takes policies and scheduled
//! actions of one name for the same ones, whatever their groups: this the test teaches it. Which processes rest, it tells,
//! and nothing does so.

use aws::AutoScaling;
use control::ports::{CloudError, CopyStanding, GroupCopy, Scaling as _};
use engine::DeploymentId;
use serde_json::{Value, json};

use crate::support::moto::Moto;

/// What moto is taught: that each group has policies and scheduled actions of its own; notifications; that launches in a group called `full` fail; and for a copy called `…-before-N` or
/// `…-after-N`, that the Nth call about it does not arrive, or that its answer does not.
const LESSON: &str = r"
import re
from moto.autoscaling import responses
from moto.autoscaling.exceptions import AutoscalingClientError
from moto.autoscaling.models import AutoScalingBackend as Backend
Response, Result, Empty = responses.AutoScalingResponse, responses.ActionResult, responses.EmptyResult
told, counts = [], {}
def apart(put, kept):
    def method(self, **given):
        made, all = put(self, **given), getattr(self, kept)
        key = next(key for key, other in all.items() if other is made)
        all[made.auto_scaling_group_name, key] = all.pop(key)
        return made
    return method
Backend.put_scaling_policy = apart(Backend.put_scaling_policy, 'policies')
Backend.put_scheduled_update_group_action = apart(Backend.put_scheduled_update_group_action, 'scheduled_actions')
def put(self):
    group, topic = self._get_param('AutoScalingGroupName'), self._get_param('TopicARN')
    kinds = self._get_param('NotificationTypes', [])
    told.extend({'AutoScalingGroupName': group, 'TopicARN': topic, 'NotificationType': kind} for kind in kinds)
    return Empty()
def describe(self):
    names = self._get_param('AutoScalingGroupNames', [])
    return Result({'NotificationConfigurations': [t for t in told if t['AutoScalingGroupName'] in names]})
def activities(self):
    name = self._get_param('AutoScalingGroupName')
    failed = {'ActivityId': 'a', 'AutoScalingGroupName': name, 'Cause': 'c', 'StatusCode': 'Failed',
              'StartTime': '2026-01-01T00:00:00Z', 'StatusMessage': 'no capacity in any zone'}
    return Result({'Activities': [failed] if name == 'full' else []})
Response.put_notification_configuration, Response.describe_notification_configurations = put, describe
Response.describe_scaling_activities = activities
def name_of(self):
    tags = self._get_param('Tags') or [{}]
    return self._get_param('AutoScalingGroupName') or (self._get_param('AutoScalingGroupNames') or [''])[-1] or tags[0].get('ResourceId', '')
def lossy(plain):
    def method(self):
        fate = re.fullmatch(r'.*-(before|after)-(\d+)', name_of(self))
        if not fate or 'Boto3' in self.headers['User-Agent']: return plain(self)
        counts[fate[0]] = counts.get(fate[0], 0) + 1
        dies = counts[fate[0]] == int(fate[2])
        if dies and fate[1] == 'before': raise AutoscalingClientError('Lost', 'lost')
        answer = plain(self)
        if dies: raise AutoscalingClientError('Lost', 'lost')
        return answer
    return method
for name, plain in list(vars(Response).items()):
    if name.split('_')[0] in ['create', 'describe', 'put', 'update', 'enable', 'suspend']:
        setattr(Response, name, lossy(plain))
";

/// What is made there before: a group that is copied, itself a copy of an earlier deployment, with what there is around
/// it; one without instances; and one of somebody else's.
const SET_UP: &str = r"
ec2, elb, asg = boto3.client('ec2'), boto3.client('elbv2'), boto3.client('autoscaling')
vpc = ec2.create_vpc(CidrBlock='10.0.0.0/16')['Vpc']['VpcId']
subnets = [ec2.create_subnet(VpcId=vpc, CidrBlock=f'10.0.{n}.0/24', AvailabilityZone=f'eu-central-1{z}')['Subnet']['SubnetId']
           for n, z in enumerate('ab')]
target = elb.create_target_group(Name='web', Protocol='HTTP', Port=80, VpcId=vpc)['TargetGroups'][0]['TargetGroupArn']
image = ec2.describe_images()['Images'][0]['ImageId']
data = {'ImageId': image, 'InstanceType': 't3.micro'}
template = {'LaunchTemplateName': 'web', 'Version': '$Latest'}
ec2.create_launch_template(LaunchTemplateName='web', LaunchTemplateData=data)
def tag(key, value, propagated): return {'Key': key, 'Value': value, 'PropagateAtLaunch': propagated}
def group(name, desired, tags):
    asg.create_auto_scaling_group(AutoScalingGroupName=name, LaunchTemplate=template, MinSize=min(desired, 1), MaxSize=6,
        DesiredCapacity=desired, VPCZoneIdentifier=','.join(subnets), HealthCheckType='ELB', HealthCheckGracePeriod=77,
        DefaultCooldown=99, TargetGroupARNs=[target], TerminationPolicies=['OldestInstance'], Tags=tags)
group('web', 3, [tag('cutover', 'shop', True), tag('team', 'web', False),
                 tag('cutover:made-by', 'd-OLDOLDOLD', False), tag('cutover:sized', '2', False)])
group('idle', 0, [tag('cutover', 'shop', True)])
group('foreign', 1, [tag('cutover', 'shop', True)])
for name in ['warm-up', 'cutover-launch-x']:
    asg.put_lifecycle_hook(AutoScalingGroupName='web', LifecycleHookName=name, HeartbeatTimeout=120,
        LifecycleTransition='autoscaling:EC2_INSTANCE_LAUNCHING', DefaultResult='ABANDON')
asg.put_scheduled_update_group_action(AutoScalingGroupName='web', ScheduledActionName='night', Recurrence='0 3 * * *',
    MinSize=1, MaxSize=2, DesiredCapacity=1, TimeZone='Europe/Berlin')
asg.put_scheduled_update_group_action(AutoScalingGroupName='web', ScheduledActionName='sale', StartTime='2024-11-29T00:00:00Z',
    DesiredCapacity=6)
own = {'MetricName': 'queue', 'Namespace': 'shop', 'Statistic': 'Average', 'Dimensions': [
    {'Name': 'AutoScalingGroupName', 'Value': 'web'}, {'Name': 'Queue', 'Value': 'web'}]}
for name, metric in [('cpu', {'PredefinedMetricSpecification': {'PredefinedMetricType': 'ASGAverageCPUUtilization'}}),
                     ('queue', {'CustomizedMetricSpecification': own})]:
    asg.put_scaling_policy(AutoScalingGroupName='web', PolicyName=name, PolicyType='TargetTrackingScaling',
        TargetTrackingConfiguration={**metric, 'TargetValue': 60.0})
asg.put_scaling_policy(AutoScalingGroupName='web', PolicyName='more', AdjustmentType='ChangeInCapacity', ScalingAdjustment=2,
    Cooldown=33)
asg.put_notification_configuration(AutoScalingGroupName='web', TopicARN='arn:aws:sns:eu-central-1:123456789012:web',
    NotificationTypes=['autoscaling:EC2_INSTANCE_LAUNCH', 'autoscaling:EC2_INSTANCE_TERMINATE'])
asg.enable_metrics_collection(AutoScalingGroupName='web', Granularity='1Minute', Metrics=['GroupInServiceInstances'])
result = {}
";

/// What becomes of groups while nobody looks: `%` is a line of Python that has the client as `asg`.
const MEANWHILE: &str = "asg, result = boto3.client('autoscaling'), {}\n%";

/// What is told of each group of the list `%`; null where there is none.
const READ: &str = r"
asg = boto3.client('autoscaling')
def dimensions(policy):
    metric = policy.get('TargetTrackingConfiguration', {}).get('CustomizedMetricSpecification', {})
    return [d['Value'] for d in metric.get('Dimensions', [])]
def told(name):
    group = next(iter(asg.describe_auto_scaling_groups(AutoScalingGroupNames=[name])['AutoScalingGroups']), None)
    return group and {
        'size': [group['MinSize'], group['DesiredCapacity'], group['MaxSize'], len(group['Instances'])],
        'template': [group['LaunchTemplate']['LaunchTemplateName'], group['LaunchTemplate']['Version']],
        'subnets': len(group['VPCZoneIdentifier'].split(',')),
        'checks': [group['HealthCheckType'], group['HealthCheckGracePeriod'], group['DefaultCooldown']],
        'ends': group['TerminationPolicies'],
        'targets': len(group['TargetGroupARNs']),
        'tags': sorted([t['Key'], t['Value'], t['PropagateAtLaunch']] for t in group['Tags']),
        'rests': sorted(p['ProcessName'] for p in group['SuspendedProcesses']),
        'metrics': [m['Metric'] for m in group['EnabledMetrics']],
        'hooks': [[h['LifecycleHookName'], h['HeartbeatTimeout'], h['DefaultResult']]
                  for h in asg.describe_lifecycle_hooks(AutoScalingGroupName=name)['LifecycleHooks']],
        'policies': sorted([p['PolicyName'], p['PolicyType'], p.get('ScalingAdjustment'), dimensions(p)]
                     for p in asg.describe_policies(AutoScalingGroupName=name)['ScalingPolicies']),
        'schedule': [[a['ScheduledActionName'], *map(a.get, ['Recurrence', 'MinSize', 'MaxSize', 'DesiredCapacity', 'TimeZone'])]
                     for a in asg.describe_scheduled_actions(AutoScalingGroupName=name)['ScheduledUpdateGroupActions']],
        'tells': [n['NotificationType'].split('_')[-1]
                  for n in asg.describe_notification_configurations(AutoScalingGroupNames=[name])['NotificationConfigurations']],
    }
result = [told(name) for name in %]
";

struct World {
    moto: Moto,
    scaling: AutoScaling,
}

impl World {
    async fn start() -> Self {
        let moto = Moto::start_taught(LESSON).await;
        moto.python(SET_UP);
        Self { scaling: AutoScaling::new(&moto.config), moto }
    }

    fn read(&self, group: &str) -> Value {
        self.read_all(&[group.to_owned()]).remove(0)
    }

    fn read_all(&self, groups: &[String]) -> Vec<Value> {
        let told = self.moto.python(&READ.replace('%', &json!(groups).to_string()));
        serde_json::from_value(told).unwrap()
    }

    fn meanwhile(&self, line: &str) {
        self.moto.python(&MEANWHILE.replace('%', line));
    }

    async fn copy(&self, from: &str, to: &str) -> Result<CopyStanding, CloudError> {
        let made_by: DeploymentId = "d-A1B2C3D4E".parse().unwrap();
        let copy = GroupCopy { from: from.to_owned(), to: to.to_owned(), made_by };
        self.scaling.copy(&copy).await
    }

    async fn refusal(&self, from: &str, to: &str) -> String {
        let why = self.copy(from, to).await.unwrap_err();
        assert!(matches!(why, CloudError::Refused { .. }), "{why}");
        why.to_string()
    }
}

/// How a copy of `web` called `name` stands as soon as it has its size.
fn copied(name: &str) -> Value {
    json!({
        "size": [1, 3, 6, 3],
        "template": ["web", "$Latest"],
        "subnets": 2,
        "checks": ["ELB", 77, 99],
        "ends": ["OldestInstance"],
        "targets": 1,
        "tags": [["cutover", "shop", true], ["cutover:made-by", "d-A1B2C3D4E", false], ["cutover:sized", "3", false],
                 ["team", "web", false]],
        "rests": GroupCopy::RESTING,
        "metrics": ["GroupInServiceInstances"],
        "hooks": [["warm-up", 120, "ABANDON"]],
        "policies": [["cpu", "TargetTrackingScaling", null, []], ["more", "SimpleScaling", 2, []],
                     ["queue", "TargetTrackingScaling", null, [name, "web"]]],
        "schedule": [["night", "0 3 * * *", 1, 2, 1, "Europe/Berlin"]],
        "tells": ["LAUNCH", "TERMINATE"],
    })
}

/// Everything that was wanted is there.
fn whole() -> CopyStanding {
    CopyStanding { wanted: 3, in_service: 3, trouble: None }
}

#[tokio::test]
async fn a_group_is_copied_once_and_the_copy_alone_is_deleted() {
    let world = World::start().await;
    let web = world.read("web");
    for _ in 0..2 {
        assert_eq!(world.copy("web", "web-2").await.unwrap(), whole());
        assert_eq!(world.read("web-2"), copied("web-2"));
    }
    assert_eq!(world.read("web"), web, "the original is as it was");

    // What becomes of it after it has its size is not the copy's affair any more, even if the original is gone.
    world.meanwhile(
        "asg.update_auto_scaling_group(AutoScalingGroupName='web-2', MinSize=0, DesiredCapacity=2); \
         asg.resume_processes(AutoScalingGroupName='web-2')",
    );
    let standing = CopyStanding { wanted: 2, in_service: 2, trouble: None };
    assert_eq!(world.copy("web", "web-2").await.unwrap(), standing);
    assert_eq!(world.copy("nowhere", "web-2").await.unwrap(), standing);
    let later = world.read("web-2");
    assert_eq!((&later["size"], &later["rests"]), (&json!([0, 2, 6, 2]), &json!([])));

    assert!(!world.scaling.delete_copy("web-2").await.unwrap(), "it was asked for");
    assert!(world.scaling.delete_copy("web-2").await.unwrap(), "it is gone");
    assert_eq!(world.read("web-2"), Value::Null);
    assert_eq!(world.read("web"), web);
}

#[tokio::test]
async fn what_cannot_be_copied_is_refused_and_what_is_not_a_copy_is_not_deleted() {
    let world = World::start().await;
    let foreign = world.read("foreign");
    for (from, to, word) in [
        ("web", "foreign", "a group `foreign` that the deployment d-A1B2C3D4E did not make"),
        ("foreign", "web", "a group `web` that the deployment d-A1B2C3D4E did not make"),
        ("idle", "idle-2", "wants no instances"),
        ("nowhere", "nowhere-2", "no group `nowhere`"),
    ] {
        let why = world.refusal(from, to).await;
        assert!(why.contains(word), "{from} to {to}: {why}");
    }
    assert_eq!(world.read("idle-2"), Value::Null);
    for nothing in ["foreign", "nowhere"] {
        assert!(world.scaling.delete_copy(nothing).await.unwrap(), "{nothing}");
    }
    assert_eq!(world.read("foreign"), foreign);

    let trouble = Some("no capacity in any zone".to_owned());
    assert_eq!(world.copy("web", "full").await.unwrap(), CopyStanding { trouble, ..whole() });
}

#[tokio::test]
async fn whoever_dies_at_any_call_is_followed_by_one_who_finds_the_rest_to_be_done() {
    let world = World::start().await;
    for fate in ["before", "after"] {
        let mut names = Vec::new();
        loop {
            let name = format!("web-{fate}-{}", names.len() + 1);
            names.push(name.clone());
            let Err(why) = world.copy("web", &name).await else { break };
            assert!(why.to_string().contains("lost"), "{name}: {why}");
            assert_eq!(world.copy("web", &name).await.unwrap(), whole(), "{name}");
        }
        assert!(names.len() > 15, "a copy takes more than {} calls", names.len());
        for (name, made) in names.iter().zip(world.read_all(&names)) {
            assert_eq!(made, copied(name), "{name}");
        }
    }
}

#[tokio::test]
async fn several_who_copy_at_the_same_time_make_one_copy() {
    let world = World::start().await;
    let copy = || world.copy("web", "web-2");
    let (one, two, three) = tokio::join!(copy(), copy(), copy());
    for standing in [one, two, three] {
        assert_eq!(standing.unwrap(), whole());
    }
    assert_eq!(world.copy("web", "web-2").await.unwrap(), whole());
    let made = world.read("web-2");
    for (part, expected) in copied("web-2").as_object().unwrap() {
        match part.as_str() {
            // moto, as it was taught, keeps a notification twice where AWS keeps one.
            "tells" => {}
            // Of two requests for the same size that come at once, moto launches instances for each.
            "size" => {
                assert_eq!(made[part].as_array().unwrap()[..3], expected.as_array().unwrap()[..3]);
            }
            _ => assert_eq!(made[part], *expected, "{part}"),
        }
    }
}
