//! `tacit user …`, `tacit token …` and `tacit access-log`

use anyhow::{Result, bail};
use serde_json::{Value, json};
use tacit_collector::access::local::read_password;
use tacit_collector::api::AccessLog as Lines;
use tacit_collector::api::tokens::{MadeToken, Tokens};
use tacit_collector::api::users::Users;
use tacit_collector::store::{AccessLine, ApiToken, User};

use super::{print, print_json};
use crate::access::{AccessLog, FromFile, OneUser, Token as OfToken, User as OfUser};
use crate::arguments::Ask;
use crate::client::Client;
use crate::output::{duration, now_ms, plain, table, utc};

/// Lists, makes or changes users.
///
/// # Errors
/// When a password cannot be read, or the collector cannot be asked or refuses.
pub fn user(what: &OfUser) -> Result<()> {
    match what {
        OfUser::List(ask) => users(ask),
        OfUser::Add { name, role, password, ask } => {
            let body = json!({ "name": name, "role": role, "password": read(password)? });
            told(ask, &Client::of(ask)?.post("/users", &body)?)
        }
        OfUser::Role { name, role, ask } => change(ask, name, "role", &json!({ "role": role })),
        OfUser::Disable(OneUser { name, ask }) => change(ask, name, "disable", &json!({})),
        OfUser::Enable(OneUser { name, ask }) => change(ask, name, "enable", &json!({})),
        OfUser::Password { name, password, ask } => {
            change(ask, name, "password", &json!({ "password": read(password)? }))
        }
    }
}

fn read(password: &FromFile) -> Result<String> {
    read_password(password.password_file.as_deref())
}

fn change(ask: &Ask, name: &str, verb: &str, body: &Value) -> Result<()> {
    told(ask, &Client::of(ask)?.post(&format!("/users/{}/{verb}", part(name)?), body)?)
}

/// A name as a part of a path. What is none of a user's letters is said here: the collector could not be asked.
fn part(name: &str) -> Result<&str> {
    if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._@-".contains(&b)) {
        bail!("{name:?} is no name of a user or number of a token");
    }
    Ok(name)
}

fn told(ask: &Ask, user: &User) -> Result<()> {
    if ask.json {
        return print_json(user);
    }
    let state = if user.disabled_ms.is_some() { "is disabled" } else { "may sign in" };
    print(&format!("User {} has the role {} and {state}.\n", plain(&user.name), user.role))
}

fn users(ask: &Ask) -> Result<()> {
    let answer: Users = Client::of(ask)?.get("/users")?;
    if ask.json {
        return print_json(&answer);
    }
    if answer.users.is_empty() {
        return print("There is no user. On the collector's machine: tacit-collector user add NAME --role admin\n");
    }
    let row = |u: &User| {
        let state = u.disabled_ms.map_or_else(String::new, |since| format!("disabled since {}", utc(since)));
        vec![plain(&u.name), u.role.to_string(), utc(u.created_ms), state]
    };
    print(&table(&["NAME", "ROLE", "MADE", "STATE"], &answer.users.iter().map(row).collect::<Vec<_>>()))
}

/// Lists, makes or ends tokens.
///
/// # Errors
/// When the collector cannot be asked or refuses.
pub fn token(what: &OfToken) -> Result<()> {
    match what {
        OfToken::List(ask) => tokens(ask),
        OfToken::Make { name, role, ttl, ask } => {
            let seconds = ttl.map(|ttl| ttl.as_millis().div_ceil(1000));
            let body = json!({ "name": name, "role": role, "seconds": seconds });
            let made: MadeToken = Client::of(ask)?.post("/tokens", &body)?;
            // The token alone, so that it can be written into a file.
            if ask.json { print_json(&made) } else { print(&format!("{}\n", made.secret)) }
        }
        OfToken::Revoke { id, ask } => {
            let ended: ApiToken = Client::of(ask)?.post(&format!("/tokens/{}/revoke", part(id)?), &json!({}))?;
            if ask.json {
                return print_json(&ended);
            }
            print(&format!("Token {} ({}) is over.\n", ended.id, plain(&ended.name)))
        }
    }
}

fn tokens(ask: &Ask) -> Result<()> {
    let answer: Tokens = Client::of(ask)?.get("/tokens")?;
    if ask.json {
        return print_json(&answer);
    }
    if answer.tokens.is_empty() {
        return print("There is no token.\n");
    }
    let now = now_ms();
    let rows: Vec<Vec<String>> = answer.tokens.iter().map(|t| token_row(t, now)).collect();
    print(&table(&["ID", "NAME", "ROLE", "BY", "ENDS", "USED"], &rows))
}

fn token_row(t: &ApiToken, now: i64) -> Vec<String> {
    let ends = match (t.revoked_ms, t.expires_ms) {
        (Some(at), _) => format!("revoked {}", utc(at)),
        (None, Some(at)) if at <= now => format!("over since {}", utc(at)),
        (None, Some(at)) => format!("{} (in {})", utc(at), duration(at.saturating_sub(now) / 1000)),
        (None, None) => "never".to_owned(),
    };
    vec![
        t.id.clone(),
        plain(&t.name),
        t.role.to_string(),
        t.made_by.as_deref().map_or_else(|| "–".to_owned(), plain),
        ends,
        t.last_used_ms.map_or_else(|| "never".to_owned(), utc),
    ]
}

/// Says who changed what.
///
/// # Errors
/// When the collector cannot be asked or refuses.
pub fn log(options: &AccessLog) -> Result<()> {
    let before = options.before.map_or_else(String::new, |n| format!("&before={n}"));
    let path = format!("/access-log?limit={}{before}", options.limit);
    let answer: Lines = Client::of(&options.ask)?.get(&path)?;
    if options.ask.json {
        return print_json(&answer);
    }
    if answer.lines.is_empty() {
        return print("Nothing was changed.\n");
    }
    let row = |l: &AccessLine| {
        let what = format!("{} {}", plain(&l.method), plain(&l.path));
        vec![
            l.n.to_string(),
            utc(l.at_ms),
            plain(&l.who),
            plain(&l.role),
            plain(&l.address),
            l.status.to_string(),
            what,
        ]
    };
    let rows: Vec<Vec<String>> = answer.lines.iter().map(row).collect();
    print(&table(&["N", "WHEN", "WHO", "ROLE", "FROM", "STATUS", "WHAT"], &rows))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_part_of_a_path() {
        assert_eq!(part("ana@example.org").unwrap(), "ana@example.org");
        for wrong in ["", "a/b", "a b", "a?b", "%2f", "ä"] {
            assert!(part(wrong).unwrap_err().to_string().contains("is no name"), "{wrong:?}");
        }
    }
}
