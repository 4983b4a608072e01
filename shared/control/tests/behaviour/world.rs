//! A scripted world, and who operates it: operators and hosts, whose requests and answers are written as JSON.

use std::ops::{Deref, DerefMut};

use control::{Error, OperatorApi, hash_of};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use sim::scripted::Scripted;
use wire::codedeploy::{ApiError, Request};
use wire::host::Refusal;

/// A scripted world, in which every invariant of the simulator has to hold.
pub(crate) struct World(Scripted);

impl Deref for World {
    type Target = Scripted;

    fn deref(&self) -> &Scripted {
        &self.0
    }
}

impl DerefMut for World {
    fn deref_mut(&mut self) -> &mut Scripted {
        &mut self.0
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert_eq!(self.violation(), None);
        }
    }
}

fn read<T: DeserializeOwned>(value: Value) -> T {
    let said = value.to_string();
    serde_json::from_value(value).unwrap_or_else(|error| panic!("{said}: {error}"))
}

fn shown<T: Serialize>(answer: T) -> Value {
    serde_json::to_value(answer).unwrap()
}

/// The name of an exception without its ending, as CodeDeploy's documentation has it.
pub(crate) fn name_of(refused: &ApiError) -> String {
    refused.name.name().trim_end_matches("Exception").to_owned()
}

/// What a host was refused.
fn refusal_of<T>(answer: Result<T, Error>) -> Result<T, Refusal> {
    match answer {
        Ok(answer) => Ok(answer),
        Err(Error::Host(refusal)) => Err(refusal),
        Err(other) => panic!("{other}"),
    }
}

impl World {
    pub(crate) fn new() -> Self {
        Self(Scripted::new())
    }

    /// An application `shop` with a group `web` of the instances that are tagged `role=web`.
    pub(crate) async fn with_group() -> Self {
        let world = Self::new();
        world.ok(OperatorApi::create_application, json!({ "applicationName": "shop" })).await;
        world.ok(OperatorApi::create_deployment_group, group("web")).await;
        world
    }

    /// Calls an operation, as a client does: its request is checked first.
    pub(crate) async fn call<Q: Request, A: Serialize>(
        &self,
        operation: impl AsyncFn(&OperatorApi, &Q) -> Result<A, Error>,
        request: Value,
    ) -> Result<Value, ApiError> {
        let request: Q = read(request);
        request.validate()?;
        match operation(&self.control.operator_api(), &request).await {
            Ok(answer) => Ok(shown(answer)),
            Err(Error::Refused(refused)) => Err(refused),
            Err(other) => panic!("{}: {other}", Q::TARGET),
        }
    }

    pub(crate) async fn ok<Q: Request, A: Serialize>(
        &self,
        operation: impl AsyncFn(&OperatorApi, &Q) -> Result<A, Error>,
        request: Value,
    ) -> Value {
        let answer = self.call(operation, request).await;
        answer.unwrap_or_else(|refused| panic!("{}: {refused:?}", Q::TARGET))
    }

    /// Calls an operation that must be refused, and gives its words and the name of the exception without its ending.
    pub(crate) async fn refusal<Q: Request, A: Serialize>(
        &self,
        operation: impl AsyncFn(&OperatorApi, &Q) -> Result<A, Error>,
        request: Value,
    ) -> (String, String) {
        let refused = match self.call(operation, request).await {
            Ok(answer) => panic!("{}: {answer}", Q::TARGET),
            Err(refused) => refused,
        };
        assert_eq!(refused.name.status(), 400, "{refused:?}");
        assert!(refused.message.len() > 10, "{refused:?}");
        (name_of(&refused), refused.message)
    }

    /// The same without its words.
    pub(crate) async fn refused<Q: Request, A: Serialize>(
        &self,
        operation: impl AsyncFn(&OperatorApi, &Q) -> Result<A, Error>,
        request: Value,
    ) -> String {
        self.refusal(operation, request).await.0
    }

    /// Registers an instance that belongs to the group `web`, with its name as its key.
    pub(crate) async fn register(&self, name: &str) {
        let arn = format!("arn:aws:iam::123456789012:user/{name}");
        let body = json!({ "instanceName": name, "iamUserArn": arn });
        self.ok(OperatorApi::register_on_premises_instance, body).await;
        let tags = json!([{ "Key": "role", "Value": "web" }]);
        let body = json!({ "instanceNames": [name], "tags": tags });
        self.ok(OperatorApi::add_tags_to_on_premises_instances, body).await;
        self.control.operator_api().set_host_key(name, hash_of(name)).await.unwrap();
    }

    /// Asks for a deployment, and lets it go as far as it goes.
    pub(crate) async fn begin(&self, deployment: Value) -> String {
        let answer = self.ok(OperatorApi::create_deployment, deployment).await;
        let id = answer["deploymentId"].as_str().unwrap().to_owned();
        self.advance(&id).await;
        id
    }

    /// The same for one of `key` to the group `web`.
    pub(crate) async fn deploy(&self, key: &str) -> String {
        self.begin(deployment(key)).await
    }

    pub(crate) async fn advance(&self, id: &str) {
        self.control.deployment_stepper().refresh(&id.parse().unwrap()).await.unwrap();
    }

    /// Lets time pass, and a deployment go as far as it goes then.
    pub(crate) async fn later(&self, id: &str, ms: u64) -> Value {
        self.pass_ms(ms);
        self.advance(id).await;
        self.info(id).await
    }

    pub(crate) async fn info(&self, id: &str) -> Value {
        let body = json!({ "deploymentId": id });
        self.ok(OperatorApi::get_deployment, body).await["deploymentInfo"].take()
    }

    pub(crate) async fn progress(&self, id: &str) -> Value {
        self.ok(OperatorApi::get_progress, json!({ "deploymentId": id })).await
    }

    pub(crate) async fn target(&self, id: &str, name: &str) -> Value {
        let body = json!({ "deploymentId": id, "targetId": name });
        let mut target = self.ok(OperatorApi::get_deployment_target, body).await;
        target["deploymentTarget"]["instanceTarget"].take()
    }

    /// Has a host ask for work, with what it says beside that.
    pub(crate) async fn poll(&self, name: &str, more: Value) -> Value {
        let mut poll = json!({ "host": name, "waitMs": 0, "runnerVersion": "1" });
        poll.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        shown(self.control.host_api().poll(name, &read(poll)).await.unwrap())
    }

    /// Has a host claim what it was offered.
    pub(crate) async fn try_claim(&self, name: &str, offer: Value) -> Result<Value, Refusal> {
        let claim = json!({ "host": name, "offer": offer });
        let answer = self.control.host_api().claim(name, &read(claim)).await;
        refusal_of(answer).map(shown)
    }

    /// Lets a host claim what waits for it; gives the token and the body of a report that can be completed.
    pub(crate) async fn claim(&self, name: &str) -> (String, Value) {
        let (offer, answer) = self.claim_answer(name).await;
        (answer["token"].as_str().unwrap().to_owned(), report_of(&offer))
    }

    /// Lets a host claim what waits for it; gives the offer and the answer.
    pub(crate) async fn claim_answer(&self, name: &str) -> (Value, Value) {
        let offer = self.poll(name, json!({})).await["offers"][0].take();
        let answer = self.try_claim(name, offer.clone()).await;
        (offer, answer.unwrap())
    }

    /// Lets a host that was sent its command do the same.
    pub(crate) async fn claim_batch(&self, name: &str) -> (String, Value) {
        let commands = self.commands();
        let (_, batch, secret) = commands.iter().find(|(to, ..)| to == name).unwrap();
        let claim = json!({ "host": name, "batch": batch });
        let answer = self.control.host_api().claim_batch(secret, &read(claim)).await;
        let answer = shown(answer.unwrap());
        (answer["token"].as_str().unwrap().to_owned(), report_of(&answer["offer"]))
    }

    /// Lets a host report, or ask whether a script may start.
    pub(crate) async fn report(&self, token: &str, report: Value) -> Value {
        let answer = self.control.host_api().report(token, read(report)).await;
        shown(answer.unwrap())
    }

    /// Lets a host take what waits for it and end it with `status`.
    pub(crate) async fn work(&self, name: &str, status: &str) {
        let (token, mut report) = self.claim(name).await;
        report["status"] = status.into();
        self.report(&token, report.clone()).await;
        self.advance(report["deploymentId"].as_str().unwrap()).await;
    }
}

/// The beginning of a report on what was offered.
fn report_of(offer: &Value) -> Value {
    json!({
        "deploymentId": offer["deploymentId"],
        "ordinal": offer["ordinal"],
        "attempt": offer["attempt"],
        "sequence": 1,
        "status": "InProgress",
        "events": [],
    })
}

pub(crate) fn group(name: &str) -> Value {
    json!({
        "applicationName": "shop",
        "deploymentGroupName": name,
        "serviceRoleArn": "arn:aws:iam::123456789012:role/deployer",
        "onPremisesInstanceTagFilters": [
            { "Key": "role", "Value": "web", "Type": "KEY_AND_VALUE" },
        ],
    })
}

pub(crate) fn revision(key: &str) -> Value {
    let object = json!({ "bucket": "releases", "key": key, "bundleType": "zip" });
    json!({ "revisionType": "S3", "s3Location": object })
}

pub(crate) fn deployment(key: &str) -> Value {
    json!({
        "applicationName": "shop",
        "deploymentGroupName": "web",
        "revision": revision(key),
    })
}

/// What names the deployment group `web` of the application `shop`.
pub(crate) fn web() -> Value {
    json!({ "applicationName": "shop", "deploymentGroupName": "web" })
}
