//! The one thread that writes, and how it groups commits.
//!
//! Whoever wants to write sends a job and waits. The thread takes all jobs that are there, up to a bound, runs each
//! inside a savepoint of one transaction, commits, and only then tells each how it went. A job that fails is rolled back
//! alone; when the commit fails all are told so. Under load one fsync serves many messages; alone, a job waits for none.

use rusqlite::{Connection, Transaction};
use tokio::sync::{mpsc, oneshot};

use super::StoreError;

/// Most jobs in one transaction.
const GROUP: usize = 512;
/// Jobs that may wait; beyond it senders wait, and with them the clients whose messages they hold.
const QUEUED: usize = 2048;

/// Runs inside the transaction and returns what to do once it is known how the commit went.
type Job = Box<dyn FnOnce(&mut Transaction<'_>) -> Finish + Send>;
type Finish = Box<dyn FnOnce(Result<(), &StoreError>) + Send>;

/// Sends jobs to the writer thread, which ends when this is dropped and all jobs are done.
#[derive(Debug)]
pub struct Writer {
    jobs: mpsc::Sender<Job>,
}

impl Writer {
    /// Starts the thread.
    pub fn start(connection: Connection) -> Result<Self, StoreError> {
        let (jobs, queue) = mpsc::channel(QUEUED);
        std::thread::Builder::new()
            .name("tacit-store".into())
            .spawn(move || write(connection, queue))
            .map_err(|e| StoreError::Database(format!("cannot start the writer thread: {e}")))?;
        Ok(Self { jobs })
    }

    /// Runs a job and waits for its commit.
    pub async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce(&Transaction<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        let work: Job = Box::new(move |transaction| {
            let result = in_savepoint(transaction, job);
            Box::new(move |committed| {
                let result = match committed {
                    Ok(()) => result,
                    Err(error) => result.and(Err(StoreError::Database(error.to_string()))),
                };
                // The one who asked may have gone; what was written stays.
                let _ = reply.send(result);
            })
        });
        let gone = || StoreError::Database("the writer thread has ended".into());
        self.jobs.send(work).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }
}

fn in_savepoint<T>(
    transaction: &mut Transaction<'_>,
    job: impl FnOnce(&Transaction<'_>) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    transaction.execute_batch("SAVEPOINT job")?;
    let result = job(transaction);
    let end = if result.is_ok() { "RELEASE job" } else { "ROLLBACK TO job; RELEASE job" };
    transaction.execute_batch(end)?;
    result
}

fn write(mut connection: Connection, mut queue: mpsc::Receiver<Job>) {
    while let Some(first) = queue.blocking_recv() {
        let mut waiting = Vec::new();
        let committed = group(&mut connection, &mut queue, first, &mut waiting);
        for finish in waiting {
            finish(committed.as_ref().copied());
        }
    }
}

fn group(
    connection: &mut Connection,
    queue: &mut mpsc::Receiver<Job>,
    first: Job,
    waiting: &mut Vec<Finish>,
) -> Result<(), StoreError> {
    let mut transaction = connection.transaction()?;
    waiting.push(first(&mut transaction));
    while waiting.len() < GROUP
        && let Ok(job) = queue.try_recv()
    {
        waiting.push(job(&mut transaction));
    }
    Ok(transaction.commit()?)
}
