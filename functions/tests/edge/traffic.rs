//! Elastic Load Balancing and CloudWatch as they answer.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::services::{Call, Reply, Services, form};

/// How a target stands. What is on the way is there when it was looked at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    Initial,
    Healthy,
    Draining,
}

/// A target group.
#[derive(Debug, Clone, Default)]
pub(crate) struct Balancer {
    pub(crate) targets: BTreeMap<String, Target>,
    /// Those that were registered, one after the other.
    pub(crate) admitted: Vec<String>,
    /// Those that were deregistered, likewise.
    pub(crate) drained: Vec<String>,
}

impl Balancer {
    pub(crate) fn with(hosts: &[&str]) -> Self {
        let targets = hosts.iter().map(|host| ((*host).to_owned(), Target::Healthy)).collect();
        Self { targets, ..Self::default() }
    }

    fn look(&mut self) -> String {
        let told = self.targets.iter().map(|(id, target)| {
            let (state, reason) = match target {
                Target::Initial => ("initial", "<Reason>Elb.RegistrationInProgress</Reason>"),
                Target::Healthy => ("healthy", ""),
                Target::Draining => {
                    ("draining", "<Reason>Target.DeregistrationInProgress</Reason>")
                }
            };
            format!(
                "<member><Target><Id>{id}</Id><Port>80</Port></Target>\
                 <TargetHealth><State>{state}</State>{reason}</TargetHealth></member>"
            )
        });
        let told: String = told.collect();
        self.targets.retain(|_, target| *target != Target::Draining);
        self.targets.values_mut().for_each(|target| *target = Target::Healthy);
        format!("<TargetHealthDescriptions>{told}</TargetHealthDescriptions>")
    }
}

impl Services {
    pub(crate) fn balancing(&self, call: &Call) -> Reply {
        let mut state = self.state();
        let balancer = &mut state.balancer;
        let ids =
            (1..).map_while(|number| form(&call.body, &format!("Targets.member.{number}.Id")));
        let result = match call.operation.as_str() {
            "DescribeTargetGroups" => {
                assert_eq!(form(&call.body, "Names.member.1").as_deref(), Some("web"));
                "<TargetGroups><member><TargetGroupArn>arn:web</TargetGroupArn>\
                 <TargetGroupName>web</TargetGroupName><Port>80</Port><TargetType>instance</TargetType>\
                 <LoadBalancerArns><member>arn:front</member></LoadBalancerArns></member></TargetGroups>"
                    .to_owned()
            }
            "DescribeTargetHealth" => balancer.look(),
            "RegisterTargets" => {
                for id in ids {
                    // One that is there already stays as it is.
                    let known = balancer.targets.get(&id).copied();
                    let known = known.filter(|target| *target != Target::Draining);
                    balancer.targets.insert(id.clone(), known.unwrap_or(Target::Initial));
                    balancer.admitted.push(id);
                }
                String::new()
            }
            "DeregisterTargets" => {
                for id in ids {
                    if let Some(target) = balancer.targets.get_mut(&id) {
                        *target = Target::Draining;
                    }
                    balancer.drained.push(id);
                }
                String::new()
            }
            other => panic!("Elastic Load Balancing is asked for {other}"),
        };
        let body = format!(
            "<{0}Response xmlns=\"http://elasticloadbalancing.amazonaws.com/doc/2015-12-01/\">\
             <{0}Result>{result}</{0}Result>\
             <ResponseMetadata><RequestId>r</RequestId></ResponseMetadata></{0}Response>",
            call.operation
        );
        Reply::xml(200, body)
    }

    pub(crate) fn alarms(&self, call: &Call) -> Reply {
        assert_eq!(call.operation, "DescribeAlarms");
        let state = if self.state().alarm_fires { "ALARM" } else { "OK" };
        let asked = String::from_utf8_lossy(&call.body).into_owned();
        let found = asked.contains("shop-errors");
        let alarm = json!({ "AlarmName": "shop-errors", "StateValue": state });
        let alarms = if found { vec![alarm] } else { Vec::new() };
        Reply::cbor(200, &json!({ "MetricAlarms": alarms, "CompositeAlarms": [] }))
    }
}

/// A value in CBOR, as far as it is needed here.
pub(crate) fn cbor(value: &Value) -> Vec<u8> {
    let head = |kind: u8, length: usize| match u8::try_from(length).unwrap() {
        length @ 0..24 => vec![kind << 5 | length],
        length => vec![kind << 5 | 24, length],
    };
    let text = |text: &str| [head(3, text.len()), text.as_bytes().to_vec()].concat();
    match value {
        Value::String(value) => text(value),
        Value::Array(values) => {
            [head(4, values.len()), values.iter().flat_map(cbor).collect()].concat()
        }
        Value::Object(members) => {
            let pairs = members.iter().flat_map(|(name, value)| [text(name), cbor(value)].concat());
            [head(5, members.len()), pairs.collect()].concat()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => panic!("{value} is not needed"),
    }
}
