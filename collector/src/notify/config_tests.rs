use super::*;
use crate::config::Config;

const MAIL: &str = "[[notify.receiver]]\nname = \"m\"\nkind = \"mail\"\nhost = \"mail.example\"\nfrom = \"tacit@example.org\"\nto = [\"Ana <ana@example.org>\"]\n";

fn receiver(rest: &str) -> String {
    format!("[[notify.receiver]]\nname = \"ops\"\n{rest}\n")
}

#[test]
fn every_kind_can_be_configured() {
    let text = format!(
        r##"
        pages = "1/day"
        [notify]
        wait = "0s"
        interval = "1min"
        repeat = "1h"
        external_url = "https://tacit.example"
        {MAIL}
        [[notify.receiver]]
        name = "am"
        kind = "alertmanager"
        urls = ["http://a.example:9093", "http://b.example:9093"]
        watchdog = false
        [[notify.receiver]]
        name = "chat"
        kind = "webhook"
        url_file = "/etc/tacit/chat-url"
        method = "PUT"
        headers = {{ "x-team" = "ops" }}
        template = '{{"text": {{{{ summary | tojson }}}}}}'
        content_type = "application/json"
        bearer_file = "/etc/tacit/token"
        send_resolved = false
        [[notify.receiver]]
        name = "alive"
        kind = "watchdog"
        url = "https://hc.example/ping/1"
        [[notify.route]]
        receivers = ["chat", "m"]
        sites = ["lab"]
        nodes = ["db-*"]
        tags = ["role=db*"]
        min_severity = 0.7
        continue = true
        [[notify.route]]
        receivers = ["am"]
        "##
    );
    let config = Config::parse(&text).expect("it is good");
    assert_eq!((config.notify.receiver.len(), config.notify.route.len()), (4, 2));
    assert!(config.notify.receiver[1].send_resolved && !config.notify.receiver[2].send_resolved);
    assert_eq!(config.pages.a_week(), Some(7.0));
}

#[test]
fn mistakes_are_explained() {
    let hook = |rest: &str| receiver(&format!("kind = \"webhook\"\nurl = \"http://x.example/\"\n{rest}"));
    for (text, expected) in [
        ("[notify]\nwait = 30\n".to_owned(), "line 2: wait = 30: invalid type: integer `30`"),
        (
            "[notify]\nwait = \"30\"\n".to_owned(),
            "line 2: wait = \"30\": \"30\" is not a duration: write a whole number",
        ),
        ("[notify]\nrepeat = \"1min\"\n".to_owned(), "notify.repeat: 1min is shorter than notify.interval"),
        ("[notify]\nrepeats = \"1h\"\n".to_owned(), "line 2: repeats = \"1h\": unknown field `repeats`"),
        ("[notify]\nexternal_url = \"tacit\"\n".to_owned(), "notify.external_url: "),
        ("pages = \"often\"\n".to_owned(), "line 1: pages = \"often\": \"often\" is no promise"),
        ("[[notify.receiver]]\nkind = \"mail\"\n".to_owned(), "notify.receiver number 1: name: write 1 to 64"),
        (receiver("").replace("ops", "console"), "notify.receiver \"console\": name: write 1 to 64"),
        (receiver(""), "notify.receiver \"ops\": kind is missing: alertmanager, webhook, mail or watchdog"),
        (
            receiver("kind = \"pager\""),
            "line 3: kind = \"pager\": unknown variant `pager`, expected one of `alertmanager`",
        ),
        (receiver("kind = \"webhook\""), "notify.receiver \"ops\": url is missing, or url_file; not both"),
        (
            receiver("kind = \"alertmanager\""),
            "notify.receiver \"ops\": url is missing, or urls of a cluster; not both",
        ),
        (
            receiver("kind = \"webhook\"\nurl = \"ftp://x/\""),
            "notify.receiver \"ops\": ftp://x is no address: write http",
        ),
        (
            receiver("kind = \"webhook\"\nurl = \"http://u:secret@x.example/\""),
            "notify.receiver \"ops\": an address holds no user and password",
        ),
        (hook("host = \"mail\""), "notify.receiver \"ops\": host has no meaning for kind = \"webhook\""),
        (hook("watchdog = false"), "notify.receiver \"ops\": watchdog has no meaning for kind = \"webhook\""),
        (hook("method = \"GET\""), "notify.receiver \"ops\": method: \"GET\" is not possible: POST or PUT"),
        (hook("username = \"ana\""), "notify.receiver \"ops\": username and password_file go together"),
        (hook("headers = { \"a b\" = \"x\" }"), "notify.receiver \"ops\": headers: \"a b\" is no name of a header"),
        (hook("headers = { Host = \"x\" }"), "notify.receiver \"ops\": headers: Host is set by the collector"),
        (hook("template = \"{{ summary\""), "notify.receiver \"ops\": template: line 1: "),
        (hook("template = \"{{ sumary }}\""), "notify.receiver \"ops\": template: line 1: "),
        (hook("template = \"{{ cause.entity }}\""), "notify.receiver \"ops\": template: line 1: "),
        (MAIL.replace("mail.example", ""), "notify.receiver \"m\": host is missing"),
        (MAIL.replace("tacit@example.org", "tacit"), "notify.receiver \"m\": \"tacit\" is no address of mail"),
        (
            format!("{MAIL}tls = \"none\"\nusername = \"u\"\npassword_file = \"p\"\n"),
            "notify.receiver \"m\": tls = \"none\" would send the password in the clear",
        ),
        (format!("{MAIL}{MAIL}"), "notify.receiver \"m\" is there twice"),
        (format!("{MAIL}[[notify.route]]\n"), "notify.route number 1: receivers is missing"),
        (
            format!("{MAIL}[[notify.route]]\nreceivers = [\"x\"]\n"),
            "notify.route number 1: receivers: there is no receiver \"x\" that can be told",
        ),
        (
            format!("{MAIL}[[notify.route]]\nreceivers = [\"m\"]\nmin_severity = 7.0\n"),
            "notify.route number 1: min_severity: 7 is not between 0 and 1",
        ),
    ] {
        let error = Config::parse(&text).expect_err(&text);
        assert!(error.starts_with(expected), "{error:?} should begin with {expected:?}");
    }
}

#[test]
fn secrets_are_not_printed() {
    let receiver = ReceiverConfig {
        url: Some("https://hooks.example/services/T0/SECRET".into()),
        headers: BTreeMap::from([("x-token".into(), "SECRET".into())]),
        ..ReceiverConfig::default()
    };
    let shown = format!("{receiver:?}");
    assert!(shown.contains("https://hooks.example/***") && !shown.contains("SECRET"), "{shown}");
    assert_eq!(masked("http://user:SECRET@x.example"), "http://x.example");
    assert_eq!(masked("not an address SECRET"), "***");
}
