//! Work that waits on sockets: it runs on the network thread's runtime, beside the session with the broker.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

/// One piece of it; it ends with the runtime.
pub type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Asks a task for a fresh result and waits for it, at most so long; for programs that print once.
pub type Refresher = Box<dyn Fn(Duration) + Send>;

/// Runs tasks on a thread of their own, for programs that have no runtime. The thread ends with the process.
pub fn run_apart(tasks: Vec<Task>) {
    if tasks.is_empty() {
        return;
    }
    let run = move || {
        let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return };
        runtime.block_on(async {
            let running: Vec<_> = tasks.into_iter().map(tokio::spawn).collect();
            for task in running {
                // One that failed stops only itself.
                let _ = task.await;
            }
        });
    };
    if let Err(error) = std::thread::Builder::new().name("tacit-tasks".into()).spawn(run) {
        tracing::error!(%error, "No thread for probes and StatsD; they are left out.");
    }
}
