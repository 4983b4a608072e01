//! The functions as Lambda runs them, on the table and buckets of a running home: under its runtime interface emulator,
//! or in containers (`sam_local.rs`).
//!
//! The upload is one that the home itself has no subscription for when it is put, so that what becomes of it is the
//! doing of the functions.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};

use crate::place::Place;
use crate::run::{Command, Running};

/// How long a home may take to serve, and a function to listen.
const PATIENCE: Duration = Duration::from_secs(60);

/// Lets the functions handle an upload under the emulator, and then each function its samples.
pub(crate) fn check(place: &Place) -> Result<String> {
    let mut counted = (0, 0);
    with_home(place, "functions", |home| {
        home.check(|function, event| home.start(function)?.invoke(event))?;
        counted = home.deliver_samples()?;
        Ok(())
    })?;
    let (functions, samples) = counted;
    Ok(format!("{functions} functions with {samples} samples under the runtime interface emulator"))
}

/// Starts a home for a check, and ends it.
pub(crate) fn with_home(
    place: &Place,
    name: &str,
    check: impl FnOnce(&Home<'_>) -> Result<()>,
) -> Result<()> {
    let scratch = place.scratch(name)?;
    let dir = scratch.join("home");
    let up = Command::new(place, place.built("cutover")?)
        .args(["up", "--port", "0", "--table-port", "0", "--hosts", "1", "--dir"])
        .args([&dir]);
    let mut up = up.start(&scratch.join("up.log"))?;
    let endpoints = wait_for(&mut up, &dir.join("endpoints.json"))
        .with_context(|| format!("see `{}`", scratch.join("up.log").display()))?;
    let home = Home { place, scratch, dir, endpoints, empty_region: empty_region()? };
    let checked = check(&home);
    // Also after a failure, so that no host is left behind.
    let ended = up.terminate(place);
    checked.and(ended)
}

/// A running home, seen from outside.
pub(crate) struct Home<'p> {
    place: &'p Place,
    /// For what a check leaves behind.
    pub(crate) scratch: PathBuf,
    dir: PathBuf,
    endpoints: Value,
    /// Where EC2 and Auto Scaling are found, in a region that has nothing.
    empty_region: String,
}

impl Home<'_> {
    /// Lets `revision_intake` and `deployment_stepper` handle an upload, however `invoke` runs them, and reads in the
    /// table what they did.
    pub(crate) fn check(
        &self,
        mut invoke: impl FnMut(&str, &Value) -> Result<Value>,
    ) -> Result<()> {
        self.upload()?;
        self.cutover(&["init", "shop/rie", "--tag", "home=yes"])?;
        self.cutover(&["subscribe", "shop/rie", "s3://revisions/rie/"])?;

        let answer = invoke("revision_intake", &self.notification()?)?;
        ensure!(answer == json!({ "batchItemFailures": [] }), "revision_intake answered {answer}");
        let meta = self.item_where("begins_with(pk, :d) AND sk = :s", "META")?;
        println!("revision_intake started {}", text(&meta, "/pk/S")?);

        let answer = invoke("deployment_stepper", &self.stream(&meta)?)?;
        ensure!(
            answer == json!({ "batchItemFailures": [] }),
            "deployment_stepper answered {answer}"
        );
        let host = self.item_where("begins_with(pk, :d) AND sk = :s", "HOST#000000")?;
        let stepped = self.item_where("begins_with(pk, :d) AND sk = :s", "META")?;
        let version = |item: &Value| text(item, "/n/N").and_then(|n| Ok(n.parse::<u64>()?));
        ensure!(version(&stepped)? > version(&meta)?, "deployment_stepper did not commit a step");
        println!("deployment_stepper enrolled {}", text(&host, "/pk/S")?);
        Ok(())
    }

    /// The URL of one of its endpoints.
    pub(crate) fn endpoint(&self, name: &str) -> Result<&str> {
        text(&self.endpoints, &format!("/{name}"))
    }

    /// Puts a bundle with the AWS CLI.
    fn upload(&self) -> Result<()> {
        let appspec = self.scratch.join("appspec.yml");
        std::fs::write(&appspec, "version: 0.0\nos: linux\n")?;
        let bundle = self.scratch.join("app.zip");
        let python = self.place.venv().join("bin/python");
        let zip = Command::new(self.place, python).args(["-m", "zipfile", "-c"]);
        zip.args([&bundle, &appspec]).run()?;
        self.aws(&[
            "s3",
            "cp",
            "--no-progress",
            &bundle.display().to_string(),
            "s3://revisions/rie/app.zip",
        ])?;
        Ok(())
    }

    /// The sample of an upload, made to tell of the one that was put.
    fn notification(&self) -> Result<Value> {
        let head =
            self.aws(&["s3api", "head-object", "--bucket", "revisions", "--key", "rie/app.zip"])?;
        let head: Value = serde_json::from_str(&head)?;
        let mut event = self.sample("revision_intake/bucket.json")?;
        set(&mut event, "/Records/0/eventTime", json!("2100-01-01T00:00:00.000Z"))?;
        set(&mut event, "/Records/0/s3/bucket/name", json!("revisions"))?;
        let object = json!({
            "key": "rie/app.zip",
            "size": head.get("ContentLength"),
            "eTag": text(&head, "/ETag")?.trim_matches('"'),
            "sequencer": "0065F1A2B3C4D5E6F7",
        });
        set(&mut event, "/Records/0/s3/object", object)?;
        Ok(event)
    }

    /// The sample of the table's stream, made to tell of `item`.
    fn stream(&self, item: &Value) -> Result<Value> {
        let mut event = self.sample("deployment_stepper/stream.json")?;
        let mut record =
            event.pointer("/Records/0").cloned().context("the sample has no record")?;
        let keys = json!({ "pk": item.get("pk"), "sk": item.get("sk") });
        set(&mut record, "/dynamodb/Keys", keys)?;
        set(&mut record, "/dynamodb/NewImage", item.clone())?;
        set(&mut event, "/Records", json!([record]))?;
        Ok(event)
    }

    fn sample(&self, name: &str) -> Result<Value> {
        let path = self.place.tree.join("events").join(name);
        let text =
            std::fs::read(&path).with_context(|| format!("`{}` cannot be read", path.display()))?;
        Ok(serde_json::from_slice(&text)?)
    }

    /// The only item of a deployment that fits.
    fn item_where(&self, filter: &str, sort: &str) -> Result<Value> {
        let values = json!({ ":d": { "S": "000000000000#us-east-1#D#" }, ":s": { "S": sort } });
        let found = self.aws(&[
            "dynamodb",
            "scan",
            "--consistent-read",
            "--table-name",
            "cutover",
            "--filter-expression",
            filter,
            "--expression-attribute-values",
            &values.to_string(),
        ])?;
        let mut found: Value = serde_json::from_str(&found)?;
        let items =
            found.pointer_mut("/Items").and_then(Value::as_array_mut).context("no items")?;
        ensure!(
            items.len() == 1,
            "there are {} items `{sort}` of deployments, not one",
            items.len()
        );
        items.pop().context("no item")
    }

    fn aws(&self, args: &[&str]) -> Result<String> {
        let aws = self.place.venv().join("bin/aws");
        self.with_keys(Command::new(self.place, aws).args(args).args(["--output", "json"]))?
            .output()
    }

    fn cutover(&self, args: &[&str]) -> Result<()> {
        Command::new(self.place, self.place.built("cutover")?)
            .args(args)
            .args(["--dir"])
            .args([&self.dir])
            .run()
    }

    /// Lets a program of AWS's find it.
    pub(crate) fn with_keys(&self, command: Command) -> Result<Command> {
        let told = |name: &str| self.endpoint(name);
        Ok(command
            .env("AWS_ENDPOINT_URL_DYNAMODB", told("dynamodb")?)
            .env("AWS_ENDPOINT_URL_S3", told("s3")?)
            .env("AWS_ACCESS_KEY_ID", told("access_key_id")?)
            .env("AWS_SECRET_ACCESS_KEY", told("secret_access_key")?)
            .env("AWS_SESSION_TOKEN", "")
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .env("AWS_REGION", told("region")?)
            .env("AWS_DEFAULT_REGION", told("region")?))
    }

    /// Delivers every sample in `events/` to its function. None may fail, though there is nothing at home that most of
    /// them tell of.
    fn deliver_samples(&self) -> Result<(u32, u32)> {
        let (mut functions, mut samples) = (0, 0);
        for folder in sorted(&self.place.tree.join("events"))? {
            if !folder.is_dir() {
                continue;
            }
            let function = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let running = self.start(&function)?;
            functions += 1;
            for file in sorted(&folder)? {
                let event = serde_json::from_slice(&std::fs::read(&file)?)?;
                let answer = running.invoke(&event)?;
                let failed = answer.get("errorType").is_some();
                ensure!(!failed, "{function} failed at `{}`: {answer}", file.display());
                samples += 1;
            }
            println!("{function} took its samples");
        }
        ensure!(functions == 6, "events/ has samples of {functions} functions, not of all six");
        Ok((functions, samples))
    }

    /// Starts a function under the emulator.
    fn start(&self, function: &str) -> Result<Function> {
        let emulator = emulator(self.place)?;
        let (address, api) = (free_address()?, free_address()?);
        let log = self.scratch.join(format!("{function}.log"));
        let command = self
            .command(function, &emulator)?
            .args(["--runtime-interface-emulator-address", &address.to_string()])
            .args(["--runtime-api-address", &api.to_string()])
            .args([self.place.built(function)?]);
        let mut running = command.start(&log)?;
        let began = Instant::now();
        while TcpStream::connect(address).is_err() {
            ensure!(!running.has_ended()?, "the emulator ended; see `{}`", log.display());
            ensure!(
                began.elapsed() < PATIENCE,
                "the emulator does not listen; see `{}`",
                log.display()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(Function { address, log, _running: running })
    }

    /// A program with what a function is told by its environment.
    pub(crate) fn command(&self, function: &str, program: &Path) -> Result<Command> {
        let command = Command::new(self.place, program)
            .env("AWS_LAMBDA_FUNCTION_NAME", function)
            .env("CUTOVER_SPOOL", self.scratch.join("spool"))
            .env("CUTOVER_DOCUMENT", "AWS-RunShellScript")
            .env("CUTOVER_API_URL", text(&self.endpoints, "/api")?)
            .env("CUTOVER_RUNNER", self.place.built("cutover-runner")?)
            .env("AWS_ENDPOINT_URL_EC2", &self.empty_region)
            .env("AWS_ENDPOINT_URL_AUTO_SCALING", &self.empty_region);
        let settings = self.sample("home.json")?;
        let settings = settings.pointer("/Parameters").and_then(Value::as_object);
        let command = settings.into_iter().flatten().fold(command, |command, (name, value)| {
            command.env(name, value.as_str().unwrap_or_default())
        });
        self.with_keys(command)
    }
}

/// A function that waits for events.
struct Function {
    address: SocketAddr,
    log: PathBuf,
    _running: Running,
}

impl Function {
    /// Delivers an event and gives back the answer. What a function fails with is an answer, too.
    fn invoke(&self, event: &Value) -> Result<Value> {
        let body = event.to_string();
        let mut stream = TcpStream::connect(self.address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        write!(
            stream,
            "POST /2015-03-31/functions/function/invocations HTTP/1.1\r\nHost: {}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            self.address,
            body.len()
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let (head, body) =
            answer.split_once("\r\n\r\n").context("the emulator did not answer in HTTP")?;
        let failed = || format!("the emulator answered {answer}; see `{}`", self.log.display());
        ensure!(head.starts_with("HTTP/1.1 200"), failed());
        serde_json::from_str(body).with_context(failed)
    }
}

/// Serves EC2 and Auto Scaling for a region without instances, until the process ends: whatever is asked, there is none.
fn empty_region() -> Result<String> {
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    let url = format!("http://{}", listener.local_addr()?);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // A client that breaks off has its own trouble.
            drop(answer_emptily(stream));
        }
    });
    Ok(url)
}

fn answer_emptily(mut stream: TcpStream) -> Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut asked = Vec::new();
    let mut piece = [0; 4096];
    while !asked.windows(7).any(|window| window == b"Action=") {
        let read = stream.read(&mut piece)?;
        ensure!(read > 0, "the request has no action");
        asked.extend_from_slice(piece.get(..read).unwrap_or_default());
    }
    let asked = String::from_utf8_lossy(&asked).into_owned();
    let action = asked.split("Action=").nth(1).and_then(|rest| rest.split('&').next());
    let action = action.unwrap_or_default();
    let body = format!(
        "<{action}Response><requestId>none</requestId><reservationSet/><{action}Result/></{action}Response>"
    );
    write!(
        stream,
        "HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )?;
    Ok(())
}

/// What lies in a directory, by name.
fn sorted(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut found =
        std::fs::read_dir(dir)?.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    found.sort();
    Ok(found)
}

/// The emulator is a part of the SAM CLI.
pub(crate) fn emulator(place: &Place) -> Result<PathBuf> {
    let lib = place.venv().join("lib");
    for entry in std::fs::read_dir(&lib)? {
        let path = entry?.path().join("site-packages/samcli/local/rapid/aws-lambda-rie-x86_64");
        if path.is_file() {
            return Ok(path);
        }
    }
    bail!(
        "there is no runtime interface emulator under `{}`; remove .venv and run this again",
        lib.display()
    )
}

/// An address on loopback that nobody listens on at this moment.
fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?)
}

fn wait_for(up: &mut Running, file: &Path) -> Result<Value> {
    let began = Instant::now();
    loop {
        if let Ok(text) = std::fs::read(file) {
            return Ok(serde_json::from_slice(&text)?);
        }
        ensure!(!up.has_ended()?, "`cutover up` ended before it served");
        ensure!(
            began.elapsed() < PATIENCE,
            "`cutover up` did not serve within {} s",
            PATIENCE.as_secs()
        );
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn text<'v>(value: &'v Value, pointer: &str) -> Result<&'v str> {
    value
        .pointer(pointer)
        .and_then(Value::as_str)
        .with_context(|| format!("there is no text at `{pointer}` in {value}"))
}

fn set(value: &mut Value, pointer: &str, to: Value) -> Result<()> {
    *value.pointer_mut(pointer).with_context(|| format!("the sample has no `{pointer}`"))? = to;
    Ok(())
}
