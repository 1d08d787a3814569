//! Asks each mount for its space without ever waiting for a dead one.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use super::super::Root;
use super::super::feed::Feed;
use super::mounts::{self, Mount};
use super::{FileSystems, MountUsage, Snapshot};

/// Distance of rounds.
const INTERVAL: Duration = Duration::from_secs(5);
/// A mount that takes longer is stuck.
const PATIENCE: Duration = Duration::from_secs(2);
/// Most workers left behind in stuck mounts; beyond it stuck mounts are not asked any more.
const MOST_STUCK: usize = 4;

/// Space of a file system in bytes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Space {
    /// In use.
    pub used: u64,
    /// Free for users.
    pub free: u64,
    /// All of it, what is kept for root included.
    pub total: u64,
    /// Share of inodes in use; `None` where inodes are not counted.
    pub inodes: Option<f32>,
}

impl Space {
    /// Share in use of what users can use, as `df` has it.
    #[must_use]
    pub fn utilization(&self) -> f32 {
        self.used as f32 / (self.used + self.free).max(1) as f32
    }
}

/// Asks a mount point for its space. May block for ever.
pub trait StatFs: Send + Sync + std::fmt::Debug + 'static {
    /// The space at `point`, or the system's reason.
    ///
    /// # Errors
    /// As the system has it.
    fn stat(&self, point: &str) -> std::io::Result<Space>;
}

/// The system call.
#[derive(Debug)]
pub struct Statvfs;

impl StatFs for Statvfs {
    fn stat(&self, point: &str) -> std::io::Result<Space> {
        let s = rustix::fs::statvfs(point)?;
        let used = s.f_blocks.saturating_sub(s.f_bfree).saturating_mul(s.f_frsize);
        let inodes = (s.f_files > 0).then(|| s.f_files.saturating_sub(s.f_ffree) as f32 / s.f_files as f32);
        Ok(Space {
            used,
            free: s.f_bavail.saturating_mul(s.f_frsize),
            total: s.f_blocks.saturating_mul(s.f_frsize),
            inodes,
        })
    }
}

/// Starts the thread that asks all mounts again and again; the first round begins at once. `None`, and the reason in
/// `out`, when the system refuses it.
pub fn start(root: &Root, ignore: Vec<String>, stat: Arc<dyn StatFs>, out: FileSystems) -> Option<Feed<()>> {
    let failed = out.clone();
    let (mountinfo, first) = (root.join("proc/self/mountinfo"), root.join("proc/1/mountinfo"));
    let mut rounds = Rounds { mountinfo, first, ignore, stat, worker: None, stuck: Vec::new(), round: 0, said: false };
    let refused = |e| {
        let error = Some(format!("cannot start the file-system thread: {e}"));
        failed.publish(Snapshot { error, ..Snapshot::default() });
    };
    Feed::start("tacit-slow-fs", INTERVAL, move || out.publish(rounds.next())).map_err(refused).ok()
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> std::io::Result<()> {
    std::thread::Builder::new().name(name.into()).stack_size(128 * 1024).spawn(run).map(drop)
}

/// Answers of one worker.
type Answer = std::io::Result<Space>;

/// A worker and its two ends.
struct Worker {
    ask: Sender<String>,
    answers: Receiver<Answer>,
}

struct Rounds {
    mountinfo: PathBuf,
    /// What the first process sees, whom nobody confines.
    first: PathBuf,
    ignore: Vec<String>,
    stat: Arc<dyn StatFs>,
    worker: Option<Worker>,
    /// Mounts whose worker did not come back, with that worker: its late answer says that the mount lives again.
    stuck: Vec<(String, Worker)>,
    round: u64,
    /// That `first` cannot be read was said.
    said: bool,
}

impl Rounds {
    fn next(&mut self) -> Snapshot {
        self.round += 1;
        let text = match std::fs::read(&self.mountinfo) {
            Ok(text) => text,
            Err(e) => return self.failed(format!("cannot read {}: {e}", self.mountinfo.display())),
        };
        match mounts::parse(&text, &self.ignore) {
            Ok(mut list) => {
                // Nearly always there is nothing to settle, unless this process is confined.
                if list.iter().any(|m| m.by_mount) {
                    let first = self.first_sees();
                    mounts::settle(&mut list, &text, first.as_deref());
                }
                let mounts = list.into_iter().map(|m| self.usage(m)).collect();
                Snapshot { round: self.round, mounts, error: None }
            }
            Err(e) => self.failed(e.at(&self.mountinfo).to_string()),
        }
    }

    fn first_sees(&mut self) -> Option<Vec<u8>> {
        match std::fs::read(&self.first) {
            Ok(text) => Some(text),
            Err(error) => {
                if !std::mem::replace(&mut self.said, true) {
                    let file = self.first.display();
                    tracing::info!(%file, %error, "Read-only mounts cannot be told; read-only file systems can.");
                }
                None
            }
        }
    }

    fn failed(&self, error: String) -> Snapshot {
        Snapshot { round: self.round, mounts: Vec::new(), error: Some(error) }
    }

    fn usage(&mut self, mount: Mount) -> MountUsage {
        let space = self.ask(&mount.point);
        MountUsage { mount: mount.point.into(), kind: mount.kind.into(), read_only: mount.read_only, space }
    }

    fn ask(&mut self, point: &str) -> Option<Space> {
        if let Some(at) = self.stuck.iter().position(|(p, _)| p == point) {
            // Still stuck, unless the worker came back meanwhile; then it can serve again.
            let answer = self.stuck[at].1.answers.try_recv().ok()?;
            let (_, worker) = self.stuck.swap_remove(at);
            self.worker.get_or_insert(worker);
            return answer.ok();
        }
        if self.stuck.len() >= MOST_STUCK && self.worker.is_none() {
            return None;
        }
        let worker = match self.worker.take() {
            Some(worker) => worker,
            None => self.start_worker()?,
        };
        worker.ask.send(point.to_owned()).ok()?;
        match worker.answers.recv_timeout(PATIENCE) {
            Ok(answer) => {
                self.worker = Some(worker);
                answer.ok()
            }
            Err(_) => {
                tracing::warn!(mount = point, "File system does not answer; its values are missing until it does.");
                self.stuck.push((point.to_owned(), worker));
                None
            }
        }
    }

    fn start_worker(&self) -> Option<Worker> {
        let (ask, asked) = channel::<String>();
        let (answer, answers) = channel();
        let stat = Arc::clone(&self.stat);
        spawn("tacit-slow-fs-w", move || {
            while let Ok(point) = asked.recv() {
                if answer.send(stat.stat(&point)).is_err() {
                    return;
                }
            }
        })
        .ok()?;
        Some(Worker { ask, answers })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Condvar, Mutex};

    /// Answers at once, but for `/dead` only after the gate opens.
    #[derive(Debug, Default)]
    struct Gate(Mutex<bool>, Condvar);

    impl StatFs for Gate {
        fn stat(&self, point: &str) -> std::io::Result<Space> {
            if point == "/dead" {
                let open = self.0.lock().unwrap();
                drop(self.1.wait_while(open, |open| !*open).unwrap());
            }
            Ok(Space { used: 10, free: 90, total: 100, inodes: None })
        }
    }

    #[test]
    fn a_dead_mount_stops_only_itself() {
        let folder = tempfile::tempdir().unwrap();
        let mountinfo = folder.path().join("mountinfo");
        std::fs::write(&mountinfo, "1 1 0:9 / /dead rw - nfs4 s:/ rw\n2 1 8:1 / / rw - ext4 /dev/sda1 rw\n").unwrap();
        let gate = Arc::new(Gate::default());
        let stat: Arc<dyn StatFs> = Arc::<Gate>::clone(&gate);
        let mut rounds = Rounds {
            mountinfo,
            first: folder.path().join("none"),
            ignore: Vec::new(),
            stat,
            worker: None,
            stuck: Vec::new(),
            round: 0,
            said: false,
        };
        let spaces = |s: &Snapshot| s.mounts.iter().map(|m| m.space.is_some()).collect::<Vec<_>>();
        assert_eq!(spaces(&rounds.next()), [false, true]);
        assert_eq!(spaces(&rounds.next()), [false, true]);
        assert_eq!(rounds.stuck.len(), 1);

        *gate.0.lock().unwrap() = true;
        gate.1.notify_all();
        // The late answer arrives when the worker was scheduled; each round asks again.
        let back = (0..1000).any(|_| {
            std::thread::yield_now();
            spaces(&rounds.next()) == [true, true]
        });
        assert!(back && rounds.stuck.is_empty());
    }
}
