//! Owners against a tree made by hand.

use super::*;
use crate::links::message::Transport;
use std::net::Ipv4Addr;
use std::os::unix::fs::{MetadataExt as _, symlink};

fn record(inode: u32, cgroup: u64) -> Record {
    Record {
        transport: Transport::Tcp,
        state: 1,
        local: Ipv4Addr::LOCALHOST.into(),
        local_port: 1,
        remote: Ipv4Addr::LOCALHOST.into(),
        remote_port: 2,
        cookie: 3,
        queue: 0,
        inode,
        cgroup,
        info: None,
    }
}

#[test]
fn owners_come_from_groups_and_from_open_files() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |p: &str| folder.path().join(p);
    let make = |p: &str| std::fs::create_dir_all(path(p)).expect("made");
    make("sys/fs/cgroup/system.slice/web.service");
    make("sys/fs/cgroup/batch");
    make("proc/42/fd");
    std::fs::write(path("sys/fs/cgroup/cgroup.controllers"), "cpu\n").expect("written");
    std::fs::write(path("proc/42/cgroup"), "0::/batch\n").expect("written");
    symlink("/usr/bin/job (deleted)", path("proc/42/exe")).expect("linked");
    symlink("socket:[77]", path("proc/42/fd/3")).expect("linked");
    let ino = |p: &str| std::fs::metadata(path(p)).expect("it is there").ino();
    let web = record(5, ino("sys/fs/cgroup/system.slice/web.service"));
    let job = record(77, ino("sys/fs/cgroup/batch"));

    let mut owners = Owners::new(&Root::new(folder.path()));
    assert_eq!(owners.of(&web), UNATTRIBUTED);
    assert_eq!(owners.of(&job), UNATTRIBUTED);
    assert!(owners.search(1000) && !owners.search(1000));
    let (web, job) = (owners.of(&web), owners.of(&job));
    assert_eq!((&*owners.get(web).name, owners.get(web).kind), ("web.service", OwnerKind::Unit));
    assert_eq!((&*owners.get(job).name, owners.get(job).kind), ("job", OwnerKind::Executable));
    assert_eq!(owners.of(&record(5, 0)), UNATTRIBUTED);
    assert!(!owners.search(60_000), "who was not found is not searched for again");
}

#[test]
fn where_open_files_are_closed_to_others_what_is_told_of_them_serves() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |p: &str| folder.path().join(p);
    let make = |p: &str| std::fs::create_dir_all(path(p)).expect("made");
    make("proc/42/fdinfo");
    std::fs::write(path("proc/42/cgroup"), "0::/system.slice/web.service\n").expect("written");
    std::fs::write(path("proc/42/fdinfo/3"), "pos:\t0\nmnt_id:\t10\nino:\t77\n").expect("written");
    std::fs::write(path("proc/42/fdinfo/4"), "pos:\t0\nmnt_id:\t11\nino:\t78\n").expect("written");
    let mut owners = Owners { open_files: OpenFiles::Info(10), ..Owners::new(&Root::new(folder.path())) };
    let (web, file) = (record(77, 0), record(78, 0));
    assert_eq!((owners.of(&web), owners.of(&file)), (UNATTRIBUTED, UNATTRIBUTED));
    assert!(owners.search(1000));
    let web = owners.of(&web);
    assert_eq!((&*owners.get(web).name, owners.get(web).kind), ("web.service", OwnerKind::Unit));
    assert_eq!(owners.of(&file), UNATTRIBUTED, "what lies elsewhere is no socket, whatever its number");
}

#[test]
fn who_may_be_gone_in_a_moment_is_known_by_its_control_group() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |p: &str| folder.path().join(p);
    let make = |p: &str| std::fs::create_dir_all(path(p)).expect("made");
    make("sys/fs/cgroup/system.slice/web.service");
    make("sys/fs/cgroup/batch");
    std::fs::write(path("sys/fs/cgroup/cgroup.controllers"), "cpu\n").expect("written");
    for (process, program) in [("42", "job"), ("43", "job (deleted)"), ("44", "other")] {
        make(&format!("proc/{process}"));
        symlink(format!("/usr/bin/{program}"), path(&format!("proc/{process}/exe"))).expect("linked");
    }
    let run = |processes: &str| std::fs::write(path("sys/fs/cgroup/batch/cgroup.procs"), processes).expect("written");
    let ino = |p: &str| std::fs::metadata(path(p)).expect("it is there").ino();
    let web = record(5, ino("sys/fs/cgroup/system.slice/web.service"));
    let job = record(77, ino("sys/fs/cgroup/batch"));
    run("42\n43\n");

    let mut owners = Owners::new(&Root::new(folder.path()));
    assert_eq!(owners.at_once(&job), None, "the hierarchy was not walked yet");
    assert!(owners.search(1000));
    let [web, named] = [web, job].map(|record| owners.at_once(&record).expect("it was found"));
    assert_eq!((&*owners.get(web).name, owners.get(web).kind), ("web.service", OwnerKind::Unit));
    assert_eq!((&*owners.get(named).name, owners.get(named).kind), ("job", OwnerKind::Executable));
    for not_one in ["42\n44\n", "42\n0\n", "", &"42\n".repeat(MOST_PROCESSES + 1)] {
        run(not_one);
        assert_eq!(owners.at_once(&job), Some(UNATTRIBUTED), "{not_one:?}");
    }
    assert_eq!(owners.at_once(&record(77, 1)), Some(UNATTRIBUTED), "the root is nobody");
    assert!(!owners.search(60_000), "no file is searched for");
}

#[test]
fn a_containers_namespace_has_an_owner_and_a_memory_of_its_own() {
    let folder = tempfile::tempdir().expect("a folder");
    let group = |path: &str| {
        let path = folder.path().join("sys/fs/cgroup").join(path);
        std::fs::create_dir_all(&path).expect("made");
        std::fs::metadata(&path).expect("it is there").ino()
    };
    let id = "4f0c1a2b3c4d5e6f708192a3b4c5d6e7f8091a2b3c4d5e6f708192a3b4c5d6e7";
    let pause = group("kubepods/pod1/pause");
    let container = group(&format!("kubepods/pod1/cri-containerd-{id}.scope"));
    std::fs::write(folder.path().join("sys/fs/cgroup/cgroup.controllers"), "cpu\n").expect("written");
    let mut owners = Owners::new(&Root::new(folder.path()));
    let text = "0::/system.slice/docker-4f0c1a2b3c4d5e6f708192a3b4c5d6e7f8091a2b3c4d5e6f708192a3b4c5d6e7.scope\n";
    let owner = owners.of_namespace(77, text);
    let name = |owners: &Owners, id| (owners.get(id).name.to_string(), owners.get(id).scope);
    assert_eq!(name(&owners, owner), ("docker-4f0c1a2b3c4d".to_owned(), 77));
    assert_eq!(name(&owners, owners.everywhere(owner)), ("docker-4f0c1a2b3c4d".to_owned(), 0));
    let nameless = owners.of_namespace(78, "0::/\n");
    assert_eq!((name(&owners, nameless), nameless == UNATTRIBUTED), ((String::new(), 78), false));

    let peer = (IpAddr::from(Ipv4Addr::LOCALHOST), 6379);
    owners.remember(peer, 5);
    owners.enter(Place { scope: 77, owner });
    assert_eq!(owners.remembered(peer), None, "another loopback");
    assert_eq!(owners.of(&record(9, 0)), owner, "all that is inside, without a search");
    assert_eq!(owners.of(&record(9, container)), UNATTRIBUTED, "not yet known");
    assert!(owners.search(1000));
    let better = owners.of(&record(9, container));
    assert_eq!(name(&owners, better), ("containerd-4f0c1a2b3c4d".to_owned(), 77));
    assert_eq!(owners.of(&record(9, pause)), owner, "a group that has no name");
    owners.remember(peer, better);
    owners.forget(77);
    assert_eq!(owners.remembered(peer), None);
    owners.enter(Place::default());
    assert_eq!(owners.remembered(peer).map(|(id, _)| id), Some(5));
}

#[test]
fn owners_that_nobody_asks_about_make_room() {
    let mut owners = Owners::new(&Root::new("/nonexistent"));
    let stays = owners.id("web.service", OwnerKind::Unit);
    let many: Vec<OwnerId> = (0..MOST_OWNERS).map(|i| owners.id(&format!("run-{i}.scope"), OwnerKind::Unit)).collect();
    assert_eq!((many.last(), owners.table.len()), (Some(&UNATTRIBUTED), MOST_OWNERS), "the table is bounded");
    for _ in 0..FORGOTTEN {
        assert_eq!(&*owners.get(stays).name, "web.service");
        owners.tidy();
    }
    assert_eq!((owners.table.len(), owners.get(many[0]).kind), (1, OwnerKind::Unattributed));
    let new = owners.id("run-0.scope", OwnerKind::Unit);
    assert!(!many.contains(&new) && new != stays, "numbers are not used again");
}

#[test]
fn memory_is_surer_when_one_owner_has_a_peer_for_itself() {
    let mut owners = Owners::new(&Root::new("/nonexistent"));
    let peer = (IpAddr::from(Ipv4Addr::LOCALHOST), 80);
    assert_eq!(owners.remembered(peer), None);
    (0..10).for_each(|_| owners.remember(peer, 7));
    assert_eq!(owners.remembered(peer), Some((7, 0.9)));
    (0..10).for_each(|_| owners.remember(peer, 8));
    let (owner, confidence) = owners.remembered(peer).expect("it is known");
    assert!((owner == 7 || owner == 8) && confidence < 0.6, "{confidence}");
}
