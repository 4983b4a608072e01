//! `connect`, and every other command on a cloud installation.

use std::fs;

use expect_test::expect;
use serde_json::{Value, json};

use crate::cloud::{Cloud, REGION};

#[test]
fn connect_says_what_it_found_and_how_to_go_on_and_writes_no_secrets() {
    let cloud = Cloud::new();
    expect![[r#"
        stack    shop in eu-central-1, CREATE_COMPLETE
        API      [CLOUD]  (version 9.8.7)
        bucket   s3://shop-revisions
        2> written to .cutover/cloud.json
        2> next: cutover init shop/web --tag role=web && cutover push DIR shop
        2>       cutover proxy -- aws deploy list-applications
        exit 0
    "#]]
    .assert_eq(&cloud.run(&["connect", "shop"]));
    let written = fs::read_to_string(cloud.home().join(".cutover/cloud.json")).unwrap();
    expect![[r#"
        {
          "form": 1,
          "stack": "shop",
          "region": "eu-central-1",
          "apiUrl": "[CLOUD]",
          "revisionsBucket": "shop-revisions"
        }"#]]
    .assert_eq(&written.replace(&cloud.url, "[CLOUD]"));

    let arguments = ["connect", "shop", "--region", REGION, "--dir", "other", "--format", "json"];
    let output = cloud.command(&arguments).env("AWS_REGION", "us-east-1").output().unwrap();
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&found["region"], &found["version"]), (&json!(REGION), &json!("9.8.7")));
    assert_eq!(found["file"], "other/cloud.json");
}

#[test]
fn connect_says_what_to_do_when_the_stack_is_none_of_ours() {
    let cloud = Cloud::new();
    let connect = || cloud.run(&["connect", "shop"]);
    let mut told = Vec::new();
    cloud.refuses_stack(400, "ValidationError", "Stack with id shop does not exist");
    told.push(connect());
    cloud.has_stack("CREATE_COMPLETE", &[("BucketName", "b")]);
    told.push(connect());
    cloud.has_stack("CREATE_IN_PROGRESS", &[]);
    told.push(connect());
    cloud.has_stack("CREATE_COMPLETE", &[("ApiUrl", &cloud.url)]);
    told.push(connect());
    cloud.has_stack("CREATE_COMPLETE", &[("ApiUrl", "arn:aws:x"), ("RevisionsBucket", "b")]);
    told.push(connect());
    expect![[r#"
        2> error: there is no stack `shop` in eu-central-1
        2>
        2> hint: `aws cloudformation describe-stacks --region eu-central-1` shows those that are there; --region and --profile look elsewhere
        exit 2

        2> error: the stack `shop` has no output `ApiUrl`; its status is CREATE_COMPLETE
        2>
        2> hint: give the name of a stack that was made from Cutover's template.yaml, or update it from there
        exit 2

        2> error: the stack `shop` has no output `ApiUrl`; its status is CREATE_IN_PROGRESS
        2>
        2> hint: wait until it is there, and try again
        exit 2

        2> error: the stack `shop` has no output `RevisionsBucket`; its status is CREATE_COMPLETE
        2>
        2> hint: give the name of a stack that was made from Cutover's template.yaml, or update it from there
        exit 2

        2> error: the output `ApiUrl` of the stack `shop` is `arn:aws:x`
        2>
        2> hint: it must be the URL of Cutover's API; update the stack from template.yaml
        exit 2
    "#]].assert_eq(&told.join("\n"));
    assert!(!cloud.home().join(".cutover").exists(), "nothing is written");
}

#[test]
fn connect_says_what_to_do_about_credentials() {
    let cloud = Cloud::new();
    let connect = || cloud.run(&["connect", "shop"]);
    let mut told = vec![cloud.see(&mut cloud.command_without_keys(&["connect", "shop"]))];
    told.push(cloud.see(&mut cloud.command_without_keys(&["connect", "shop", "--profile", "no"])));
    told.push(cloud.see(cloud.command(&["connect", "shop"]).env_remove("AWS_REGION")));
    cloud.refuses_stack(
        403,
        "AccessDenied",
        "User: arn:aws:iam::1:user/u is not authorized to perform: x",
    );
    told.push(connect());
    cloud.refuses_stack(
        403,
        "ExpiredToken",
        "The security token included in the request is expired",
    );
    told.push(connect());
    cloud.refuses_stack(
        403,
        "InvalidClientTokenId",
        "The security token included in the request is invalid.",
    );
    told.push(connect());
    expect![[r#"
        2> error: no AWS credentials are found
        2>
        2> hint: `aws configure` or `aws configure sso` sets them up; AWS_PROFILE chooses between several
        exit 2

        2> error: no AWS credentials are found in the profile `no`
        2>
        2> hint: `aws configure --profile no` sets it up; set AWS_PROFILE to use another one
        exit 2

        2> error: no region is named
        2>
        2> hint: give --region, or set AWS_REGION; `aws configure` sets that of a profile
        exit 2

        2> error: CloudFormation refuses to describe the stack `shop`: AccessDenied: User: arn:aws:iam::1:user/u is not authorized to perform: x
        2>
        2> hint: these credentials need cloudformation:DescribeStacks on the stack, which the policies in infra/policies.yaml allow; --profile uses others
        exit 2

        2> error: CloudFormation refuses to describe the stack `shop`: ExpiredToken: The security token included in the request is expired
        2>
        2> hint: the credentials have expired: `aws sso login`, or however you came by them, renews them
        exit 2

        2> error: CloudFormation refuses to describe the stack `shop`: InvalidClientTokenId: The security token included in the request is invalid.
        2>
        2> hint: AWS does not know these credentials: `aws sts get-caller-identity` tries them, --profile uses others
        exit 2
    "#]].assert_eq(&told.join("\n"));
}

#[test]
fn connect_tells_who_does_not_answer() {
    let cloud = Cloud::new();
    let mut unreachable = cloud.command(&["connect", "shop"]);
    unreachable.env("AWS_ENDPOINT_URL_CLOUDFORMATION", "http://127.0.0.1:1");
    let told = cloud.see(&mut unreachable);
    cloud.has_stack(
        "CREATE_COMPLETE",
        &[("ApiUrl", "http://127.0.0.1:1/"), ("RevisionsBucket", "b")],
    );
    expect![[r#"
        2> error: CloudFormation in eu-central-1 cannot be asked: Connection refused (os error 111)
        2>
        2> hint: check the region, the network, and AWS_ENDPOINT_URL_CLOUDFORMATION or AWS_ENDPOINT_URL if they are set
        exit 3

        stack    shop in eu-central-1, CREATE_COMPLETE
        API      http://127.0.0.1:1
        bucket   s3://b
        2> warning: the API does not answer as a Cutover does: Connection refused (os error 111)
        2> written to .cutover/cloud.json
        2> next: cutover init shop/web --tag role=web && cutover push DIR shop
        2>       cutover proxy -- aws deploy list-applications
        exit 0
    "#]].assert_eq(&(told + "\n" + &cloud.run(&["connect", "shop"])));
}

#[test]
fn a_home_and_a_connection_do_not_share_a_directory() {
    let cloud = Cloud::connected();
    fs::create_dir(cloud.home().join("home")).unwrap();
    fs::write(cloud.home().join("home/version"), "1").unwrap();
    let told = [
        cloud.run(&["--dir", "home", "connect", "shop"]),
        cloud.run(&["up"]),
        cloud.run(&["env", "--", "true"]),
    ];
    expect![[r#"
        2> error: `home` is the directory of a home
        2>
        2> hint: choose another directory for the connection, such as --dir home-cloud
        exit 2

        2> error: `.cutover` is connected to the stack `shop`
        2>
        2> hint: choose another directory with --dir, or end the connection by removing `.cutover/cloud.json`
        exit 2

        2> error: `.cutover` is connected to the stack `shop`, no home
        2>
        2> hint: `cutover proxy -- CMD` runs a command that talks to it
        exit 2
    "#]].assert_eq(&told.join("\n"));
}

#[test]
fn every_command_calls_its_operations_under_their_names() {
    let cloud = Cloud::connected();
    let bundle = cloud.home().join("app");
    fs::create_dir(&bundle).unwrap();
    fs::write(
        bundle.join("appspec.yml"),
        "version: 0.0\nos: linux\nfiles:\n  - source: /a\n    destination: /srv/a\n",
    )
    .unwrap();
    fs::write(bundle.join("a"), "content").unwrap();
    cloud.answers("CreateDeployment", 200, &json!({ "deploymentId": "d-A00000000" }));
    cloud.answers("RollBackDeployment", 200, &json!({ "deploymentId": "d-B00000000" }));
    let info = json!({ "deploymentId": "d-A00000000", "status": "Succeeded", "createTime": 1, "completeTime": 2 });
    cloud.answers("GetDeployment", 200, &json!({ "deploymentInfo": info }));
    cloud.answers("StopDeployment", 200, &json!({ "status": "Succeeded" }));
    let told = [
        cloud.run(&["init", "shop/web", "--tag", "role=web"]),
        cloud.run(&["push", "app", "shop", "--key", "shop/app 1.zip"]),
        cloud.run(&["subscribe", "shop/web", "s3://shop-revisions/shop/"]),
        cloud.run(&["deploy", "shop/web", "--revision", "s3://shop-revisions/shop/app.zip"]),
        cloud.run(&["watch", "d-A00000000"]),
        cloud.run(&["logs", "d-A00000000"]),
        cloud.run(&["stop", "d-A00000000"]),
        cloud.run(&["rollback", "d-A00000000"]),
        cloud.run(&["status"]),
    ];
    expect![[r#"
        application shop created
        group shop/web created
        2> next: cutover push DIR shop
        exit 0
        s3://shop-revisions/shop/app 1.zip
        2> next: cutover deploy shop/GROUP --watch
        exit 0
        Uploads to s3://shop-revisions/shop/ now deploy to shop/web
        2> next: aws s3 cp app.zip s3://shop-revisions/shop/app.zip
        exit 0
        d-A00000000
        2> next: cutover watch d-A00000000
        exit 0
        00:00:01.000Z  d-A00000000  ?/?
        00:00:02.000Z  d-A00000000  Succeeded in 1.0 s
        exit 0
        2> there is no output
        exit 0
        d-A00000000  stopped
        2> next: cutover watch d-A00000000
        exit 0
        d-B00000000
        2> next: cutover watch d-B00000000
        exit 0
        2> there are no applications yet
        2> next: cutover init APP/GROUP
        exit 0
    "#]]
    .assert_eq(&told.concat());
    assert_eq!(cloud.put()[0].0, "/shop-revisions/shop/app%201.zip");
    let calls = cloud.calls();
    let body = |operation: &str| {
        calls.iter().find(|call| call.operation == operation).map(|call| call.body.clone()).unwrap()
    };
    let filter = json!({ "Key": "role", "Value": "web", "Type": "KEY_AND_VALUE" });
    let created = body("CreateDeploymentGroup");
    assert_eq!(created["ec2TagSet"]["ec2TagSetList"], json!([[filter]]));
    assert_eq!(created["onPremisesTagSet"]["onPremisesTagSetList"], json!([[filter]]));
    let registered = body("RegisterApplicationRevision");
    let place = &registered["revision"]["s3Location"];
    assert_eq!((&place["version"], &place["bucket"]), (&json!("v-1"), &json!("shop-revisions")));
    for operation in ["Subscribe", "CreateDeployment", "GetDeploymentLog", "RollBackDeployment"] {
        body(operation);
    }
    assert!(calls.iter().all(|call| call.access_key_id == "AKIDUSER" && call.token.is_none()));
}

#[test]
fn a_group_in_the_cloud_is_not_made_without_tags() {
    let cloud = Cloud::connected();
    let missing =
        json!({ "__type": "DeploymentGroupDoesNotExistException", "message": "no `web`" });
    cloud.answers("GetDeploymentGroup", 400, &missing);
    expect![[r#"
        2> error: the group shop/web does not exist, and no tag says which hosts are its own
        2>
        2> hint: `cutover init shop/web --tag KEY=VALUE` makes it of the hosts with that tag
        exit 2
    "#]]
    .assert_eq(&cloud.run(&["init", "shop/web"]));
    assert_eq!(cloud.calls().len(), 1, "nothing was made");
}

#[test]
fn whose_keys_sign_is_found_out_at_each_run() {
    let cloud = Cloud::new();
    for key in ["AKIDFILE", "AKIDOTHER"] {
        cloud.know(key, key);
    }
    let aws = cloud.home().join(".aws");
    fs::create_dir(&aws).unwrap();
    let credentials = "[shop]\naws_access_key_id = AKIDFILE\naws_secret_access_key = AKIDFILE\naws_session_token = token\n\
                       [other]\naws_access_key_id = AKIDOTHER\naws_secret_access_key = AKIDOTHER\n";
    fs::write(aws.join("credentials"), credentials).unwrap();
    // What is asked for beats the environment while it is asked for, and not later.
    let connected = cloud.see(
        cloud
            .command(&["connect", "shop", "--profile", "shop"])
            .env("AWS_SECRET_ACCESS_KEY", "wrong"),
    );
    assert!(connected.contains("profile  shop"), "{connected}");
    let run = |command: &mut std::process::Command| {
        let told = cloud.see(command);
        assert!(told.ends_with("exit 0\n"), "{told}");
    };
    let status = ["stop", "d-A00000000"];
    run(&mut cloud.command_without_keys(&status));
    run(cloud.command_without_keys(&status).env("AWS_PROFILE", "other"));
    run(&mut cloud.command(&status));
    run(cloud.command(&status).env("AWS_SESSION_TOKEN", "of the environment"));
    let signers: Vec<_> =
        cloud.calls().into_iter().map(|call| (call.access_key_id, call.token)).collect();
    let token = |token: &str| Some(token.to_owned());
    assert_eq!(
        signers,
        [
            ("AKIDFILE".to_owned(), token("token")),
            ("AKIDOTHER".to_owned(), None),
            ("AKIDUSER".to_owned(), None),
            ("AKIDUSER".to_owned(), token("of the environment")),
        ]
    );
}

#[test]
fn what_api_gateway_says_by_itself_is_told_with_what_to_do() {
    let cloud = Cloud::connected();
    let mut told = Vec::new();
    for (status, message) in [
        (403, "Forbidden"),
        (404, "Not Found"),
        (429, "Too Many Requests"),
        (500, "Internal Server Error"),
    ] {
        cloud.answers("StopDeployment", status, &json!({ "message": message }));
        told.push(cloud.run(&["stop", "d-A00000000"]));
    }
    let refused = json!({ "__type": "AccessDeniedException", "message": "the path names another" });
    cloud.answers("StopDeployment", 400, &refused);
    told.push(cloud.run(&["stop", "d-A00000000"]));
    expect![[r#"
        2> error: API Gateway answers to `StopDeployment` with HTTP status 403: Forbidden
        2>
        2> hint: these credentials lack the permission execute-api:Invoke on POST/codedeploy/StopDeployment, or have expired: `aws sts get-caller-identity` shows whose they are, infra/policies.yaml has policies to attach
        exit 2

        2> error: API Gateway answers to `StopDeployment` with HTTP status 404: Not Found
        2>
        2> hint: the stack has no such route: update it from template.yaml, then run `cutover connect` again
        exit 2

        2> error: API Gateway answers to `StopDeployment` with HTTP status 429: Too Many Requests
        2>
        2> hint: try again in a moment
        exit 3

        2> error: API Gateway answers to `StopDeployment` with HTTP status 500: Internal Server Error
        2>
        2> hint: try again; if it stays so, the log of the stack's function `api` says why
        exit 3

        2> error: the path names another
        exit 2
    "#]].assert_eq(&told.join("\n"));
    let told =
        cloud.see(cloud.command(&["stop", "d-A00000000"]).env("AWS_SECRET_ACCESS_KEY", "wrong"));
    assert!(told.contains("HTTP status 403: Forbidden"), "{told}");
}
