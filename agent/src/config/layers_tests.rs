use super::*;

/// A main file, drop-ins by name, and variables.
struct Rig {
    folder: tempfile::TempDir,
    variables: Vec<(OsString, OsString)>,
}

impl Rig {
    fn new(files: &[(&str, &str)], variables: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(folder.path().join("agent.d")).expect("made");
        for (name, text) in files {
            std::fs::write(folder.path().join(name), text).expect("written");
        }
        let variables = variables.iter().map(|(name, value)| (name.into(), value.into())).collect();
        Self { folder, variables }
    }

    fn places(&self) -> Places {
        let file = self.folder.path().join("agent.toml");
        Places::new(Some(file), Path::new("/nowhere"), None).with_environment(self.variables.clone())
    }

    fn read(&self) -> Layers {
        self.places().read().expect("a good configuration")
    }

    /// What is wrong, with names of files below the folder.
    fn error(&self) -> String {
        let error = self.places().read().expect_err("something is wrong").to_string();
        error.replace(&format!("{}/", self.folder.path().display()), "")
    }

    fn printed(&self) -> String {
        self.read().print().replace(&format!("{}/", self.folder.path().display()), "")
    }
}

const MAIN: &str = "[node]\nsite = \"lab\"\n\n[publish]\nbroker = \"mqtt://a:1\"\nprofile = \"full\"\n\n\
    [[probe]]\nname = \"x\"\ntarget = \"tcp://a:1\"\n\n[[probe]]\nname = \"y\"\ntarget = \"tcp://a:2\"\n";

#[test]
fn the_later_place_decides_each_key() {
    let rig = Rig::new(
        &[
            ("agent.toml", MAIN),
            (
                "agent.d/50-enrolled.toml",
                "[node]\nid = \"n1\"\nsite = \"berlin\"\n[publish]\nbroker = \"mqtt://b:1\"\n",
            ),
            ("agent.d/60-probe.toml", "[[probe]]\nname = \"z\"\ntarget = \"tcp://a:3\"\n"),
            ("agent.d/70-old.toml~", "not toml"),
            ("agent.d/.hidden.toml", "not toml"),
            ("agent.d/notes.txt", "not toml"),
        ],
        &[
            ("TACIT_PUBLISH_BROKER", "mqtt://c:1"),
            ("TACIT_SAMPLING_MAX_SERIES", "64"),
            ("TACIT_SAMPLING_DISABLE", "[\"files\"]"),
            ("TACIT_SAMPLING_COMMAND_LINES", "false"),
            ("TACIT_SAMPLING_INTERVAL", "5s"),
            ("TACIT_PUBLISH_USERNAME", "1234"),
            ("TACIT_OUTBOX_MAX_AGE", ""),
            ("TACIT_LOG", "debug"),
            ("TACIT_PUBLSH_BROKER", "mqtt://d:1"),
            ("HOME", "/root"),
        ],
    );
    let layers = rig.read();
    let Config { node, sampling, publish, outbox, probe, .. } = &layers.config;
    assert_eq!(node.id.as_ref().map(ToString::to_string).as_deref(), Some("n1"));
    assert_eq!(node.site.to_string(), "berlin");
    assert_eq!(publish.broker, "mqtt://c:1");
    assert_eq!(publish.profile, super::super::ProfileName::Full, "a table is merged");
    assert_eq!(publish.username.as_deref(), Some("1234"), "a number where a text is wanted is text");
    assert_eq!(probe.iter().map(|p| p.name.as_str()).collect::<Vec<_>>(), ["z"], "a list is replaced");
    assert_eq!((sampling.max_series, sampling.command_lines, sampling.interval.as_millis()), (64, false, 5000));
    assert_eq!(sampling.disable, ["files"]);
    assert_eq!(*outbox, Config::default().outbox, "an empty variable is not set");
    assert_eq!(layers.unused(), ["TACIT_PUBLSH_BROKER"]);
    assert_eq!(layers.files().len(), 3);
}

#[test]
fn what_is_in_force_is_shown_with_its_places() {
    let rig = Rig::new(
        &[("agent.toml", MAIN), ("agent.d/50-enrolled.toml", "[publish]\nbroker = \"mqtt://b:1\"\n")],
        &[("TACIT_PUBLISH_BROKER", "mqtt://c:1"), ("TACIT_NODE_SITE", "lab")],
    );
    let printed = rig.printed();
    for line in [
        "publish.broker = \"mqtt://c:1\"  # TACIT_PUBLISH_BROKER, instead of \"mqtt://b:1\" (agent.d/50-enrolled.toml, line 2), \
         instead of \"mqtt://a:1\" (agent.toml, line 5)\n",
        "\nnode.site = \"lab\"  # TACIT_NODE_SITE\n",
        "\npublish.profile = \"full\"  # agent.toml, line 6\n",
        "\npublish.backoff_max = \"2min\"\n",
        "name = \"x\"",
    ] {
        assert!(printed.contains(line), "{line:?} is missing in\n{printed}");
    }
    assert_eq!(Config::parse(&printed).as_ref(), Ok(&rig.read().config), "what is printed is a configuration");
    let layers = rig.read();
    let overridden: Vec<_> = layers.overridden().map(|(key, _)| key).collect();
    assert_eq!(overridden, ["node.site", "publish.broker"]);
    assert!(layers.sets("probe") && !layers.sets("node.id"));
}

#[test]
fn a_complaint_names_the_place() {
    for (drop_in, error) in [
        ("[node]\nsitte = \"a\"\n", "agent.d/50.toml: line 2: node.sitte: unknown field `sitte`"),
        ("\n\n[publsh]\n", "agent.d/50.toml: line 3: publsh: unknown field `publsh`"),
        ("[sampling]\ninterval = 5\n", "agent.d/50.toml: line 2: sampling.interval: invalid type: integer `5`"),
        ("[sampling]\n\ninterval = \"5ms\"\n", "agent.d/50.toml: line 3: sampling.interval: \"5ms\": allowed are"),
        ("[[probe]]\nname = \"a\"\n", "agent.d/50.toml: line 1: "),
        (
            "[[probe]]\nname = \"a\"\ntarget = \"tcp://a:1\"\ntimeout = \"1h\"\n",
            "agent.d/50.toml: line 4: probe[0].timeout: ",
        ),
        ("[node\n", "agent.d/50.toml: line 1: unclosed table"),
        // Right by itself, wrong with what the main file says.
        (
            "[publish]\nca_file = \"/etc/ca.pem\"\n",
            "agent.d/50.toml: line 2: publish.ca_file: publish.broker is mqtt://",
        ),
    ] {
        let rig = Rig::new(&[("agent.toml", MAIN), ("agent.d/50.toml", drop_in)], &[]);
        let got = rig.error();
        assert!(got.starts_with(error), "{drop_in:?}: {got}");
    }
    let rig =
        Rig::new(&[("agent.toml", "\n[sampling]\nmax_series = 1\n"), ("agent.d/50.toml", "[node]\nid = \"a\"\n")], &[]);
    assert!(rig.error().starts_with("agent.toml: line 3: sampling.max_series: 1: allowed are"), "{}", rig.error());
}

#[test]
fn a_complaint_names_the_variable() {
    for (name, value, error) in [
        (
            "TACIT_PUBLISH_BROKR",
            "x",
            "TACIT_PUBLISH_BROKR: publish.brokr: unknown field `brokr`, expected one of `broker`",
        ),
        ("TACIT_PUBLISH_", "x", "TACIT_PUBLISH_: publish.: unknown field"),
        ("TACIT_SAMPLING_INTERVAL", "5", "TACIT_SAMPLING_INTERVAL: sampling.interval: \"5\" is not a duration"),
        ("TACIT_SAMPLING_MAX_SERIES", "many", "TACIT_SAMPLING_MAX_SERIES: sampling.max_series: invalid type: string"),
        ("TACIT_SAMPLING_MAX_SERIES", "1", "TACIT_SAMPLING_MAX_SERIES: sampling.max_series: 1: allowed are 16 to 4096"),
        (
            "TACIT_SAMPLING_DISABLE",
            "[\"nothing\"]",
            "TACIT_SAMPLING_DISABLE: sampling.disable[0]: \"nothing\" is no source",
        ),
        ("TACIT_PROBE_TARGET", "x", "TACIT_PROBE_TARGET: probe is a list of sections; it can only be set in a file"),
        ("TACIT_NODE_SITE", "No Site", "TACIT_NODE_SITE: node.site: "),
    ] {
        let got = Rig::new(&[("agent.toml", MAIN)], &[(name, value)]).error();
        assert!(got.starts_with(error), "{name}={value}: {got}");
    }
}

#[test]
fn what_cannot_be_read_is_named() {
    let rig = Rig::new(&[("agent.toml", MAIN)], &[]);
    std::fs::create_dir(rig.folder.path().join("agent.d/50.toml")).expect("made");
    assert!(rig.error().starts_with("cannot read agent.d/50.toml: "), "{}", rig.error());

    let rig = Rig::new(&[("agent.toml", MAIN)], &[]);
    std::fs::write(rig.folder.path().join("agent.d/50.toml"), b"[node]\nid = \"\xff\"\n").expect("written");
    assert!(rig.error().starts_with("cannot read agent.d/50.toml: "), "{}", rig.error());

    let rig = Rig::new(&[("agent.toml", MAIN)], &[]);
    std::os::unix::fs::symlink("/nowhere/file", rig.folder.path().join("agent.d/50.toml")).expect("linked");
    assert!(rig.error().starts_with("cannot read agent.d/50.toml: "), "{}", rig.error());

    let rig = Rig::new(&[], &[]);
    assert!(rig.error().starts_with("cannot read agent.toml: "), "a file that somebody named has to be there");
}

#[test]
fn without_a_main_file_drop_ins_count_and_without_those_the_defaults() {
    let rig = Rig::new(&[("agent.d/50.toml", "[node]\nid = \"n7\"\n")], &[]);
    let default = rig.folder.path().join("agent.toml");
    let read = |default: &Path| Places::new(None, default, None).with_environment([]).read().expect("a good one");
    assert!(read(&default).config.node.id.is_some_and(|id| id.to_string() == "n7"));
    let nothing = read(Path::new("/nowhere/agent.toml"));
    assert_eq!(nothing.config, Config::default());
    assert!(nothing.files().is_empty());
    assert_eq!(Config::parse(&nothing.print()), Ok(Config::default()));
}

#[test]
fn the_command_line_is_last_and_is_kept_when_read_again() {
    let rig = Rig::new(&[("agent.toml", "[node]\ndata_dir = \"/var/a\"\n")], &[("TACIT_NODE_DATA_DIR", "/var/b")]);
    let file = rig.folder.path().join("agent.toml");
    let places = Places::new(Some(file.clone()), Path::new("/nowhere"), Some("/var/c".into()));
    let layers = places.with_environment(rig.variables.clone()).read().expect("a good one");
    assert_eq!(layers.config.node.data_dir, Path::new("/var/c"));
    assert!(
        layers.print().contains("node.data_dir = \"/var/c\"  # --data, instead of \"/var/b\" (TACIT_NODE_DATA_DIR)")
    );

    std::fs::write(&file, "[node]\ndata_dir = \"/var/d\"\nsite = \"new\"\n").expect("written");
    let again = layers.again().expect("a good one");
    assert_eq!(again.config.node.site.to_string(), "new");
    assert_eq!(again.config.node.data_dir, Path::new("/var/c"));
    std::fs::write(&file, "[node]\nsite = \"No Site\"\n").expect("written");
    assert!(layers.again().is_err());

    std::fs::write(&file, "").expect("written");
    let moved = rig.read().with_data("/var/e".into());
    assert_eq!(moved.again().expect("a good one").config.node.data_dir, Path::new("/var/e"));
}
