//! The adapter of Elastic Load Balancing on moto, which keeps what it is told of target groups, listeners and rules and
//! tells it again. It sends no traffic, and finds every target healthy at once.

use aws::TargetGroups;
use control::ports::{Balancers as _, Pair, Standing};
use engine::DeploymentId;

use crate::support::moto::Moto;

/// What is made there before: a load balancer whose listener forwards to three target groups after a login, and has a
/// rule for two others; instances; a target group that nothing forwards to, and one of addresses.
const SET_UP: &str = r"
ec2, elb, result = boto3.client('ec2'), boto3.client('elbv2'), {}
vpc = ec2.create_vpc(CidrBlock='10.0.0.0/16')['Vpc']['VpcId']
subnets = [ec2.create_subnet(VpcId=vpc, CidrBlock=f'10.0.{n}.0/24', AvailabilityZone=f'eu-central-1{z}')['Subnet']['SubnetId']
           for n, z in enumerate('ab')]
image = ec2.describe_images()['Images'][0]['ImageId']
made = ec2.run_instances(ImageId=image, MinCount=2, MaxCount=2, SubnetId=subnets[0])['Instances']
result['instances'] = [i['InstanceId'] for i in made]
def group(name, kind='instance'):
    made = elb.create_target_group(Name=name, Protocol='HTTP', Port=80, VpcId=vpc, TargetType=kind)
    return made['TargetGroups'][0]['TargetGroupArn']
arns = {name: group(name) for name in ['blue', 'green', 'other', 'beta-blue', 'beta-green', 'idle']}
group('addresses', 'ip')
def forward(order, **weights):
    groups = [{'TargetGroupArn': arns[name.replace('_', '-')], 'Weight': weight} for name, weight in weights.items()]
    sticky = {'Enabled': True, 'DurationSeconds': 60}
    return {'Type': 'forward', 'Order': order, 'ForwardConfig': {'TargetGroups': groups, 'TargetGroupStickinessConfig': sticky}}
front = elb.create_load_balancer(Name='front', Subnets=subnets)['LoadBalancers'][0]['LoadBalancerArn']
login = {'Type': 'authenticate-oidc', 'Order': 1, 'AuthenticateOidcConfig': {
    'Issuer': 'https://id.test', 'AuthorizationEndpoint': 'https://id.test/a', 'TokenEndpoint': 'https://id.test/t',
    'UserInfoEndpoint': 'https://id.test/u', 'ClientId': 'shop', 'ClientSecret': 'secret'}}
listener = elb.create_listener(LoadBalancerArn=front, Protocol='HTTP', Port=80,
    DefaultActions=[login, forward(2, blue=100, green=0, other=7)])['Listeners'][0]['ListenerArn']
cohort = {'Field': 'http-header', 'HttpHeaderConfig': {'HttpHeaderName': 'x-staff', 'Values': ['yes']}}
elb.create_rule(ListenerArn=listener, Priority=2, Conditions=[cohort], Actions=[forward(1, blue=100, green=0)])
elb.create_rule(ListenerArn=listener, Priority=1, Conditions=[{'Field': 'path-pattern', 'Values': ['/beta/*']}],
    Actions=[forward(1, beta_blue=1, beta_green=0)])
";

const READ: &str = r"
elb = boto3.client('elbv2')
names = {g['TargetGroupArn']: g['TargetGroupName'] for g in elb.describe_target_groups()['TargetGroups']}
def told(actions):
    told = []
    for a in actions:
        forward = a.get('ForwardConfig', {})
        told.append({'type': a['Type'], 'login': a.get('AuthenticateOidcConfig', {}).get('ClientId'),
                     'weights': {names[g['TargetGroupArn']]: g['Weight'] for g in forward.get('TargetGroups', [])},
                     'sticky': forward.get('TargetGroupStickinessConfig', {}).get('DurationSeconds')})
    return told
front = elb.describe_load_balancers()['LoadBalancers'][0]['LoadBalancerArn']
listener = elb.describe_listeners(LoadBalancerArn=front)['Listeners'][0]
rules = [r for r in elb.describe_rules(ListenerArn=listener['ListenerArn'])['Rules'] if not r['IsDefault']]
rules.sort(key=lambda r: int(r['Priority']))
result = {'listener': told(listener['DefaultActions']), 'rules': [told(r['Actions']) for r in rules],
          'paths': [r['Conditions'][0].get('Values') for r in rules]}
";

struct World {
    moto: Moto,
    groups: TargetGroups,
}

impl World {
    async fn start() -> Self {
        let moto = Moto::start().await;
        Self { groups: TargetGroups::new(&moto.config), moto }
    }

    async fn stands(&self, hosts: &[String]) -> Vec<Standing> {
        self.groups.standing("blue", hosts).await.unwrap().into_values().collect()
    }
}

#[tokio::test]
async fn instances_come_and_go_and_weights_are_set_where_two_target_groups_share_traffic() {
    let world = World::start().await;
    let made = world.moto.python(SET_UP);
    let mut hosts: Vec<String> = serde_json::from_value(made["instances"].clone()).unwrap();
    hosts.sort();
    let version: DeploymentId = "d-A1B2C3D4E".parse().unwrap();
    let groups = &world.groups;

    for (name, word) in [
        ("web", "no target group"),
        ("home:blue", "without a scheme"),
        ("addresses", "`ip`"),
        ("idle", "no listener"),
    ] {
        let why = groups.check(name).await.unwrap_err().to_string();
        assert!(why.contains(word), "{name}: {why}");
    }
    groups.check("blue").await.unwrap();

    assert_eq!(world.stands(&hosts).await, [Standing::Out, Standing::Out]);
    for _ in 0..2 {
        groups.admit("blue", &hosts[0], &version).await.unwrap();
        assert_eq!(world.stands(&hosts).await, [Standing::In, Standing::Out]);
    }
    groups.admit("blue", &hosts[1], &version).await.unwrap();
    for _ in 0..2 {
        groups.drain("blue", &hosts[..1]).await.unwrap();
        assert_eq!(world.stands(&hosts).await, [Standing::Out, Standing::In]);
    }

    let pair =
        |old: &str, new: &str| Pair { old: old.to_owned(), new: new.to_owned(), listener: None };
    let front = pair("blue", "green");
    assert_eq!(groups.percent(&front).await.unwrap(), 0);
    for percent in [5, 50, 100, 5] {
        groups.split(&front, percent).await.unwrap();
        assert_eq!(groups.percent(&front).await.unwrap(), percent);
    }
    let beta = pair("beta-blue", "beta-green");
    groups.split(&beta, 25).await.unwrap();
    assert_eq!(groups.percent(&beta).await.unwrap(), 25);
    let told = world.moto.python(READ);
    let [login, forward] = [0, 1].map(|at| &told["listener"][at]);
    assert_eq!((&login["type"], &login["login"]), (&"authenticate-oidc".into(), &"shop".into()));
    let weights = serde_json::json!({ "blue": 95, "green": 5, "other": 7 });
    assert_eq!((&forward["weights"], &forward["sticky"]), (&weights, &60.into()), "{told:#}");
    let weights = serde_json::json!({ "beta-blue": 75, "beta-green": 25 });
    assert_eq!(told["rules"][0][0]["weights"], weights, "{told:#}");
    assert_eq!(told["paths"][0][0], "/beta/*", "{told:#}");
    // The rule of a header is a cohort's: it has all of the new one while that has anything.
    let cohort = |told: &serde_json::Value| told["rules"][1][0]["weights"].clone();
    assert_eq!(cohort(&told), serde_json::json!({ "blue": 0, "green": 100 }), "{told:#}");
    groups.split(&front, 0).await.unwrap();
    assert_eq!(groups.percent(&front).await.unwrap(), 0);
    let told = world.moto.python(READ);
    assert_eq!(cohort(&told), serde_json::json!({ "blue": 100, "green": 0 }), "{told:#}");
    let why = groups.split(&pair("blue", "beta-green"), 5).await.unwrap_err().to_string();
    assert!(why.contains("no listener and no rule forwards to both"), "{why}");
}
