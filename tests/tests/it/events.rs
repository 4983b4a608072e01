//! Every sample in `events/` is delivered through the very type that its function decodes; one that nobody delivers
//! fails.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::fs;
use std::path::Path;

use functions::{
    deployment_stepper, fleet_watcher, hook_dispatcher, revision_intake, traffic_evaluator,
};
use lambda_http::request::LambdaRequest;
use serde::de::DeserializeOwned;

use crate::house::root;

/// What a function makes of a sample, and what must be found in it.
struct Sample {
    file: &'static str,
    decode: fn(&str) -> String,
    says: &'static [&'static str],
}

fn through<T: DeserializeOwned + Debug>(text: &str) -> String {
    format!("{:?}", serde_json::from_str::<T>(text).unwrap())
}

const SAMPLES: [Sample; 21] = [
    Sample {
        file: "revision_intake/bucket.json",
        decode: through::<revision_intake::Event>,
        says: &["Put(Uploaded", "bucket: ", "version: Some("],
    },
    Sample {
        file: "revision_intake/queue.json",
        decode: through::<revision_intake::Event>,
        says: &["Message", "Ok(Puts([Uploaded", "Ok(Puts([]))", "Err("],
    },
    Sample {
        file: "revision_intake/request.json",
        decode: through::<revision_intake::Event>,
        says: &["Request(RequestMessage", "PinRevision"],
    },
    Sample {
        file: "revision_intake/again.json",
        decode: through::<revision_intake::Event>,
        says: &["received: 1", "Ok(Again(UploadAgain", "key: \"shop/v1.zip\""],
    },
    Sample {
        file: "revision_intake/day.json",
        decode: through::<revision_intake::Event>,
        says: &["[Day]"],
    },
    Sample {
        file: "deployment_stepper/stream.json",
        decode: through::<deployment_stepper::Event>,
        says: &["Changed(", "META", "HOST#", "STOP", "OUTCOME#"],
    },
    Sample {
        file: "deployment_stepper/wake.json",
        decode: through::<deployment_stepper::Event>,
        says: &["Wake(Ok(", "at: None", "at: Some(", "Wake(Err("],
    },
    Sample {
        file: "hook_dispatcher/invocation.json",
        decode: through::<hook_dispatcher::Event>,
        says: &["Event(Invocation", "instance_id: \"i-", "status: \"Failed\""],
    },
    Sample {
        file: "hook_dispatcher/request.json",
        decode: through::<hook_dispatcher::Event>,
        says: &["Queue(", "Ok(RequestMessage", "Dispatch {", "Err("],
    },
    Sample {
        file: "traffic_evaluator/minute.json",
        decode: through::<traffic_evaluator::Event>,
        says: &["Event(Minute"],
    },
    Sample {
        file: "traffic_evaluator/alarm.json",
        decode: through::<traffic_evaluator::Event>,
        says: &["Event(Alarm(", "alarm_name: \"shop-errors\""],
    },
    Sample {
        file: "traffic_evaluator/request.json",
        decode: through::<traffic_evaluator::Event>,
        says: &["Queue(", "ReadAlarms", "Withdraw", "Err("],
    },
    Sample {
        file: "fleet_watcher/state.json",
        decode: through::<fleet_watcher::Event>,
        says: &["State(", "\"i-"],
    },
    Sample {
        file: "fleet_watcher/interruption.json",
        decode: through::<fleet_watcher::Event>,
        says: &["Interruption(", "\"i-"],
    },
    Sample {
        file: "fleet_watcher/minute.json",
        decode: through::<fleet_watcher::Event>,
        says: &["Event(Minute"],
    },
    Sample {
        file: "fleet_watcher/queue.json",
        decode: through::<fleet_watcher::Event>,
        says: &["Message(RequestMessage", "EnrolHosts", "Transition {", "Hooks {", "Suspensions"],
    },
    Sample {
        file: "fleet_watcher/launching.json",
        decode: through::<fleet_watcher::Event>,
        says: &["Launching(", "\"i-"],
    },
    Sample {
        file: "fleet_watcher/terminating.json",
        decode: through::<fleet_watcher::Event>,
        says: &["Terminating(", "\"i-"],
    },
    Sample {
        file: "fleet_watcher/scaled_out.json",
        decode: through::<fleet_watcher::Event>,
        says: &["Launched(", "\"i-"],
    },
    Sample {
        file: "fleet_watcher/scaled_in.json",
        decode: through::<fleet_watcher::Event>,
        says: &["Terminated(", "\"i-"],
    },
    Sample {
        file: "api/http.json",
        decode: through::<LambdaRequest>,
        says: &["CodeDeploy_20141006.", "user/deployer"],
    },
];

#[test]
fn every_sample_is_decoded_by_its_function() {
    for Sample { file, decode, says } in SAMPLES {
        let text = fs::read_to_string(root().join("events").join(file)).unwrap();
        let decoded = decode(&text);
        for expected in says {
            assert!(decoded.contains(expected), "{file} does not say `{expected}`: {decoded}");
        }
    }
}

#[test]
fn no_sample_is_left_undelivered() {
    let mut files = BTreeSet::new();
    let events = root().join("events");
    for folder in fs::read_dir(&events)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_dir())
    {
        files.extend(
            fs::read_dir(&folder).unwrap().map(|entry| relative(&entry.unwrap().path(), &events)),
        );
    }
    let delivered: BTreeSet<String> = SAMPLES.iter().map(|sample| sample.file.to_owned()).collect();
    assert_eq!(files, delivered);
}

fn relative(path: &Path, from: &Path) -> String {
    path.strip_prefix(from).unwrap().display().to_string()
}
