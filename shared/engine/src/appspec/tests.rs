use std::fmt::Write as _;

use expect_test::expect;
use proptest::prelude::*;

use super::*;

const MINIMAL: &str = "version: 0.0\nos: linux\n";

fn read(text: &str) -> AppSpec {
    parse(text.as_bytes()).unwrap_or_else(|error| panic!("{}", error.in_file("appspec.yml")))
}

/// The first error of each text, one a line.
fn errors(texts: &[&str]) -> String {
    let mut lines = String::new();
    for text in texts {
        match parse(text.as_bytes()) {
            Ok(_) => writeln!(lines, "accepted: {text:?}").unwrap(),
            Err(error) => writeln!(lines, "{}", error.in_file("appspec.yml")).unwrap(),
        }
    }
    lines
}

/// The errors of files that are right up to what is added.
fn errors_after_minimal(rest: &[&str]) -> String {
    let texts: Vec<String> = rest.iter().map(|rest| format!("{MINIMAL}{rest}")).collect();
    errors(&texts.iter().map(String::as_str).collect::<Vec<_>>())
}

fn findings(text: &str) -> String {
    lint(text.as_bytes()).iter().map(|finding| finding.in_file("appspec.yml") + "\n").collect()
}

#[test]
fn a_whole_file_is_read() {
    let spec = read(
        r#"version: 0.0
os: linux
files:
  - source: /
    destination: /srv/shop
  - { source: etc/shop.conf, destination: /etc/shop }
file_exists_behavior: OVERWRITE
permissions:
  - object: /srv/shop
    pattern: "*.sh"
    except: [keep.sh]
    type: [file]
    owner: shop
    group: shop
    mode: 750
    acls: ["u:backup:r"]
    context: { name: system_u, type: httpd_sys_content_t, range: "s0:c0,c2.c5" }
  - object: " /etc/shop "
hooks:
  AfterInstall:
    - location: " scripts/migrate.sh "
      timeout: "60"
      runas: shop
  ValidateService:
    - location: scripts/check.sh
      sudo: yes
  ApplicationStop:
"#,
    );
    let mut lines = format!("{:?} {:?}\n", spec.os, spec.file_exists_behavior);
    spec.files.iter().for_each(|file| writeln!(lines, "{file:?}").unwrap());
    spec.permissions.iter().for_each(|permission| writeln!(lines, "{permission:?}").unwrap());
    spec.hooks.iter().for_each(|hook| writeln!(lines, "{hook:?}").unwrap());
    writeln!(lines, "{:?}", spec.places.sources).unwrap();
    writeln!(lines, "{:?}", spec.places.scripts).unwrap();
    expect![[r#"
        Linux Some(Overwrite)
        FileMapping { source: "/", destination: "/srv/shop" }
        FileMapping { source: "etc/shop.conf", destination: "/etc/shop" }
        Permission { object: "/srv/shop", pattern: "*.sh", except: ["keep.sh"], files: true, directories: false, owner: Some("shop"), group: Some("shop"), mode: Some(488), acls: ["u:backup:r"], context: Some(Context { user: Some("system_u"), kind: "httpd_sys_content_t", range: Some("s0:c0,c2.c5") }) }
        Permission { object: "/etc/shop", pattern: "**", except: [], files: true, directories: true, owner: None, group: None, mode: None, acls: [], context: None }
        ("AfterInstall", [Script { location: "scripts/migrate.sh", timeout_s: 60, runas: Some("shop"), sudo: false }])
        ("ValidateService", [Script { location: "scripts/check.sh", timeout_s: 3600, runas: None, sudo: true }])
        [Position { line: 4, column: 13 }, Position { line: 6, column: 15 }]
        {"AfterInstall": [Position { line: 21, column: 17 }], "ValidateService": [Position { line: 25, column: 17 }]}
    "#]].assert_eq(&lines);
}

#[test]
fn what_the_top_level_lacks_or_has_wrong_is_told_with_its_place() {
    expect![[r#"
        appspec.yml:1:1: the AppSpec file is empty; it needs `version: 0.0` and `os: linux` at least
        appspec.yml:1:1: the AppSpec file is empty; it needs `version: 0.0` and `os: linux` at least
        appspec.yml:1:1: the AppSpec file is empty; it needs `version: 0.0` and `os: linux` at least
        appspec.yml:1:1: the AppSpec file must be a mapping of `version`, `os`, `files`, `permissions` and `hooks`, not the text `just text`
        appspec.yml:1:1: the AppSpec file must be a mapping of `version`, `os`, `files`, `permissions` and `hooks`, not a list
        appspec.yml:1:1: `version` is missing; add `version: 0.0`
        appspec.yml:1:1: `version` is missing; add `version: 0.0`
        appspec.yml:1:10: `version` is the text `0.0`, but only the number 0.0 is known; write `version: 0.0`, without quotes
        appspec.yml:1:10: `version` is the number `1`, but only the number 0.0 is known; write `version: 0.0`, without quotes
        appspec.yml:1:1: `os` is missing; add `os: linux`
        appspec.yml:1:1: this is an AppSpec file for Lambda or ECS, with `Resources` and no `os`; a bundle for hosts needs `os: linux` and `files`
        appspec.yml:2:5: `os` is the text `Linux`; it must be `linux` or `windows`, in lower case
        appspec.yml:3:23: `file_exists_behavior` is the text `overwrite`; it must be DISALLOW, OVERWRITE or RETAIN, in capitals
        appspec.yml:3:15: `permissions` are for Linux only; remove them or write `os: linux`
    "#]].assert_eq(&errors(&[
        "",
        "# nothing\n",
        "--- ~\n",
        "just text\n",
        "- version: 0.0\n",
        "os: linux\n",
        "version:\nos: linux\n",
        "version: \"0.0\"\nos: linux\n",
        "version: 1\nos: linux\n",
        "version: 0.0\n",
        "version: 0.0\nResources: []\n",
        "version: 0.0\nos: Linux\n",
        "version: 0\nos: linux\nfile_exists_behavior: overwrite\n",
        "version: 0.\nos: windows\npermissions: [{object: /a}]\n",
    ]));
}

#[test]
fn wrong_files_and_hooks_are_told_with_their_place() {
    expect![[r#"
        appspec.yml:3:8: `files` must be a list, not the text `here`; start each entry with `- `
        appspec.yml:4:5: an entry of `files` must be a mapping of `key: value` lines, not the text `/srv`
        appspec.yml:4:5: an entry of `files` has no `destination`; add the directory on the host that it goes to
        appspec.yml:4:5: an entry of `files` has no `source`; add the path in the bundle that is to be installed
        appspec.yml:4:13: `source` must be text, not the number `0755` (493); write one value, in quotes if need be
        appspec.yml:5:18: `destination` is the text `srv/shop`; it must be an absolute path without `..`, such as `/srv/shop`
        appspec.yml:5:18: `destination` is the text `/srv/../etc`; it must be an absolute path without `..`, such as `/srv/shop`
        appspec.yml:4:3: `files` must be a list, not a mapping; start each entry with `- `
        accepted: "version: 0.0\nos: linux\nfiles: {}\nhooks: no\npermissions:\n"
        appspec.yml:3:8: `hooks` must be a mapping of `key: value` lines, not a list
        appspec.yml:4:17: the scripts of an event must be a list, not the text `run.sh`; start each entry with `- `
        appspec.yml:4:18: a script must be a mapping of `key: value` lines, not the text `run.sh`
        appspec.yml:5:7: a script has no `location`; add the path of the script in the bundle
        appspec.yml:5:17: a script has no `location`; add the path of the script in the bundle
        appspec.yml:5:7: a script has no `location`; add the path of the script in the bundle
        appspec.yml:4:30: `timeout` is the number `0`; it must be a number of seconds above 0
        appspec.yml:4:30: `timeout` is the text `soon`; it must be a number of seconds above 0
        appspec.yml:4:30: `timeout` is `true`; it must be a number of seconds above 0
        appspec.yml:4:30: `timeout` is the number `.inf`; it must be a number of seconds above 0
        appspec.yml:4:30: `timeout` is the number `99999999999999999999`; it must be a number of seconds above 0
        appspec.yml:4:18: `location` must be text, not a list; write one value, in quotes if need be
    "#]].assert_eq(&errors_after_minimal(&[
        "files: here\n",
        "files:\n  - /srv\n",
        "files:\n  - source: a\n",
        "files:\n  - source:\n    destination: /b\n",
        "files:\n  - source: 0755\n    destination: /b\n",
        "files:\n  - source: a\n    destination: srv/shop\n",
        "files:\n  - source: a\n    destination: /srv/../etc\n",
        "files:\n  source: a\n  destination: /b\n",
        "files: {}\nhooks: no\npermissions:\n",
        "hooks: []\n",
        "hooks:\n  AfterInstall: run.sh\n",
        "hooks:\n  AfterInstall: [run.sh]\n",
        "hooks:\n  AfterInstall:\n    - location:\n      timeout: 5\n",
        "hooks:\n  AfterInstall:\n    - location: ' '\n",
        "hooks:\n  AfterInstall:\n    - runas: é\n    - location: a\n",
        "hooks:\n  A: [{location: a, timeout: 0}]\n",
        "hooks:\n  A: [{location: a, timeout: soon}]\n",
        "hooks:\n  A: [{location: a, timeout: true}]\n",
        "hooks:\n  A: [{location: a, timeout: .inf}]\n",
        "hooks:\n  A: [{location: a, timeout: 99999999999999999999}]\n",
        "hooks:\n  é: [{location: [a]}]\n",
    ]));
}

#[test]
fn wrong_permissions_are_told_with_their_place() {
    let entries = [
        "{owner: a}",
        "{object: '  '}",
        "{object: [a]}",
        "{object: /a, type: file}",
        "{object: /a, type: [file, link]}",
        "{object: /a, except: a}",
        "{object: /a, owner: 1000}",
        "{object: /a, mode: 0755}",
        "{object: /a, mode: 0o755}",
        "{object: /a, mode: 7.5}",
        "{object: /a, mode: '12345'}",
        "{object: /a, mode: -7}",
        "{object: /a, acls: 'u:b:r'}",
        "{object: /a, acls: [\"u:b\"]}",
        "{object: /a, acls: [\"u::rw\"]}",
        "{object: /a, acls: [\"other:rw\"]}",
        "{object: /a, acls: [\"u:b:rwz\"]}",
        "{object: /a, acls: [\"x:b:r\"]}",
        "{object: /a, acls: [\"m:b:r\"]}",
        "{object: /a, acls: [\"a:b:c:d:e\"]}",
        "{object: /a, acls: [\"bob:r\", \"d:u::7\", \"mask:rx\", \"default:group:web:r-x\"]}",
        "{object: /a, context: {name: b}}",
        "{object: /a, context: {type: t, range: s1-s0}}",
        "{object: /a, context: {type: t, range: 'x0'}}",
        "{object: /a, context: {type: t, range: 's0:c5.c2'}}",
        "{object: /a, context: {type: t, range: 's0:c1.c3,c2'}}",
        "{object: /a, context: {type: t, range: 's0:c1024'}}",
    ];
    let texts: Vec<String> =
        entries.iter().map(|entry| format!("permissions: [{entry}]\n")).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    expect![[r#"
        appspec.yml:3:15: an entry of `permissions` has no `object`; add the path of a file or directory on the host
        appspec.yml:3:24: an entry of `permissions` has no `object`; add the path of a file or directory on the host
        appspec.yml:3:24: `object` must be text, not a list; write one value, in quotes if need be
        appspec.yml:3:34: `type` must be a list, not the text `file`; start each entry with `- `
        appspec.yml:3:41: `type` has the text `link`; it may have `file` and `directory`
        appspec.yml:3:36: `except` must be a list, not the text `a`; start each entry with `- `
        appspec.yml:3:35: `owner` must be text, not the number `1000`; write one value, in quotes if need be
        appspec.yml:3:34: `mode` is written 0755 without quotes, which YAML reads as the octal number 493, and 493 is no mode; put it in quotes: "0755"
        appspec.yml:3:34: `mode` is the text `0o755`, which is not one to four octal digits; write the mode in quotes, such as "0644"
        appspec.yml:3:34: `mode` is the number `7.5`, which is not one to four octal digits; write the mode in quotes, such as "0644"
        appspec.yml:3:34: `mode` is the text `12345`, which is not one to four octal digits; write the mode in quotes, such as "0644"
        appspec.yml:3:34: `mode` is the number `-7`, which is not one to four octal digits; write the mode in quotes, such as "0644"
        appspec.yml:3:34: `acls` must be a list, not the text `u:b:r`; start each entry with `- `
        appspec.yml:3:35: the ACL entry `u:b` is wrong: its permissions must be of `rwx-` or one octal digit; write it as `[default:]user|group|mask|other:name:rwx`
        appspec.yml:3:35: the ACL entry `u::rw` is wrong: the owner, the owning group and others get theirs from `mode`; write it as `[default:]user|group|mask|other:name:rwx`
        appspec.yml:3:35: the ACL entry `other:rw` is wrong: the owner, the owning group and others get theirs from `mode`; write it as `[default:]user|group|mask|other:name:rwx`
        appspec.yml:3:35: the ACL entry `u:b:rwz` is wrong: its permissions must be of `rwx-` or one octal digit; write it as `[default:]user|group|mask|other:name:rwx`
        appspec.yml:3:35: the ACL entry `x:b:r` is wrong: its type is not known; write it as `[default:]user|group|mask|other:name:rwx`
        appspec.yml:3:35: the ACL entry `m:b:r` is wrong: a mask and other have no name; write it as `[default:]user|group|mask|other:name:rwx`
        appspec.yml:3:35: the ACL entry `a:b:c:d:e` is wrong: it has too many parts; write it as `[default:]user|group|mask|other:name:rwx`
        accepted: "version: 0.0\nos: linux\npermissions: [{object: /a, acls: [\"bob:r\", \"d:u::7\", \"mask:rx\", \"default:group:web:r-x\"]}]\n"
        appspec.yml:3:37: `context` has no `type`; add the SELinux type
        appspec.yml:3:54: the SELinux range `s1-s0` is wrong: its second sensitivity is below the first; write it as `s0`, `s0-s3` or `s0:c0,c2.c5`
        appspec.yml:3:54: the SELinux range `x0` is wrong: a sensitivity is `s` and a number; write it as `s0`, `s0-s3` or `s0:c0,c2.c5`
        appspec.yml:3:54: the SELinux range `s0:c5.c2` is wrong: the end of a range of categories is below its start; write it as `s0`, `s0-s3` or `s0:c0,c2.c5`
        appspec.yml:3:54: the SELinux range `s0:c1.c3,c2` is wrong: a category stands in it twice; write it as `s0`, `s0-s3` or `s0:c0,c2.c5`
        appspec.yml:3:54: the SELinux range `s0:c1024` is wrong: a category is 1023 at most; write it as `s0`, `s0-s3` or `s0:c0,c2.c5`
    "#]].assert_eq(&errors_after_minimal(&texts));
}

#[test]
fn a_mode_is_its_digits_even_where_yaml_reads_an_octal_number() {
    for (written, mode) in [
        ("644", 0o644),
        ("'0644'", 0o644),
        ("7", 0o7),
        ("4755", 0o4755),
        ("0644", 0o420),
        ("0", 0),
        ("''", 0),
    ] {
        let spec = read(&format!("{MINIMAL}permissions: [{{object: /a, mode: {written}}}]\n"));
        assert_eq!(spec.permissions[0].mode, Some(mode), "{written}");
    }
}

#[test]
fn what_yaml_forbids_or_an_appspec_does_not_need_is_refused() {
    expect![[r#"
        appspec.yml:4:1: this is not valid YAML: while parsing a node, did not find expected node content
        appspec.yml:4:2: the tab here is not allowed as indentation; use spaces
        appspec.yml:4:4: the tab here is not allowed as indentation; use spaces
        appspec.yml:3:1: the tab here is not allowed as indentation; use spaces
        appspec.yml:4:4: the alias is not allowed in an AppSpec file; write the value out
        appspec.yml:3:4: the alias is not allowed in an AppSpec file; write the value out
        appspec.yml:3:4: `2026-01-31` is a date in YAML, which may not stand in an AppSpec file; put it in quotes
        appspec.yml:3:5: `2026-01-31 12:00:00` is a date in YAML, which may not stand in an AppSpec file; put it in quotes
        appspec.yml:3:4: the tag `!ruby/object:Object` is not allowed in an AppSpec file; remove it
        appspec.yml:3:4: the tag `!binary` is not allowed in an AppSpec file; remove it
        appspec.yml:3:1: an entry has no name before its `:`; add it
        appspec.yml:3:4: this is not valid YAML: unexpected character: `@'
        appspec.yml:3:4: the character U+0007 may not stand in YAML; remove it
        appspec.yml:3:4: the character U+FEFF may not stand in YAML; remove it
        appspec.yml:3:7: this is not valid YAML: mapping values are not allowed in this context
    "#]].assert_eq(&errors_after_minimal(&[
        "files: [\n",
        "files:\n\t- source: a\n",
        "files:\n  -\tsource: a\n",
        "\t\nfiles:\n",
        "x: &a 1\ny: *a\n",
        "y: *a\n",
        "x: 2026-01-31\n",
        "x: [2026-01-31 12:00:00]\n",
        "x: !ruby/object:Object {}\n",
        "x: !!binary aGk=\n",
        ": nameless\n",
        "x: @here\n",
        "x: \u{7}\n",
        "x: \u{feff}\n",
        " files: []\n",
    ]));
    let invalid = parse(b"version: 0.0\r\nos: \"\xff\"\n").unwrap_err();
    expect!["appspec.yml:2:6: the file is not UTF-8 here; save it as UTF-8"]
        .assert_eq(&invalid.in_file("appspec.yml"));
}

#[test]
fn yaml_1_1_in_all_its_forms_is_read() {
    let spec = |rest: &str| read(&format!("{MINIMAL}{rest}"));
    let expected = spec("files:\n- source: a\n  destination: /b\n");
    let paths = |spec: &AppSpec| spec.files.clone();
    for text in [
        "files: [\n  {\"source\": \"a\", \"destination\": \"/b\"}\n]\n",
        "files:\n  [\n{source: a,\ndestination: /b}\n]\n",
        "files: [\n\t{source: a,\n\t\tdestination: /b}\n\t]\n",
        "files:\n  - source: a\n    destination: \"/\\\nb\"\n",
        "files:\n  - source: >-\n      a\n    destination: !!str /b\n",
        "files:\n  - destination: /b\n    <<: {source: a}\n",
        "files:\n  - source: x\n    destination: /b\n    source: a\n",
        "files: []\nfiles:\n  - source: a # here\n    destination: /b\n      \t\n",
        "files:\n  - {source: a, destination: /b}\n---\nfiles: later\n",
        "files:\n  - {source: a, destination: /b}\n...\n@\n",
        "files:\r\n  - source: a\r\n    destination: /b\r\n",
        "files:\r  - source: a\r    destination: /b\r",
    ] {
        assert_eq!(paths(&spec(text)), paths(&expected), "{text:?}");
    }
    assert_eq!(paths(&read("\u{feff}%YAML 1.1\n---\n{version: 0.0, os: linux}\n")), []);
    assert_eq!(paths(&read("  version: 0.0\n  os: linux\nfiles: unread\n")), []);
    assert_eq!(
        read("\u{feff}version: 0\nos: linux\n").places.os,
        Some(Position { line: 2, column: 5 })
    );
}

#[test]
fn a_file_beyond_the_limits_is_refused() {
    let entries = format!("{MINIMAL}files:\n{}", "  - {source: a, destination: /b}\n".repeat(3400));
    let deep = format!("{MINIMAL}x: {}", "[".repeat(65));
    let deeper = "[".repeat(1 << 20);
    let large = format!("{MINIMAL}#{}", " ".repeat(1 << 20));
    expect![[r#"
        appspec.yml:3336:5: the file has over 10000 entries; deploy directories instead of single files
        appspec.yml:3:67: lists and mappings are nested over 64 levels deep; an AppSpec file needs 5
        appspec.yml:1:256: lists and mappings are nested over 64 levels deep; an AppSpec file needs 5
        appspec.yml: the file has 1048600 bytes; an AppSpec file may have 1 MiB at most
    "#]].assert_eq(&errors(&[&entries, &deep, &deeper, &large]));
    assert_eq!(read(&format!("{MINIMAL}x: {}{}", "[".repeat(63), "]".repeat(63))).files, []);
}

#[test]
fn a_file_for_windows_is_read_and_refused_on_linux() {
    let spec = read("version: 0.0\nos: windows\nfiles: [{source: /, destination: 'C:\\shop'}]\n");
    assert_eq!(spec.check_os(Os::Windows), Ok(()));
    expect!["appspec.yml:2:5: the AppSpec file is written for windows, but this host runs linux; deploy it to a windows host or write `os: linux`"].assert_eq(&spec.check_os(Os::Linux).unwrap_err().in_file("appspec.yml"));
}

#[test]
fn misspelt_events_are_told_with_their_place() {
    let spec = read(&format!(
        "{MINIMAL}hooks:\n  Zebra: [{{location: a}}]\n  AfterInstall: [{{location: b}}]\n  after_instal: [{{location: c}}, {{location: d}}]\n  Before Install: [{{location: e}}]\n"
    ));
    let errors = spec.misspelt_events();
    let lines: String = errors.iter().map(|error| error.in_file("appspec.yml") + "\n").collect();
    expect![[r#"
        appspec.yml:6:3: `after_instal` is not a lifecycle event, so its scripts would never run; did you mean `AfterInstall`?
        appspec.yml:7:3: `Before Install` is not a lifecycle event, so its scripts would never run; did you mean `BeforeInstall`?
    "#]].assert_eq(&lines);
    assert_eq!(spec.places.scripts["after_instal"][1], Position { line: 6, column: 44 });
}

#[test]
fn stars_without_quotes_and_variables_are_told() {
    let pattern = |pattern: &str| {
        let text = format!("{MINIMAL}permissions:\n  - object: /srv\n    pattern: {pattern}\n");
        parse(text.as_bytes()).map_err(|error| error.in_file("appspec.yml"))
    };
    for star in ["**", "*", "*.sh", "**/*.sh"] {
        let expected = format!(
            "appspec.yml:5:14: `{star}` begins with `*`, which names an alias in YAML; quote it: \"{star}\""
        );
        assert_eq!(pattern(star), Err(expected));
        assert!(pattern(&format!("\"{star}\"")).is_ok());
    }
    assert!(pattern("*name").unwrap_err().contains("the alias is not allowed"));
    let text = format!(
        "{MINIMAL}files:\n  - source: /$SOURCE\n    destination: /srv/${{APP}}\n  - source: costs$5\n    destination: /srv/$\npermissions:\n  - object: /srv/$APP_DIR/x\nhooks:\n  AfterInstall:\n    - location: $SCRIPTS/after.sh\n"
    );
    let lines: String =
        lint(text.as_bytes()).iter().map(|finding| finding.in_file("appspec.yml") + "\n").collect();
    expect![[r#"
        appspec.yml:4:13: warning: `/$SOURCE` has a variable in it, which nothing replaces, so `$` is taken literally; write the path out
        appspec.yml:5:18: warning: `/srv/${APP}` has a variable in it, which nothing replaces, so `$` is taken literally; write the path out
        appspec.yml:9:13: warning: `/srv/$APP_DIR/x` has a variable in it, which nothing replaces, so `$` is taken literally; write the path out
        appspec.yml:9:13: warning: `/srv/$APP_DIR/x` is under none of the destinations, and permissions apply only to what the deployment installs; correct the path
        appspec.yml:12:17: warning: `$SCRIPTS/after.sh` has a variable in it, which nothing replaces, so `$` is taken literally; write the path out
    "#]].assert_eq(&lines);
}

#[test]
fn the_lint_tells_all_errors_and_what_was_not_meant() {
    expect![[r#"
        appspec.yml:1:10: error: `version` is the number `1`, but only the number 0.0 is known; write `version: 0.0`, without quotes
        appspec.yml:3:1: warning: `Hooks` is not read in an AppSpec file for hosts; did you mean `hooks`?
        appspec.yml:4:1: warning: `env` is not read in an AppSpec file for hosts; remove it
        appspec.yml:6:13: warning: `../etc` leads out of the bundle; name a path inside it
        appspec.yml:7:18: error: `destination` is the text `srv`; it must be an absolute path without `..`, such as `/srv/shop`
        appspec.yml:8:5: warning: `overwrite` is not read in an entry of `files`; write `file_exists_behavior: OVERWRITE` at the top level
        appspec.yml:9:13: warning: `build/*` is taken literally, not as a pattern; name the directory
        appspec.yml:11:5: error: an entry of `files` has no `source`; add the path in the bundle that is to be installed
        appspec.yml:14:11: warning: `0644` without quotes is the octal number 420 in YAML, so the mode is 0420; put it in quotes: "0644"
        appspec.yml:15:14: warning: `**/*.sh` matches nothing, for a pattern is compared with the names directly in the object; make the directory an `object`
        appspec.yml:16:14: warning: `` matches nothing, for a pattern is compared with the names directly in the object; make the directory an `object`
        appspec.yml:16:18: warning: only `*` is special in a pattern; the rest of `a?` is taken literally
        appspec.yml:17:11: warning: `type` is empty, so the entry applies to nothing; name `file` or `directory`
        appspec.yml:19:5: warning: `user` is not read in an entry of `permissions`; remove it
        appspec.yml:20:24: warning: `user` is not read in a context; the SELinux user is called `name`
        appspec.yml:21:13: warning: `etc` is relative to where the agent happens to run; start it with `/`
        appspec.yml:22:13: warning: the entry in line 18 is for the same file targets, and a target that two entries match fails the deployment; merge the two
        appspec.yml:24:3: warning: `Install` runs no scripts; attach them to the event before or after it
        appspec.yml:26:3: error: `afterinstall` is not a lifecycle event, so its scripts would never run; did you mean `AfterInstall`?
        appspec.yml:27:17: warning: `scripts/run.sh --fast` is taken as one path; a script gets no arguments, and the official agent runs none with a space in its path
        appspec.yml:28:16: warning: `0300` is the number 192 in YAML; write it as a decimal number
        appspec.yml:29:13: warning: `sudo` is the text `no`, which counts as true; write true or false
        appspec.yml:30:14: warning: `runas` is empty, so the script runs as the agent's user; name a user or remove it
        appspec.yml:31:17: warning: `../b` leads out of the bundle; name a script inside it
        appspec.yml:32:16: warning: only the number at the start of `5 minutes` counts; write the seconds
        appspec.yml:34:16: error: `timeout` is the number `0`; it must be a number of seconds above 0
        appspec.yml:35:3: warning: `ValidateService` is given again in line 38, which replaces this one; merge the two
        appspec.yml:38:3: warning: the scripts of `ValidateService` may take 3602 seconds together, but an event ends after 3600; set `timeout` so that they fit, it is 3600 where not set
    "#]].assert_eq(&findings(
        r#"version: 1
os: linux
Hooks: {}
env: x
files:
  - source: ../etc
    destination: srv
    overwrite: yes
  - source: build/*
    destination: /srv/shop
  - destination: /srv
permissions:
  - object: /srv/shop
    mode: 0644
    pattern: "**/*.sh"
    except: ["", "a?"]
    type: []
  - object: /var/shop
    user: shop
    context: {type: t, user: u}
  - object: etc
  - object: /var/shop/
hooks:
  Install:
    - location: a
  afterinstall:
    - location: scripts/run.sh --fast
      timeout: 0300
      sudo: "no"
      runas: ""
    - location: ../b
      timeout: 5 minutes
    - location: c
      timeout: 0
  ValidateService:
    - {location: a}
    - {location: b, timeout: 1}
  ValidateService:
    - {location: a}
    - {location: b, timeout: 2}
"#,
    ));
    expect![[r#"
        appspec.yml:1:1: warning: the file installs nothing and runs nothing; add `files` or `hooks`
        appspec.yml:2:5: error: the AppSpec file is written for windows, but this host runs linux; deploy it to a windows host or write `os: linux`
        appspec.yml:4:1: warning: the AppSpec ends here and the rest is not read; remove what follows, or mend its indentation
    "#]].assert_eq(&findings("version: 0.0\nos: windows\n...\nmore\n"));
    expect![[r#"
        appspec.yml:4:1: error: this is not valid YAML: while parsing a node, did not find expected node content
    "#]].assert_eq(&findings("version: 0.0\nos: linux\nfiles: [\n"));
}

#[test]
fn the_lint_is_silent_about_a_careful_file() {
    let text = "version: 0.0
os: linux
files:
  - {source: app, destination: /srv/shop/app}
permissions:
  - {object: /srv/shop, mode: '0755', type: [directory]}
  - {object: /srv/shop, mode: 644, type: [file]}
  - {object: /srv/shop/app/bin, pattern: '*.sh', mode: 755, except: [keep.sh]}
hooks:
  ApplicationStart:
    - {location: scripts/start.sh, timeout: 3000, runas: shop}
    - {location: scripts/wait.sh, timeout: 600, sudo: true}
";
    assert_eq!(lint(text.as_bytes()), []);
}

/// Pieces of which odd files are made.
const PIECES: [&str; 48] = [
    "version: 0.0\n",
    "os: linux\n",
    "os: windows\n",
    "files:\n",
    "hooks:\n",
    "permissions:\n",
    "  ",
    "- ",
    "? ",
    ": ",
    "source: a",
    "destination: /b",
    "location: x",
    "timeout: 0300",
    "object: /a",
    "mode: 0755",
    "type:",
    "acls:",
    "context:",
    "range: s0:c0.c9",
    "[",
    "]",
    "{",
    "}",
    ",",
    "\n",
    "\r\n",
    "\r",
    "\t",
    "#",
    "\"",
    "'",
    "|\n",
    ">-\n",
    "---\n",
    "...\n",
    "%YAML 1.1\n",
    "&a ",
    "*a",
    "!!str ",
    "!x ",
    "<<: ",
    "\u{feff}",
    "é\u{85}",
    "2026-01-01",
    "1:30",
    "\\",
    "\0",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        drop(parse(&bytes));
        drop(lint(&bytes));
    }

    #[test]
    fn no_odd_file_panics_and_every_place_is_in_the_file(pieces in prop::collection::vec(prop::sample::select(&PIECES[..]), 0..60)) {
        let text = pieces.concat();
        let breaks = text.replace("\r\n", "\n").replace('\r', "\n");
        let lines: Vec<&str> = breaks.split('\n').collect();
        let found = lint(text.as_bytes());
        for finding in &found {
            let Some(Position { line, column }) = finding.position else { continue };
            let width = lines.get(line as usize - 1).map(|line| line.chars().count());
            prop_assert!(width.is_some_and(|width| column as usize <= width + 1), "{finding:?} in {text:?}");
        }
        let refused = parse(text.as_bytes()).and_then(|spec| spec.check_os(Os::Linux)).err();
        let errors = found.iter().filter(|finding| finding.severity == Severity::Error);
        let errors: Vec<_> = errors.map(|finding| (&finding.message, finding.position)).collect();
        match &refused {
            None => prop_assert_eq!(errors, []),
            Some(error) => prop_assert!(errors.contains(&(&error.message, error.position)), "{:?}", error),
        }
    }
}
