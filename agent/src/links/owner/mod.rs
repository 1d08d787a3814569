//! Whose a socket is.
//!
//! 1. the control group's id in a dump, through a walk of the version 2 hierarchy: a unit or container;
//! 2. the socket's inode among the open files of all processes that may be looked at ([`OpenFiles`]): a unit, container or executable;
//! 3. for one that may be gone in a moment: the control group's id, and where that group has no name the one program that runs in it
//!    ([`Owners::at_once`]);
//! 4. for a connection that no dump saw: the listener's owner on the server's side, and on the client's the one that last
//!    used this peer ([`Owners::remembered`]), with a confidence.
//!
//! Who cannot be named stays visible as unattributed.

use std::cell::Cell;
use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::os::unix::fs::DirEntryExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use tacit_wire::message::OwnerKind;

use super::message::Record;
use crate::source::Root;
use crate::source::cgroup::{Layout, unit_of, unit_of_process};
use crate::source::open_files::OpenFiles;

/// Number of an owner in [`Owners`].
pub type OwnerId = u32;
/// Nobody could be named.
pub const UNATTRIBUTED: OwnerId = 0;
/// Bounds: what is beyond stays unattributed or is asked for again.
const MOST_OWNERS: usize = 4096;
const MOST_KNOWN: usize = 32_768;
const MOST_FILES: usize = 50_000;
const MOST_GROUPS: usize = 16_384;
const DEPTH: usize = 12;
/// Control groups without a name that are remembered, and processes of one that are looked at.
const MOST_NAMELESS: usize = 1024;
const MOST_PROCESSES: usize = 32;
/// When the table is three quarters full, owners that nobody asked about for so many rounds of [`Owners::tidy`] are forgotten. By then no
/// message and no dictionary of ends has their number any more; it is not used again.
const FORGOTTEN: u32 = 150;
/// Distance of searches, at least; and at least so many times what the last one took.
const SEARCH_EVERY_MS: u64 = 10_000;
const REST: u64 = 500;

/// An owner.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Owner {
    /// Unit, container or executable; empty when nobody could be named.
    pub name: Arc<str>,
    /// How it was found.
    pub kind: OwnerKind,
    /// Inode of the container's network namespace that this end is in; 0 in the agent's own.
    pub scope: u32,
}

/// The network namespace that is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Place {
    /// Its inode; 0 for the agent's own.
    pub scope: u32,
    /// Whose it is, from [`Owners::of_namespace`]: the owner of what nothing better is known of.
    pub owner: OwnerId,
}

/// Who used a peer, lately.
#[derive(Debug, Clone, Copy)]
struct Memory {
    owner: OwnerId,
    same: u32,
    total: u32,
}

/// An owner, and the round in which it was last asked about.
#[derive(Debug)]
struct Entry {
    owner: Owner,
    used: Cell<u32>,
}

/// All owners that were found.
#[derive(Debug)]
pub struct Owners {
    proc: PathBuf,
    open_files: OpenFiles,
    unified: Option<PathBuf>,
    nobody: Owner,
    table: HashMap<OwnerId, Entry>,
    next: OwnerId,
    round: u32,
    ids: HashMap<Owner, OwnerId>,
    groups: HashMap<u64, OwnerId>,
    /// Folders of control groups that name nobody.
    nameless: HashMap<u64, PathBuf>,
    inodes: HashMap<u32, OwnerId>,
    /// By namespace as well: the same address is somebody else's there.
    memory: HashMap<(u32, IpAddr, u16), Memory>,
    place: Cell<Place>,
    unknown_groups: bool,
    unknown_inodes: HashSet<u32>,
    search_after_ms: u64,
}

impl Owners {
    /// Of the machine below `root`.
    #[must_use]
    pub fn new(root: &Root) -> Self {
        let unified = match Layout::find(root) {
            Layout::V2(folder) => Some(folder),
            Layout::V1(v1) => v1.unified,
            Layout::None => None,
        };
        let nobody = Owner { name: "".into(), kind: OwnerKind::Unattributed, scope: 0 };
        Self {
            proc: root.join("proc"),
            open_files: OpenFiles::find(root),
            unified,
            nobody: nobody.clone(),
            table: HashMap::new(),
            next: UNATTRIBUTED + 1,
            round: 0,
            ids: HashMap::from([(nobody, UNATTRIBUTED)]),
            groups: HashMap::new(),
            nameless: HashMap::new(),
            inodes: HashMap::new(),
            memory: HashMap::new(),
            place: Cell::default(),
            unknown_groups: false,
            unknown_inodes: HashSet::new(),
            search_after_ms: 0,
        }
    }

    /// The owner with this number.
    #[must_use]
    pub fn get(&self, id: OwnerId) -> &Owner {
        self.touch(id);
        self.table.get(&id).map_or(&self.nobody, |entry| &entry.owner)
    }

    /// It still has connections: it is not to be forgotten.
    pub fn touch(&self, id: OwnerId) {
        if let Some(entry) = self.table.get(&id) {
            entry.used.set(self.round);
        }
    }

    /// From now on sockets and peers are those of this namespace; the default is the agent's own.
    pub fn enter(&self, place: Place) {
        self.place.set(place);
    }

    /// The owner of a container's namespace with this inode, by the text of a process's `/proc/PID/cgroup`; it has no name
    /// where that tells neither unit nor container.
    pub fn of_namespace(&mut self, scope: u32, text: &str) -> OwnerId {
        let named = unit_of_process(text).and_then(|name| Some((kind_of(&name)?, name)));
        let (kind, name) = named.unwrap_or((OwnerKind::Unattributed, String::new()));
        let everywhere = self.id(&name, kind);
        self.within(everywhere, scope)
    }

    /// The same owner, without the namespace.
    #[must_use]
    pub fn everywhere(&self, id: OwnerId) -> OwnerId {
        let owner = self.get(id);
        if owner.scope == 0 {
            return id;
        }
        self.ids.get(&Owner { scope: 0, ..owner.clone() }).copied().unwrap_or(id)
    }

    /// Forgets what was remembered of a namespace that is gone.
    pub fn forget(&mut self, scope: u32) {
        self.memory.retain(|(s, ..), _| *s != scope);
    }

    /// The owner of a socket out of a dump, as far as is known; what is not known is searched for by [`Self::search`].
    pub fn of(&mut self, record: &Record) -> OwnerId {
        let place = self.place.get();
        let named = !self.get(place.owner).name.is_empty();
        match self.found(record, named) {
            Some(UNATTRIBUTED) => UNATTRIBUTED,
            Some(id) => self.within(id, place.scope),
            None => place.owner,
        }
    }

    /// What is known of a socket itself; none when it is whose the namespace is (`named`).
    fn found(&mut self, record: &Record, named: bool) -> Option<OwnerId> {
        // 0 is not told, 1 is the root: no owner.
        if record.cgroup > 1 && self.unified.is_some() {
            match self.groups.get(&record.cgroup) {
                Some(&id) if id != UNATTRIBUTED => return Some(id),
                Some(_) => {}
                None => {
                    self.unknown_groups = true;
                    // A pod's containers share a namespace: the next search may tell which one it is.
                    if named {
                        return Some(UNATTRIBUTED);
                    }
                }
            }
        }
        if named {
            return None;
        }
        if record.inode == 0 {
            return Some(UNATTRIBUTED);
        }
        Some(self.inodes.get(&record.inode).copied().unwrap_or_else(|| {
            if self.unknown_inodes.len() < MOST_KNOWN {
                self.unknown_inodes.insert(record.inode);
            }
            UNATTRIBUTED
        }))
    }

    /// The owner of a socket of the agent's own namespace as far as its control group tells: open files are not searched, as it may
    /// be closed by then. None where that group is to be looked for first, by [`Self::search`].
    pub fn at_once(&mut self, record: &Record) -> Option<OwnerId> {
        if record.cgroup <= 1 || self.unified.is_none() {
            return Some(UNATTRIBUTED);
        }
        match self.groups.get(&record.cgroup) {
            Some(&UNATTRIBUTED) => self.only_program(record.cgroup).or(Some(UNATTRIBUTED)),
            Some(&owner) => Some(owner),
            None => {
                self.unknown_groups = true;
                None
            }
        }
    }

    /// The program that all processes of a control group run, if it is just one.
    fn only_program(&mut self, group: u64) -> Option<OwnerId> {
        let processes = std::fs::read_to_string(self.nameless.get(&group)?.join("cgroup.procs")).ok()?;
        let processes: Vec<&str> = processes.lines().take(MOST_PROCESSES + 1).collect();
        // Those of another namespace have no number here.
        if processes.len() > MOST_PROCESSES || processes.contains(&"0") {
            return None;
        }
        let mut owners = processes.into_iter().map(|process| {
            let folder = self.proc.join(process);
            self.owner_of_process(&folder)
        });
        let first = owners.next()?;
        owners.all(|owner| owner == first).then_some(first)
    }

    /// Looks for what [`Self::of`] did not know, when the last search is long enough ago. Returns whether it did.
    pub fn search(&mut self, now_ms: u64) -> bool {
        if now_ms < self.search_after_ms || (!self.unknown_groups && self.unknown_inodes.is_empty()) {
            return false;
        }
        let began = Instant::now();
        if std::mem::take(&mut self.unknown_groups) {
            self.walk_groups();
        }
        let wanted = std::mem::take(&mut self.unknown_inodes);
        if !wanted.is_empty() {
            self.search_processes(&wanted);
        }
        let took = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.search_after_ms = now_ms.saturating_add(SEARCH_EVERY_MS.max(took.saturating_mul(REST)));
        true
    }

    /// Takes note of who uses a peer.
    pub fn remember(&mut self, peer: (IpAddr, u16), owner: OwnerId) {
        let peer = (self.place.get().scope, peer.0, peer.1);
        if owner == UNATTRIBUTED || (self.memory.len() >= MOST_KNOWN && !self.memory.contains_key(&peer)) {
            return;
        }
        let memory = self.memory.entry(peer).or_insert(Memory { owner, same: 0, total: 0 });
        if memory.total >= 64 {
            (memory.same, memory.total) = (memory.same / 2, memory.total / 2);
        }
        memory.total += 1;
        if memory.owner == owner {
            memory.same += 1;
        } else if memory.same * 2 <= memory.total {
            (memory.owner, memory.same) = (owner, memory.total - memory.same);
        }
    }

    /// Who last used a peer, and how sure that is: 0.5 to 0.9.
    #[must_use]
    pub fn remembered(&self, peer: (IpAddr, u16)) -> Option<(OwnerId, f32)> {
        let memory = self.memory.get(&(self.place.get().scope, peer.0, peer.1))?;
        let share = memory.same as f32 / memory.total.max(1) as f32;
        Some((memory.owner, (0.9 * share).clamp(0.5, 0.9)))
    }

    /// Forgets what grew too large; to be called each minute.
    pub fn tidy(&mut self) {
        self.round = self.round.wrapping_add(1);
        if self.table.len() > MOST_OWNERS / 4 * 3 {
            let round = self.round;
            self.table.retain(|_, entry| round.wrapping_sub(entry.used.get()) < FORGOTTEN);
            let known = |id: OwnerId| id == UNATTRIBUTED || self.table.contains_key(&id);
            self.ids.retain(|_, id| known(*id));
            self.groups.retain(|_, id| known(*id));
            self.inodes.retain(|_, id| known(*id));
            self.memory.retain(|_, memory| known(memory.owner));
        }
        if self.inodes.len() > MOST_KNOWN / 2 {
            self.inodes.clear();
        }
        if self.memory.len() >= MOST_KNOWN {
            self.memory.clear();
        }
        if self.groups.len() >= MOST_GROUPS {
            self.groups.clear();
        }
    }

    fn id(&mut self, name: &str, kind: OwnerKind) -> OwnerId {
        if name.is_empty() { UNATTRIBUTED } else { self.number(Owner { name: name.into(), kind, scope: 0 }) }
    }

    /// The same owner, in a namespace.
    fn within(&mut self, id: OwnerId, scope: u32) -> OwnerId {
        let owner = self.get(id);
        if owner.scope == scope {
            return id;
        }
        let owner = Owner { scope, ..owner.clone() };
        self.number(owner)
    }

    fn number(&mut self, owner: Owner) -> OwnerId {
        if let Some(&id) = self.ids.get(&owner) {
            return id;
        }
        if self.table.len() >= MOST_OWNERS {
            return UNATTRIBUTED;
        }
        let id = self.next;
        self.next += 1;
        self.table.insert(id, Entry { owner: owner.clone(), used: Cell::new(self.round) });
        self.ids.insert(owner, id);
        id
    }

    /// The id of a control group is the inode of its folder.
    fn walk_groups(&mut self) {
        let Some(base) = self.unified.clone() else { return };
        self.nameless.clear();
        let mut waiting = vec![(base.clone(), 0)];
        let mut left = MOST_GROUPS;
        while let Some((folder, depth)) = waiting.pop() {
            for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
                if !entry.file_type().is_ok_and(|t| t.is_dir()) {
                    continue;
                }
                left -= 1;
                if left == 0 {
                    return;
                }
                let path = entry.path();
                let below = path.strip_prefix(&base).unwrap_or(Path::new("")).to_string_lossy();
                let named = unit_of(&below).and_then(|name| Some((kind_of(&name)?, name)));
                let owner = named.map_or(UNATTRIBUTED, |(kind, name)| self.id(&name, kind));
                self.groups.insert(entry.ino(), owner);
                if owner == UNATTRIBUTED && self.nameless.len() < MOST_NAMELESS {
                    self.nameless.insert(entry.ino(), path.clone());
                }
                if depth < DEPTH {
                    waiting.push((path, depth + 1));
                }
            }
        }
    }

    fn search_processes(&mut self, wanted: &HashSet<u32>) {
        let mut found = 0;
        let mut budget = MOST_FILES;
        let processes = std::fs::read_dir(&self.proc).into_iter().flatten().flatten();
        for process in processes.filter(|p| p.file_name().as_encoded_bytes().first().is_some_and(u8::is_ascii_digit)) {
            if budget == 0 || found == wanted.len() {
                break;
            }
            let folder = process.path();
            let mut owner = None;
            for inode in self.open_files.sockets(&folder) {
                if budget == 0 || found == wanted.len() {
                    break;
                }
                budget -= 1;
                let inode = inode.and_then(|inode| u32::try_from(inode).ok());
                let Some(inode) = inode.filter(|i| wanted.contains(i)) else { continue };
                let owner = *owner.get_or_insert_with(|| self.owner_of_process(&folder));
                found += usize::from(self.inodes.insert(inode, owner).is_none());
            }
        }
        // Who was not found now (the kernel's own, other users') is not searched for again.
        for inode in wanted {
            self.inodes.entry(*inode).or_insert(UNATTRIBUTED);
        }
    }

    fn owner_of_process(&mut self, process: &Path) -> OwnerId {
        let text = |file: &str| std::fs::read_to_string(process.join(file)).unwrap_or_default();
        if let Some((kind, name)) = unit_of_process(&text("cgroup")).and_then(|name| Some((kind_of(&name)?, name))) {
            return self.id(&name, kind);
        }
        let executable = std::fs::read_link(process.join("exe")).ok();
        let name = executable.as_deref().and_then(Path::file_name).map(|n| n.to_string_lossy().into_owned());
        // A program that was replaced while it runs is still that program.
        let name = name.unwrap_or_else(|| text("comm").trim().to_owned());
        let name: String = name.trim_end_matches(" (deleted)").chars().take(64).collect();
        self.id(&name, OwnerKind::Executable)
    }
}

/// What a control group's name tells; a home-made group tells less than the executable.
fn kind_of(name: &str) -> Option<OwnerKind> {
    let unit = [".service", ".scope", ".socket", ".slice", ".mount", ".swap"];
    let container = ["docker-", "podman-", "containerd-", "crio-", "container-", "lxc-"];
    if unit.iter().any(|s| name.ends_with(s)) {
        Some(OwnerKind::Unit)
    } else if container.iter().any(|p| name.starts_with(p)) {
        Some(OwnerKind::Container)
    } else {
        None
    }
}

#[cfg(test)]
mod tests;
