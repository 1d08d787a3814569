//! What `systemctl` answers.
//!
//! ```text
//! systemctl list-units --all --plain --no-legend --full --state=running,failed …
//! nginx.service loaded active running A high performance web server
//!
//! systemctl show --property=Id,ActiveState,… -- nginx.service shop.service
//! Id=nginx.service
//! ActiveState=active
//! …
//! (an empty line between units)
//! ```

/// A line of the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// The unit.
    pub name: String,
    /// It failed; else it runs.
    pub failed: bool,
}

/// The properties that are asked for.
pub const PROPERTIES: &str = "--property=Id,LoadState,ActiveState,SubState,Result,NRestarts,ExecMainCode,ExecMainStatus,StateChangeTimestampMonotonic";

/// A unit as `systemctl show` has it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Shown {
    /// The unit.
    pub id: String,
    /// It exists (`LoadState` is not `not-found`).
    pub loaded: bool,
    /// `active`, `failed`, `activating`, …
    pub active: String,
    /// `running`, `dead`, `auto-restart`, …
    pub sub: String,
    /// Why it ended: `success`, `exit-code`, `signal`, …
    pub result: String,
    /// Restarts by systemd itself since somebody started it; `None` for what is no service.
    pub restarts: Option<u64>,
    /// How the main process ended: 1 exited, 2 killed, 3 killed with a core dump (`waitid(2)`); 0 not yet.
    pub code: u64,
    /// Its exit status, or the signal.
    pub status: u64,
    /// When the state changed, microseconds of the monotonic clock.
    pub changed_us: u64,
}

/// Parses the list; lines of another form are left out.
#[must_use]
pub fn list(text: &str) -> Vec<Listed> {
    let line = |line: &str| {
        let mut words = line.split_ascii_whitespace();
        // Some versions mark failed units even in the plain form.
        let name = words.by_ref().find(|w| !matches!(*w, "●" | "*" | "×"))?;
        let active = words.nth(1)?;
        is_unit(name).then(|| Listed { name: name.to_owned(), failed: active == "failed" })
    };
    text.lines().filter_map(line).collect()
}

/// A name that systemd could have given, and that is safe as an argument.
fn is_unit(name: &str) -> bool {
    let kind = [".service", ".mount", ".socket", ".swap", ".timer"].iter().any(|suffix| name.ends_with(suffix));
    kind && name.len() <= 255 && !name.starts_with('-') && name.is_ascii()
}

/// Parses what `show` answers; units without a name are left out.
#[must_use]
pub fn show(text: &str) -> Vec<Shown> {
    text.split("\n\n").map(one).filter(|unit| !unit.id.is_empty()).collect()
}

fn one(block: &str) -> Shown {
    let mut unit = Shown { loaded: true, ..Shown::default() };
    for (key, value) in block.lines().filter_map(|line| line.split_once('=')) {
        let number = || value.parse::<u64>().ok();
        match key {
            "Id" => value.clone_into(&mut unit.id),
            "LoadState" => unit.loaded = value != "not-found",
            "ActiveState" => value.clone_into(&mut unit.active),
            "SubState" => value.clone_into(&mut unit.sub),
            "Result" => value.clone_into(&mut unit.result),
            "NRestarts" => unit.restarts = number(),
            "ExecMainCode" => unit.code = number().unwrap_or(0),
            "ExecMainStatus" => unit.status = number().unwrap_or(0),
            "StateChangeTimestampMonotonic" => unit.changed_us = number().unwrap_or(0),
            _ => {}
        }
    }
    unit
}

impl Shown {
    /// Why it ended, in words; `None` when it ended well or runs.
    #[must_use]
    pub fn why(&self) -> Option<String> {
        let words = match self.result.as_str() {
            "" | "success" => return None,
            "exit-code" if self.code == 1 => {
                return Some(format!("its main process exited with status {}", self.status));
            }
            "exit-code" => "one of its processes exited with an error",
            "signal" if self.code == 2 => {
                return Some(format!("its main process was killed by {}", signal(self.status)));
            }
            "signal" => "one of its processes was killed by a signal",
            "core-dump" => return Some(format!("its main process crashed ({}, core dumped)", signal(self.status))),
            "timeout" => "it did not start or stop in time",
            "watchdog" => "it did not answer its watchdog in time",
            "start-limit-hit" => "it was started too often within a short time",
            "oom-kill" => "the kernel killed one of its processes for want of memory",
            "resources" => "systemd could not set up what it needs",
            "protocol" => "it broke the protocol of its service type",
            "exec-condition" => "a condition for its start does not hold",
            other => return Some(format!("systemd says {other:?}")),
        };
        Some(words.to_owned())
    }
}

fn signal(number: u64) -> String {
    const NAMES: [(u64, &str); 10] = [
        (1, "SIGHUP"),
        (2, "SIGINT"),
        (4, "SIGILL"),
        (6, "SIGABRT"),
        (7, "SIGBUS"),
        (8, "SIGFPE"),
        (9, "SIGKILL"),
        (11, "SIGSEGV"),
        (13, "SIGPIPE"),
        (15, "SIGTERM"),
    ];
    let name = NAMES.iter().find(|(n, _)| *n == number);
    name.map_or_else(|| format!("signal {number}"), |(_, name)| (*name).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_recorded_list() {
        let text = "cron.service        loaded active running Regular background program processing daemon\n\
                    ● broken.service    loaded failed failed  A service that fails\n\
                    session-3.scope     loaded active running Session 3 of User root\n\
                    dbus.socket         loaded active running D-Bus System Message Bus Socket\n\
                    -evil.service       loaded active running x\n\ngarbage\n";
        let unit = |name: &str, failed| Listed { name: name.into(), failed };
        assert_eq!(list(text), [unit("cron.service", false), unit("broken.service", true), unit("dbus.socket", false)]);
    }

    #[test]
    fn recorded_answers() {
        let text = "Id=shop.service\nLoadState=loaded\nActiveState=activating\nSubState=auto-restart\nResult=exit-code\n\
                    NRestarts=4\nExecMainCode=1\nExecMainStatus=203\nStateChangeTimestampMonotonic=81000123\n\n\
                    Id=data.mount\nLoadState=loaded\nActiveState=failed\nSubState=failed\nResult=exit-code\n\
                    StateChangeTimestampMonotonic=5\n\nLoadState=not-found\nId=gone.service\nActiveState=inactive\n";
        let units = show(text);
        assert_eq!(units.len(), 3);
        assert_eq!(
            (units[0].restarts, units[0].sub.as_str(), units[0].changed_us),
            (Some(4), "auto-restart", 81_000_123)
        );
        assert_eq!(units[0].why().as_deref(), Some("its main process exited with status 203"));
        assert_eq!((units[1].restarts, units[1].active.as_str()), (None, "failed"));
        assert_eq!(units[1].why().as_deref(), Some("one of its processes exited with an error"));
        assert!(!units[2].loaded && units[2].why().is_none());
        let killed = show("Id=a.service\nResult=signal\nExecMainCode=2\nExecMainStatus=9\n").remove(0);
        assert_eq!(killed.why().as_deref(), Some("its main process was killed by SIGKILL"));
        assert_eq!(show("Id=a.service\nResult=new-word\n")[0].why().as_deref(), Some("systemd says \"new-word\""));
    }

    proptest! {
        /// Law: no output makes parsing panic, and every name is safe as an argument.
        #[test]
        fn any_text_is_parsed(text in "([a-zA-Z.=●\n -]{0,12}|Id=|Result=signal\n|x.service|[0-9]{0,30}){0,12}") {
            prop_assert!(list(&text).iter().all(|u| !u.name.starts_with('-') && !u.name.contains(' ')));
            for unit in show(&text) {
                let _ = unit.why();
            }
        }
    }
}
