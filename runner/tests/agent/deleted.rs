//! What a host keeps of groups that were deleted.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use engine::GroupId;
use runner::DAY_MS;

use crate::home::{Agent, Deployment, Home};
use crate::push;

/// A revision with one file, in a directory of its group.
fn revision(number: u8, group: u8, content: &str) -> Deployment {
    let files = format!("files:\n  - source: page\n    destination: /srv/{group}\n");
    let files = format!("{files}file_exists_behavior: OVERWRITE\n");
    Deployment::new(number, &files, &[("page", 0o644, content)]).in_group(group)
}

fn dir_of(home: &Home, group: u8) -> PathBuf {
    home.state().join(GroupId::from_random([group; 16]).as_str())
}

/// The directories beside installed files in which is kept what they replaced.
fn kept_beside(home: &Home) -> Vec<String> {
    let names = std::fs::read_dir(home.root()).unwrap().map(|entry| entry.unwrap().file_name());
    let mut found: Vec<String> =
        names.map(|name| name.into_string().unwrap()).filter(|name| name != "srv").collect();
    found.sort();
    found
}

/// A host that has two revisions of each of two groups.
async fn host_of_two_groups() -> Home {
    let home = Home::new();
    let _server = home.open().await;
    let agent = Agent::start(home.config());
    for (number, group, content) in [(1, 1, "a"), (2, 1, "b"), (3, 2, "a"), (4, 2, "b")] {
        let id = home.offer(revision(number, group, content));
        home.result(&id).await;
    }
    agent.stop().await;
    home
}

async fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    for _ in 0..3_000 {
        if is_so() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("waited for {what}");
}

fn set_back(path: PathBuf, days: u64) {
    let then = SystemTime::now() - Duration::from_millis(days * DAY_MS + 1_000);
    std::fs::File::options().append(true).open(path).unwrap().set_modified(then).unwrap();
}

#[tokio::test]
async fn what_is_kept_of_a_deleted_group_goes_in_time_and_what_was_installed_stays() {
    let home = host_of_two_groups().await;
    assert!(home.world().asked_about_groups > 0);
    let (server, first) = (home.open().await, dir_of(&home, 1));
    let asked = home.state().join("groups-asked");
    let mark = first.join("deleted");
    home.change(|world| world.deleted_groups = vec![GroupId::from_random([1; 16])]);

    // It was asked today.
    let agent = Agent::start(home.config());
    let before = home.world().polls;
    home.until("another poll", |world| (world.polls > before).then_some(())).await;
    agent.stop().await;
    assert!(!mark.exists());

    // A day later the host hears of it, and 29 days later it is still there.
    set_back(asked.clone(), 1);
    let agent = Agent::start(home.config());
    wait_until("the mark", || mark.exists()).await;
    agent.stop().await;
    set_back(mark.clone(), 29);
    set_back(asked.clone(), 1);
    let agent = Agent::start(home.config());
    let asked_before = home.world().asked_about_groups;
    home.until("a question", |world| (world.asked_about_groups > asked_before).then_some(())).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    agent.stop().await;
    assert!(first.join("last_successful").exists());

    set_back(mark, 30);
    set_back(asked, 1);
    let kept = kept_beside(&home);
    let agent = Agent::start(home.config());
    wait_until("the end of what is kept", || !first.exists()).await;
    wait_until("no rests", || {
        let names = std::fs::read_dir(home.state()).unwrap();
        names
            .map(|entry| entry.unwrap().file_name())
            .all(|name| !name.to_string_lossy().starts_with("removed"))
    })
    .await;
    agent.stop().await;
    server.abort();
    assert!(dir_of(&home, 2).join("last_successful").exists(), "that of the other group stays");
    let page = |group: u8| std::fs::read_to_string(home.root().join(format!("srv/{group}/page")));
    assert_eq!((page(1).unwrap(), page(2).unwrap()), ("b".to_owned(), "b".to_owned()));
    // What was replaced is kept in one directory for each group.
    let groups = |dir: &str| std::fs::read_dir(home.root().join(dir)).unwrap().count();
    assert_eq!(kept.iter().map(|dir| groups(dir)).collect::<Vec<_>>(), [1], "{kept:?}");
}

#[tokio::test]
async fn a_group_that_is_there_again_keeps_what_it_has() {
    let home = host_of_two_groups().await;
    let (server, mark) = (home.open().await, dir_of(&home, 1).join("deleted"));
    std::fs::write(&mark, "").unwrap();
    set_back(mark.clone(), 29);
    set_back(home.state().join("groups-asked"), 1);
    let agent = Agent::start(home.config());
    wait_until("no mark", || !mark.exists()).await;
    agent.stop().await;
    server.abort();
    assert!(dir_of(&home, 1).join("last_successful").exists());
}

#[tokio::test]
async fn a_pushed_command_removes_what_is_kept_of_deleted_groups_as_well() {
    let home = host_of_two_groups().await;
    let (api, server) = home.serve().await;
    let first = dir_of(&home, 1);
    std::fs::write(first.join("deleted"), "").unwrap();
    home.change(|world| world.deleted_groups = vec![GroupId::from_random([1; 16])]);
    set_back(home.state().join("groups-asked"), 1);
    for (number, days) in [(5, "1"), (6, "0")] {
        assert!(first.exists());
        let id = home.dispatch(revision(number, 2, &days.repeat(7)));
        let mut command = push::push(&home, &api, &id);
        let (code, last) = push::end(command.args(["--keep-groups", days]).spawn().unwrap()).await;
        assert_eq!(code, 0, "{last}");
    }
    server.abort();
    assert!(!first.exists() && dir_of(&home, 2).exists());

    // With what the last group had replaced goes the runner's own directory.
    let (server, second) = (home.open().await, dir_of(&home, 2));
    std::fs::write(second.join("deleted"), "").unwrap();
    set_back(second.join("deleted"), 31);
    set_back(home.state().join("groups-asked"), 1);
    home.change(|world| world.deleted_groups.push(GroupId::from_random([2; 16])));
    assert_ne!(kept_beside(&home), [""; 0]);
    let agent = Agent::start(home.config());
    wait_until("the end of the last group", || !second.exists()).await;
    agent.stop().await;
    server.abort();
    assert_eq!(kept_beside(&home), [""; 0]);
}
