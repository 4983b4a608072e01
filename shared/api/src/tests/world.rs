//! A router over a scripted world, and clients of it.

use axum::Router;
use axum::body::Body;
use control::hash_of;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use sim::scripted::Scripted;
use tower::ServiceExt as _;

pub(crate) struct World {
    pub(crate) scripted: Scripted,
    pub(crate) router: Router,
}

impl World {
    pub(crate) fn new() -> Self {
        let scripted = Scripted::new();
        let control = &scripted.control;
        let router = crate::router(control.operator_api(), control.host_api(), crate::Open);
        Self { scripted, router }
    }

    /// An application `shop` with a group `web` of the instances that are tagged `role=web`, and an instance of it, which
    /// has its name as its key.
    pub(crate) async fn with_host(name: &str) -> Self {
        let world = Self::new();
        world.ok("CreateApplication", json!({ "applicationName": "shop" })).await;
        let filter = json!({ "Key": "role", "Value": "web", "Type": "KEY_AND_VALUE" });
        let group = json!({
            "applicationName": "shop",
            "deploymentGroupName": "web",
            "serviceRoleArn": "arn:aws:iam::123456789012:role/deployer",
            "onPremisesInstanceTagFilters": [filter],
        });
        world.ok("CreateDeploymentGroup", group).await;
        let arn = format!("arn:aws:iam::123456789012:user/{name}");
        let body = json!({ "instanceName": name, "iamUserArn": arn });
        world.ok("RegisterOnPremisesInstance", body).await;
        let tags = json!([{ "Key": "role", "Value": "web" }]);
        let body = json!({ "instanceNames": [name], "tags": tags });
        world.ok("AddTagsToOnPremisesInstances", body).await;
        world.scripted.control.operator_api().set_host_key(name, hash_of(name)).await.unwrap();
        world
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> (StatusCode, HeaderMap, Vec<u8>) {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes().to_vec();
        (parts.status, parts.headers, body)
    }

    /// Calls an operation; Cutover's own are written `Cutover_v1.Name`.
    pub(crate) async fn call(&self, operation: &str, body: Value) -> (StatusCode, Value) {
        let target = if operation.contains('.') {
            operation.to_owned()
        } else {
            format!("CodeDeploy_20141006.{operation}")
        };
        let request = Request::post("/").header("x-amz-target", target);
        let (status, _, answer) = self.send(request.body(body.to_string().into()).unwrap()).await;
        let answer = if answer.is_empty() { b"{}".to_vec() } else { answer };
        (status, serde_json::from_slice(&answer).unwrap())
    }

    pub(crate) async fn ok(&self, operation: &str, body: Value) -> Value {
        let (status, answer) = self.call(operation, body).await;
        assert_eq!(status, 200, "{operation}: {answer}");
        answer
    }

    /// Posts to the host protocol.
    pub(crate) async fn host(&self, path: &str, secret: &str, body: Value) -> (StatusCode, Value) {
        let request = Request::post(format!("/cutover/v1/host/{path}"))
            .header("authorization", format!("Bearer {secret}"));
        let (status, _, answer) = self.send(request.body(body.to_string().into()).unwrap()).await;
        (status, serde_json::from_slice(&answer).unwrap())
    }

    /// Creates a deployment to the group `web`, and lets it go as far as it goes.
    pub(crate) async fn deploy(&self) -> String {
        let object = json!({ "bucket": "releases", "key": "v1", "bundleType": "zip" });
        let deployment = json!({
            "applicationName": "shop",
            "deploymentGroupName": "web",
            "revision": { "revisionType": "S3", "s3Location": object },
        });
        let answer = self.ok("CreateDeployment", deployment).await;
        let id = answer["deploymentId"].as_str().unwrap().to_owned();
        self.advance(&id).await;
        id
    }

    pub(crate) async fn advance(&self, id: &str) {
        let stepper = self.scripted.control.deployment_stepper();
        stepper.refresh(&id.parse().unwrap()).await.unwrap();
    }
}

/// What a host asks for work with.
pub(crate) fn poll(name: &str, wait_ms: u64) -> Value {
    json!({ "host": name, "waitMs": wait_ms, "runnerVersion": "1" })
}
