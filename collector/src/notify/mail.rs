//! Mail, by SMTP.

use std::path::PathBuf;

use lettre::message::header::{ContentType, HeaderName, HeaderValue};
use lettre::message::{Mailbox, Message as Letter};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Tls, TlsParameters};
use lettre::{SmtpTransport, Transport as _};

use super::config::MailTls;
use super::http::{SendError, TIMEOUT, secret};
use super::message::Message;
use crate::map::names::plain;

/// Longest answer of a mail server that is shown, in characters.
const ANSWER_MAX: usize = 300;

/// People who are told by mail.
#[derive(Debug)]
pub struct Mail {
    /// The mail server.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How it is spoken to.
    pub tls: MailTls,
    /// The sender.
    pub from: Mailbox,
    /// Who gets them.
    pub to: Vec<Mailbox>,
    /// User name and file with the password.
    pub user: Option<(String, PathBuf)>,
}

impl Mail {
    /// Sends a message. `key` names it: a mail that arrives twice has the same name, and the mails of an incident are one thread.
    ///
    /// # Errors
    /// When the server did not take it.
    pub fn send(&self, key: &str, message: &Message) -> Result<String, SendError> {
        let letter = self.letter(key, message)?;
        let mut server = SmtpTransport::builder_dangerous(self.host.as_str()).port(self.port).timeout(Some(TIMEOUT));
        let parameters = || TlsParameters::new(self.host.clone()).map_err(|e| unsent(&e));
        server = match self.tls {
            MailTls::None => server,
            MailTls::Starttls => server.tls(Tls::Required(parameters()?)),
            MailTls::Tls => server.tls(Tls::Wrapper(parameters()?)),
        };
        if let Some((user, file)) = &self.user {
            server = server.credentials(Credentials::new(user.clone(), secret(file)?));
        }
        let answer = server.build().send(&letter).map_err(|e| unsent(&e))?;
        Ok(shown(&format!("{} {}", answer.code(), answer.first_line().unwrap_or_default())))
    }

    fn letter(&self, key: &str, message: &Message) -> Result<Letter, SendError> {
        let domain = self.from.email.domain();
        let thread = format!("<tacit-{}@{domain}>", message.incident);
        let name = format!("<{}@{domain}>", key.replace(':', "."));
        let automatic = HeaderName::new_from_ascii_str("Auto-Submitted");
        let mut letter = Letter::builder()
            .from(self.from.clone())
            .subject(message.summary.as_str())
            .message_id(Some(name))
            .in_reply_to(thread.clone())
            .references(thread)
            .raw_header(HeaderValue::new(automatic, "auto-generated".to_owned()))
            .header(ContentType::TEXT_PLAIN);
        for mailbox in &self.to {
            letter = letter.to(mailbox.clone());
        }
        letter.body(message.text()).map_err(|e| SendError::never(format!("no mail can be made of it: {e}")))
    }
}

/// A refusal for good is one; everything else may be better later.
fn unsent(error: &lettre::transport::smtp::Error) -> SendError {
    let text = shown(&error.to_string());
    if error.is_timeout() {
        return SendError::later(format!("no answer within {} s", TIMEOUT.as_secs()));
    }
    if error.is_permanent() { SendError::never(text) } else { SendError::later(text) }
}

fn shown(text: &str) -> String {
    plain(text.trim()).chars().take(ANSWER_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::incident;
    use super::super::message::Occasion;
    use super::*;

    #[test]
    fn the_mails_of_an_incident_are_one_thread() {
        let mail = Mail {
            host: "127.0.0.1".into(),
            port: 25,
            tls: MailTls::None,
            from: "Tacit <tacit@example.org>".parse().unwrap(),
            to: vec!["ana@example.org".parse().unwrap(), "bo@example.org".parse().unwrap()],
            user: None,
        };
        let mut i = incident(12);
        i.title = "slow\r\nBcc: eve@example.org".into();
        let message = Message::about(&i, Vec::new(), "http://t").told(Occasion::Opened, "reopened:1", Vec::new());
        let letter = mail.letter("tacit-12-reopened:1-5", &message).unwrap();
        let text = String::from_utf8(letter.formatted()).unwrap();
        for line in [
            "Message-ID: <tacit-12-reopened.1-5@example.org>\r\n",
            "References: <tacit-12@example.org>\r\n",
            "To: ana@example.org, bo@example.org\r\n",
            "Auto-Submitted: auto-generated\r\n",
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
        assert!(!text.contains("\r\nBcc:"), "{text}");
        let to: Vec<_> = letter.envelope().to().iter().map(ToString::to_string).collect();
        assert_eq!(to, ["ana@example.org", "bo@example.org"]);
    }
}
