//! Programs of the system that are asked something: bounded in time and output, never waited for by blocking.
//!
//! They are started with `std` and read through the runtime's own pipes, so that no other part of the process needs to
//! know of child processes. What is started here is ended here.

use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe::Receiver;

/// A running program and its output. Dropping it ends the program.
#[derive(Debug)]
pub struct Running {
    child: Child,
    /// What it writes.
    pub output: Receiver,
}

impl Running {
    /// Starts `program` with plain English output and nothing to read.
    ///
    /// # Errors
    /// When it is not there or the system refuses.
    pub fn start(program: &OsStr, arguments: &[impl AsRef<OsStr>]) -> Result<Self, String> {
        let name = program.to_string_lossy();
        let mut child = Command::new(program)
            .args(arguments)
            .env("LC_ALL", "C")
            .env("SYSTEMD_COLORS", "0")
            .env("SYSTEMD_PAGER", "")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|e| format!("cannot run {name}: {e}"))?;
        let pipe = child.stdout.take().map(OwnedFd::from).ok_or("no pipe")?;
        match Receiver::from_owned_fd(pipe) {
            Ok(output) => Ok(Self { child, output }),
            Err(e) => {
                end(&mut child);
                Err(format!("cannot read from {name}: {e}"))
            }
        }
    }

    /// Its exit status once it ended: asks a few times, briefly apart, since its output closes a little before it ends.
    async fn succeeded(&mut self) -> Result<bool, String> {
        for _ in 0..50 {
            match self.child.try_wait() {
                Ok(Some(status)) => return Ok(status.success()),
                Ok(None) => tokio::time::sleep(Duration::from_millis(20)).await,
                Err(e) => return Err(e.to_string()),
            }
        }
        Err("it closed its output and runs on".into())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

fn end(child: &mut Child) {
    // One that ended already cannot be killed; either way it is collected.
    let _ = child.kill();
    let _ = child.wait();
}

/// The output of a program that ends by itself.
///
/// # Errors
/// When it cannot be started, takes longer than `limit`, writes more than `most` bytes, or fails.
pub async fn output(
    program: &OsStr,
    arguments: &[impl AsRef<OsStr>],
    limit: Duration,
    most: usize,
) -> Result<Vec<u8>, String> {
    let name = program.to_string_lossy().into_owned();
    let mut running = Running::start(program, arguments)?;
    let read = async {
        let mut bytes = Vec::new();
        (&mut running.output)
            .take(most as u64 + 1)
            .read_to_end(&mut bytes)
            .await
            .map_err(|e| format!("{name}: {e}"))?;
        if bytes.len() > most {
            return Err(format!("{name} wrote more than {most} bytes"));
        }
        match running.succeeded().await {
            Ok(true) => Ok(bytes),
            Ok(false) => Err(format!("{name} failed")),
            Err(e) => Err(format!("{name}: {e}")),
        }
    };
    let result = tokio::time::timeout(limit, read).await;
    result.unwrap_or_else(|_| Err(format!("{name} did not end within {} s", limit.as_secs())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(script: &str, most: usize) -> Result<Vec<u8>, String> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let limit = Duration::from_millis(if script.contains("sleep") { 200 } else { 20_000 });
        runtime.block_on(output(OsStr::new("sh"), &["-c", script], limit, most))
    }

    #[test]
    fn output_time_and_failure_are_bounded() {
        assert_eq!(run("echo hello; echo $LC_ALL", 100).as_deref(), Ok(&b"hello\nC\n"[..]));
        assert_eq!(run("echo hello", 3).expect_err("too much"), "sh wrote more than 3 bytes");
        assert_eq!(run("yes", 1000).expect_err("endless"), "sh wrote more than 1000 bytes");
        assert_eq!(run("exit 3", 100).expect_err("failed"), "sh failed");
        assert_eq!(run("sleep 600", 100).expect_err("too long"), "sh did not end within 0 s");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let none = runtime.block_on(output(OsStr::new("/nowhere/x"), &["y"], Duration::from_secs(5), 10));
        assert!(none.expect_err("no program").starts_with("cannot run /nowhere/x"));
    }
}
