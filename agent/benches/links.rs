//! What observing connections costs: one look at 5,000 open sockets, and hearing of 1,000 that were closed.

use std::net::{TcpListener, TcpStream};

use divan::{Bencher, black_box};
use tacit_agent::links::{Observer, socket};
use tacit_agent::source::Root;

/// Connections over loopback; each has two sockets.
const OPEN: usize = 2500;

fn main() {
    divan::main();
}

fn connections(count: usize) -> (TcpListener, Vec<(TcpStream, TcpStream)>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address");
    let pair = |_| (TcpStream::connect(address).expect("it listens"), listener.accept().expect("it was asked").0);
    let open = (0..count).map(pair).collect();
    (listener, open)
}

#[divan::bench(sample_count = 50)]
fn look_at_5000_sockets(bencher: Bencher<'_, '_>) {
    let mut observer = Observer::open(&Root::live(), socket::WANTED).expect("netlink is here");
    let _open = connections(OPEN);
    let mut now_ms = 0;
    bencher.bench_local(|| {
        // Time hardly moves, so owners are searched for in the first look alone.
        now_ms += 1;
        black_box(observer.look(now_ms))
    });
}

#[divan::bench(sample_count = 20, sample_size = 1)]
fn hear_of_1000_closed(bencher: Bencher<'_, '_>) {
    let mut observer = Observer::open(&Root::live(), socket::WANTED).expect("netlink is here");
    observer.look(0).expect("it works");
    let close = || {
        drop(connections(500));
        // The kernel tells of closed sockets a little later.
        std::thread::sleep(std::time::Duration::from_millis(50));
    };
    bencher.with_inputs(close).bench_local_values(|()| black_box(observer.hear()));
}
