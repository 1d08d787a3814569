//! Who asks, known to everything that answers the request.

use crate::store::Role;

/// Somebody who may ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Who {
    /// Nobody has to sign in here.
    Anyone,
    /// Nobody known; only what is free for all is answered.
    Nobody,
    /// A user.
    User(String),
    /// A program with a token: what it is for, and its number.
    Token {
        /// What it is for.
        name: String,
        /// Its number.
        id: String,
    },
}

/// Who asks, and what they may.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Me {
    /// Who.
    pub who: Who,
    /// What they may; nothing for nobody.
    pub role: Option<Role>,
    /// The user who answers for it: the one who signed in, or who made the token.
    pub owner: Option<String>,
    /// Of a browser: its session.
    pub session: Option<MySession>,
}

/// The session of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MySession {
    /// By which it is known.
    pub id_hash: [u8; 32],
    /// What a change has to carry.
    pub csrf: String,
}

impl Me {
    /// Where nobody has to sign in.
    #[must_use]
    pub fn anyone() -> Self {
        Self { who: Who::Anyone, role: Some(Role::Admin), owner: None, session: None }
    }

    /// For what is free for all.
    #[must_use]
    pub fn nobody() -> Self {
        Self { who: Who::Nobody, role: None, owner: None, session: None }
    }

    /// A user.
    #[must_use]
    pub fn user(name: &str, role: Role, session: Option<MySession>) -> Self {
        Self { who: Who::User(name.to_owned()), role: Some(role), owner: Some(name.to_owned()), session }
    }

    /// Whether it is somebody by name.
    #[must_use]
    pub fn is_known(&self) -> bool {
        matches!(self.who, Who::User(_) | Who::Token { .. })
    }

    /// The name, as the log has it.
    #[must_use]
    pub fn name(&self) -> String {
        match &self.who {
            Who::Anyone => "anyone".into(),
            Who::Nobody => "-".into(),
            Who::User(name) => name.clone(),
            Who::Token { name, id } => format!("token {name} ({id})"),
        }
    }

    /// The role, as the log has it. Where nobody signs in there is none.
    #[must_use]
    pub fn role_name(&self) -> &'static str {
        if self.is_known() { self.role.map_or("-", Role::as_str) } else { "-" }
    }
}

tokio::task_local! {
    static ME: Me;
}

/// Answers a request as somebody.
pub async fn answering<T>(me: Me, answer: impl Future<Output = T>) -> T {
    ME.scope(me, answer).await
}

/// Who asks; anyone outside of requests.
#[must_use]
pub fn me() -> Me {
    ME.try_with(Clone::clone).unwrap_or_else(|_| Me::anyone())
}

/// Who a change is signed by: whoever is known, whatever the request says; and what it says where nobody signs in. A program may
/// say for whom it acts.
#[must_use]
pub fn signed(said: Option<String>) -> Option<String> {
    let said = said.filter(|name| !name.trim().is_empty());
    match me().who {
        Who::Anyone | Who::Nobody => said,
        Who::User(name) => Some(name),
        Who::Token { name, .. } => Some(match said {
            Some(said) => format!("{said} (token {name})"),
            None => format!("token {name}"),
        }),
    }
}

/// Whether a page is for somebody who signed in with a browser; asked by the frame of all pages.
#[must_use]
pub fn has_session() -> bool {
    me().session.is_some()
}

/// Whether a page is for somebody by name.
#[must_use]
pub fn is_known() -> bool {
    me().is_known()
}

/// Whether a page may offer what operators do.
#[must_use]
pub fn may_act() -> bool {
    may(Role::Operator)
}

/// Whether a page may offer what needs this role.
#[must_use]
pub fn may(role: Role) -> bool {
    me().role >= Some(role)
}

/// The name on a page.
#[must_use]
pub fn my_name() -> String {
    me().name()
}

/// The role on a page.
#[must_use]
pub fn my_role() -> &'static str {
    me().role_name()
}

/// What the forms of a page carry.
#[must_use]
pub fn my_csrf() -> String {
    me().session.map_or_else(String::new, |session| session.csrf)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_change_is_signed_by_who_is_known() {
        let said = |name: &str| Some(name.to_owned());
        assert_eq!(signed(said("bo")), said("bo"));
        let token = Me {
            who: Who::Token { name: "ci".into(), id: "00000001".into() },
            role: Some(Role::Operator),
            owner: None,
            session: None,
        };
        assert_eq!((token.name().as_str(), token.role_name()), ("token ci (00000001)", "operator"));
        let ana = Me::user("ana", Role::Operator, None);
        answering(ana, async {
            assert_eq!(signed(said("bo")), said("ana"), "nobody signs as somebody else");
            assert_eq!(signed(None), said("ana"));
            assert!(is_known() && !has_session() && may(Role::Operator) && !may(Role::Admin));
        })
        .await;
        answering(token, async {
            assert_eq!(signed(said("bo")), said("bo (token ci)"));
            assert_eq!(signed(said(" ")), said("token ci"));
        })
        .await;
        answering(Me::nobody(), async { assert!(!may(Role::Viewer)) }).await;
        assert!(!is_known() && may(Role::Admin));
    }
}
