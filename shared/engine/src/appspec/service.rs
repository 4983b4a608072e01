//! The AppSpec of an ECS deployment: one service, the tasks that it is to run, and its hook functions
//! (`docs/semantics.md#ecs`).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::resource::{
    Kind, Resource, ResourceError, get, map, missing, optional, property, text_of, wrong,
};
use super::yaml::{Map, Node, Value};
use crate::lifecycle::Event;

/// What the tasks of a service are made of. What is not said here is as it is in the primary task set.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Tasks {
    /// The task definition: its ARN, or its family and revision.
    pub definition: String,
    /// The container that the balancer sends requests to.
    pub container: String,
    /// The port that it listens at.
    pub port: u16,
    /// The version of the platform.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform_version: Option<String>,
    /// Where in the network they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<Network>,
    /// What they run on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub capacity: Vec<Capacity>,
}

/// Where in the network of a VPC tasks are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Network {
    /// The ids of the subnets.
    pub subnets: Vec<String>,
    /// The ids of the security groups.
    pub security_groups: Vec<String>,
    /// Whether they get a public address.
    pub assign_public_ip: bool,
}

/// A capacity provider, and its part of the tasks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Capacity {
    /// Its name.
    pub provider: String,
    /// How many tasks run there at least.
    pub base: u32,
    /// Its part of the others, against the weights of all.
    pub weight: u32,
}

const SERVICE: Kind = Kind {
    resource: "AWS::ECS::Service",
    noun: "service",
    events: &[
        Event::BeforeInstall,
        Event::AfterInstall,
        Event::AfterAllowTestTraffic,
        Event::BeforeAllowTraffic,
        Event::AfterAllowTraffic,
    ],
};

/// Reads the AppSpec of an ECS deployment, YAML or JSON: the tasks, and the function that each event calls.
///
/// # Errors
/// See [`ResourceError`].
pub fn parse_service(text: &[u8]) -> Result<(Tasks, BTreeMap<Event, String>), ResourceError> {
    let Resource { properties, hooks } = Resource::read(text, &SERVICE)?;
    let Some(balancer) = get(&properties, "LoadBalancerInfo") else {
        return Err(missing(None, "LoadBalancerInfo"));
    };
    let balancer = map(&balancer.value, "`LoadBalancerInfo`")?;
    let tasks = Tasks {
        definition: property(&properties, "TaskDefinition")?,
        container: property(balancer, "ContainerName")?,
        port: port_of(balancer)?,
        platform_version: optional(&properties, "PlatformVersion")?,
        network: network_of(&properties)?,
        capacity: capacity_of(&properties)?,
    };
    Ok((tasks, hooks))
}

fn port_of(balancer: &Map) -> Result<u16, ResourceError> {
    number(balancer, "ContainerPort")?.filter(|port| *port > 0).ok_or_else(|| {
        let at = get(balancer, "ContainerPort").map(|entry| entry.value.position);
        wrong(
            at,
            "`ContainerPort` has to be the port that the container listens at, from 1 to 65535",
        )
    })
}

/// The whole number at `key`, if it is there.
fn number<T: std::str::FromStr>(map: &Map, key: &str) -> Result<Option<T>, ResourceError> {
    let Some(entry) = get(map, key) else { return Ok(None) };
    let text = text_of(&entry.value, &format!("`{key}`"))?;
    text.parse().map(Some).map_err(|_| {
        let message = format!("`{key}` has to be a whole number that fits, and is `{text}`");
        wrong(Some(entry.value.position), &message)
    })
}

fn network_of(properties: &Map) -> Result<Option<Network>, ResourceError> {
    let Some(network) = get(properties, "NetworkConfiguration") else { return Ok(None) };
    let network = map(&network.value, "`NetworkConfiguration`")?;
    let Some(vpc) = get(network, "AwsvpcConfiguration") else {
        return Err(missing(None, "AwsvpcConfiguration"));
    };
    let vpc = map(&vpc.value, "`AwsvpcConfiguration`")?;
    let public = property(vpc, "AssignPublicIp")?;
    let assign_public_ip = match public.to_ascii_uppercase().as_str() {
        "ENABLED" => true,
        "DISABLED" => false,
        _ => {
            let at = get(vpc, "AssignPublicIp").map(|entry| entry.value.position);
            let message =
                format!("`AssignPublicIp` has to be ENABLED or DISABLED, and is `{public}`");
            return Err(wrong(at, &message));
        }
    };
    Ok(Some(Network {
        subnets: texts(vpc, "Subnets")?,
        security_groups: texts(vpc, "SecurityGroups")?,
        assign_public_ip,
    }))
}

/// The list of texts at `key`, which has to be there and have some.
fn texts(map: &Map, key: &str) -> Result<Vec<String>, ResourceError> {
    let Some(entry) = get(map, key) else { return Err(missing(None, key)) };
    let nodes = match &entry.value.value {
        Value::List(nodes) if !nodes.is_empty() => nodes,
        Value::List(_) | Value::Map(_) | Value::Scalar(_) => {
            let message = format!("`{key}` has to be a list with at least one of them");
            return Err(wrong(Some(entry.value.position), &message));
        }
    };
    nodes.iter().map(|node| text_of(node, &format!("each of `{key}`"))).collect()
}

fn capacity_of(properties: &Map) -> Result<Vec<Capacity>, ResourceError> {
    let Some(entry) = get(properties, "CapacityProviderStrategy") else { return Ok(Vec::new()) };
    let Value::List(nodes) = &entry.value.value else {
        let message = "`CapacityProviderStrategy` has to be a list of capacity providers";
        return Err(wrong(Some(entry.value.position), message));
    };
    let capacity: Vec<Capacity> = nodes.iter().map(one_capacity).collect::<Result<_, _>>()?;
    let bases = capacity.iter().filter(|of| of.base > 0).count();
    if bases > 1 {
        let message = "only one of `CapacityProviderStrategy` may have a `Base`";
        return Err(wrong(Some(entry.value.position), message));
    }
    if !capacity.is_empty() && capacity.iter().all(|of| of.weight == 0) {
        let message = "one of `CapacityProviderStrategy` has to have a `Weight` of more than 0";
        return Err(wrong(Some(entry.value.position), message));
    }
    Ok(capacity)
}

fn one_capacity(node: &Node) -> Result<Capacity, ResourceError> {
    let of = map(node, "each of `CapacityProviderStrategy`")?;
    Ok(Capacity {
        provider: property(of, "CapacityProvider")?,
        base: number(of, "Base")?.unwrap_or(0),
        weight: number(of, "Weight")?.unwrap_or(0),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &str = "version: 0.0
Resources:
  - TargetService:
      Type: AWS::ECS::Service
      Properties:
        TaskDefinition: arn:aws:ecs:us-east-1:123456789012:task-definition/shop:7
        LoadBalancerInfo: {ContainerName: shop, ContainerPort: 8080}
        PlatformVersion: LATEST
        NetworkConfiguration:
          AwsvpcConfiguration: {Subnets: [subnet-1, subnet-2], SecurityGroups: [sg-1], AssignPublicIp: DISABLED}
        CapacityProviderStrategy:
          - {Base: 1, CapacityProvider: FARGATE, Weight: 1}
          - {CapacityProvider: FARGATE_SPOT, Weight: 4}
Hooks:
  - BeforeInstall: check
  - AfterAllowTestTraffic: probe
";

    #[test]
    fn a_service_and_its_hooks_are_read() {
        let (tasks, hooks) = parse_service(WHOLE.as_bytes()).unwrap();
        assert!(tasks.definition.ends_with("task-definition/shop:7"), "{tasks:?}");
        assert_eq!((tasks.container.as_str(), tasks.port), ("shop", 8080));
        let network = tasks.network.unwrap();
        assert_eq!((network.subnets.len(), network.assign_public_ip), (2, false));
        let spot = &tasks.capacity[1];
        assert_eq!((spot.provider.as_str(), spot.base, spot.weight), ("FARGATE_SPOT", 0, 4));
        assert_eq!(hooks[&Event::BeforeInstall], "check");
        assert_eq!(hooks[&Event::AfterAllowTestTraffic], "probe");
    }

    #[test]
    fn what_the_command_line_of_aws_writes_is_read() {
        let json = r#"{"version":0.0,"resources":[{"TargetService":{"type":"AWS::ECS::Service","properties":
            {"taskDefinition":"shop:7","loadBalancerInfo":{"containerName":"shop","containerPort":80},
             "platformVersion":null}}}]}"#;
        let (tasks, hooks) = parse_service(json.as_bytes()).unwrap();
        assert_eq!((tasks.definition.as_str(), tasks.port), ("shop:7", 80));
        assert!(tasks.platform_version.is_none() && tasks.network.is_none() && hooks.is_empty());
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        for (from, to, expected) in [
            ("AWS::ECS::Service", "AWS::Lambda::Function", "line 4, column 13: the `Type`"),
            (
                "ContainerPort: 8080",
                "ContainerPort: 0",
                "line 7, column 64: `ContainerPort` has to be the port",
            ),
            (
                "ContainerPort: 8080",
                "ContainerPort: web",
                "has to be a whole number that fits, and is `web`",
            ),
            (", ContainerPort: 8080", "", "`ContainerPort` has to be the port"),
            ("ContainerName: shop, ", "", "`ContainerName` is missing"),
            ("DISABLED", "no", "`AssignPublicIp` has to be ENABLED or DISABLED"),
            ("[subnet-1, subnet-2]", "[]", "`Subnets` has to be a list with at least one"),
            ("SecurityGroups: [sg-1], ", "", "`SecurityGroups` is missing"),
            ("FARGATE_SPOT,", "FARGATE_SPOT, Base: 2,", "only one of"),
            (
                "BeforeInstall: check",
                "ApplicationStart: check",
                "line 15, column 5: `ApplicationStart` is no event",
            ),
        ] {
            let text = WHOLE.replace(from, to);
            let said = parse_service(text.as_bytes()).unwrap_err().to_string();
            assert!(said.contains(expected), "{to}: {said}");
        }
    }
}
