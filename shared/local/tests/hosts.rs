//! Home hosts by their effects: real namespaces, real processes, real signals. As root every test of a view runs twice,
//! for root and for a user without rights. A machine that refuses namespaces fails these tests.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "tests, with a main function of their own"
)]

use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitCode, Output, Stdio};
use std::time::Duration;

use local::hosts::layout::{Connection, HostFiles, HostNumber};
use local::hosts::process::{self, HostLock, ProcessError, RunningHost};
use local::hosts::{namespace, namespace::NamespaceError};

const TESTS: [(&str, fn()); 14] = [
    ("a_host_writes_to_its_root_and_not_to_the_machine", a_host_writes_to_its_root),
    ("a_file_of_the_machine_is_only_deleted_for_the_host", a_deletion_is_the_hosts_own),
    ("two_hosts_do_not_see_each_others_files", two_hosts_are_apart),
    ("a_host_sees_its_connection_replaced_and_its_home_removed", a_host_watches_its_home),
    ("a_host_keeps_its_files_from_start_to_start", a_host_keeps_its_files),
    ("a_restarted_host_joins_the_processes_that_it_left", a_restarted_host_joins_survivors),
    ("a_file_system_mounted_on_the_machine_is_written_above_too", other_file_systems_are_covered),
    (
        "a_mount_in_a_private_directory_does_not_make_what_is_beside_read_only",
        hidden_mounts_do_no_harm,
    ),
    ("a_probe_passes_and_leaves_nothing", a_probe_passes),
    ("a_refused_namespace_is_reported_with_the_way_to_allow_it", a_refusal_says_what_to_do),
    ("a_host_outlives_who_started_it_and_is_found_by_its_lock", a_host_is_found),
    ("a_host_that_ignores_the_request_to_end_is_killed", a_stubborn_host_is_killed),
    ("a_second_process_of_a_host_is_refused", a_second_copy_is_refused),
    ("hosts_above_the_count_are_ended_and_keep_their_directories", surplus_hosts_are_ended),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["in-view", home, number, script] => run_in_view(&files(Path::new(home), number), script),
        ["be-host", home, number] => be_host(&files(Path::new(home), number)),
        ["start-host", home, number] => {
            start(Path::new(home), number.parse().unwrap());
            ExitCode::SUCCESS
        }
        ["probe", dir] => match namespace::probe(Path::new(dir)) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                println!("{error}");
                ExitCode::FAILURE
            }
        },
        filters => run_tests(filters),
    }
}

/// Runs the tests whose names hold one of the arguments, all without any, and prints what the standard harness prints.
fn run_tests(filters: &[&str]) -> ExitCode {
    let words: Vec<&&str> = filters.iter().filter(|word| !word.starts_with('-')).collect();
    let wanted = |name: &str| words.is_empty() || words.iter().any(|word| name.contains(**word));
    let listed = filters.contains(&"--list");
    let (mut passed, mut failed) = (0, 0);
    for (name, test) in TESTS.iter().filter(|(name, _)| wanted(name)) {
        if listed {
            println!("{name}: test");
        } else if std::panic::catch_unwind(test).is_ok() {
            println!("test {name} ... ok");
            passed += 1;
        } else {
            println!("test {name} ... FAILED");
            failed += 1;
        }
    }
    if !listed {
        let out = TESTS.len() - passed - failed;
        let word = if failed == 0 { "ok" } else { "FAILED" };
        println!(
            "\ntest result: {word}. {passed} passed; {failed} failed; 0 ignored; 0 measured; {out} filtered out\n"
        );
    }
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn files(home: &Path, number: &str) -> HostFiles {
    HostFiles::new(home, HostNumber::new(number.parse().unwrap()).unwrap())
}

/// The part of a host that enters its view, and runs a shell script there.
fn run_in_view(files: &HostFiles, script: &str) -> ExitCode {
    files.create().unwrap();
    if let Err(error) = namespace::enter(files.dir(), &files.root()) {
        eprintln!("{error}: {:?}", std::error::Error::source(&error));
        return ExitCode::FAILURE;
    }
    let error = Command::new("/bin/sh").args(["-c", script]).exec();
    eprintln!("no shell in the view: {error}");
    ExitCode::FAILURE
}

/// The part of a host that holds its lock, for ever.
fn be_host(files: &HostFiles) -> ExitCode {
    match HostLock::acquire(files) {
        Ok(_lock) => loop {
            std::thread::park();
        },
        Err(error) => {
            println!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// A home in a directory with a name that mount options would have to escape, the user whose home it is, and a copy of
/// this program that this user can run.
struct Ground {
    temp: tempfile::TempDir,
    user: Option<u32>,
}

impl Ground {
    fn new(user: Option<u32>) -> Self {
        let temp = tempfile::tempdir().unwrap();
        let ground = Self { temp, user };
        std::fs::copy(std::env::current_exe().unwrap(), ground.program()).unwrap();
        std::fs::create_dir_all(ground.home()).unwrap();
        for path in ground.home().ancestors() {
            if path.starts_with(ground.temp.path()) {
                chown(path, user, user).unwrap();
            }
        }
        ground
    }

    /// One for this user; as root a second one for a user without rights.
    fn all() -> impl Iterator<Item = Self> {
        let nobody = is_root().then_some(Some(65534));
        [Some(None), nobody].into_iter().flatten().map(Self::new)
    }

    fn program(&self) -> PathBuf {
        self.temp.path().join("program")
    }

    fn home(&self) -> PathBuf {
        self.temp.path().join("a b:c,d\\e=f\"g/.cutover")
    }

    fn files(&self, number: &str) -> HostFiles {
        files(&self.home(), number)
    }

    /// `program` as the user of this ground.
    fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command.current_dir("/");
        if let Some(user) = self.user {
            command.uid(user).gid(user);
        }
        command
    }

    fn in_view(&self, number: &str, script: &str) -> String {
        let mut command = self.command(self.program());
        command.arg("in-view").arg(self.home()).args([number, script]);
        said(command.output().unwrap())
    }
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// What a program wrote, which must have succeeded.
fn said(output: Output) -> String {
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let (out, err) = (text(output.stdout), text(output.stderr));
    assert!(output.status.success(), "{}: {out}{err}", output.status);
    out.trim().to_owned()
}

/// A name that is nowhere on the machine.
fn unique(name: &str) -> String {
    format!("cutover-test-{}-{name}", std::process::id())
}

fn a_host_writes_to_its_root() {
    for ground in Ground::all() {
        let name = unique("x");
        let script = format!(
            "set -e; mkdir -p /srv/{name}/deep /brand-{name}; echo new > /srv/{name}/deep/file
            for dir in etc usr/local/bin opt var/tmp tmp; do echo new > /$dir/{name}; done
            ls /usr/bin/env /proc/self/status /dev/null /sys/kernel > /dev/null; pwd; cat /srv/{name}/deep/file"
        );
        assert_eq!(ground.in_view("1", &script), "/\nnew");
        let files =
            ["etc", "usr/local/bin", "opt", "var/tmp", "tmp"].map(|d| format!("{d}/{name}"));
        for path in files.into_iter().chain([format!("srv/{name}/deep/file")]) {
            let upper = ground.files("1").root().join(&path);
            assert_eq!(std::fs::read_to_string(upper).unwrap(), "new\n", "{path}");
            assert!(!Path::new("/").join(&path).exists(), "{path} is on the machine");
        }
        assert!(ground.files("1").root().join(format!("brand-{name}")).is_dir());
        assert!(!Path::new("/srv").join(name).exists());
        // Whoever owns a home can also remove it.
        said(ground.command("rm").arg("-rf").arg(ground.home()).output().unwrap());
    }
}

fn a_deletion_is_the_hosts_own() {
    for ground in Ground::all() {
        let dir = ground.temp.path().join("machine");
        std::fs::create_dir(&dir).unwrap();
        std::fs::write(dir.join("kept"), "machine").unwrap();
        std::fs::write(dir.join("changed"), "machine").unwrap();
        for path in [dir.clone(), dir.join("kept"), dir.join("changed")] {
            chown(path, ground.user, ground.user).unwrap();
        }
        let script = format!(
            "set -e; cd '{}'; cat kept; rm kept; echo ' host' >> changed; ls; cat changed",
            dir.display()
        );
        assert_eq!(ground.in_view("1", &script), "machinechanged\nmachine host");
        let machine = |name| std::fs::read_to_string(dir.join(name)).unwrap();
        assert_eq!((machine("kept"), machine("changed")), ("machine".into(), "machine".into()));
    }
}

fn two_hosts_are_apart() {
    for ground in Ground::all() {
        let name = unique("y");
        ground.in_view("1", &format!("echo one > /srv/{name}"));
        assert_eq!(
            ground
                .in_view(
                    "2",
                    &format!("cat /srv/{name} 2>&1 || echo two > /srv/{name}; cat /srv/{name}")
                )
                .lines()
                .last(),
            Some("two")
        );
        assert_eq!(ground.in_view("1", &format!("cat /srv/{name}")), "one");
    }
}

/// A shell in a host's view that runs one command after the other.
struct Session {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Session {
    fn new(ground: &Ground, number: &str) -> Self {
        let mut command = ground.command(ground.program());
        command.arg("in-view").arg(ground.home()).args([number, "exec sh 2>&1"]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let input = child.stdin.take().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        Self { child, input, output }
    }

    fn run(&mut self, command: &str) -> String {
        writeln!(self.input, "{command}\necho; echo ====").unwrap();
        let mut lines: Vec<String> = Vec::new();
        loop {
            let mut line = String::new();
            assert_ne!(self.output.read_line(&mut line).unwrap(), 0, "the shell ended: {lines:?}");
            if line == "====\n" {
                return lines.concat().trim().to_owned();
            }
            lines.push(line);
        }
    }

    fn end(mut self) {
        drop(self.input);
        assert!(self.child.wait().unwrap().success());
    }
}

fn a_host_watches_its_home() {
    for ground in Ground::all() {
        let files = ground.files("1");
        let mut session = Session::new(&ground, "1");
        let read = format!("cat '{}'", files.connection().display());
        assert!(session.run(&read).contains("No such file"));
        for port in ["1", "2"] {
            let connection =
                Connection { api: port.into(), host: "host-1".into(), key: String::new() };
            connection.write(&files).unwrap();
            chown(files.connection(), ground.user, ground.user).unwrap();
            assert_eq!(session.run(&read), serde_json::to_string(&connection).unwrap());
        }
        // The host's own writes get out, past its root.
        session.run(&format!("echo entry > '{}/journal'", files.state().display()));
        assert_eq!(std::fs::read_to_string(files.state().join("journal")).unwrap(), "entry\n");
        std::fs::remove_dir_all(ground.home()).unwrap();
        let answer = session.run(&read);
        assert!(answer.contains("No such file"), "{answer}");
        session.end();
    }
}

fn a_host_keeps_its_files() {
    for ground in Ground::all() {
        let name = unique("z");
        ground.in_view("1", &format!("mkdir /opt/{name}; echo 1 > /opt/{name}/file"));
        ground.in_view("1", &format!("mv /opt/{name} /opt/{name}.old; ! test -e /opt/{name}"));
        assert_eq!(ground.in_view("1", &format!("cat /opt/{name}.old/file")), "1");
    }
}

fn a_restarted_host_joins_survivors() {
    for ground in Ground::all() {
        let name = unique("joined");
        let script = "readlink /proc/self/ns/mnt; sleep 300 > /dev/null 2>&1 & echo $!";
        let first = ground.in_view("1", script);
        let (namespace, pid) = first.split_once('\n').unwrap();
        let script = format!("readlink /proc/self/ns/mnt; pwd; echo x > /srv/{name}");
        assert_eq!(ground.in_view("1", &script), format!("{namespace}\n/"));
        assert!(ground.files("1").root().join("srv").join(&name).exists());
        assert_ne!(ground.in_view("2", "readlink /proc/self/ns/mnt"), namespace);
        let pid = rustix::process::Pid::from_raw(pid.parse().unwrap()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    }
}

fn other_file_systems_are_covered() {
    for ground in Ground::all() {
        let dir = ground.temp.path().join("other");
        std::fs::create_dir(&dir).unwrap();
        chown(&dir, ground.user, ground.user).unwrap();
        // The machine is itself played in a namespace, so that its mounts are gone with it.
        let script = format!(
            "set -e; mount -t tmpfs other '{dir}'; echo machine > '{dir}/file'; echo gone > '{dir}/gone'
            '{program}' in-view '{home}' 1 'set -e; cd {dir}; cat file; rm gone; echo host > new; echo host > file; cat *'
            cat '{dir}'/*",
            dir = dir.display(),
            program = ground.program().display(),
            home = ground.home().display(),
        );
        let flags = if ground.user.is_some() { "-Urm" } else { "-m" };
        let output = ground.command("unshare").args([flags, "sh", "-c", &script]).output();
        let output = said(output.expect("these tests need unshare of util-linux"));
        assert_eq!(output, "machine\nhost\nhost\nmachine\ngone");
        let upper = ground.files("1").root().join(dir.strip_prefix("/").unwrap());
        assert_eq!(std::fs::read_to_string(upper.join("new")).unwrap(), "host\n");
        assert!(!dir.join("new").exists());
    }
}

fn hidden_mounts_do_no_harm() {
    // Only root can hide a mount from another user.
    for ground in Ground::all().filter(|ground| ground.user.is_some()) {
        let dir = ground.temp.path();
        let script = format!(
            "set -e; mkdir -p '{dir}/private/mount'; chmod 700 '{dir}/private'
            mount -t tmpfs other '{dir}/private/mount'
            setpriv --reuid 65534 --regid 65534 --clear-groups '{program}' in-view '{home}' 1 \
                'set -e; cd {dir}; echo host > new; cat new'",
            dir = dir.display(),
            program = ground.program().display(),
            home = ground.home().display(),
        );
        let output = Command::new("unshare").args(["-m", "sh", "-c", &script]).output();
        assert_eq!(said(output.expect("these tests need unshare of util-linux")), "host");
        assert!(!dir.join("new").exists());
    }
}

fn a_probe_passes() {
    for ground in Ground::all() {
        said(ground.command(ground.program()).arg("probe").arg(ground.home()).output().unwrap());
        assert_eq!(std::fs::read_dir(ground.home()).unwrap().count(), 0);
    }
}

fn a_refusal_says_what_to_do() {
    let ground = Ground::new(None);
    // The limits of a user namespace are its own, so the machine's stay as they are.
    let script = format!(
        "echo 0 > /proc/sys/user/max_mnt_namespaces; exec '{}' probe '{}'",
        ground.program().display(),
        ground.home().display()
    );
    let output = ground.command("unshare").args(["-Ur", "sh", "-c", &script]).output();
    let output = output.expect("these tests need unshare of util-linux");
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(!output.status.success(), "{text}");
    assert!(text.contains("sudo sysctl user.max_mnt_namespaces="), "{text}");
    assert_eq!(std::fs::read_dir(ground.home()).unwrap().count(), 0);
    // A directory that is no place for a host is told apart.
    let error = namespace::probe(Path::new("/proc")).unwrap_err();
    assert!(matches!(error, NamespaceError::Files { .. }), "{error}");
}

fn start(home: &Path, number: u8) -> RunningHost {
    let files = files(home, &number.to_string());
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.arg("be-host").arg(home).arg(number.to_string());
    process::start(&files, command).unwrap()
}

/// The process of a host that has been started, once it holds its lock.
fn found(files: &HostFiles) -> RunningHost {
    loop {
        if let Some(host) = process::find(files).unwrap() {
            return host;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn a_host_is_found() {
    let home = tempfile::tempdir().unwrap();
    let files = files(home.path(), "1");
    assert!(process::find(&files).unwrap().is_none());
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.arg("start-host").arg(home.path()).arg("1");
    said(command.output().unwrap());
    let host = found(&files);
    let pid = rustix::process::Pid::from_raw(host.pid().try_into().unwrap());
    assert_eq!(rustix::process::getsid(pid).unwrap(), pid.unwrap());
    process::stop(&[host], Duration::from_secs(10)).unwrap();
    assert!(process::find(&files).unwrap().is_none());
    // What the file says is nothing without the lock: that process is not the host.
    let own = std::process::id();
    std::fs::write(files.lock(), format!("{own} 1\n")).unwrap();
    assert!(process::find(&files).unwrap().is_none());
}

fn a_stubborn_host_is_killed() {
    let home = tempfile::tempdir().unwrap();
    let files = files(home.path(), "1");
    let mut command = Command::new("/bin/sh");
    command.args(["-c", "trap '' TERM; exec \"$@\"", "sh"]);
    command.arg(std::env::current_exe().unwrap()).arg("be-host").arg(home.path()).arg("1");
    let started = process::start(&files, command).unwrap();
    let host = found(&files);
    assert_eq!(host.pid(), started.pid());
    process::stop(&[host], Duration::from_millis(100)).unwrap();
    assert!(started.has_ended().unwrap());
    assert!(!Path::new(&format!("/proc/{}", started.pid())).exists(), "a zombie is left");
}

fn a_second_copy_is_refused() {
    let home = tempfile::tempdir().unwrap();
    let files = files(home.path(), "1");
    let _lock = HostLock::acquire(&files).unwrap();
    let pid = std::process::id();
    assert!(matches!(
        HostLock::acquire(&files),
        Err(ProcessError::AlreadyRunning { pid: other, .. }) if other == pid
    ));
    let second = start(home.path(), 1);
    while !second.has_ended().unwrap() {
        std::thread::sleep(Duration::from_millis(5));
    }
    let log = std::fs::read_to_string(files.log()).unwrap();
    assert!(log.contains(&format!("host-1 runs already, as process {pid}")), "{log}");
    assert_eq!(process::find(&files).unwrap().unwrap().pid(), pid);
}

fn surplus_hosts_are_ended() {
    let home = tempfile::tempdir().unwrap();
    for number in 1..=4 {
        start(home.path(), number);
        found(&files(home.path(), &number.to_string()));
    }
    let ended = process::stop_surplus(home.path(), 2, Duration::from_secs(10)).unwrap();
    assert_eq!(ended, [3, 4].map(|number| HostNumber::new(number).unwrap()));
    assert!(files(home.path(), "4").root().is_dir());
    let rest = process::stop_surplus(home.path(), 0, Duration::from_secs(10)).unwrap();
    assert_eq!(rest, [1, 2].map(|number| HostNumber::new(number).unwrap()));
}
