//! EC2 instances: containers, in which Run Command really runs what it is sent.

use std::io::Write as _;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::cloud::Cloud;

/// An instance.
pub(crate) struct Host<'c> {
    cloud: &'c Cloud,
    /// Its id.
    pub(crate) id: String,
}

impl<'c> Host<'c> {
    /// Starts instances with a tag `role` and that of the stack.
    #[track_caller]
    pub(crate) fn start(cloud: &'c Cloud, count: usize, role: &str) -> Vec<Self> {
        let hosts = Self::run(cloud, count, role, cloud.get_text("/image"), "");
        hosts.iter().for_each(Self::prepare);
        hosts
    }

    /// Starts an instance as Auto Scaling does for one of its groups.
    #[track_caller]
    pub(crate) fn start_in(cloud: &'c Cloud, scaling_group: &str) -> Self {
        let tag = format!(",{{Key=aws:autoscaling:groupName,Value={scaling_group}}}");
        let host = Self::run(cloud, 1, "scaled", cloud.get_text("/image"), &tag).remove(0);
        host.prepare();
        host
    }

    /// Starts an instance on which no agent of Systems Manager answers.
    #[track_caller]
    pub(crate) fn start_unmanaged(cloud: &'c Cloud, role: &str) -> Self {
        // The emulator knows nothing of this image, so there is an instance and nothing behind it.
        Self::run(cloud, 1, role, "ami-0123456789abcdef0", "").remove(0)
    }

    #[track_caller]
    fn run(cloud: &'c Cloud, count: usize, role: &str, image: &str, tag: &str) -> Vec<Self> {
        let stack = cloud.get_text("/stack");
        let tags = format!(
            "ResourceType=instance,Tags=[{{Key=role,Value={role}}},{{Key=cutover,Value={stack}}}{tag}]"
        );
        let count = count.to_string();
        let args = ["ec2", "run-instances", "--image-id", image, "--instance-type", "t3.micro"];
        let run =
            cloud.aws(&[&args[..], &["--count", &count, "--tag-specifications", &tags]].concat());
        let instances = run["Instances"].as_array().unwrap().iter();
        let id = |instance: &Value| instance["InstanceId"].as_str().unwrap().to_owned();
        instances.map(|instance| Self { cloud, id: id(instance) }).collect()
    }

    /// Gives a container what an instance has by itself: its id, where cloud-init keeps it, and a way to the API, whose
    /// name and certificate only this cloud knows.
    #[track_caller]
    fn prepare(&self) {
        let authority = std::fs::read(self.cloud.get_text("/authority")).unwrap();
        let script = format!(
            "mkdir -p /var/lib/cloud/data && echo {} >/var/lib/cloud/data/instance-id &&
             cat >>/etc/ssl/certs/ca-certificates.crt && echo {} {} >>/etc/hosts",
            self.id,
            self.cloud.get_text("/address"),
            self.cloud.api_host().0,
        );
        self.sh(&script, &authority);
    }

    /// Runs a script in it, and gives back what it prints.
    #[track_caller]
    pub(crate) fn sh(&self, script: &str, input: &[u8]) -> String {
        let mut docker = Command::new("docker");
        if let Some(host) = self.cloud.docker_host() {
            docker.env("DOCKER_HOST", host);
        }
        let (account, region) = (self.cloud.get_text("/account"), self.cloud.get_text("/region"));
        let name = format!("ministack-ec2-{account}-{region}-{}", self.id);
        docker.args(["exec", "--interactive", &name, "sh", "-c", script]);
        let piped = docker.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = piped.spawn().unwrap();
        child.stdin.take().unwrap().write_all(input).unwrap();
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{script} on {}: {said}", self.id);
        String::from_utf8(output.stdout).unwrap()
    }

    /// The text of a file in it; empty if it is not there.
    #[track_caller]
    pub(crate) fn text(&self, path: &str) -> String {
        self.sh(&format!("cat {path} 2>/dev/null || true"), b"")
    }

    /// Terminates it, and lets the cloud tell of it.
    #[track_caller]
    pub(crate) fn terminate(&self) {
        self.cloud.aws(&["ec2", "terminate-instances", "--instance-ids", &self.id]);
        let detail = json!({ "instance-id": self.id, "state": "terminated" });
        self.cloud.tell("aws.ec2", "EC2 Instance State-change Notification", &detail);
    }

    /// Lets Auto Scaling tell that it holds the instance back at its launch.
    #[track_caller]
    pub(crate) fn is_held(&self, scaling_group: &str, hook: &str) {
        let detail = json!({
            "LifecycleActionToken": "87654321-4321-4321-4321-210987654321",
            "AutoScalingGroupName": scaling_group,
            "LifecycleHookName": hook,
            "EC2InstanceId": self.id,
            "LifecycleTransition": "autoscaling:EC2_INSTANCE_LAUNCHING",
        });
        self.cloud.tell("aws.autoscaling", "EC2 Instance-launch Lifecycle Action", &detail);
    }
}
