//! AWS's services as they answer, and what goes wrong on the way to them.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};

use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, SharedHttpClient, SharedHttpConnector, http_client_fn,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::http::StatusCode;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::byte_stream::ByteStream;
use dynoxide::Database;
use serde_json::{Value, json};

use crate::traffic::{self, Balancer};

/// How a call goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// It is refused, because there were too many.
    Throttled,
    /// The service breaks down.
    Broken,
    /// Nobody hears of it.
    NotArrived,
    /// It is performed, and nobody hears the answer.
    AnswerLost,
    /// It is performed twice, and the second answer is heard.
    Doubled,
}

/// A time in which one service refuses all calls of some operations.
#[derive(Debug, Clone)]
pub(crate) struct Outage {
    /// What the calls begin with, as `ssm:` or `sqs:SendMessage`.
    pub(crate) calls: &'static str,
    /// Until when, in milliseconds since 1970.
    pub(crate) until: u64,
    /// Whether they are denied, and not throttled.
    pub(crate) denies: bool,
}

/// A command that was sent.
#[derive(Debug, Clone)]
pub(crate) struct Sent {
    pub(crate) instances: Vec<String>,
    pub(crate) batch: String,
    pub(crate) secret: String,
}

/// A message that was sent.
#[derive(Debug, Clone)]
pub(crate) struct Posted {
    pub(crate) queue: String,
    pub(crate) body: String,
    pub(crate) delay_s: u64,
}

#[derive(Default)]
pub(crate) struct State {
    pub(crate) fault: Option<(usize, Kind)>,
    /// A service that breaks down whatever it is asked.
    pub(crate) away: Option<&'static str>,
    /// After how many calls more no other one arrives, because whoever makes them is dead.
    pub(crate) dies_after: Option<usize>,
    pub(crate) outage: Option<Outage>,
    /// The virtual time, in milliseconds since 1970.
    pub(crate) now: u64,
    pub(crate) calls: Vec<String>,
    pub(crate) objects: BTreeMap<String, Vec<u8>>,
    pub(crate) sent: Vec<Sent>,
    pub(crate) last_sent: Option<Sent>,
    pub(crate) posted: Vec<Posted>,
    /// In how many seconds a delivery that failed is followed by the next one, where somebody has said so.
    pub(crate) hastened: BTreeMap<String, u64>,
    /// Records of the table's stream that pass the template's filter.
    pub(crate) written: Vec<Value>,
    pub(crate) instances: Vec<String>,
    /// Those that are protected from being terminated.
    pub(crate) protected: Vec<String>,
    /// Those that were terminated.
    pub(crate) terminated: Vec<String>,
    /// Those that have lost the stack's tag since a group's hosts were looked up.
    pub(crate) untagged: Vec<String>,
    pub(crate) suspended: Vec<String>,
    pub(crate) balancer: Balancer,
    pub(crate) alarm_fires: bool,
    sequence: u64,
}

/// All services of an account.
#[derive(Clone)]
pub(crate) struct Services {
    state: Arc<Mutex<State>>,
    table: Database,
}

impl fmt::Debug for Services {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Services")
    }
}

pub(crate) struct Reply {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
}

impl Reply {
    fn json(status: u16, body: impl Into<Vec<u8>>) -> Self {
        let headers = vec![("content-type", "application/x-amz-json-1.0".to_owned())];
        Self { status, headers, body: body.into() }
    }

    pub(crate) fn cbor(status: u16, body: &Value) -> Self {
        let headers = [("content-type", "application/cbor"), ("smithy-protocol", "rpc-v2-cbor")];
        let headers = headers.map(|(name, value)| (name, value.to_owned())).into();
        Self { status, headers, body: traffic::cbor(body) }
    }

    pub(crate) fn xml(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self { status, headers: vec![("content-type", "text/xml".to_owned())], body: body.into() }
    }

    fn http(self) -> HttpResponse {
        let status = StatusCode::try_from(self.status).unwrap();
        let mut response = HttpResponse::new(status, SdkBody::from(self.body));
        for (name, value) in self.headers {
            response.headers_mut().insert(name, value);
        }
        response
    }
}

/// The services that are told by the names of their hosts; the others are S3.
const SERVICES: [&str; 7] =
    ["dynamodb", "ssm", "sqs", "ec2", "autoscaling", "elasticloadbalancing", "monitoring"];

/// A request, read.
pub(crate) struct Call {
    service: &'static str,
    pub(crate) operation: String,
    method: String,
    path: String,
    pub(crate) body: Vec<u8>,
}

impl Call {
    async fn read(mut request: HttpRequest) -> Self {
        let body = std::mem::replace(request.body_mut(), SdkBody::empty());
        let body = ByteStream::new(body).collect().await.unwrap().to_vec();
        let uri = request.uri().to_owned();
        let host = uri.split("://").nth(1).unwrap_or_default();
        let (host, path) = host.split_once('/').unwrap_or((host, ""));
        let service = SERVICES
            .into_iter()
            .find(|service| host.starts_with(&format!("{service}.")))
            .unwrap_or("s3");
        let target = request.headers().get("x-amz-target").unwrap_or_default();
        let method = request.method().to_owned();
        let operation = match service {
            "dynamodb" | "ssm" | "sqs" => target.rsplit('.').next().unwrap().to_owned(),
            "ec2" | "autoscaling" | "elasticloadbalancing" => form(&body, "Action").unwrap(),
            "monitoring" => path.rsplit('/').next().unwrap().to_owned(),
            _ if method == "GET" => "GetObject".to_owned(),
            _ if method == "HEAD" => "HeadObject".to_owned(),
            _ => "PutObject".to_owned(),
        };
        // In the host's name where the bucket's name allows it.
        let bucket = host.split_once(".s3.").map(|(bucket, _)| bucket);
        let path = path.split('?').next().unwrap_or_default();
        let path = bucket.map_or_else(|| path.to_owned(), |bucket| format!("{bucket}/{path}"));
        Self { service, operation, method, path, body }
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// A member of a form.
pub(crate) fn form(body: &[u8], name: &str) -> Option<String> {
    let text = String::from_utf8_lossy(body).into_owned();
    text.split('&').find_map(|pair| pair.strip_prefix(&format!("{name}="))).map(str::to_owned)
}

impl HttpConnector for Services {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let services = self.clone();
        HttpConnectorFuture::new(async move {
            let call = Call::read(request).await;
            services.take(&call)
        })
    }
}

impl Services {
    pub(crate) fn new() -> Self {
        Self { state: Arc::default(), table: Database::memory().unwrap() }
    }

    pub(crate) fn client(&self) -> SharedHttpClient {
        let connector = SharedHttpConnector::new(self.clone());
        http_client_fn(move |_, _| connector.clone())
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn take(&self, call: &Call) -> Result<HttpResponse, ConnectorError> {
        let fault = {
            let mut state = self.state();
            let number = state.calls.len();
            let name = format!("{}:{}", call.service, call.operation);
            let now = state.now;
            let is_out = |outage: &&Outage| now < outage.until && name.starts_with(outage.calls);
            let outage = state.outage.as_ref().filter(is_out).map(|outage| outage.denies);
            state.calls.push(name);
            match outage {
                Some(true) => return Ok(denial().http()),
                Some(false) => return Ok(refusal(call.service, true).http()),
                None => {}
            }
            let is_away = state.away == Some(call.service);
            let is_dead = state.dies_after == Some(0);
            state.dies_after = state.dies_after.map(|left| left.saturating_sub(1));
            let fault = state.fault.filter(|(at, _)| *at == number).map(|(_, kind)| kind);
            let fault = fault.or_else(|| is_away.then_some(Kind::Broken));
            if is_dead { Some(Kind::NotArrived) } else { fault }
        };
        let lost = || ConnectorError::timeout("no answer came".into());
        match fault {
            None => Ok(self.answer(call).http()),
            Some(Kind::Throttled) => Ok(refusal(call.service, true).http()),
            Some(Kind::Broken) => Ok(refusal(call.service, false).http()),
            Some(Kind::NotArrived) => Err(lost()),
            Some(Kind::AnswerLost) => {
                self.answer(call);
                Err(lost())
            }
            Some(Kind::Doubled) => {
                self.answer(call);
                Ok(self.answer(call).http())
            }
        }
    }

    fn answer(&self, call: &Call) -> Reply {
        match call.service {
            "dynamodb" => self.dynamodb(call),
            "ssm" => self.ssm(call),
            "sqs" => self.sqs(call),
            "ec2" => self.ec2(call),
            "autoscaling" => self.autoscaling(call),
            "elasticloadbalancing" => self.balancing(call),
            "monitoring" => self.alarms(call),
            _ => self.s3(call),
        }
    }

    fn dynamodb(&self, call: &Call) -> Reply {
        let body = call.json();
        macro_rules! ask {
            ($method:ident) => {
                self.table
                    .$method(serde_json::from_value(body.clone()).unwrap())
                    .map(|answer| serde_json::to_string(&answer).unwrap())
            };
        }
        let answer = match call.operation.as_str() {
            "CreateTable" => ask!(create_table),
            "DescribeTable" => ask!(describe_table),
            "DescribeTimeToLive" => ask!(describe_time_to_live),
            "UpdateTimeToLive" => ask!(update_time_to_live),
            "GetItem" => ask!(get_item),
            "BatchGetItem" => ask!(batch_get_item),
            "Query" => ask!(query),
            "PutItem" => ask!(put_item),
            "DeleteItem" => ask!(delete_item),
            "TransactWriteItems" => ask!(transact_write_items),
            other => panic!("the table is asked for {other}"),
        };
        match answer {
            Ok(answer) => {
                self.stream(&call.operation, &body);
                Reply::json(200, answer)
            }
            Err(error) => Reply::json(400, error.to_json()),
        }
    }

    /// What was written comes out of the stream, as far as the template's filter lets it.
    fn stream(&self, operation: &str, body: &Value) {
        let items: Vec<Value> = match operation {
            "PutItem" => vec![body["Item"].clone()],
            "TransactWriteItems" => {
                let puts = body["TransactItems"].as_array().unwrap().iter();
                puts.filter_map(|write| write.get("Put")).map(|put| put["Item"].clone()).collect()
            }
            _ => Vec::new(),
        };
        let mut state = self.state();
        for item in items.into_iter().filter(|item| item["b"]["S"] == "1") {
            state.sequence += 1;
            let record = json!({
                "eventID": format!("{:032}", state.sequence),
                "eventName": "MODIFY",
                "eventVersion": "1.1",
                "eventSource": "aws:dynamodb",
                "awsRegion": "eu-central-1",
                "dynamodb": {
                    "ApproximateCreationDateTime": 1_795_426_216,
                    "Keys": { "pk": item["pk"], "sk": item["sk"] },
                    "NewImage": item,
                    "SequenceNumber": format!("{:021}", state.sequence),
                    "SizeBytes": 100,
                    "StreamViewType": "NEW_AND_OLD_IMAGES",
                },
            });
            state.written.push(record);
        }
    }

    fn ssm(&self, call: &Call) -> Reply {
        let body = call.json();
        let mut state = self.state();
        match call.operation.as_str() {
            "DescribeInstanceInformation" => {
                let wanted = body["Filters"][0]["Values"].as_array().unwrap().clone();
                let managed = wanted.iter().filter(|id| state.instances.iter().any(|i| *id == i));
                let listed: Vec<Value> = managed
                    .map(|id| json!({ "InstanceId": id, "PingStatus": "Online", "ResourceType": "EC2Instance" }))
                    .collect();
                Reply::json(200, json!({ "InstanceInformationList": listed }).to_string())
            }
            "SendCommand" => {
                let given = |name: &str| body["Parameters"][name][0].as_str().unwrap().to_owned();
                let ids = body["InstanceIds"].as_array().unwrap().iter();
                if ids.clone().any(|id| state.untagged.iter().any(|other| id == other)) {
                    return denial();
                }
                let sent = Sent {
                    instances: ids.map(|id| id.as_str().unwrap().to_owned()).collect(),
                    batch: given("BatchKey"),
                    secret: given("BatchSecret"),
                };
                state.last_sent = Some(sent.clone());
                state.sent.push(sent);
                let id = format!("00000000-0000-4000-8000-{:012}", state.sent.len());
                Reply::json(200, json!({ "Command": { "CommandId": id } }).to_string())
            }
            other => panic!("Systems Manager is asked for {other}"),
        }
    }

    fn sqs(&self, call: &Call) -> Reply {
        let body = call.json();
        let text = |name: &str| body[name].as_str().unwrap().to_owned();
        let mut state = self.state();
        if call.operation == "ChangeMessageVisibility" {
            let seconds = body["VisibilityTimeout"].as_u64().unwrap();
            state.hastened.insert(text("ReceiptHandle"), seconds);
            return Reply::json(200, "{}");
        }
        state.posted.push(Posted {
            queue: text("QueueUrl").rsplit('/').next().unwrap().to_owned(),
            body: text("MessageBody"),
            delay_s: body["DelaySeconds"].as_u64().unwrap_or(0),
        });
        Reply::json(200, json!({ "MessageId": state.posted.len().to_string() }).to_string())
    }

    /// All that are named are terminated, or none.
    fn terminate(&self, call: &Call) -> Reply {
        let named = |number| form(&call.body, &format!("InstanceId.{number}"));
        let ids: Vec<String> = (1..).map_while(named).collect();
        let mut state = self.state();
        let refused = ids.iter().find_map(|id| {
            if state.protected.contains(id) {
                return Some(("OperationNotPermitted", format!("The instance '{id}' may not be terminated. Modify its 'disableApiTermination' instance attribute and try again.")));
            }
            let is_known = state.instances.contains(id) || state.terminated.contains(id);
            (!is_known).then(|| ("InvalidInstanceID.NotFound", format!("The instance ID '{id}' does not exist")))
        });
        if let Some((code, message)) = refused {
            return Reply::xml(
                400,
                format!(
                    "<Response><Errors><Error><Code>{code}</Code><Message>{message}</Message></Error></Errors>\
                     <RequestID>r</RequestID></Response>"
                ),
            );
        }
        let ended = |id: &String| {
            format!(
                "<item><instanceId>{id}</instanceId><currentState><code>32</code><name>shutting-down</name>\
                 </currentState><previousState><code>16</code><name>running</name></previousState></item>"
            )
        };
        let items: String = ids.iter().map(ended).collect();
        state.instances.retain(|id| !ids.contains(id));
        state.terminated.extend(ids);
        Reply::xml(
            200,
            format!(
                "<TerminateInstancesResponse xmlns=\"http://ec2.amazonaws.com/doc/2016-11-15/\">\
                 <requestId>r</requestId><instancesSet>{items}</instancesSet></TerminateInstancesResponse>"
            ),
        )
    }

    fn ec2(&self, call: &Call) -> Reply {
        if call.operation == "TerminateInstances" {
            return self.terminate(call);
        }
        assert_eq!(call.operation, "DescribeInstances");
        let asked = String::from_utf8_lossy(&call.body).into_owned();
        let state = self.state();
        let by_id = asked.contains("instance-id");
        let items: String = state
            .instances
            .iter()
            .filter(|id| !by_id || asked.contains(*id))
            .map(|id| {
                let key = if by_id && state.untagged.contains(id) { "other" } else { "cutover" };
                format!(
                    "<item><instancesSet><item><instanceId>{id}</instanceId>\
                     <instanceState><code>16</code><name>running</name></instanceState>\
                     <placement><availabilityZone>eu-central-1a</availabilityZone></placement>\
                     <tagSet><item><key>{key}</key><value>edge</value></item>\
                     <item><key>aws:autoscaling:groupName</key><value>web</value></item></tagSet>\
                     </item></instancesSet></item>"
                )
            })
            .collect();
        Reply::xml(
            200,
            format!(
                "<DescribeInstancesResponse xmlns=\"http://ec2.amazonaws.com/doc/2016-11-15/\">\
                 <requestId>r</requestId><reservationSet>{items}</reservationSet></DescribeInstancesResponse>"
            ),
        )
    }

    fn autoscaling(&self, call: &Call) -> Reply {
        let mut state = self.state();
        let name = form(&call.body, "AutoScalingGroupName").unwrap_or_default();
        let result = match call.operation.as_str() {
            "SuspendProcesses" => {
                state.suspended = vec![name];
                String::new()
            }
            "ResumeProcesses" => {
                state.suspended.clear();
                String::new()
            }
            "DescribeAutoScalingGroups" => {
                "<DescribeAutoScalingGroupsResult><AutoScalingGroups><member>\
                <AutoScalingGroupName>web</AutoScalingGroupName><SuspendedProcesses/>\
                </member></AutoScalingGroups></DescribeAutoScalingGroupsResult>"
                    .to_owned()
            }
            "TerminateInstanceInAutoScalingGroup" => {
                assert_eq!(form(&call.body, "ShouldDecrementDesiredCapacity").unwrap(), "true");
                let id = form(&call.body, "InstanceId").unwrap();
                let refused = if state.protected.contains(&id) {
                    Some("Currently, desiredSize equals minSize (1). Terminating instance without replacement will violate group's min size constraint.".to_owned())
                } else if state.instances.contains(&id) {
                    None
                } else {
                    Some(format!(
                        "Instance Id not found - No managed instance found for instance ID: {id}"
                    ))
                };
                if let Some(message) = refused {
                    return Reply::xml(
                        400,
                        format!(
                            "<ErrorResponse xmlns=\"http://autoscaling.amazonaws.com/doc/2011-01-01/\"><Error>\
                             <Type>Sender</Type><Code>ValidationError</Code><Message>{message}</Message></Error>\
                             <RequestId>r</RequestId></ErrorResponse>"
                        ),
                    );
                }
                state.instances.retain(|known| *known != id);
                state.terminated.push(id);
                format!("<{}Result/>", call.operation)
            }
            "PutLifecycleHook" | "DeleteLifecycleHook" => format!("<{}Result/>", call.operation),
            other => panic!("Auto Scaling is asked for {other}"),
        };
        let body = format!(
            "<{0}Response xmlns=\"http://autoscaling.amazonaws.com/doc/2011-01-01/\">{result}\
             <ResponseMetadata><RequestId>r</RequestId></ResponseMetadata></{0}Response>",
            call.operation
        );
        Reply::xml(200, body)
    }

    fn s3(&self, call: &Call) -> Reply {
        let mut state = self.state();
        if call.method == "PUT" {
            state.objects.insert(call.path.clone(), call.body.clone());
            return Reply {
                status: 200,
                headers: vec![("etag", "\"e\"".to_owned())],
                body: Vec::new(),
            };
        }
        let Some(found) = state.objects.get(&call.path) else {
            let body = "<Error><Code>NoSuchKey</Code><Message>no such key</Message></Error>";
            return Reply::xml(404, if call.method == "HEAD" { "" } else { body });
        };
        let headers = vec![
            ("etag", "\"e\"".to_owned()),
            ("x-amz-version-id", "v".to_owned()),
            ("content-length", found.len().to_string()),
        ];
        let body = if call.method == "HEAD" { Vec::new() } else { found.clone() };
        Reply { status: 200, headers, body }
    }
}

/// How each service refuses because there was too much, or because it broke.
/// As services with JSON deny a call.
fn denial() -> Reply {
    let message = "User: arn:aws:sts::123456789012:assumed-role/edge/hook_dispatcher is not authorized to perform: \
                   ssm:SendCommand on resource: arn:aws:ssm:eu-central-1:123456789012:document/edge-command";
    let body = json!({ "__type": "AccessDeniedException", "Message": message });
    Reply::json(400, body.to_string())
}

fn refusal(service: &str, throttled: bool) -> Reply {
    let json = |code: &str, status: u16| {
        Reply::json(
            status,
            json!({ "__type": format!("com.amazonaws#{code}"), "message": "no" }).to_string(),
        )
    };
    match (service, throttled) {
        ("dynamodb" | "ssm", true) => json("ThrottlingException", 400),
        ("sqs", true) => json("RequestThrottled", 400),
        ("dynamodb" | "ssm" | "sqs", false) => json("InternalServerError", 500),
        ("ec2", true) => Reply::xml(
            503,
            "<Response><Errors><Error><Code>RequestLimitExceeded</Code><Message>no</Message></Error></Errors></Response>",
        ),
        ("ec2", false) => Reply::xml(
            500,
            "<Response><Errors><Error><Code>InternalError</Code><Message>no</Message></Error></Errors></Response>",
        ),
        ("monitoring", throttled) => {
            let (code, status) =
                if throttled { ("Throttling", 400) } else { ("InternalServiceFault", 500) };
            let body = json!({ "__type": format!("com.amazonaws#{code}"), "message": "no" });
            Reply::cbor(status, &body)
        }
        ("autoscaling" | "elasticloadbalancing", true) => Reply::xml(
            400,
            "<ErrorResponse><Error><Code>Throttling</Code><Message>no</Message></Error></ErrorResponse>",
        ),
        ("autoscaling" | "elasticloadbalancing", false) => Reply::xml(
            500,
            "<ErrorResponse><Error><Code>InternalFailure</Code><Message>no</Message></Error></ErrorResponse>",
        ),
        (_, true) => Reply::xml(503, "<Error><Code>SlowDown</Code><Message>no</Message></Error>"),
        (_, false) => {
            Reply::xml(500, "<Error><Code>InternalError</Code><Message>no</Message></Error>")
        }
    }
}
