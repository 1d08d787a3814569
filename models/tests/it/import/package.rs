//! Packages: read as written, refused when changed; and the examples end to end but for the child.

use std::path::PathBuf;

use proptest::prelude::*;
use tacit_models::Manifest;
use tacit_models::import::golden::{self, Case, GoldenSet};
use tacit_models::import::{Package, PackageError, prepare};
use tacit_models::runtime::Model;

/// An example's model and manifest.
pub(super) fn example(name: &str) -> (Vec<u8>, Manifest) {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("examples");
    let read = |ending: &str| std::fs::read(folder.join(format!("{name}.{ending}"))).unwrap();
    (read("onnx"), Manifest::parse(&String::from_utf8(read("toml")).unwrap()).unwrap())
}

fn package() -> Package {
    let (bytes, manifest) = example("autoencoder");
    let prepared = prepare(&bytes, &manifest).unwrap();
    let input = vec![0.0; 8];
    let cases = vec![Case { name: "zeros".into(), input, output: vec![0.0] }];
    let manifest = Manifest { golden: vec![], ..prepared.manifest };
    Package::new(&manifest, prepared.model, &GoldenSet::new(1, 8, cases)).unwrap()
}

#[test]
fn the_examples_give_what_their_frameworks_gave() {
    for name in ["autoencoder", "gru", "isolation-forest", "pca"] {
        let (bytes, manifest) = example(name);
        let prepared = prepare(&bytes, &manifest).unwrap_or_else(|e| panic!("{name}: {e}"));
        let mut model = Model::load(&prepared.model, manifest.limits(golden::series(&manifest))).unwrap();
        assert_eq!(manifest.golden.len(), 2, "{name}");
        for given in &manifest.golden {
            let output = super::run(&mut model, &given.input);
            let differs = golden::difference(&given.output, &output, golden::GIVEN_RELATIVE, golden::GIVEN_ABSOLUTE);
            assert_eq!(differs, None, "{name}: {output:?}, {:?} expected", given.output);
        }
        // The second input is odd, and the score must say so.
        let largest = |values: &[f32]| values.iter().copied().fold(f32::MIN, f32::max);
        let [usual, odd] = [0, 1].map(|i: usize| largest(&manifest.golden[i].output));
        assert!(odd > usual, "{name}: {odd} is not above {usual}");
    }
}

#[test]
fn a_package_is_read_as_it_was_written_and_not_when_it_was_changed() {
    let (package, folder) = (package(), tempfile::tempdir().unwrap());
    package.write_folder(folder.path()).unwrap();
    assert_eq!(Package::read(folder.path()).unwrap(), package);
    let bytes = package.encode().unwrap();
    assert_eq!(package.encode().unwrap(), bytes, "packing twice gives the same bytes");
    let file = folder.path().join("one.tacitmodel");
    std::fs::write(&file, &bytes).unwrap();
    let read = Package::read(&file).unwrap();
    assert_eq!((read.digest(), read), (package.digest(), package.clone()));
    let model = folder.path().join("model.onnx");
    let mut changed = package.model().to_vec();
    changed[100] ^= 1;
    std::fs::write(&model, &changed).unwrap();
    let error = Package::read(folder.path()).unwrap_err().to_string();
    assert!(error.starts_with("model.onnx was changed"), "{error}");
    std::fs::remove_file(&model).unwrap();
    assert!(matches!(Package::read(folder.path()), Err(PackageError::Io { .. })));
}

#[test]
fn a_package_that_unpacks_to_too_much_is_refused() {
    let bomb = zstd::bulk::compress(&vec![0; 64 << 20], 19).unwrap();
    assert!(bomb.len() < 100_000);
    let error = Package::decode(&bomb).unwrap_err().to_string();
    assert!(error.contains("unpacks to more than"), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// For every byte that is changed and every place it is cut: refused, or (where zstd does not care) the same package.
    #[test]
    fn a_damaged_package_is_refused(at in 0.0_f64..1.0, byte in any::<u8>(), noise in prop::collection::vec(any::<u8>(), 0..200)) {
        let good = package();
        let mut bytes = good.encode().unwrap();
        let at = (at * bytes.len() as f64) as usize;
        prop_assert!(Package::decode(&bytes[..at]).is_err());
        bytes[at] = byte;
        if let Ok(read) = Package::decode(&bytes) {
            prop_assert_eq!(read, good);
        }
        let _ = Package::decode(&noise);
        let _ = Package::decode(&zstd::bulk::compress(&noise, 1).unwrap());
    }
}
