//! The adapters of ECS and of a named listener on moto, which keeps what it is told of task sets, listeners and rules. It
//! runs no tasks, and calls each task set steady at once.

use aws::{EcsServices, TargetGroups};
use control::ports::Service;
use control::ports::{Balancers as _, Pair, ServiceError, Services as _};
use engine::DeploymentId;
use engine::appspec::{Network, Tasks};
use engine::deployment::TaskSet;
use serde_json::json;

use crate::support::moto::Moto;

/// What is made there before: a service with the external controller and one with CodeDeploy's, a task set of the first, and
/// a listener that forwards to its target group alone, with a rule that does too.
const SET_UP: &str = r"
ec2, elb, ecs, result = boto3.client('ec2'), boto3.client('elbv2'), boto3.client('ecs'), {}
vpc = ec2.create_vpc(CidrBlock='10.0.0.0/16')['Vpc']['VpcId']
subnets = [ec2.create_subnet(VpcId=vpc, CidrBlock=f'10.0.{n}.0/24', AvailabilityZone=f'eu-central-1{z}')['Subnet']['SubnetId']
           for n, z in enumerate('ab')]
sg = ec2.create_security_group(GroupName='tasks', Description='tasks', VpcId=vpc)['GroupId']
def group(name):
    made = elb.create_target_group(Name=name, Protocol='HTTP', Port=80, VpcId=vpc, TargetType='ip')
    return made['TargetGroups'][0]['TargetGroupArn']
blue, green, other = group('blue'), group('green'), group('other')
front = elb.create_load_balancer(Name='front', Subnets=subnets)['LoadBalancers'][0]['LoadBalancerArn']
def to(arn): return [{'Type': 'forward', 'TargetGroupArn': arn}]
made = elb.create_listener(LoadBalancerArn=front, Protocol='HTTP', Port=80, DefaultActions=to(blue))['Listeners'][0]
result['listener'] = made['ListenerArn']
for priority, arn in [(1, blue), (2, other)]:
    elb.create_rule(ListenerArn=result['listener'], Priority=priority, Actions=to(arn),
                    Conditions=[{'Field': 'path-pattern', 'Values': [f'/{priority}/*']}])
ecs.create_cluster(clusterName='main')
ecs.register_task_definition(family='shop', containerDefinitions=[{'name': 'shop', 'image': 'shop', 'memory': 64}])
for name, kind in [('shop', 'EXTERNAL'), ('old', 'CODE_DEPLOY')]:
    more = {} if kind == 'EXTERNAL' else {'taskDefinition': 'shop'}
    ecs.create_service(cluster='main', serviceName=name, desiredCount=1, deploymentController={'type': kind}, **more)
network = {'awsvpcConfiguration': {'subnets': subnets, 'securityGroups': [sg], 'assignPublicIp': 'DISABLED'}}
made = ecs.create_task_set(cluster='main', service='shop', taskDefinition='shop', launchType='FARGATE', externalId='by hand',
    networkConfiguration=network, loadBalancers=[{'targetGroupArn': blue, 'containerName': 'shop', 'containerPort': 80}])['taskSet']
ecs.update_service_primary_task_set(cluster='main', service='shop', primaryTaskSet=made['taskSetArn'])
result['subnets'] = subnets
";

const READ: &str = r"
elb, ecs = boto3.client('elbv2'), boto3.client('ecs')
names = {g['TargetGroupArn']: g['TargetGroupName'] for g in elb.describe_target_groups()['TargetGroups']}
def told(actions):
    forward = actions[0].get('ForwardConfig')
    if not forward: return names[actions[0]['TargetGroupArn']]
    return {names[g['TargetGroupArn']]: g['Weight'] for g in forward['TargetGroups']}
front = elb.describe_load_balancers()['LoadBalancers'][0]['LoadBalancerArn']
listener = elb.describe_listeners(LoadBalancerArn=front)['Listeners'][0]
rules = elb.describe_rules(ListenerArn=listener['ListenerArn'])['Rules']
sets = ecs.describe_services(cluster='main', services=['shop'])['services'][0]['taskSets']
result = {
    'listener': told(listener['DefaultActions']),
    'rules': [told(r['Actions']) for r in sorted(rules, key=lambda r: r['Priority']) if not r['IsDefault']],
    'sets': sorted([s['externalId'], s['status'], names[s['loadBalancers'][0]['targetGroupArn']], s['launchType'],
                    len(s['networkConfiguration']['awsvpcConfiguration']['subnets'])] for s in sets),
}
";

fn service(name: &str, listener: &str) -> Service {
    Service {
        cluster: "main".into(),
        name: name.into(),
        groups: ["blue".into(), "green".into()],
        listener: listener.into(),
        test_listener: None,
        tasks: Tasks {
            definition: "shop:1".into(),
            container: "shop".into(),
            port: 80,
            ..Tasks::default()
        },
        hooks: [].into(),
    }
}

fn sides(sets: &[TaskSet]) -> Vec<(u8, bool)> {
    sets.iter().map(|set| (set.side, set.is_steady)).collect()
}

#[tokio::test]
async fn task_sets_are_made_and_ended_and_a_listener_gets_the_second_target_group() {
    let moto = Moto::start().await;
    let made = moto.python(SET_UP);
    let listener = made["listener"].as_str().unwrap();
    let groups = TargetGroups::new(&moto.config);
    let services = EcsServices::new(&moto.config, groups.clone());
    let mut shop = service("shop", listener);

    for (name, word) in
        [("none", "no active service"), ("old", "is `CODE_DEPLOY`, and it has to be `EXTERNAL`")]
    {
        let refused = services.check(&service(name, listener)).await.unwrap_err();
        assert!(matches!(refused, ServiceError::Refused { .. }), "{refused:?}");
        assert!(refused.to_string().contains(word), "{refused}");
    }
    services.check(&shop).await.unwrap();

    let pair =
        Pair { old: "blue".into(), new: "green".into(), listener: Some(listener.to_owned()) };
    assert_eq!(groups.percent(&pair).await.unwrap(), 0, "as it is, all goes to blue");
    groups.split(&pair, 0).await.unwrap();
    let told = moto.python(READ);
    let both = json!({ "blue": 100, "green": 0 });
    assert_eq!(told["listener"], both);
    assert_eq!(told["rules"][0], both, "a rule of the same listener moves with it");
    assert!(told["rules"][1].to_string().contains("other"), "{told}");

    let first: DeploymentId = "d-AAAAAAAAA".parse().unwrap();
    let steady = [(0, true), (1, true)];
    assert_eq!(sides(&services.bring_up(&shop, 1, &first).await.unwrap()), steady);
    assert_eq!(sides(&services.bring_up(&shop, 1, &first).await.unwrap()), steady, "doubled");
    let told = moto.python(READ);
    let by_hand = json!(["by hand", "PRIMARY", "blue", "FARGATE", 2]);
    let new = json!(["d-AAAAAAAAA", "ACTIVE", "green", "FARGATE", 2]);
    assert_eq!(told["sets"], json!([by_hand, new]), "it runs where the first one does");

    // What a deployment has left is replaced by the next one, and what has the traffic is not touched.
    let second: DeploymentId = "d-BBBBBBBBB".parse().unwrap();
    let subnet = made["subnets"][0].as_str().unwrap().to_owned();
    let network = Network {
        subnets: vec![subnet],
        security_groups: vec!["sg-1".into()],
        assign_public_ip: true,
    };
    shop.tasks.network = Some(network);
    services.bring_up(&shop, 1, &second).await.unwrap();
    let new = json!(["d-BBBBBBBBB", "ACTIVE", "green", "FARGATE", 1]);
    assert_eq!(moto.python(READ)["sets"], json!([by_hand, new]));

    groups.split(&pair, 10).await.unwrap();
    assert_eq!(groups.percent(&pair).await.unwrap(), 10);
    groups.split(&pair, 100).await.unwrap();
    assert_eq!(moto.python(READ)["rules"][0], json!({ "blue": 0, "green": 100 }));
    assert!(services.keep_only(&shop, 1).await.unwrap());
    assert!(services.keep_only(&shop, 1).await.unwrap(), "doubled");
    assert_eq!(
        moto.python(READ)["sets"],
        json!([["d-BBBBBBBBB", "PRIMARY", "green", "FARGATE", 1]])
    );

    // A failed deployment leaves nothing, and the primary tasks are never ended for want of others.
    let third: DeploymentId = "d-CCCCCCCCC".parse().unwrap();
    services.bring_up(&shop, 0, &third).await.unwrap();
    assert!(services.keep_only(&shop, 1).await.unwrap());
    assert_eq!(
        moto.python(READ)["sets"],
        json!([["d-BBBBBBBBB", "PRIMARY", "green", "FARGATE", 1]])
    );
    let refused = services.keep_only(&shop, 0).await.unwrap_err();
    assert!(refused.to_string().contains("no task set is left"), "{refused}");
    let refused = services.bring_up(&shop, 1, &third).await.unwrap_err();
    assert!(refused.to_string().contains("give `green` the traffic"), "{refused}");
}
