//! Files that were cut or are full of nonsense: an answer from each source, no panic, and right values again afterwards.

use super::*;

/// A file's content before and after the two busy seconds that follow the garbage.
struct Contents {
    start: Vec<u8>,
    one: Vec<u8>,
    two: Vec<u8>,
}

/// One kernel file, what a source says of it when nothing is wrong, and a place to put garbage.
struct Bench {
    kernel: &'static Kernel,
    path: &'static str,
    tree: Tree,
    contents: Contents,
    /// By label.
    right: Vec<(String, f32)>,
}

impl Bench {
    fn all() -> impl Iterator<Item = Self> {
        KERNEL.iter().flat_map(|kernel| kernel.files.iter().map(move |path| Self::new(kernel, path)))
    }

    fn new(kernel: &'static Kernel, path: &'static str) -> Self {
        let tree = Tree::of("build-machine");
        let content = || std::fs::read(tree.path(path)).expect("it is there");
        let start = content();
        advance(&tree, "vda", "eth0");
        let one = content();
        advance(&tree, "vda", "eth0");
        let contents = Contents { start, one, two: content() };
        let mut bench = Self { kernel, path, tree, contents, right: Vec::new() };
        let mut rig = bench.rig();
        rig.sample().expect("a good tree");
        bench.right = bench.after(&mut rig);
        bench
    }

    fn rig(&self) -> Rig {
        self.tree.write(self.path, &self.contents.start);
        Rig::boxed((self.kernel.make)(&self.tree.root()))
    }

    /// The second of two good samples.
    fn after(&self, rig: &mut Rig) -> Vec<(String, f32)> {
        for content in [&self.contents.one, &self.contents.two] {
            self.tree.write(self.path, content);
            assert_eq!(rig.sample().expect("good content is back"), Sampled::Data);
            self.check(rig, content);
        }
        rig.series().map(|(def, value)| (def.label(), value)).collect()
    }

    /// Between good samples a source meets `garbage`: it gives sane values or an error that says where, and is right again after.
    fn meets(&self, garbage: &[u8]) {
        let mut rig = self.rig();
        rig.sample().expect("a good tree");
        self.tree.write(self.path, garbage);
        if let Err(error) = rig.sample() {
            assert!(error.to_string().contains(self.path), "{error}");
        }
        self.check(&rig, garbage);
        let after = self.after(&mut rig);
        for (label, right) in &self.right {
            let found = after.iter().find(|(l, _)| l == label).map(|(_, value)| *value);
            let alike = found.is_some_and(|f| f == *right || f.is_nan() && right.is_nan());
            assert!(alike, "{label} = {found:?} instead of {right} after {}", shown(garbage));
        }
    }

    fn check(&self, rig: &Rig, content: &[u8]) {
        for (def, value) in rig.series() {
            let sane = value.is_nan() || value.is_finite() && value >= 0.0;
            let share = [
                sc::CPU_BUSY,
                sc::CPU_UTILIZATION,
                sc::CPU_CORE_BUSY,
                sc::CPU_CORE_UTILIZATION,
                sc::MEMORY_UTILIZATION,
            ]
            .iter()
            .chain(&[sc::SWAP_UTILIZATION, sc::DISK_UTILIZATION])
            .any(|m| m.name == def.name);
            let sane = sane && !(share && value > 1.0001);
            assert!(sane, "{}: {} = {value} of {}", self.path, def.label(), shown(content));
        }
    }
}

/// The beginning of a text.
fn shown(text: &[u8]) -> String {
    format!("{:?}… ({} bytes)", String::from_utf8_lossy(&text[..text.len().min(300)]), text.len())
}

/// Each file is cut at every byte, longer ones at so many of them, spread evenly.
const CUTS: usize = 400;

#[test]
fn files_that_were_cut() {
    for bench in Bench::all() {
        let text = bench.contents.one.clone();
        for cut in (0..text.len()).step_by(text.len().div_ceil(CUTS)) {
            bench.meets(&text[..cut]);
        }
    }
}

/// The text with each word that is a number replaced.
fn with_numbers(text: &[u8], number: &[u8]) -> Vec<u8> {
    let word = |w: &[u8]| if w.iter().all(u8::is_ascii_digit) && !w.is_empty() { number.to_vec() } else { w.to_vec() };
    let line = |l: &[u8]| l.split(|b| *b == b' ').map(word).collect::<Vec<_>>().join(&b' ');
    text.split(|b| *b == b'\n').map(line).collect::<Vec<_>>().join(&b'\n')
}

#[test]
fn files_full_of_nonsense() {
    const NUMBERS: [&str; 9] = [
        "18446744073709551615",
        "18446744073709551616",
        "9223372036854775808",
        "999999999999999999999999999999999999999999999",
        "-1",
        "nan",
        "inf",
        "0",
        "",
    ];
    for bench in Bench::all() {
        let good = &bench.contents.one;
        let mut garbage: Vec<Vec<u8>> = NUMBERS.iter().map(|n| with_numbers(good, n.as_bytes())).collect();
        garbage.extend(
            [&b""[..], b"\n", b"\n\n\n\n", b" ", b"\0", b"\xff\xfe\n", b":", b": 1\n", b"- - -\n"].map(<[u8]>::to_vec),
        );
        // Every line twice, upside down, without line ends, and as another system ends them.
        garbage.push([&good[..], good].concat());
        garbage.push(good.split_inclusive(|b| *b == b'\n').rev().collect::<Vec<_>>().concat());
        garbage.push(good.iter().map(|b| if *b == b'\n' { b' ' } else { *b }).collect());
        garbage.push(good.split(|b| *b == b'\n').collect::<Vec<_>>().join(&b"\r\n"[..]));
        garbage.push(good.iter().map(|b| b | 0x80).collect());
        // Lines longer than all that is read.
        for piece in [&b"9"[..], b"9 ", b"cpu", b"x: "] {
            garbage.push([good, piece.repeat((1 << 20) / piece.len()).as_slice(), b"\n", good].concat());
        }
        garbage.iter().for_each(|g| bench.meets(g));
    }
}

/// Most processors that the machine may have are many lines, each of them a series or refused.
#[test]
fn a_table_that_is_full_is_no_end() {
    let tree = Tree::of("build-machine");
    let good = tree.read("proc/stat");
    let mut rig = rig("cpu", &tree);
    let before = rig.good().table.len();
    let many: String = (0..100_000).map(|i| format!("cpu{i} 1 2 3 4\n")).collect();
    tree.write("proc/stat", good.clone() + &many);
    rig.good();
    assert!(rig.table.refused() > 0);
    tree.write("proc/stat", good);
    assert_eq!(rig.good().table.len(), before);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Whatever bytes stand for a window of whichever kernel file, its source goes on and is right again after.
    #[test]
    fn windows_of_noise(at in any::<prop::sample::Index>(), length in 0_usize..60, noise in noise(), all: bool) {
        BENCHES.with(|benches| for bench in benches {
            let good = &bench.contents.one;
            let from = at.index(good.len());
            let to = (from + length).min(good.len());
            let around = if all { [&[][..], &[]] } else { [&good[..from], &good[to..]] };
            bench.meets(&[around[0], &noise, around[1]].concat());
        });
    }
}

/// Bytes of any kind, or of those that kernel files are made of.
fn noise() -> impl Strategy<Value = Vec<u8>> {
    let alphabet = b"0123456789 \n\t:-./=cpusometotalMemSwap,".to_vec();
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..80),
        prop::collection::vec(prop::sample::select(alphabet), 0..200),
    ]
}

thread_local! {
    /// Made once: recording what is right takes longer than a case.
    static BENCHES: Vec<Bench> = Bench::all().collect();
}
