//! A router over ports in memory, and clients of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use axum::Router;
use axum::body::Body;
use control::carriers::Carriers;
use control::ports::{
    AliasStanding, Bundles, Clock, Dispatcher, Entropy, FunctionError, Instances, NoCloud, NoMeter,
    Object, PinError, Pinned, Placed, Site, Traffic, Waker,
};
use control::{Base, Control, Followed, Gates, KnownShards, Place, Settings, hash_of};
use engine::appspec::Alias;
use engine::deployment::Fact;
use engine::{BundleType, DeploymentId, Pin, Timestamp};
use futures::future::BoxFuture;
use http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tower::ServiceExt as _;
use wire::host::Offer;

use super::table::MemoryTable;

/// Time and randomness that tests can foresee, a waker whose wakes are written down, a dispatcher that reaches nobody, and a bucket
/// in which every key has a bundle except `missing`.
struct Ports {
    time: AtomicU64,
    random: AtomicU64,
    /// AppSpecs in the bucket, by their keys.
    specs: Mutex<BTreeMap<String, String>>,
    /// Keys of objects that are not in the bucket any more.
    lost: Mutex<Vec<String>>,
    /// Which deployments are to be woken.
    wakes: Mutex<Vec<DeploymentId>>,
    /// What is kept, and when it was put.
    kept: Mutex<BTreeMap<String, Timestamp>>,
}

impl Ports {
    fn read_bundle(&self, object: &Object) -> Result<Pinned, PinError> {
        let Object { bucket, key, version, e_tag } = object.clone();
        if key == "missing" || self.lost.lock().unwrap().contains(&key) {
            return Err(PinError::Missing { bucket, key });
        }
        // The bucket has one version of everything, whatever was asked for.
        let e_tag = e_tag.or_else(|| Some(format!("etag-of-{key}")));
        let version = version.or_else(|| Some("7".to_owned()));
        let pin = Pin { e_tag, version, ..Pin::of_bytes(hash_of(&key), 7) };
        Ok(Pinned { pin, bundle_type: BundleType::Tgz })
    }
}

#[async_trait]
impl Clock for Ports {
    fn now(&self) -> Timestamp {
        Timestamp(self.time.load(Ordering::SeqCst))
    }

    async fn sleep(&self, ms: u64) {
        self.time.fetch_add(ms, Ordering::SeqCst);
    }
}

impl Entropy for Ports {
    fn fill(&self, bytes: &mut [u8]) {
        let number = self.random.fetch_add(1, Ordering::SeqCst);
        let text = hash_of(&number.to_string());
        for (byte, letter) in bytes.iter_mut().zip(text.as_bytes().chunks(2).cycle()) {
            *byte = u8::from_str_radix(std::str::from_utf8(letter).unwrap(), 16).unwrap();
        }
    }
}

#[async_trait]
impl Waker for Ports {
    fn wake(&self, _deployment: &DeploymentId, _facts: Vec<Fact>) {}
    async fn wake_at(&self, deployment: &DeploymentId, _at: Timestamp) {
        self.wakes.lock().unwrap().push(deployment.clone());
    }
}

#[async_trait]
impl Dispatcher for Ports {
    async fn dispatch(&self, _offers: &[(String, Offer)]) {}

    fn ticket(&self, _name: &str) -> u64 {
        0
    }

    async fn wait(&self, _name: &str, _ticket: u64, wait_ms: u64) -> Vec<Offer> {
        if wait_ms > 0 {
            std::future::pending::<()>().await;
        }
        Vec::new()
    }
}

#[async_trait]
impl Bundles for Ports {
    async fn pin(&self, object: &Object) -> Result<Pinned, PinError> {
        let pinned = self.read_bundle(object)?;
        self.kept.lock().unwrap().insert(pinned.pin.sha256.clone(), self.now());
        Ok(pinned)
    }

    async fn find(&self, object: &Object) -> Result<(), PinError> {
        self.read_bundle(object).map(drop)
    }

    async fn kept_before(&self, before: Timestamp) -> Result<BTreeSet<String>, PinError> {
        let kept = self.kept.lock().unwrap();
        Ok(kept
            .iter()
            .filter(|(_, put)| **put < before)
            .map(|(digest, _)| digest.clone())
            .collect())
    }

    async fn remove(&self, digest: &str, _: Timestamp) -> Result<(), PinError> {
        self.kept.lock().unwrap().remove(digest);
        Ok(())
    }

    async fn read(&self, object: &Object, _: usize) -> Result<String, PinError> {
        let (bucket, key) = (object.bucket.clone(), object.key.clone());
        let found = self.specs.lock().unwrap().get(&key).cloned();
        found.ok_or(PinError::Missing { bucket, key })
    }

    async fn url(&self, pin: &Pin) -> Result<String, PinError> {
        Ok(format!("http://bucket/{}", pin.sha256))
    }

    async fn runner_url(&self, digest: &str) -> Result<String, PinError> {
        Ok(format!("https://bundles.test/runners/{digest}"))
    }
}

/// Functions of one alias: which version has how much, and who was called with what.
#[derive(Default)]
pub(crate) struct Functions {
    /// How much the new version has, in percent.
    pub(crate) percent: Mutex<u8>,
    pub(crate) calls: Mutex<Vec<(String, String)>>,
    /// What nobody may read.
    pub(crate) refused: Mutex<Option<String>>,
    /// What happens when an alias was read, before its reader hears of it.
    pub(crate) at_reading: Mutex<Option<BoxFuture<'static, ()>>>,
    /// What happens when a function was called, before its caller hears of it.
    pub(crate) at_call: Mutex<Option<BoxFuture<'static, ()>>>,
    /// How many calls come to nothing.
    pub(crate) lost_calls: Mutex<u32>,
}

#[async_trait]
impl control::ports::Functions for Functions {
    async fn standing(&self, alias: &Alias) -> Result<AliasStanding, FunctionError> {
        let name = format!("{}:{}", alias.function, alias.alias);
        if let Some(message) = self.refused.lock().unwrap().clone() {
            return Err(FunctionError::Refused { name, message });
        }
        let percent = *self.percent.lock().unwrap();
        // Version 2 is what has the percent, whichever side asks for it.
        let percent = if alias.new == "2" { percent } else { 100 - percent };
        let happens = self.at_reading.lock().unwrap().take();
        if let Some(happens) = happens {
            happens.await;
        }
        Ok(AliasStanding { percent, revision: "1".to_owned() })
    }

    async fn split(&self, alias: &Alias, percent: u8, _: &str) -> Result<(), FunctionError> {
        *self.percent.lock().unwrap() = if alias.new == "2" { percent } else { 100 - percent };
        Ok(())
    }

    async fn call(&self, function: &str, payload: &str) -> Result<(), FunctionError> {
        let happens = self.at_call.lock().unwrap().take();
        let is_first = happens.is_some();
        if let Some(happens) = happens {
            happens.await;
        }
        let lost = *self.lost_calls.lock().unwrap();
        if lost > 0 && !is_first {
            *self.lost_calls.lock().unwrap() -= 1;
            let (name, source) = (function.to_owned(), "no answer".into());
            return Err(FunctionError::Unavailable { name, source });
        }
        self.calls.lock().unwrap().push((function.to_owned(), payload.to_owned()));
        Ok(())
    }
}

pub(crate) struct World {
    pub(crate) functions: Arc<Functions>,
    pub(crate) control: Control,
    pub(crate) router: Router,
    pub(crate) table: Arc<MemoryTable>,
    ports: Arc<Ports>,
}

impl World {
    pub(crate) fn new() -> Self {
        let ports = Arc::new(Ports {
            time: AtomicU64::new(1_800_000_000_000),
            random: AtomicU64::new(1),
            specs: Mutex::default(),
            lost: Mutex::default(),
            wakes: Mutex::default(),
            kept: Mutex::default(),
        });
        let table = Arc::new(MemoryTable::default());
        let functions = Arc::new(Functions::default());
        let base = Base {
            table: table.clone(),
            waker: ports.clone(),
            clock: ports.clone(),
            entropy: ports.clone(),
            meter: Arc::new(NoMeter),
            settings: Settings::default(),
            shards: KnownShards::default(),
        };
        let control = Control {
            base,
            carriers: Carriers::default(),
            bundles: ports.clone(),
            dispatcher: ports.clone(),
            messages: Arc::new(NoCloud),
            balancer_admin: None,
            sites: Placed::own(Site {
                traffic: Traffic { functions: functions.clone(), ..Traffic::none() },
                ..Site::none()
            }),
            place: Place { account: "123456789012".into(), region: "eu-central-1".into() },
            followed: Followed::default(),
            gates: Gates::default(),
        };
        let router = crate::router(control.operator_api(), control.host_api(), crate::Open);
        Self { functions, control, router, table, ports }
    }

    /// Plugs in balancers and alarms.
    pub(crate) fn traffic(&mut self, traffic: Traffic) {
        self.sites(self.control.sites.with_own(|site| Site { traffic, ..site }));
    }

    /// Plugs in what deployments act on.
    pub(crate) fn sites(&mut self, sites: Placed<Site>) {
        self.control.sites = sites;
        self.router =
            crate::router(self.control.operator_api(), self.control.host_api(), crate::Open);
    }

    /// Plugs in instances.
    pub(crate) fn instances(&mut self, instances: Instances) {
        self.control.sites = self.control.sites.with_own(|site| Site { instances, ..site });
    }

    /// An application `shop` with a group `web` of the instances that are tagged `role=web`.
    pub(crate) async fn with_group() -> Self {
        let world = Self::new();
        world.ok("CreateApplication", json!({ "applicationName": "shop" })).await;
        world.ok("CreateDeploymentGroup", group("web")).await;
        world
    }

    /// Puts an AppSpec into the bucket.
    pub(crate) fn put_spec(&self, key: &str, content: &str) {
        self.ports.specs.lock().unwrap().insert(key.to_owned(), content.to_owned());
    }

    /// Takes an object out of the bucket.
    pub(crate) fn lose(&self, key: &str) {
        self.ports.lost.lock().unwrap().push(key.to_owned());
    }

    /// Which deployments were to be woken since this was asked last.
    pub(crate) fn wakes(&self) -> Vec<String> {
        let wakes = std::mem::take(&mut *self.ports.wakes.lock().unwrap());
        wakes.iter().map(ToString::to_string).collect()
    }

    /// The keys out of `keys` whose bytes are kept.
    pub(crate) fn kept<'a>(&self, keys: &[&'a str]) -> Vec<&'a str> {
        let kept = self.ports.kept.lock().unwrap();
        keys.iter().copied().filter(|key| kept.contains_key(&hash_of(key))).collect()
    }

    pub(crate) fn now_ms(&self) -> u64 {
        self.ports.time.load(Ordering::SeqCst)
    }

    pub(crate) fn pass_ms(&self, ms: u64) {
        self.ports.time.fetch_add(ms, Ordering::SeqCst);
    }

    pub(crate) async fn send(
        &self,
        request: Request<Body>,
    ) -> (StatusCode, http::HeaderMap, Vec<u8>) {
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

    /// Calls an operation that must be refused, and gives the name of the exception without its ending.
    pub(crate) async fn refused(&self, operation: &str, body: Value) -> String {
        let (status, answer) = self.call(operation, body).await;
        assert_eq!(status, 400, "{operation}: {answer}");
        assert!(answer["message"].as_str().unwrap().len() > 10, "{answer}");
        answer["__type"].as_str().unwrap().trim_end_matches("Exception").to_owned()
    }

    /// Posts to the host protocol.
    pub(crate) async fn host(&self, path: &str, secret: &str, body: Value) -> (StatusCode, Value) {
        let request = Request::post(format!("/cutover/v1/host/{path}"))
            .header("authorization", format!("Bearer {secret}"));
        let (status, _, answer) = self.send(request.body(body.to_string().into()).unwrap()).await;
        (status, serde_json::from_slice(&answer).unwrap())
    }

    /// Registers an instance that belongs to the group `web`, with its name as its key.
    pub(crate) async fn register(&self, name: &str) {
        let arn = format!("arn:aws:iam::123456789012:user/{name}");
        let body = json!({ "instanceName": name, "iamUserArn": arn });
        self.ok("RegisterOnPremisesInstance", body).await;
        let tags = json!([{ "Key": "role", "Value": "web" }]);
        let body = json!({ "instanceNames": [name], "tags": tags });
        self.ok("AddTagsToOnPremisesInstances", body).await;
        self.control.operator_api().set_host_key(name, hash_of(name)).await.unwrap();
    }

    /// Creates a deployment of `key` to the group `web`, and lets it go as far as it goes.
    pub(crate) async fn deploy(&self, key: &str) -> String {
        let answer = self.ok("CreateDeployment", deployment(key)).await;
        let id = answer["deploymentId"].as_str().unwrap().to_owned();
        self.advance(&id).await;
        id
    }

    pub(crate) async fn advance(&self, id: &str) {
        self.control.deployment_stepper().refresh(&id.parse().unwrap()).await.unwrap();
    }

    pub(crate) async fn info(&self, id: &str) -> Value {
        self.ok("GetDeployment", json!({ "deploymentId": id })).await["deploymentInfo"].take()
    }

    pub(crate) async fn target(&self, id: &str, name: &str) -> Value {
        let body = json!({ "deploymentId": id, "targetId": name });
        self.ok("GetDeploymentTarget", body).await["deploymentTarget"]["instanceTarget"].take()
    }

    /// Lets a host claim what waits for it; gives the token and the body of a report that can be completed.
    pub(crate) async fn claim(&self, name: &str) -> (String, Value) {
        let (offer, answer) = self.claim_answer(name).await;
        let report = json!({
            "deploymentId": offer["deploymentId"],
            "ordinal": offer["ordinal"],
            "attempt": offer["attempt"],
            "sequence": 1,
            "status": "InProgress",
            "events": [],
        });
        (answer["token"].as_str().unwrap().to_owned(), report)
    }

    /// Lets a host claim what waits for it; gives the offer and the answer.
    pub(crate) async fn claim_answer(&self, name: &str) -> (Value, Value) {
        let poll = json!({ "host": name, "waitMs": 0, "runnerVersion": "1" });
        let (_, answer) = self.host("poll", name, poll).await;
        let offer = answer["offers"][0].clone();
        let claim = json!({ "host": name, "offer": offer });
        let (status, answer) = self.host("claim", name, claim).await;
        assert_eq!(status, 200, "{answer}");
        (offer, answer)
    }

    /// Lets a host take what waits for it and end it with `status`.
    pub(crate) async fn work(&self, name: &str, status: &str) {
        let (token, mut report) = self.claim(name).await;
        report["status"] = status.into();
        let (code, answer) = self.host("report", &token, report.clone()).await;
        assert_eq!(code, 200, "{answer}");
        self.advance(report["deploymentId"].as_str().unwrap()).await;
    }
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
    let object = json!({ "bucket": "releases", "key": key, "bundleType": "tgz" });
    json!({ "revisionType": "S3", "s3Location": object })
}

pub(crate) fn deployment(key: &str) -> Value {
    json!({
        "applicationName": "shop",
        "deploymentGroupName": "web",
        "revision": revision(key),
    })
}
