//! Pictures on a terminal of several sizes, and what happened as lines.

use std::cell::RefCell;
use std::io::Write;
use std::rc::Rc;

use engine::Timestamp;
use expect_test::{Expect, expect};
use serde_json::{Value, json};
use vt100::Parser;

use super::frame::{self, View};
use super::history::History;
use super::screen::Screen;
use super::snapshot::Snapshot;

/// 2026-11-23T09:00:00Z.
const START: Timestamp = Timestamp(1_795_424_400_000);

fn at(seconds: f64) -> Value {
    json!(1_795_424_400.0 + seconds)
}

/// A host with its events: name, status, when it began and when it ended.
fn host(name: &str, status: &str, events: &[(&str, &str, Option<f64>, Option<f64>)]) -> Value {
    let events = events.iter().map(|(name, status, start, end)| {
        let mut event = json!({ "lifecycleEventName": name, "status": status });
        for (member, time) in [("startTime", start), ("endTime", end)] {
            if let Some(time) = time {
                event[member] = at(*time);
            }
        }
        event
    });
    json!({
        "targetId": name, "status": status, "lifecycleEvents": events.collect::<Vec<_>>(),
        "lastUpdatedAt": at(9.0),
    })
}

fn snapshot(info: Value, targets: Value, progress: Option<Value>) -> Snapshot {
    let mut full = json!({
        "applicationName": "shop",
        "deploymentGroupName": "web",
        "deploymentConfigName": "careful",
        "deploymentId": "d-A1B2C3D4E",
        "status": "InProgress",
        "createTime": at(0.0),
    });
    for (name, value) in info.as_object().unwrap() {
        full[name] = value.clone();
    }
    Snapshot {
        info: serde_json::from_value(full).unwrap(),
        targets: serde_json::from_value(targets).unwrap(),
        partial: false,
        progress: progress.map(|progress| serde_json::from_value(progress).unwrap()),
    }
}

const DONE: (&str, &str, Option<f64>, Option<f64>) = ("Install", "Succeeded", Some(0.5), Some(2.0));

/// A canary on a ladder in the middle of everything.
fn canary() -> Snapshot {
    let targets = json!([
        host("host-1", "Succeeded", &[DONE]),
        host("host-2", "Failed", &[DONE, ("ValidateService", "Failed", Some(2.0), Some(3.5))]),
        host(
            "host-with-a-rather-long-name-3.example.org",
            "InProgress",
            &[DONE, ("AfterInstall", "InProgress", Some(7.5), None)]
        ),
        host("host-4", "Failed", &[DONE, ("AfterInstall", "Unknown", None, None)]),
        host("host-5", "Unknown", &[DONE]),
        host("host-6", "Pending", &[]),
    ]);
    let progress = json!({
        "steps": ["1 host@1m", "10%@5m", "100%"], "stepsDone": 1, "bakingUntil": at(200.0),
        "alarms": ["home:web errors worse than baseline at 1%", "home:web p99>1s"],
        "alarmNotes": [{ "alarm": "home:web errors worse than baseline at 1%", "note": "undecided after 90 requests" }],
    });
    snapshot(
        json!({ "rollbackInfo": { "rollbackTriggeringDeploymentId": "d-BAD000000" } }),
        targets,
        Some(progress),
    )
}

/// One that was aborted after its first host.
fn aborted() -> Snapshot {
    let targets = json!([
        host("host-1", "Succeeded", &[DONE]),
        host(
            "host-2",
            "Skipped",
            &[
                ("BeforeInstall", "Succeeded", Some(2.0), Some(4.0)),
                ("Install", "Skipped", None, None)
            ]
        ),
        host("host-3", "Skipped", &[("BeforeInstall", "Skipped", None, None)]),
    ]);
    snapshot(json!({ "status": "Stopped", "completeTime": at(4.2) }), targets, None)
}

fn view(width: usize, height: usize) -> View {
    View { width, height, colours: false, now: START.plus_ms(10_000), tick: 3 }
}

fn check(snapshot: &Snapshot, view: View, expected: &Expect) {
    let lines = frame::draw(snapshot, view);
    assert!(lines.len() < view.height, "the cursor rests below");
    assert!(lines.iter().all(|line| console::measure_text_width(line) < view.width), "{lines:#?}");
    expected.assert_eq(&(lines.join("\n") + "\n"));
}

#[test]
fn a_picture_fits_into_60_90_and_200_columns() {
    check(
        &canary(),
        view(60, 24),
        &expect![[r#"
        d-A1B2C3D4E  shop/web, rolls back d-BAD000000  InProgress
        ━━━×××××××╌╌╌╌╌╌╌╌╌  3 of 5 hosts done, 1 at work, 2 failed
          step 2 of 3: 10% of hosts, bakes until 09:03:20Z (3 min
            10 s left)
          watched by home:web errors worse than baseline at 1%
            (undecided after 90 requests)
          watched by home:web p99>1s
          `cutover skip-bake d-A1B2C3D4E` ends the bake; `pause`,
            `promote` and `abort` steer it too
          ✔ host-1           Succeeded                     1.5 s
          ✘ host-2           Failed at ValidateService     3.0 s
          ⠸ host-with-a-ra…  AfterInstall                  2.5 s
          ✘ host-4           Failed: silent since Install
          · host-5           Gone since Install
          · host-6           Pending
    "#]],
    );
    check(
        &canary(),
        view(90, 24),
        &expect![[r#"
        d-A1B2C3D4E  shop/web, rolls back d-BAD000000  InProgress
        ━━━━×××××××××╌╌╌╌╌╌╌╌╌╌╌  3 of 5 hosts done, 1 at work, 2 failed
          step 2 of 3: 10% of hosts, bakes until 09:03:20Z (3 min 10 s left)
          watched by home:web errors worse than baseline at 1% (undecided after 90 requests)
          watched by home:web p99>1s
          `cutover skip-bake d-A1B2C3D4E` ends the bake; `pause`, `promote` and `abort` steer
            it too
          ✔ host-1                                      Succeeded                     1.5 s
          ✘ host-2                                      Failed at ValidateService     3.0 s
          ⠸ host-with-a-rather-long-name-3.example.org  AfterInstall                  2.5 s
          ✘ host-4                                      Failed: silent since Install
          · host-5                                      Gone since Install
          · host-6                                      Pending
    "#]],
    );
    check(
        &canary(),
        view(200, 24),
        &expect![[r#"
        d-A1B2C3D4E  shop/web, rolls back d-BAD000000  InProgress
        ━━━━×××××××××╌╌╌╌╌╌╌╌╌╌╌  3 of 5 hosts done, 1 at work, 2 failed
          step 2 of 3: 10% of hosts, bakes until 09:03:20Z (3 min 10 s left)
          watched by home:web errors worse than baseline at 1% (undecided after 90 requests)
          watched by home:web p99>1s
          `cutover skip-bake d-A1B2C3D4E` ends the bake; `pause`, `promote` and `abort` steer it too
          ✔ host-1                                      Succeeded                     1.5 s
          ✘ host-2                                      Failed at ValidateService     3.0 s
          ⠸ host-with-a-rather-long-name-3.example.org  AfterInstall                  2.5 s
          ✘ host-4                                      Failed: silent since Install
          · host-5                                      Gone since Install
          · host-6                                      Pending
    "#]],
    );
}

#[test]
fn who_was_stopped_is_not_shown_as_failed() {
    check(
        &aborted(),
        view(90, 24),
        &expect![[r#"
        d-A1B2C3D4E  shop/web  Stopped in 4.2 s
        ━━━━━━━━╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌  1 of 3 hosts done, 2 skipped
          ✔ host-1  Succeeded                    1.5 s
          · host-2  Stopped after BeforeInstall
          · host-3  Skipped
    "#]],
    );
}

#[test]
fn a_low_terminal_shows_failures_and_hosts_at_work_first() {
    check(
        &canary(),
        view(90, 11),
        &expect![[r#"
        d-A1B2C3D4E  shop/web, rolls back d-BAD000000  InProgress
        ━━━━×××××××××╌╌╌╌╌╌╌╌╌╌╌  3 of 5 hosts done, 1 at work, 2 failed
          step 2 of 3: 10% of hosts, bakes until 09:03:20Z (3 min 10 s left)
          watched by home:web errors worse than baseline at 1% (undecided after 90 requests)
          watched by home:web p99>1s
          `cutover skip-bake d-A1B2C3D4E` ends the bake; `pause`, `promote` and `abort` steer
            it too
          ✘ host-2  Failed at ValidateService     3.0 s
          ✘ host-4  Failed: silent since Install
          … and 4 more
    "#]],
    );
    for height in 1..12 {
        assert!(frame::draw(&canary(), view(40, height)).len() < height.max(4));
    }
}

#[test]
fn counters_bar_and_host_lines_say_the_same() {
    // The deployment has not taken note yet of what its hosts have said.
    let overview = json!({ "deploymentOverview": { "Pending": 2, "InProgress": 4 } });
    let mut seen = canary();
    seen.info = snapshot(overview, json!([]), None).info;
    let lines = frame::draw(&seen, view(90, 24));
    let bar = lines.iter().find(|line| line.contains(" done")).unwrap();
    assert!(bar.ends_with("3 of 5 hosts done, 1 at work, 2 failed"), "{lines:#?}");
    let shown =
        |sign: &str| lines.iter().filter(|line| line.trim_start().starts_with(sign)).count();
    assert_eq!((shown("✔"), shown("✘"), shown("⠸")), (1, 2, 1), "{lines:#?}");
}

#[test]
fn of_a_large_fleet_no_more_hosts_are_shown_than_are_counted_and_none_twice() {
    let overview = json!({ "deploymentOverview": { "Pending": 30, "InProgress": 3, "Succeeded": 6, "Failed": 1 } });
    let targets = json!([
        host("host-1", "Failed", &[("Install", "Failed", Some(1.0), Some(2.0))]),
        host("host-2", "Failed", &[("Install", "Failed", Some(1.0), Some(2.0))]),
        host("host-3", "Succeeded", &[DONE]),
        host("host-4", "InProgress", &[("Install", "InProgress", Some(1.0), None)]),
    ]);
    let mut large = snapshot(overview, targets, None);
    large.partial = true;
    large.agree();
    check(
        &large,
        view(90, 24),
        &expect![[r#"
        d-A1B2C3D4E  shop/web  InProgress
        ━━━×╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌  7 of 40 hosts done, 3 at work, 1 failed
          ✘ host-1  Failed at Install  1.0 s
          ⠸ host-4  Install            9.0 s
    "#]],
    );
}

fn parser(height: u16, width: u16) -> Parser {
    Parser::new(height.try_into().unwrap(), width.try_into().unwrap(), 0)
}

/// A terminal that is written to and looked at.
#[derive(Clone)]
struct Terminal(Rc<RefCell<Parser>>);

impl Write for Terminal {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.borrow_mut().process(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Terminal {
    fn new(height: u16, width: u16) -> Self {
        Self(Rc::new(RefCell::new(parser(height, width))))
    }

    /// Becomes wider or narrower as most terminals do: lines that are too long are broken, and joined again.
    fn resize(&self, width: u16) {
        let before = self.0.borrow();
        let screen = before.screen();
        let (height, _) = screen.size();
        let mut text = String::new();
        for (row, line) in
            (0..screen.cursor_position().0).zip(screen.rows(0, screen.size().1.get()))
        {
            text.push_str(&line);
            text.push_str(if screen.row_wrapped(row) { "" } else { "\r\n" });
        }
        drop(before);
        let mut after = parser(height.get(), width);
        after.process(text.as_bytes());
        *self.0.borrow_mut() = after;
    }

    /// What it shows, without the spaces at the ends of lines.
    fn shown(&self) -> String {
        let parser = self.0.borrow();
        let (_, width) = parser.screen().size();
        let rows: Vec<String> = parser.screen().rows(0, width.get()).collect();
        rows.join("\n").trim_end().to_owned() + "\n"
    }
}

#[test]
fn the_bar_has_a_colour_for_each_of_succeeded_failed_and_left() {
    let terminal = Terminal::new(24, 90);
    let coloured = View { colours: true, ..view(90, 24) };
    Screen::new(terminal.clone()).draw(&frame::draw(&canary(), coloured), 90).unwrap();
    let place = terminal.shown().lines().position(|line| line.contains(" done")).unwrap();
    let row = u16::try_from(place).unwrap();
    let parser = terminal.0.borrow();
    let number = |wanted: (&str, vt100::Color, bool)| {
        let cells = (0..24).map(|column| parser.screen().cell(row, column).unwrap());
        cells.filter(|cell| (cell.contents(), cell.fgcolor(), cell.dim()) == wanted).count()
    };
    let green = number(("━", vt100::Color::Idx(2), false));
    let red = number(("×", vt100::Color::Idx(1), false));
    let dim = number(("╌", vt100::Color::Default, true));
    // Of the 5 hosts that are left of 6.
    assert_eq!((green, red, dim), (4, 9, 11));
}

#[test]
fn what_was_there_stays_and_each_picture_takes_the_place_of_the_last() {
    let mut terminal = Terminal::new(24, 60);
    let mut screen = Screen::new(terminal.clone());
    terminal.write_all(b"$ cutover watch d-A1B2C3D4E\r\n").unwrap();
    for seen in [canary(), aborted()] {
        screen.draw(&frame::draw(&seen, view(60, 24)), 60).unwrap();
    }
    // The terminal itself shows Ctrl-C, below the picture.
    terminal.write_all(b"^C").unwrap();
    screen.draw(&frame::draw(&aborted(), view(60, 24)), 60).unwrap();
    screen.leave();
    terminal.write_all(b"the deployment goes on\r\n").unwrap();
    expect![[r#"
        $ cutover watch d-A1B2C3D4E
        d-A1B2C3D4E  shop/web  Stopped in 4.2 s
        ━━━━━━━━╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌  1 of 3 hosts done, 2 skipped
          ✔ host-1  Succeeded                    1.5 s
          · host-2  Stopped after BeforeInstall
          · host-3  Skipped
        the deployment goes on
    "#]]
    .assert_eq(&terminal.shown());
    let parser = terminal.0.borrow();
    assert!(!parser.screen().hide_cursor());
    assert_eq!(parser.screen().cursor_position().1, 0);
}

#[test]
fn what_is_said_meanwhile_stands_above_the_picture() {
    let mut terminal = Terminal::new(24, 60);
    let mut screen = Screen::new(terminal.clone());
    let picture = frame::draw(&aborted(), view(60, 24));
    screen.draw(&picture, 60).unwrap();
    screen.erase(60).unwrap();
    terminal.write_all(b"nothing answers; trying again for 20 s\r\n").unwrap();
    screen.draw(&picture, 60).unwrap();
    expect![[r#"
        nothing answers; trying again for 20 s
        d-A1B2C3D4E  shop/web  Stopped in 4.2 s
        ━━━━━━━━╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌  1 of 3 hosts done, 2 skipped
          ✔ host-1  Succeeded                    1.5 s
          · host-2  Stopped after BeforeInstall
          · host-3  Skipped
    "#]]
    .assert_eq(&terminal.shown());
}

#[test]
fn a_terminal_that_becomes_narrower_or_wider_shows_one_picture() {
    let mut terminal = Terminal::new(30, 90);
    terminal.write_all(b"$ cutover watch d-A1B2C3D4E\r\n").unwrap();
    let mut screen = Screen::new(terminal.clone());
    screen.draw(&frame::draw(&canary(), view(90, 30)), 90).unwrap();
    for width in [60, 35, 200, 90] {
        terminal.resize(width);
        let width = usize::from(width);
        let picture = frame::draw(&canary(), view(width, 30));
        screen.draw(&picture, width).unwrap();
        let expected = format!("$ cutover watch d-A1B2C3D4E\n{}\n", picture.join("\n"));
        assert_eq!(terminal.shown(), expected, "{width} columns");
    }
}

/// The lines that are told of these snapshots, taken one after another, so many milliseconds after the start.
fn told(snapshots: &[(u64, Snapshot)]) -> String {
    let mut history = History::default();
    let mut lines = Vec::new();
    for (ms, snapshot) in snapshots {
        let now = START.plus_ms(*ms);
        history.take(snapshot, now);
        lines.extend(history.due(now));
    }
    lines.extend(history.rest());
    lines.iter().map(|line| format!("{line}\n")).collect()
}

#[test]
fn each_event_is_told_once_with_its_own_time_and_in_order() {
    let under_way = |targets| snapshot(json!({}), targets, None);
    let event = |name, start| (name, "Succeeded", Some(start), Some(start + 0.1));
    let first = under_way(json!([
        host("host-1", "InProgress", &[event("Install", 0.3), event("AfterInstall", 0.9)]),
        host("host-2", "Pending", &[]),
    ]));
    // What began earlier on the second host is heard of later.
    let second = under_way(json!([
        host("host-1", "Succeeded", &[event("Install", 0.3), event("AfterInstall", 0.9)]),
        host("host-2", "InProgress", &[event("Install", 0.4), event("AfterInstall", 0.8)]),
    ]));
    let hosts = json!([
        host("host-1", "Succeeded", &[event("Install", 0.3), event("AfterInstall", 0.9)]),
        host(
            "host-2",
            "Succeeded",
            &[event("Install", 0.4), event("AfterInstall", 0.8), event("ApplicationStart", 2.0)]
        ),
    ]);
    let end = snapshot(json!({ "status": "Succeeded", "completeTime": at(2.2) }), hosts, None);
    let expected = expect![[r#"
        09:00:00.000Z  d-A1B2C3D4E  shop/web, careful, 2 hosts
        09:00:00.300Z  host-1  Install
        09:00:00.400Z  host-2  Install
        09:00:00.800Z  host-2  AfterInstall
        09:00:00.900Z  host-1  AfterInstall
        09:00:01.000Z  host-1  Succeeded in 700 ms
        09:00:02.000Z  host-2  ApplicationStart
        09:00:02.100Z  host-2  Succeeded in 1.7 s
        09:00:02.200Z  d-A1B2C3D4E  Succeeded in 2.2 s
    "#]];
    let all = [(1_000, first.clone()), (1_100, first), (1_600, second), (2_300, end.clone())];
    expected.assert_eq(&told(&all));
    // Whoever comes late is told all the same.
    assert_eq!(told(&[(60_000, end)]), told(&all));
}

#[test]
fn steps_are_told_when_they_began_and_not_when_they_were_heard_of() {
    let ran = |name, start| {
        host(name, "Succeeded", &[("Install", "Succeeded", Some(start), Some(start + 1.0))])
    };
    let waits = |name| host(name, "Pending", &[]);
    let works =
        |name, start| host(name, "InProgress", &[("Install", "InProgress", Some(start), None)]);
    let ladder = |done: u32, until: Option<f64>, hosts: [Value; 3]| {
        let mut progress = json!({ "steps": ["1 host@10s", "50%", "100%"], "stepsDone": done });
        if let Some(until) = until {
            progress["bakingUntil"] = at(until);
        }
        snapshot(json!({}), json!(hosts), Some(progress))
    };
    let mut end = ladder(3, None, [ran("host-1", 0.2), ran("host-2", 11.5), ran("host-3", 12.6)]);
    let info = json!({ "status": "Succeeded", "completeTime": at(13.7) });
    end.info = snapshot(info, json!([]), None).info;
    // The second host has begun before it was heard that its step has, and is heard of later.
    let all = [
        (300, ladder(0, None, [works("host-1", 0.2), waits("host-2"), waits("host-3")])),
        (1_400, ladder(0, Some(11.3), [ran("host-1", 0.2), waits("host-2"), waits("host-3")])),
        (11_400, ladder(0, Some(11.3), [ran("host-1", 0.2), waits("host-2"), waits("host-3")])),
        (11_600, ladder(1, None, [ran("host-1", 0.2), waits("host-2"), waits("host-3")])),
        (11_900, ladder(1, None, [ran("host-1", 0.2), works("host-2", 11.5), waits("host-3")])),
        (12_800, ladder(2, None, [ran("host-1", 0.2), ran("host-2", 11.5), works("host-3", 12.6)])),
        // What is heard between the end and the look that tells of it was so by the end.
        (13_800, ladder(3, None, [ran("host-1", 0.2), ran("host-2", 11.5), ran("host-3", 12.6)])),
        (13_900, end),
    ];
    expect![[r#"
        09:00:00.000Z  d-A1B2C3D4E  shop/web, careful, 3 hosts
        09:00:00.200Z  step 1 of 3: 1 host
        09:00:00.200Z  host-1  Install
        09:00:01.200Z  host-1  Succeeded in 1.0 s
        09:00:01.300Z  step 1 of 3: 1 host, bakes until 09:00:11Z
        09:00:11.500Z  step 2 of 3: 50% of hosts
        09:00:11.500Z  host-2  Install
        09:00:12.500Z  host-2  Succeeded in 1.0 s
        09:00:12.600Z  step 3 of 3: 100% of hosts
        09:00:12.600Z  host-3  Install
        09:00:13.600Z  host-3  Succeeded in 1.0 s
        09:00:13.700Z  step 3 of 3 is done
        09:00:13.700Z  d-A1B2C3D4E  Succeeded in 13.7 s
    "#]]
    .assert_eq(&told(&all));
    // Whoever comes while a step bakes hears since when.
    let late = [(5_000, all[1].1.clone())];
    assert!(told(&late).contains("09:00:01.300Z  step 1 of 3: 1 host, bakes"), "{}", told(&late));
    // A step that goes on after a pause or a promotion is told at that time.
    let promoted = |mut seen: Snapshot| {
        seen.progress.as_mut().unwrap().promoted = Some(true);
        seen
    };
    let lines = told(&[all[1].clone(), (5_000, promoted(all[1].1.clone()))]);
    assert!(lines.contains("09:00:05.000Z  step 1 of 3: 1 host\n"), "{lines}");
}

#[test]
fn what_the_service_says_of_a_deployment_is_told_once() {
    let said = |minutes: u32| {
        let messages = [
            format!(
                "Commands to hosts are denied. They are tried again for {minutes} more minutes."
            ),
            "The instance i-1 goes on\nrunning.".to_owned(),
        ];
        snapshot(json!({ "deploymentStatusMessages": messages }), json!([]), None)
    };
    expect![[r#"
        09:00:00.000Z  d-A1B2C3D4E  shop/web, careful
        09:00:01.000Z  Commands to hosts are denied. They are tried again for 15 more minutes.
        09:00:01.000Z  The instance i-1 goes on running.
    "#]]
    .assert_eq(&told(&[(1_000, said(15)), (61_000, said(14))]));
    check(
        &said(3),
        view(60, 24),
        &expect![[r#"
        d-A1B2C3D4E  shop/web  InProgress
          Commands to hosts are denied. They are tried again for
            3 more minutes.
          The instance i-1 goes on running.
    "#]],
    );
}

#[test]
fn a_line_is_not_held_back_for_long() {
    let mut history = History::default();
    let hosts =
        json!([host("host-1", "InProgress", &[("Install", "InProgress", Some(0.5), None)])]);
    let seen = snapshot(json!({}), hosts, None);
    let ms = |ms: u64| START.plus_ms(ms);
    history.take(&seen, ms(600));
    assert_eq!(history.due(ms(600)), ["09:00:00.000Z  d-A1B2C3D4E  shop/web, careful, 1 host"]);
    assert_eq!(history.due(ms(1_900)), Vec::<String>::new());
    assert_eq!(history.due(ms(2_000)), ["09:00:00.500Z  host-1  Install"]);
    // Clocks of hosts may be ahead.
    let hosts =
        json!([host("host-1", "InProgress", &[("AfterInstall", "InProgress", Some(900.0), None)])]);
    history.take(&snapshot(json!({}), hosts, None), ms(3_000));
    assert_eq!(history.due(ms(4_500)), ["09:15:00.000Z  host-1  AfterInstall"]);
}

#[test]
fn who_failed_and_who_did_not_is_told_by_their_own_events() {
    expect![[r#"
        09:00:00.000Z  d-A1B2C3D4E  shop/web, careful, 3 hosts
        09:00:00.500Z  host-1  Install
        09:00:02.000Z  host-1  Succeeded in 1.5 s
        09:00:02.000Z  host-2  BeforeInstall
        09:00:04.000Z  host-2  Stopped after BeforeInstall
        09:00:09.000Z  host-3  Skipped
        09:00:04.200Z  d-A1B2C3D4E  Stopped in 4.2 s
    "#]]
    .assert_eq(&told(&[(10_000, aborted())]));
    let ended = snapshot(json!({ "status": "Failed" }), json!([]), None);
    let failed = Snapshot { info: ended.info, progress: None, ..canary() };
    expect![[r#"
        09:00:00.000Z  d-A1B2C3D4E  shop/web, careful, 5 hosts
        09:00:00.500Z  host-1  Install
        09:00:00.500Z  host-2  Install
        09:00:00.500Z  host-with-a-rather-long-name-3.example.org  Install
        09:00:00.500Z  host-4  Install
        09:00:00.500Z  host-5  Install
        09:00:02.000Z  host-1  Succeeded in 1.5 s
        09:00:02.000Z  host-2  ValidateService
        09:00:02.000Z  host-4  Failed: silent since Install
        09:00:02.000Z  host-5  Gone since Install
        09:00:03.500Z  host-2  Failed at ValidateService in 3.0 s
        09:00:07.500Z  host-with-a-rather-long-name-3.example.org  AfterInstall
        09:00:10.000Z  d-A1B2C3D4E  Failed
    "#]]
    .assert_eq(&told(&[(10_000, failed)]));
}

#[test]
fn a_name_that_somebody_chose_begins_no_line_of_its_own() {
    let hosts =
        json!([host("web\u{1b}[2J\n09:00:00.000Z  host-9  Succeeded", "Succeeded", &[DONE])]);
    let lines = told(&[(10_000, snapshot(json!({}), hosts.clone(), None))]);
    assert!(
        lines.contains("web 09:00:00.000Z  host-9  Succeeded  Succeeded in 1.5 s\n"),
        "{lines}"
    );
    let picture = frame::draw(&snapshot(json!({}), hosts, None), view(90, 24));
    assert!(picture.iter().all(|line| !line.contains(char::is_control)), "{picture:#?}");
}
