//! From a cgroup's path to the name people use: a systemd unit or a container.
//!
//! ```text
//! /system.slice/nginx.service                                  → nginx.service
//! /system.slice/docker-4f0c….scope, /docker/4f0c…              → docker-4f0c1a2b3c4d
//! /machine.slice/libpod-4f0c….scope                            → podman-4f0c1a2b3c4d
//! /kubepods.slice/…/cri-containerd-4f0c….scope                 → containerd-4f0c1a2b3c4d
//! /lxc.payload.db, /lxc/db                                     → lxc-db
//! /user.slice/user-1000.slice/user@1000.service/app.slice/…    → user-1000.slice
//! ```

/// What one directory of the hierarchy is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A unit or container with this name; what is below belongs to it.
    Unit(String),
    /// A grouping (slice, pod, `docker`): look inside.
    Group,
}

/// Digits of a container id that people are shown.
const SHORT: usize = 12;

/// Classifies a directory by its path below the hierarchy's root, without a leading slash.
#[must_use]
pub fn classify(path: &str) -> Kind {
    let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
    let group = parent.rsplit('/').next().unwrap_or("");
    if is_user_slice(name) {
        return Kind::Unit(name.to_owned());
    }
    if let Some(name) = lxc(group, name).or_else(|| container(group, name)) {
        return Kind::Unit(name);
    }
    let is_unit = [".service", ".scope", ".socket", ".mount", ".swap"].iter().any(|suffix| name.ends_with(suffix));
    if is_unit {
        return Kind::Unit(unescape(name));
    }
    if name.ends_with(".slice") || is_container_group(name) || parent.split('/').any(is_kubernetes) {
        return Kind::Group;
    }
    // Something home-made at the top (`/batch/job7`): one entry, named as it is.
    Kind::Unit(name.to_owned())
}

/// The unit or container of a path like those in `/proc/PID/cgroup`; `None` for the root and for bare groups.
#[must_use]
pub fn unit_of(path: &str) -> Option<String> {
    let path = path.trim_matches('/');
    let ends = path.match_indices('/').map(|(i, _)| i).chain([path.len()]);
    ends.filter(|end| *end > 0).find_map(|end| match classify(&path[..end]) {
        Kind::Unit(name) => Some(name),
        Kind::Group => None,
    })
}

/// The unit or container out of the text of `/proc/PID/cgroup`: version 2 first, then systemd's own hierarchy, then
/// whichever controller knows one.
#[must_use]
pub fn unit_of_process(text: &str) -> Option<String> {
    let paths = || {
        let parts = text.lines().filter_map(|line| line.split_once(':')?.1.split_once(':'));
        parts.filter(|(_, path)| path.starts_with('/'))
    };
    let of = |wanted: &str| paths().find(|(controllers, _)| *controllers == wanted).and_then(|(_, path)| unit_of(path));
    of("").or_else(|| of("name=systemd")).or_else(|| paths().find_map(|(_, path)| unit_of(path)))
}

fn is_user_slice(name: &str) -> bool {
    name.strip_prefix("user-")
        .and_then(|rest| rest.strip_suffix(".slice"))
        .is_some_and(|id| !id.is_empty() && id.bytes().all(|b| b.is_ascii_digit()))
}

fn is_kubernetes(name: &str) -> bool {
    name == "kubepods" || name == "kubepods.slice"
}

fn is_container_group(name: &str) -> bool {
    is_kubernetes(name)
        || matches!(name, "docker" | "lxc" | "lxc.payload" | "lxc.monitor" | "libpod_parent" | "containerd" | "garden")
}

fn lxc(group: &str, name: &str) -> Option<String> {
    let id = match group {
        "lxc" | "lxc.payload" => name,
        _ => name.strip_prefix("lxc.payload.")?,
    };
    Some(format!("lxc-{id}"))
}

fn container(group: &str, name: &str) -> Option<String> {
    let name = name.strip_suffix(".scope").unwrap_or(name);
    // containerd's own form in a systemd slice: `slice:cri-containerd:ID`.
    let (prefix, id) = match name.rsplit_once([':', '-']) {
        Some((prefix, id)) => (prefix, id),
        None => ("", name),
    };
    if id.len() != 64 || !id.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    let runtime = match prefix.rsplit(':').next().unwrap_or(prefix) {
        "docker" => "docker",
        "libpod" | "libpod-payload" => "podman",
        "cri-containerd" | "nerdctl" => "containerd",
        "crio" => "crio",
        "" if group == "docker" => "docker",
        "" if group == "libpod_parent" => "podman",
        _ => "container",
    };
    Some(format!("{runtime}-{}", &id[..SHORT]))
}

/// systemd writes special characters as `\x2d`.
fn unescape(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    let mut rest = name;
    while let Some(at) = rest.find("\\x") {
        out.push_str(&rest[..at]);
        let code = rest.get(at + 2..at + 4).and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match code.filter(u8::is_ascii_graphic) {
            Some(code) => {
                out.push(char::from(code));
                rest = &rest[at + 4..];
            }
            None => {
                out.push_str("\\x");
                rest = &rest[at + 2..];
            }
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_become_names() {
        let id = "4f0c1a2b3c4d5e6f708192a3b4c5d6e7f8091a2b3c4d5e6f708192a3b4c5d6e7";
        let cases = [
            ("/".to_owned(), None),
            ("/system.slice".to_owned(), None),
            ("/system.slice/nginx.service".to_owned(), Some("nginx.service")),
            ("/system.slice/nginx.service/worker".to_owned(), Some("nginx.service")),
            ("/init.scope".to_owned(), Some("init.scope")),
            ("/system.slice/system-getty.slice/getty@tty1.service".to_owned(), Some("getty@tty1.service")),
            ("/system.slice/dev-disk-by\\x2dlabel-swap.swap".to_owned(), Some("dev-disk-by-label-swap.swap")),
            ("/user.slice/user-1000.slice/user@1000.service/app.slice/x.scope".to_owned(), Some("user-1000.slice")),
            (format!("/system.slice/docker-{id}.scope"), Some("docker-4f0c1a2b3c4d")),
            (format!("/docker/{id}"), Some("docker-4f0c1a2b3c4d")),
            (format!("/machine.slice/libpod-{id}.scope/container"), Some("podman-4f0c1a2b3c4d")),
            (
                format!(
                    "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1.slice/cri-containerd-{id}.scope"
                ),
                Some("containerd-4f0c1a2b3c4d"),
            ),
            (format!("/kubepods/besteffort/pod12-34/{id}"), Some("container-4f0c1a2b3c4d")),
            (format!("/system.slice/k3s.service/kubepods-pod1.slice:cri-containerd:{id}"), Some("k3s.service")),
            ("/lxc.payload.db/system.slice/x.service".to_owned(), Some("lxc-db")),
            ("/lxc/db".to_owned(), Some("lxc-db")),
            ("/process_api/7053".to_owned(), Some("process_api")),
        ];
        for (path, name) in cases {
            assert_eq!(unit_of(&path).as_deref(), name, "{path}");
        }
    }

    #[test]
    fn a_process_is_found_in_every_layout() {
        assert_eq!(unit_of_process("0::/system.slice/a.service\n").as_deref(), Some("a.service"));
        let hybrid = "9:name=systemd:/system.slice/b.service\n4:memory:/system.slice\n0::/\n";
        assert_eq!(unit_of_process(hybrid).as_deref(), Some("b.service"));
        assert_eq!(unit_of_process("4:memory:/lxc/x\n1:cpu:/\n").as_deref(), Some("lxc-x"));
        for nothing in ["", "0::/\n", "garbage", ":::", "0:"] {
            assert_eq!(unit_of_process(nothing), None, "{nothing:?}");
        }
    }
}
