//! Jobs of very different lengths on all cores: the largest first, so that none is left running alone at the end.

use std::io::{IsTerminal as _, Write as _};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

/// Does `work` on every job and gives the results in the jobs' order. The first failure stops the rest.
///
/// # Errors
/// The first failure, with the name of its job.
pub fn on_all_cores<J: Sync, R: Send>(
    jobs: &[J],
    size: impl Fn(&J) -> usize,
    name: impl Fn(&J) -> String + Sync,
    work: impl Fn(&J) -> Result<R> + Sync,
) -> Result<Vec<R>> {
    let mut order: Vec<usize> = (0..jobs.len()).collect();
    // Popped from the end.
    order.sort_by_key(|i| size(&jobs[*i]));
    let queue = Mutex::new(order);
    let results = Mutex::new((0..jobs.len()).map(|_| None).collect::<Vec<Option<R>>>());
    let failure = Mutex::new(None);
    let progress = Mutex::new(Progress::new(jobs.len()));
    let next = || locked(&queue).pop();
    let worker = || {
        while let Some(i) = next() {
            match work(&jobs[i]).with_context(|| name(&jobs[i])) {
                Ok(result) => locked(&results)[i] = Some(result),
                Err(error) => {
                    locked(&queue).clear();
                    locked(&failure).get_or_insert(error);
                    return;
                }
            }
            locked(&progress).done(&name(&jobs[i]));
        }
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from).min(jobs.len().max(1));
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(worker);
        }
    });
    locked(&progress).clear();
    match failure.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner) {
        Some(error) => Err(error),
        None => {
            Ok(results.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner).into_iter().flatten().collect())
        }
    }
}

/// A panic in a worker ends the whole run when its scope ends; until then the others may go on.
fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// CPU time of the calling thread so far.
#[must_use]
pub fn thread_cpu() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(u64::try_from(now.tv_sec).unwrap_or(0), u32::try_from(now.tv_nsec).unwrap_or(0))
}

/// One line on a terminal; nothing in a file or a pipe.
struct Progress {
    shown: bool,
    done: usize,
    of: usize,
    began: Instant,
}

impl Progress {
    fn new(of: usize) -> Self {
        Self { shown: std::io::stderr().is_terminal(), done: 0, of, began: Instant::now() }
    }

    fn done(&mut self, name: &str) {
        self.done += 1;
        self.write(&format!("{}/{} series, {} s: {name}", self.done, self.of, self.began.elapsed().as_secs()));
    }

    fn clear(&self) {
        self.write("");
    }

    fn write(&self, line: &str) {
        if self.shown {
            let mut stderr = std::io::stderr().lock();
            // A progress line that cannot be written is no reason to stop.
            let _ = write!(stderr, "\r\x1b[2K{line}").and_then(|()| stderr.flush());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_keep_the_order_of_the_jobs() {
        let jobs: Vec<usize> = (0..100).collect();
        let size = |job: &usize| job % 7;
        let squares = on_all_cores(&jobs, size, |_| String::new(), |job| Ok(job * job)).unwrap();
        assert_eq!(squares, jobs.iter().map(|j| j * j).collect::<Vec<_>>());
        assert!(on_all_cores(&[], |_: &usize| 0, |_| String::new(), |j| Ok(*j)).unwrap().is_empty());
    }

    #[test]
    fn the_first_failure_stops_the_run_and_names_its_job() {
        let done = Mutex::new(0);
        let work = |job: &usize| {
            anyhow::ensure!(*job < 1000, "too large");
            *done.lock().unwrap() += 1;
            std::thread::sleep(Duration::from_millis(1));
            Ok(())
        };
        let jobs: Vec<usize> = (0..=1000).collect();
        let error = on_all_cores(&jobs, |job| *job, |job| format!("job {job}"), work).unwrap_err();
        assert_eq!(format!("{error:#}"), "job 1000: too large");
        assert!(*done.lock().unwrap() < 900, "the queue was not given up");
    }

    #[test]
    fn cpu_time_counts_work_and_not_sleep() {
        let before = thread_cpu();
        std::thread::sleep(Duration::from_millis(30));
        let slept = thread_cpu() - before;
        let began = Instant::now();
        while began.elapsed() < Duration::from_millis(60) {}
        assert!(slept < Duration::from_millis(20) && thread_cpu() - before > slept);
    }
}
