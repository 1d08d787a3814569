//! The helper as systemd starts it: a program whose standard input is a listening socket.

mod client;
mod units;

use std::os::fd::AsFd as _;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use client::{Client, Heard, Helper, PROGRAM, listener, namespace_of};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use rustix::net::{AddressFamily, sockopt};
use rustix::process::Uid;
use rustix::thread::set_thread_res_uid;
use tacit_netns::protocol::{Answer, MOST_OPENED, Reason, Request};
use tacit_netns::{ServeError, Settings, own, serve};

/// A process in a network namespace of its own.
struct Container(Child);

impl Container {
    /// `None` for those who may not.
    fn start() -> Option<Self> {
        if !rustix::process::getuid().is_root() {
            eprintln!("Only root may make network namespaces: nothing was tested.");
            return None;
        }
        let mut child = Command::new("unshare").args(["--net", "sleep", "600"]).spawn().expect("util-linux is there");
        while namespace_of(child.id()) == own() {
            assert!(child.try_wait().expect("it is ours").is_none(), "unshare failed");
            std::thread::sleep(Duration::from_millis(5));
        }
        Some(Self(child))
    }

    fn inode(&self) -> u32 {
        namespace_of(self.0.id()).expect("it runs")
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn sockets_inside_a_namespace_are_passed_and_it_is_forgotten() {
    let Some(container) = Container::start() else { return };
    let (helper, inode, process) = (Helper::start(), container.inode(), container.0.id());
    let client = helper.client();
    let Heard::Answer(Answer::List { inodes, .. }, _) = client.ask(Request::List) else { panic!("a list") };
    assert!(inodes.contains(&inode), "{inode} {inodes:?}");
    assert!(!inodes.contains(&own().expect("it is ours")));
    let Heard::Answer(Answer::Opened { inode: which, process: who, cgroup }, descriptors) =
        client.ask(Request::Open(inode))
    else {
        panic!("sockets")
    };
    assert_eq!((which, who), (inode, process));
    let said = std::fs::read_to_string(format!("/proc/{process}/cgroup")).expect("it runs");
    assert_eq!(cgroup, said);
    assert_eq!(descriptors.len(), 2);
    for descriptor in &descriptors {
        assert_eq!(sockopt::socket_domain(descriptor), Ok(AddressFamily::NETLINK));
    }

    drop(container);
    // It was listed over this connection; its process is gone.
    let heard = client.ask(Request::Open(inode));
    assert!(matches!(heard, Heard::Answer(Answer::Refused { reason: Reason::Gone, .. }, _)), "{heard:?}");
    let Heard::Answer(Answer::List { inodes, .. }, _) = helper.client().ask(Request::List) else { panic!("a list") };
    assert!(!inodes.contains(&inode), "{inode} {inodes:?}");
}

#[test]
fn nothing_else_is_opened() {
    let helper = Helper::start();
    let mine = own().expect("it is ours");
    let client = helper.client();
    let unlisted = |heard: Heard| matches!(heard, Heard::Answer(Answer::Refused { reason: Reason::Unlisted, .. }, d) if d.is_empty());
    assert!(unlisted(client.ask(Request::Open(7))), "nothing was listed");
    assert!(matches!(client.ask(Request::List), Heard::Answer(Answer::List { .. }, _)));
    assert!(unlisted(client.ask(Request::Open(mine))), "the helper's own");
    assert!(unlisted(client.ask(Request::Open(u32::MAX))));
    assert!(matches!(client.ask(Request::List), Heard::Closed), "a second list");

    let client = helper.client();
    for _ in 0..MOST_OPENED {
        assert!(unlisted(client.ask(Request::Open(7))));
    }
    let heard = client.ask(Request::Open(7));
    assert!(matches!(heard, Heard::Answer(Answer::Refused { reason: Reason::Enough, .. }, _)), "{heard:?}");
}

#[test]
fn garbage_closes_the_connection_and_the_next_client_is_served() {
    let helper = Helper::start();
    let mut runner = TestRunner::new(Config::with_cases(200));
    runner
        .run(&proptest::collection::vec(any::<u8>(), 1..40), |bytes| {
            prop_assume!(Request::parse(&bytes).is_none());
            let client = helper.client();
            let heard = client.send(&bytes);
            prop_assert!(matches!(heard, Heard::Closed), "{heard:?}");
            Ok(())
        })
        .expect("garbage is refused");
    for almost in [
        &[1, 1, 0, 0, 0, 0, 0, 0, 0][..],
        &[1, 2, 0, 0, 0, 0, 0, 0],
        &[3, 1, 0, 0, 1, 0, 0, 0],
        &[2, 1, 0, 0, 0, 0, 0, 0],
    ] {
        assert!(matches!(helper.client().send(almost), Heard::Closed), "{almost:?}");
    }
    // One that says nothing holds the others up for a moment only.
    let silent = helper.client();
    assert!(matches!(helper.client().ask(Request::List), Heard::Answer(Answer::List { .. }, _)));
    drop(silent);
}

#[test]
fn other_users_are_refused_even_where_the_file_lets_them_in() {
    if !rustix::process::getuid().is_root() {
        eprintln!("Only root may be somebody else: nothing was tested.");
        return;
    }
    let helper = Helper::start();
    let open = |path: &std::path::Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("it is ours");
    };
    open(helper.folder.path(), 0o755);
    open(&helper.path(), 0o666);
    let ask_as = |user: u32| {
        std::thread::scope(|scope| {
            let asking = scope.spawn(|| {
                // Of this thread only.
                let user = Uid::from_raw(user);
                set_thread_res_uid(user, user, user).expect("root may");
                helper.client().ask(Request::List)
            });
            asking.join().expect("it asked")
        })
    };
    assert!(matches!(ask_as(65_534), Heard::Closed));
    assert!(matches!(ask_as(0), Heard::Answer(Answer::List { .. }, _)));

    // The owner of the file is whom it is for.
    drop(helper);
    let helper = Helper::start_for(Some(65_534));
    open(helper.folder.path(), 0o755);
    let heard = std::thread::scope(|scope| {
        let asking = scope.spawn(|| {
            let user = Uid::from_raw(65_534);
            set_thread_res_uid(user, user, user).expect("root may");
            helper.client().ask(Request::List)
        });
        asking.join().expect("it asked")
    });
    assert!(matches!(heard, Heard::Answer(Answer::List { .. }, _)), "{heard:?}");
}

#[test]
fn without_clients_it_ends_and_without_a_listener_it_does_not_begin() {
    let folder = tempfile::tempdir().expect("a folder");
    let socket = listener(&folder.path().join("s"));
    let mut settings = Settings { allowed: 0, idle: Duration::from_millis(50), proc: "/proc".into(), own: 1 };
    serve(socket.as_fd(), &settings).expect("nobody comes");
    settings.idle = Duration::from_secs(600);
    let other = std::fs::File::open("/dev/null").expect("it is there");
    assert!(matches!(serve(other.as_fd(), &settings), Err(ServeError::NoListener)));
    let client = Client::connect(&folder.path().join("s"));
    assert!(matches!(serve(client.socket.as_fd(), &settings), Err(ServeError::NoListener)), "it does not listen");

    let out = Command::new(PROGRAM).stdin(Stdio::null()).output().expect("it starts");
    assert!(!out.status.success());
    assert!(String::from_utf8_lossy(&out.stderr).contains("SOCK_SEQPACKET"), "{out:?}");
    let out = Command::new(PROGRAM).arg("/etc/shadow").stdin(Stdio::null()).output().expect("it starts");
    assert_eq!(out.status.code(), Some(2), "it takes no arguments");
}
