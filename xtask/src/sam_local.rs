//! The functions in containers, as `sam local invoke` runs them, on a running home. `events/README.md` tells a user how.

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::cloud::stack;
use crate::docker::Engine;
use crate::functions::{self, Home};
use crate::image;
use crate::place::Place;
use crate::run::{Command, Running};

/// The image that functions run in.
const IMAGE: &str = "cutover/provided:al2023";

/// Runs `revision_intake` and `deployment_stepper`, and reads in the table what they did.
pub(crate) fn check(place: &Place, engine: &Engine) -> Result<String> {
    functions::with_home(place, "sam-local", |home| {
        stack::build(place, &home.scratch, &home.scratch.join("build"))?;
        let _relays = [relay(place, engine, home, "dynamodb")?, relay(place, engine, home, "s3")?];
        let variables = [
            ("AWS_ENDPOINT_URL_DYNAMODB", seen_from_container(engine, home, "dynamodb")?),
            ("AWS_ENDPOINT_URL_S3", seen_from_container(engine, home, "s3")?),
        ];
        image::function(place, engine, IMAGE, &functions::emulator(place)?, &variables)?;
        home.check(|function, event| invoke(place, engine, home, function, event))
    })?;
    Ok("2 functions in containers".to_owned())
}

fn invoke(
    place: &Place,
    engine: &Engine,
    home: &Home<'_>,
    function: &str,
    event: &Value,
) -> Result<Value> {
    let file = home.scratch.join(format!("{function}.json"));
    std::fs::write(&file, event.to_string())?;
    let command = Command::new(place, place.venv().join("bin/sam"))
        .args(["local", "invoke", &logical(function), "--skip-pull-image", "--invoke-image", IMAGE])
        .arg_path("--template", &home.scratch.join("build/template.yaml"))
        .arg_path("--event", &file)
        // A home has no queues: a function that knows none does the work itself.
        .args(["--env-vars", "events/home.json"]);
    let told = engine.for_client(home.with_keys(command)?).output()?;
    serde_json::from_str(told.trim())
        .with_context(|| format!("{function} answered `{told}` in its container"))
}

/// A home listens on loopback only, which a container does not reach; this lets it through the bridge.
fn relay(place: &Place, engine: &Engine, home: &Home<'_>, endpoint: &str) -> Result<Running> {
    let port = port(home, endpoint)?;
    Command::new(place, "socat")
        .args([format!("TCP-LISTEN:{port},bind={},fork,reuseaddr", engine.gateway)])
        .args([format!("TCP:127.0.0.1:{port}")])
        .start(&home.scratch.join(format!("{endpoint}-relay.log")))
}

fn seen_from_container(engine: &Engine, home: &Home<'_>, endpoint: &str) -> Result<String> {
    Ok(format!("http://{}:{}", engine.gateway, port(home, endpoint)?))
}

fn port<'h>(home: &'h Home<'_>, endpoint: &str) -> Result<&'h str> {
    let url = home.endpoint(endpoint)?;
    Ok(url.rsplit_once(':').with_context(|| format!("`{url}` has no port"))?.1)
}

/// What the template calls a function.
fn logical(function: &str) -> String {
    let words = function.split('_').map(|word| {
        let mut letters = word.chars();
        letters
            .next()
            .map(|first| first.to_ascii_uppercase())
            .into_iter()
            .chain(letters)
            .collect::<String>()
    });
    words.collect()
}
