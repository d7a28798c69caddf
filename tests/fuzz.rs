//! Random scripts, random files: whatever comes, nothing breaks.
//!
//! A short run of fixed seeds by default. For a longer one, in an optimised build:
//!
//! ```sh
//! FUZZ_SECONDS=1800 cargo test --release --test fuzz -- --nocapture
//! ```
//!
//! `FUZZ_SEED` is where seeds begin, so that a run goes elsewhere than the last one, and a finding can be
//! repeated alone: with `FUZZ_SEED` as it was printed and `FUZZ_SECONDS=0`.
//!
//! `scripts/asan.sh` runs them under AddressSanitizer; `fuzz/` has targets for `cargo fuzz` with the same parts.

#[path = "fuzz/bytes.rs"]
mod bytes;
#[path = "fuzz/choices.rs"]
mod choices;
#[path = "fuzz/closures.rs"]
mod closures;
mod common;
#[path = "fuzz/files.rs"]
mod files;
#[path = "fuzz/generator.rs"]
mod generator;
#[path = "fuzz/image.rs"]
mod image;
#[path = "fuzz/saves.rs"]
mod saves;
#[path = "fuzz/yard.rs"]
mod yard;

use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use choices::Seeded;
use image::Twins;
use saves::Saves;
use yard::{Findings, Yard};

/// Findings after which a run ends.
const ENOUGH: usize = 10;

/// Calls `body` with one seed after another, for as long as this run is to take.
fn seeds(short: u64, mut body: impl FnMut(u64) -> bool) {
    let number = |name: &str| {
        let text = std::env::var(name).ok()?;
        Some(text.parse::<u64>().unwrap_or_else(|_| panic!("{name} is {text}: no whole number")))
    };
    let first = number("FUZZ_SEED").unwrap_or(1);
    let Some(seconds) = number("FUZZ_SECONDS") else {
        let _ = (first..first + short).all(body);
        return;
    };
    let start = Instant::now();
    for seed in first.. {
        if !body(seed) || start.elapsed() >= Duration::from_secs(seconds) {
            return;
        }
    }
}

/// Keeps what is tried at the moment where it survives the process.
fn note(what: &str, seed: u64, bytes: &[u8]) {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("fuzz-{what}-{seed}"));
    std::fs::write(&path, bytes).expect("the folder for temporary files is there");
    if let Some(before) = seed.checked_sub(1) {
        let _ = std::fs::remove_file(path.with_file_name(format!("fuzz-{what}-{before}")));
    }
}

#[test]
fn random_scripts_harm_nobody() {
    let is_long = std::env::var_os("FUZZ_SECONDS").is_some();
    let mut yard = Yard::new();
    let mut found = Vec::new();
    let mut late = Vec::new();
    let start = Instant::now();
    let short = if cfg!(debug_assertions) { 60 } else { 400 };
    seeds(short, |seed| {
        let script = generator::script(&mut Seeded::new(seed));
        if is_long {
            note("script", seed, script.as_bytes());
        }
        let mut findings = yard.run(&script);
        // The machine may have done something else.
        for _ in 0..2 {
            if findings.late.is_some() && findings.problems.is_empty() {
                findings = yard.run(&script);
            }
        }
        let Findings { problems, late: took, .. } = findings;
        if let Some(took) = took {
            println!("seed {seed}: three times in a row a run was late; the last took {took:?}");
            late.push((seed, took));
        }
        if !problems.is_empty() {
            println!("seed {seed}: {problems:#?}\n{script}\n");
            found.push((seed, problems));
            // What went wrong may last.
            yard = Yard::new();
        }
        if is_long && seed.is_multiple_of(1000) {
            let memory = yard::resident_memory() >> 20;
            println!("seed {seed} after {:.0?}: {memory} MiB, {:?}", start.elapsed(), yard.tally);
        }
        found.len() < ENOUGH
    });
    println!("{:?}, {} with a late run: {late:?}", yard.tally, late.len());
    assert!(found.is_empty(), "{found:#?}");
    let tally = yard.tally;
    assert!(is_long || tally.refused * 10 < tally.scripts, "most compile: {tally:?}");
    assert!(is_long || tally.timeouts > 0 && tally.failed > tally.timeouts, "{tally:?}");
}

#[test]
fn the_same_seed_makes_the_same_script() {
    for seed in 0..50 {
        let script = || generator::script(&mut Seeded::new(seed));
        assert_eq!(script(), script());
    }
}

#[test]
fn random_scripts_use_everything_that_scripts_can_reach() {
    let mut yard = Yard::new();
    for (library, members) in generator::LIBRARIES {
        assert_eq!(yard.members(library), *members, "{library}");
    }
    let text: String = (0..3000).map(|seed| generator::script(&mut Seeded::new(seed))).collect();
    for (library, members) in generator::LIBRARIES {
        for member in *members {
            assert!(text.contains(&format!("{library}.{member}(")), "{library}.{member}");
        }
    }
    for global in generator::GLOBALS {
        assert!(text.contains(&format!(" {global}(")), "{global}");
    }
}

#[test]
fn random_files_are_read_or_refused() {
    let is_long = std::env::var_os("FUZZ_SECONDS").is_some();
    let mut files = files::Files::new();
    let mut slowest = (0, Duration::ZERO);
    let short = if cfg!(debug_assertions) { 400 } else { 5_000 };
    seeds(short, |seed| {
        let bytes = files.make(&mut Seeded::new(seed));
        if is_long {
            note("file", seed, &bytes);
        }
        let start = Instant::now();
        if let Err(problem) = files.reader.read(&bytes) {
            panic!("seed {seed}: {problem}\n{}", String::from_utf8_lossy(&bytes));
        }
        slowest = slowest.max_by_time(seed, start.elapsed());
        true
    });
    println!("{:?}; the slowest was seed {} with {:?}", files.reader.tally, slowest.0, slowest.1);
    let tally = files.reader.tally;
    assert!(is_long || tally.scripts > 0 && tally.configs > 0, "some are valid: {tally:?}");
    assert!(tally.scripts + tally.configs < tally.files, "and most are not: {tally:?}");
}

#[test]
fn random_closures_can_not_tell_an_image_from_a_file_level_that_runs_anew() {
    let mut twins = Twins::new();
    let mut scripts = 0;
    seeds(if cfg!(debug_assertions) { 300 } else { 3_000 }, |seed| {
        let met = twins.meet(&mut Seeded::new(seed));
        met.unwrap_or_else(|problem| panic!("seed {seed}: {problem}"));
        scripts += 1;
        true
    });
    println!("{} of {scripts} scripts ran on an image", twins.on_images);
    assert!(scripts < 100 || twins.on_images * 5 > scripts, "{}", twins.on_images);
}

/// The files that a fuzz target of `fuzz/` begins with, and what it once found.
fn corpus(target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut paths: Vec<_> = std::fs::read_dir(folder)
        .expect("it has a corpus")
        .map(|entry| entry.expect("it can be listed").path())
        .collect();
    paths.sort();
    assert!(!paths.is_empty());
    let file = |path: &std::path::PathBuf| {
        (path.display().to_string(), std::fs::read(path).expect("it can be read"))
    };
    paths.iter().map(file).collect()
}

#[test]
fn what_the_fuzz_targets_begin_with_and_what_they_found_harms_nobody() {
    let mut yard = Yard::new();
    for (path, bytes) in corpus("scripts") {
        let findings = yard.run(&generator::script(&mut Bytes(&bytes)));
        assert!(findings.problems.is_empty(), "{path}: {findings:#?}");
    }
    let mut twins = Twins::new();
    for (path, bytes) in corpus("image") {
        twins.meet(&mut Bytes(&bytes)).unwrap_or_else(|problem| panic!("{path}: {problem}"));
    }
    let mut reader = files::Reader::new();
    for (path, bytes) in corpus("files") {
        reader.read(&bytes).unwrap_or_else(|problem| panic!("{path}: {problem}"));
    }
    assert!(reader.tally.scripts > 0 && reader.tally.configs > 0, "{:?}", reader.tally);
    let mut saves = Saves::new();
    let valid = corpus("saves").into_iter().filter(|(path, bytes)| {
        saves.meet(bytes).unwrap_or_else(|problem| panic!("{path}: {problem}"))
    });
    assert!(valid.count() > 0);
}

trait Slowest {
    fn max_by_time(self, seed: u64, took: Duration) -> Self;
}

impl Slowest for (u64, Duration) {
    fn max_by_time(self, seed: u64, took: Duration) -> Self {
        if took > self.1 { (seed, took) } else { self }
    }
}

#[test]
fn a_random_file_reaches_nobody_through_the_asset_loader() {
    let files = files::Files::new();
    let mut lab = common::Lab::new();
    let good = lab.entity("good.luau", "function on_update(self) self.n = (self.n or 0) + 1 end");
    lab.frame();
    for seed in 0..40 {
        let path = format!("random{seed}.luau");
        lab.bytes(&path, &files.make(&mut Seeded::new(seed)));
        lab.load(&path);
        let before = lab.field(good, "n");
        lab.frame();
        let after = lab.field(good, "n");
        assert_ne!(before, after, "seed {seed}");
    }
    assert_eq!(lab.failures(), [""; 0]);
}
