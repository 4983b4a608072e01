//! AWS's own tools, from the Python environment of the working tree.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

use super::home::{Home, program};

/// A program of the Python environment.
pub(crate) fn tool(name: &str) -> PathBuf {
    let tree = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let path = tree.join(".venv/bin").join(name);
    assert!(
        path.is_file(),
        "`{}` is not there: `cargo xtask test` makes it from tests/requirements.txt",
        path.display()
    );
    path
}

fn run(home: &Home, name: &str, args: &[&str]) -> Output {
    let mut command = Command::new(program());
    command.arg("--dir").arg(home.dir()).args(["env", "--"]).arg(tool(name)).args(args);
    // Nothing of the user's own leads the tools elsewhere.
    command.env("AWS_CONFIG_FILE", "/dev/null").env("AWS_SHARED_CREDENTIALS_FILE", "/dev/null");
    command.env("AWS_EC2_METADATA_DISABLED", "true").env("AWS_PAGER", "");
    command.output().unwrap()
}

/// Runs the AWS CLI on a home.
pub(crate) fn aws(home: &Home, args: &[&str]) -> Output {
    run(home, "aws", args)
}

/// Runs a Python program on a home: with boto3's clients `codedeploy` and `s3`, and `result`, which it may set.
#[track_caller]
pub(crate) fn python(home: &Home, program: &str) -> Value {
    let program = format!(
        "import boto3, json, time\n\
         from botocore.exceptions import ClientError\n\
         codedeploy, s3, result = boto3.client('codedeploy'), boto3.client('s3'), None\n\
         def refused(call, **arguments):\n\
         \x20   try: call(**arguments)\n\
         \x20   except ClientError as error: return error.response['Error']['Code']\n\
         \x20   return None\n\
         {program}\n\
         print(json.dumps(result, default=str))\n"
    );
    let output = run(home, "python", &["-c", &program]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    serde_json::from_slice(&output.stdout).unwrap()
}
