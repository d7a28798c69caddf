//! What the fuzz targets share with the tests: see `tests/fuzz.rs`, which runs their corpus as well.
#![allow(dead_code, reason = "the tests use the rest")]

#[path = "../../tests/fuzz/bytes.rs"]
mod bytes;
#[path = "../../tests/fuzz/closures.rs"]
mod closures;
#[path = "../../tests/common/mod.rs"]
mod common;
#[path = "../../tests/fuzz/files.rs"]
mod files;
#[path = "../../tests/fuzz/generator.rs"]
mod generator;
#[path = "../../tests/fuzz/image.rs"]
mod image;
#[path = "../../tests/fuzz/saves.rs"]
mod saves;
#[path = "../../tests/fuzz/yard.rs"]
mod yard;

use std::cell::RefCell;
use std::time::Duration;

use bytes::Bytes;
use cpu_time::ProcessTime;

thread_local! {
    static YARD: RefCell<(yard::Yard, u32)> = RefCell::new((yard(), 0));
    static TWINS: RefCell<image::Twins> = RefCell::new(image::Twins::new());
    static READER: RefCell<files::Reader> = RefCell::new(files::Reader::new());
    static SAVES: RefCell<saves::Saves> = RefCell::new(saves::Saves::new());
}

/// Scripts that run in one world before it is made anew: what one of them did is found soon.
const SCRIPTS_IN_A_WORLD: u32 = 200;
/// CPU time that a script may take with all its callbacks in all its frames, under a sanitizer.
const AGES: Duration = Duration::from_secs(20);

/// Short runs: more of them in the same time.
fn yard() -> yard::Yard {
    yard::Yard::with_limit(Duration::from_millis(8))
}

/// Runs the script of these choices in a world among good ones.
pub fn scripts(choices: &[u8]) {
    YARD.with_borrow_mut(|(yard, scripts)| {
        if *scripts == SCRIPTS_IN_A_WORLD {
            (*yard, *scripts) = (self::yard(), 0);
        }
        *scripts += 1;
        let script = generator::script(&mut Bytes(choices));
        let start = ProcessTime::now();
        let findings = yard.run(&script);
        let took = start.elapsed();
        assert!(findings.problems.is_empty(), "{:#?}\n{script}", findings.problems);
        assert!(took < AGES, "it took {took:?}:\n{script}");
    });
}

/// Runs the script of these choices on an image and with a file level that runs anew.
pub fn image(choices: &[u8]) {
    let met = TWINS.with_borrow_mut(|twins| twins.meet(&mut Bytes(choices)));
    met.unwrap_or_else(|problem| panic!("{problem}"));
}

/// Reads bytes as a script and as a configuration.
pub fn files(bytes: &[u8]) {
    let read = READER.with_borrow_mut(|reader| reader.read(bytes));
    read.unwrap_or_else(|problem| panic!("{problem}"));
}

/// Reads bytes as a save.
pub fn saves(bytes: &[u8]) {
    let met = SAVES.with_borrow_mut(|saves| saves.meet(bytes));
    met.unwrap_or_else(|problem| panic!("{problem}"));
}
