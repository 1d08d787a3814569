//! `tacit user`, `tacit token` and `tacit access-log` against a collector.

use crate::office::Office;

#[test]
fn users_and_tokens_are_made_and_ended() {
    let office = Office::open();
    let before = office.refused(&["token", "make", "ci", "--role", "viewer"]);
    assert!(before.contains("tacit-collector user add NAME --role admin"), "{before}");
    let root = office.admin_token();
    // From now on everybody has to be known.
    let unknown = office.refused(&["status"]);
    assert!(unknown.contains("who asks here has to be known") && unknown.contains("TACIT_TOKEN"), "{unknown}");
    let said = |arguments: &[&str]| {
        let (good, said, why) = office.run_with(&root, arguments);
        assert!(good, "{arguments:?}: {why}");
        said
    };
    let refused = |token: &str, arguments: &[&str]| {
        let (good, said, why) = office.run_with(token, arguments);
        assert!(!good, "{arguments:?}: {said}");
        why
    };

    let folder = tempfile::tempdir().unwrap();
    let (password, file) = (folder.path().join("password"), folder.path().join("token"));
    std::fs::write(&password, "correct horse\n").unwrap();
    let password = password.to_str().unwrap();
    let made = said(&["user", "add", "bo", "--role", "viewer", "--password-file", password]);
    assert_eq!(made, "User bo has the role viewer and may sign in.\n");
    let none = refused(&root, &["user", "add", "cy", "--role", "viewer"]);
    assert!(none.contains("there is no password"), "{none}");
    assert!(refused(&root, &["user", "add", "cy", "--role", "king"]).contains("is no role"));
    assert_eq!(said(&["user", "role", "bo", "--role", "operator"]), "User bo has the role operator and may sign in.\n");
    assert!(said(&["user", "password", "bo", "--password-file", password]).starts_with("User bo"));
    assert_eq!(said(&["user", "disable", "bo"]), "User bo has the role operator and is disabled.\n");
    let list = said(&["user", "list"]);
    let row = list.lines().find(|line| line.starts_with("bo ")).unwrap();
    assert!(row.contains("operator") && row.contains("disabled since"), "{list}");
    assert!(said(&["user", "enable", "bo"]).ends_with("may sign in.\n"));
    assert!(refused(&root, &["user", "disable", "root"]).contains("root is the last admin"));
    assert!(refused(&root, &["user", "disable", "a/b"]).contains("is no name"));

    let text = said(&["token", "make", "scrape", "--role", "viewer", "--ttl", "30d"]);
    let viewer = text.trim_end();
    assert!(viewer.starts_with("tacit-api."), "{text}");
    std::fs::write(&file, &text).unwrap();
    // The file goes before the environment.
    let (good, status, _) =
        office.run_with("tacit-api.00000000.x", &["status", "--token-file", file.to_str().unwrap()]);
    assert!(good && status.starts_with("All quiet."), "{status}");
    let change = ["change", "deploy api 1.2.3"];
    assert!(refused(viewer, &change).contains("this needs the role operator"), "a viewer changes nothing");
    let list = said(&["token", "list"]);
    let row = list.lines().find(|line| line.contains("scrape")).unwrap();
    assert!(row.contains("viewer") && row.contains("root") && row.contains("(in 29 d)"), "{list}");
    assert!(!list.contains(viewer));
    let id = viewer.split('.').nth(1).unwrap();
    assert_eq!(said(&["token", "revoke", id]), format!("Token {id} (scrape) is over.\n"));
    assert!(refused(viewer, &["status"]).contains("unknown, over or revoked"));
    assert!(refused("a\tb", &["status"]).contains("TACIT_TOKEN holds no token"));

    let log = said(&["access-log", "--limit", "2"]);
    let lines: Vec<_> = log.lines().collect();
    assert_eq!(lines.len(), 3, "{log}");
    assert!(lines[1].contains("token root's own (") && lines[1].ends_with(&format!("POST /api/v1/tokens/{id}/revoke")));
    assert!(lines[2].contains("403") && lines[2].ends_with("POST /api/v1/changes"), "{log}");
    assert!(said(&["access-log", "--json"]).contains("\"status\": 403"));
    office.close();
}
