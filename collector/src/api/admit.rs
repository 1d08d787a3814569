//! Lets a request in, or says why not: who asks, whether they may, whether their browser means it, whether they do it too often; and notes
//! what was changed.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::connect_info::Connected;
use axum::extract::{ConnectInfo, Request};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Redirect, Response};
use axum::serve::IncomingStream;
use futures_util::StreamExt as _;
use tokio::net::TcpListener;

use super::{ApiError, ApiState, BODY_MAX, error, nodes};
use crate::access::log::{self, Acted, Asked};
use crate::access::me::{Me, answering};
use crate::access::roles::{self, Found, Need, Role, Rule};
use crate::access::{Refusal, secret};
use crate::console::PageError;
use crate::tls::TlsListener;

/// What a change from a browser has to carry: in this header, or in a form's field of the other name.
pub const CSRF_HEADER: &str = "x-tacit-csrf";
pub const CSRF_FIELD: &str = "csrf";
/// A stream looks so often whether who listens still may.
const LOOK_AGAIN: Duration = Duration::from_secs(15);
/// Bytes of an address that somebody is sent back to after signing in.
const NEXT_MAX: usize = 2000;

/// Who is at the other end of a connection.
#[derive(Debug, Clone, Copy)]
pub struct Peer(SocketAddr);

impl Connected<IncomingStream<'_, TcpListener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, TcpListener>) -> Self {
        Self(*stream.remote_addr())
    }
}

impl Connected<IncomingStream<'_, TlsListener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, TlsListener>) -> Self {
        Self(*stream.remote_addr())
    }
}

/// From where a request comes, for handlers.
#[derive(Debug, Clone, Copy)]
pub struct Asker(pub IpAddr);

/// What a form holds, for handlers: read here, as its token has to be looked at.
#[derive(Debug, Clone, Default)]
pub struct Fields(Vec<(String, String)>);

impl Fields {
    /// The text of a field; empty when there is none.
    #[must_use]
    pub fn get(&self, name: &str) -> &str {
        self.0.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value)
    }
}

/// Why a request is not let in, and who it was.
struct Refused {
    error: ApiError,
    me: Me,
    /// Seconds after which it may be.
    wait: Option<u64>,
}

impl Refused {
    fn new(error: ApiError, me: &Me) -> Box<Self> {
        Box::new(Self { error, me: me.clone(), wait: None })
    }

    fn nobody(refusal: Refusal) -> Box<Self> {
        let wait = if let Refusal::Wait(seconds) = refusal { Some(seconds) } else { None };
        Box::new(Self { error: refusal.into(), me: Me::nobody(), wait })
    }
}

/// Answers a request, if it may be answered.
pub async fn admit(state: &ApiState, mut request: Request, next: Next) -> Response {
    let asked = asked(&request);
    request.extensions_mut().insert(Asker(asked.address));
    let entered = enter(state, &asked, &mut request).await;
    match entered {
        Ok(me) if asked.is_change() => change(state, asked, me, request, next).await,
        Ok(me) => {
            let response = answering(me.clone(), next.run(request)).await;
            guarded(state, me, response)
        }
        Err(refused) => {
            let sign_in = (!request.headers().contains_key(header::AUTHORIZATION)).then(|| sign_in(&request));
            drop(request);
            log::note(&*state.store, &asked, &refused.me, None, refused.error.status()).await;
            let me = refused.me.clone();
            guarded(state, me, refusal(&asked, *refused, sign_in).await)
        }
    }
}

fn asked(request: &Request) -> Asked {
    let peer = request.extensions().get::<ConnectInfo<Peer>>();
    Asked {
        method: request.method().clone(),
        path: request.uri().path().to_owned(),
        address: peer.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |ConnectInfo(Peer(at))| at.ip().to_canonical()),
    }
}

/// Who asks, if they may ask for this.
async fn enter(state: &ApiState, asked: &Asked, request: &mut Request) -> Result<Me, Box<Refused>> {
    let nobody = |error: ApiError| Refused::new(error, &Me::nobody());
    let found = roles::find(&asked.method, &asked.path);
    if let Found::Rule(Rule { need: Need::Nobody, is_form: false, .. }) = found {
        return Ok(Me::nobody());
    }
    let access = &state.access;
    if !access.is_required().await.map_err(|e| nobody(e.into()))? {
        if let Found::Rule(Rule { is_form: true, .. }) = found {
            let hint = "tacit-collector user add NAME --role admin makes the first user";
            return Err(nobody(ApiError::conflict("nobody has to sign in here, so this form does nothing", hint)));
        }
        return Ok(Me::anyone());
    }
    if let Found::Rule(Rule { need: Need::Nobody, .. }) = found {
        read_form(request).await.map_err(nobody)?;
        return Ok(Me::nobody());
    }
    let me = access.identify(request.headers(), asked.address).await.map_err(Refused::nobody)?;
    let me = me.ok_or_else(|| nobody(ApiError::unauthorized("who asks here has to be known")))?;
    let refused = |error: ApiError| Refused::new(error, &me);
    let rule = match found {
        Found::Rule(rule) => rule,
        Found::OtherMethod => return Err(refused(error::no_such_method(asked.method.clone()).await)),
        Found::Nothing => return Err(refused(error::no_such_resource().await)),
    };
    allowed(rule, &me).map_err(refused)?;
    if asked.is_change() {
        access.take_change(asked.address).map_err(|why| {
            let mut refused = Refused::nobody(why);
            refused.me = me.clone();
            refused
        })?;
        let fields = if rule.is_form { Some(read_form(request).await.map_err(refused)?) } else { None };
        meant(&me, fields.as_ref(), request.headers()).map_err(refused)?;
    }
    Ok(me)
}

/// Whether somebody's role is enough.
fn allowed(rule: &Rule, me: &Me) -> Result<(), ApiError> {
    let Need::Least(least) = rule.need else { return Ok(()) };
    if me.role >= Some(least) {
        return Ok(());
    }
    let words = format!("this needs the role {least}, and {} has the role {}", me.name(), me.role_name());
    let hint = match least {
        Role::Admin => "ask an admin to do it",
        _ => "an admin can give another role: tacit user role NAME --role ROLE",
    };
    Err(ApiError::forbidden(&words, hint))
}

/// Whether a change is meant by whoever sits at a browser, and not by a page from elsewhere: the browser sends its cookie with both, but only
/// our own pages know the token of the session. Programs send no cookie that somebody could misuse.
fn meant(me: &Me, fields: Option<&Fields>, headers: &HeaderMap) -> Result<(), ApiError> {
    let Some(session) = &me.session else {
        return match fields {
            None => Ok(()),
            Some(_) => Err(ApiError::forbidden("forms are for browsers that signed in", "use the API")),
        };
    };
    let shown = match fields {
        Some(fields) => fields.get(CSRF_FIELD),
        None => headers.get(CSRF_HEADER).and_then(|value| value.to_str().ok()).unwrap_or_default(),
    };
    if secret::same(shown, &session.csrf) {
        return Ok(());
    }
    Err(ApiError::forbidden("the request does not carry the token of its page", "load the page again"))
}

/// Reads the form that a request carries and leaves it to the handler.
async fn read_form(request: &mut Request) -> Result<Fields, ApiError> {
    let body = std::mem::replace(request.body_mut(), Body::empty());
    let bytes = to_bytes(body, BODY_MAX).await.map_err(|_| ApiError::too_large(BODY_MAX))?;
    let fields = Fields(nodes::pairs(&String::from_utf8_lossy(&bytes)));
    request.extensions_mut().insert(fields.clone());
    Ok(fields)
}

/// Runs a change and notes it. It runs to its end when who asked has gone: nothing is done that is not noted.
async fn change(state: &ApiState, asked: Asked, me: Me, request: Request, next: Next) -> Response {
    let state = state.clone();
    let work = async move {
        let response = answering(me.clone(), next.run(request)).await;
        let (status, acted) = (response.status(), response.extensions().get::<Acted>().cloned());
        log::note(&*state.store, &asked, &me, acted.as_ref(), status).await;
        guarded(&state, me, response)
    };
    match tokio::spawn(work).await {
        Ok(response) => response,
        Err(error) => ApiError::failed(format!("a request broke off: {error}")).into_response(),
    }
}

/// What an answer to somebody known carries beyond others, and how long it goes on.
fn guarded(state: &ApiState, me: Me, mut response: Response) -> Response {
    if me.session.is_some() {
        // Our own forms say where they come from; nobody else is told.
        response.headers_mut().insert(header::REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    }
    let is_stream = response.headers().get(header::CONTENT_TYPE).is_some_and(|kind| kind == "text/event-stream");
    if is_stream && me.is_known() { while_allowed(state, me, response) } else { response }
}

/// Ends a stream when who listens may not any more.
fn while_allowed(state: &ApiState, me: Me, response: Response) -> Response {
    let access = Arc::clone(&state.access);
    let mut rights = access.rights();
    let over = async move {
        loop {
            tokio::select! {
                changed = rights.changed() => {
                    if changed.is_err() {
                        return;
                    }
                }
                () = tokio::time::sleep(LOOK_AGAIN) => {}
            }
            if !access.is_still(&me).await {
                return;
            }
        }
    };
    let (head, body) = response.into_parts();
    Response::from_parts(head, Body::from_stream(body.into_data_stream().take_until(Box::pin(over))))
}

/// Says why not: to programs in JSON, to people with a page, and to a browser that nobody signed in with by sending it to where one does.
async fn refusal(asked: &Asked, refused: Refused, sign_in: Option<String>) -> Response {
    let status = refused.error.status();
    let mut response = match sign_in.filter(|_| status == StatusCode::UNAUTHORIZED) {
        _ if !is_page(&asked.path) => refused.error.into_response(),
        Some(place) => Redirect::to(&place).into_response(),
        None => answering(refused.me, async { PageError::from(refused.error).into_response() }).await,
    };
    if status == StatusCode::UNAUTHORIZED && response.status() == status {
        response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"tacit\""));
    }
    if let Some(wait) = refused.wait {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(wait));
    }
    response
}

/// Whether a path is one of people's pages.
fn is_page(path: &str) -> bool {
    !(path == "/api" || path.starts_with("/api/") || path.starts_with("/-/") || path == "/metrics")
}

/// The page to sign in, and back to where somebody wanted to go.
fn sign_in(request: &Request) -> String {
    let wanted = request.uri().path_and_query().map_or("/", |wanted| wanted.as_str());
    if *request.method() != Method::GET || wanted == "/" || wanted.len() > NEXT_MAX {
        return "/login".to_owned();
    }
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~/".contains(&b);
    let letter = |b: u8| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") };
    format!("/login?next={}", wanted.bytes().map(letter).collect::<String>())
}
