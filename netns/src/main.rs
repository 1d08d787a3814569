//! `tacit-netns`: started by systemd with the listening socket as standard input; see the library.

use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::process::ExitCode;

use rustix::net::{SocketAddrUnix, getsockname};
use tacit_netns::{IDLE, Settings, own, serve};

const ABOUT: &str = "Opens netlink sockets inside the network namespaces of containers for the Tacit agent.
Started by systemd (tacit-netns.socket) with the listening socket as standard input; there are no options.
See docs/OPERATING.md, \"What the map needs\".";

fn main() -> ExitCode {
    if let Some(argument) = std::env::args_os().nth(1) {
        if argument == "--version" {
            println!("tacit-netns {}", env!("CARGO_PKG_VERSION"));
            return ExitCode::SUCCESS;
        }
        println!("{ABOUT}");
        return if argument == "--help" { ExitCode::SUCCESS } else { ExitCode::from(2) };
    }
    let Some(own) = own() else {
        eprintln!("tacit-netns: /proc/self/ns/net cannot be read, so there is nothing to compare namespaces with");
        return ExitCode::FAILURE;
    };
    let settings = Settings { allowed: owner_of_socket(), idle: IDLE, proc: "/proc".into(), own };
    match serve(std::io::stdin().as_fd(), &settings) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("tacit-netns: {why}");
            ExitCode::FAILURE
        }
    }
}

/// The user whom the socket's file belongs to (`SocketUser=`); root where that cannot be told, so that nobody else may ask.
fn owner_of_socket() -> u32 {
    let name = getsockname(std::io::stdin()).ok().and_then(|any| SocketAddrUnix::try_from(any).ok());
    let path = name.as_ref().and_then(SocketAddrUnix::path).map(|p| p.to_string_lossy().into_owned());
    path.and_then(|p| std::fs::symlink_metadata(p).ok()).map_or(0, |metadata| metadata.uid())
}
