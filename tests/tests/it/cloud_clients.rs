//! Clients of a cloud installation, up to a home that stands for it: the command line, and through its proxy AWS's own
//! tools.

use serde_json::Value;

use crate::support::archive::Bundle;
use crate::support::cloud::Cloud;
use crate::support::home::Home;

#[test]
fn the_command_line_deploys_through_the_gateway() {
    let home = Home::started(1);
    let cloud = Cloud::connected(&home);
    let run = |args: &[&str]| cloud.succeeds(&mut cloud.cutover(args));
    let app = tempfile::tempdir().unwrap();
    Bundle::new("from afar").hook("ValidateService", "echo all is well").unpack(app.path());
    run(&["init", "shop/web", "--tag", "home=yes"]);
    run(&["push", app.path().to_str().unwrap(), "shop"]);
    let told = run(&["deploy", "shop/web", "--watch", "--format", "json"]);
    let told: Value = serde_json::from_str(&told).unwrap();
    assert_eq!(home.text(1, "srv/shop/page.txt"), "from afar", "{told:#}");
    let id = home.deployments().remove(0);
    assert!(run(&["logs", &id]).contains("all is well"));
    run(&["subscribe", "shop/web", "s3://revisions/shop/"]);
    home.deploy("shop/app.zip", &Bundle::new("uploaded").zip());
    assert!(run(&["status"]).contains("s3://revisions/shop/app.zip"));
    for operation in ["CreateDeployment", "GetDeploymentLog", "Subscribe", "GetGroupStatus"] {
        assert!(cloud.called().iter().any(|called| called == operation), "{operation}");
    }
}

#[cfg(feature = "tools")]
mod tools {
    use std::io::{BufRead as _, BufReader};
    use std::process::{Child, Command, Stdio};

    use serde_json::json;

    use super::*;
    use crate::support::tools::tool;

    /// The AWS CLI behind the proxy.
    fn proxied(cloud: &Cloud, args: &[&str]) -> Command {
        let mut command = cloud.cutover(&["proxy", "--"]);
        command.arg(tool("aws")).args(args);
        command
    }

    /// The JSON that the AWS CLI prints behind the proxy.
    #[track_caller]
    fn answer(cloud: &Cloud, args: &[&str]) -> Value {
        let told = cloud.succeeds(proxied(cloud, args).args(["--output", "json"]));
        serde_json::from_str(&told).unwrap_or_default()
    }

    /// A proxy for who signs with its keys, and the variables that it printed.
    struct Signed {
        proxy: Child,
        variables: Value,
    }

    impl Signed {
        fn start(cloud: &Cloud) -> Self {
            let mut command = cloud.cutover(&["proxy", "--format", "json"]);
            let mut proxy = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
            let mut line = String::new();
            BufReader::new(proxy.stdout.take().unwrap()).read_line(&mut line).unwrap();
            Self { proxy, variables: serde_json::from_str(&line).unwrap() }
        }

        /// The AWS CLI with these variables.
        fn aws(&self, cloud: &Cloud, args: &[&str]) -> Command {
            let mut command = Command::new(tool("aws"));
            cloud.set_up(&mut command);
            for (name, value) in self.variables.as_object().unwrap() {
                command.env(name, value.as_str().unwrap());
            }
            command.args(args);
            command
        }
    }

    impl Drop for Signed {
        fn drop(&mut self) {
            drop(self.proxy.kill());
            drop(self.proxy.wait());
        }
    }

    #[test]
    fn the_aws_cli_works_behind_the_proxy_with_the_users_own_keys_for_s3() {
        let home = Home::started(1);
        let cloud = Cloud::connected(&home);
        assert_eq!(answer(&cloud, &["deploy", "list-applications"]), json!({ "applications": [] }));
        let made = answer(&cloud, &["deploy", "create-application", "--application-name", "shop"]);
        assert!(made["applicationId"].is_string(), "{made}");
        let listed = answer(&cloud, &["deploy", "list-applications"]);
        assert_eq!(listed, json!({ "applications": ["shop"] }));
        let app = cloud.folder().join("app");
        Bundle::new("pushed by the AWS CLI").unpack(&app);
        let pushed = cloud.succeeds(&mut proxied(
            &cloud,
            &[
                "deploy",
                "push",
                "--application-name",
                "shop",
                "--source",
                app.to_str().unwrap(),
                "--s3-location",
                "s3://revisions/manual/app.zip",
            ],
        ));
        assert!(pushed.contains("create-deployment"), "{pushed}");
        cloud.succeeds(&mut cloud.cutover(&["init", "shop/web", "--tag", "home=yes"]));
        let revision =
            "revisionType=S3,s3Location={bucket=revisions,key=manual/app.zip,bundleType=zip}";
        let created = answer(
            &cloud,
            &[
                "deploy",
                "create-deployment",
                "--application-name",
                "shop",
                "--deployment-group-name",
                "web",
                "--revision",
                revision,
            ],
        );
        let id = created["deploymentId"].as_str().unwrap();
        cloud.succeeds(&mut proxied(
            &cloud,
            &["deploy", "wait", "deployment-successful", "--deployment-id", id],
        ));
        assert_eq!(home.text(1, "srv/shop/page.txt"), "pushed by the AWS CLI");
        // What the service refuses is what the AWS CLI tells.
        let refused = cloud.fails(&mut proxied(
            &cloud,
            &["deploy", "get-application", "--application-name", "none"],
        ));
        assert!(refused.contains("ApplicationDoesNotExistException"), "{refused}");
    }

    #[test]
    fn boto3_works_behind_the_proxy() {
        let home = Home::started(1);
        let cloud = Cloud::connected(&home);
        let mut command = cloud.cutover(&["proxy", "--"]);
        command.arg(tool("python")).args(["-c", "import boto3\n\
            c = boto3.client('codedeploy')\n\
            for name in ['a', 'b']: c.create_application(applicationName=name)\n\
            print(c.list_applications()['applications'], c.list_applications()['ResponseMetadata']['RequestId'])"]);
        let told = cloud.succeeds(&mut command);
        let (applications, id) = told.trim().rsplit_once(' ').unwrap();
        assert_eq!((applications, id.len()), ("['a', 'b']", 36));
    }

    #[test]
    fn the_aws_cli_signs_with_the_keys_that_the_proxy_has_printed() {
        let home = Home::started(1);
        let cloud = Cloud::connected(&home);
        let signed = Signed::start(&cloud);
        let list = ["deploy", "list-applications"];
        let told = cloud.succeeds(&mut signed.aws(&cloud, &list));
        assert!(told.contains("applications"), "{told}");
        let called = cloud.called().len();
        for (name, value, code) in [
            ("AWS_ACCESS_KEY_ID", "AKIAANOTHERKEY", "UnrecognizedClientException"),
            ("AWS_SECRET_ACCESS_KEY", "another secret", "InvalidSignatureException"),
        ] {
            let refused = cloud.fails(signed.aws(&cloud, &list).env(name, value));
            assert!(refused.contains(code) && refused.contains("`cutover proxy`"), "{refused}");
        }
        assert_eq!(cloud.called().len(), called, "nothing of it was passed on");
    }

    #[test]
    fn the_aws_cli_without_the_path_of_the_run_is_refused() {
        let home = Home::started(1);
        let cloud = Cloud::connected(&home);
        let called = cloud.called().len();
        for path in ["", "/0000000000000000000000000000000000000000000000000000000000000000"] {
            let script = format!(
                "host=${{AWS_ENDPOINT_URL_CODEDEPLOY%/*/}}; exec \"$0\" deploy list-applications --endpoint-url \"$host{path}\""
            );
            let mut command = cloud.cutover(&["proxy", "--", "sh", "-c", &script]);
            let refused = cloud.fails(command.arg(tool("aws")));
            assert!(refused.contains("AccessDeniedException"), "{refused}");
            assert!(refused.contains("`cutover proxy -- CMD`"), "{refused}");
        }
        assert_eq!(cloud.called().len(), called, "nothing of it was passed on");
    }
}
