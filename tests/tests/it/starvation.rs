//! Clients that take connections and do nothing with them, at a home that may have few descriptors.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

use crate::support::archive::Bundle;
use crate::support::home::Home;
use crate::support::{free_port, wait_for};

/// The descriptors that the home may have: what most shells allow.
const DESCRIPTORS: u32 = 1_024;

fn address(url: &str) -> SocketAddr {
    url.trim_start_matches("http://").parse().unwrap()
}

/// Users who have said nothing yet, or only the beginning of something.
fn idle(address: SocketAddr, count: usize) -> Vec<TcpStream> {
    let connect = |number: usize| {
        let mut stream = TcpStream::connect(address).unwrap();
        let said = if number.is_multiple_of(2) { "" } else { "GET / HTTP/1.1\r\nHost: a\r\n" };
        stream.write_all(said.as_bytes()).unwrap();
        stream
    };
    (0..count).map(connect).collect()
}

/// The beginning of what an address answers.
fn ask(address: SocketAddr) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

#[test]
fn a_thousand_idle_users_stop_no_deployment() {
    local::descriptors::raise();
    let mut home = Home::new(4).with_descriptors(DESCRIPTORS);
    home.start();
    let add = ["balancer", "add", "web", "--target-port", &free_port().to_string()];
    let added = home.cutover(&[&add[..], &["--format", "json"]].concat());
    let added: Value = serde_json::from_slice(&added.stdout).unwrap();
    let balancer = address(added["balancer"]["url"].as_str().unwrap());
    let (api, bucket) = (address(home.client().get("api")), address(home.client().get("s3")));
    home.make_group("CodeDeployDefault.OneAtATime");
    home.subscribe();

    let held = [idle(balancer, 1_100), idle(api, 1_100), idle(bucket, 300)];
    let first = home.deploy("shop/1.zip", &Bundle::new("version 1").zip());
    home.succeeded(&first);
    // Whoever comes after them is served, too.
    assert_eq!(ask(balancer), "HTTP/1.1 503", "it has no host, and says so");
    assert!(ask(api).starts_with("HTTP/1.1 40"));
    let second = home.deploy("shop/2.zip", &Bundle::new("version 2").zip());
    home.succeeded(&second);
    // And so it is for a home that starts while they come.
    home.kill();
    home.start();
    let more = [idle(balancer, 1_100), idle(api, 1_100)];
    let third = home.deploy("shop/3.zip", &Bundle::new("version 3").zip());
    home.succeeded(&third);
    drop((held, more));
}

/// A process's limit on descriptors, soft and hard.
fn limits(pid: rustix::process::Pid) -> (String, String) {
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", pid.as_raw_pid())).unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    let words: Vec<_> = line.split_whitespace().map(str::to_owned).collect();
    (words[3].clone(), words[4].clone())
}

#[test]
fn a_home_takes_all_descriptors_that_it_may_have_and_its_hosts_what_is_usual() {
    let mut home = Home::new(1).with_soft_descriptors(600);
    home.start();
    let (soft, hard) = limits(home.pid());
    assert_eq!(soft, hard, "it takes what it may have");
    assert_ne!(soft, "600");
    let host = wait_for("the host", || home.host(1));
    assert_eq!(limits(host), ("600".to_owned(), hard), "hooks count on what is usual");
}
