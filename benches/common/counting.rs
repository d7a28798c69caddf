//! A global allocator that counts, while it is asked to.
#![allow(dead_code, unreachable_pub, reason = "each program uses a part of it")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::backtrace::Backtrace;
use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// The system's allocator, with counters. Costs one look at a flag where nobody counts.
pub struct Counting;

static COUNTS: AtomicBool = AtomicBool::new(false);
static TRACES: AtomicBool = AtomicBool::new(false);
static SITES: Mutex<Vec<Backtrace>> = Mutex::new(Vec::new());
static RUST: AtomicU64 = AtomicU64::new(0);
static LUAU: AtomicU64 = AtomicU64::new(0);
static BYTES: AtomicI64 = AtomicI64::new(0);

/// What was asked for while counting.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Heap {
    /// Blocks of Rust's, moved ones included.
    pub rust: u64,
    /// Blocks of Luau's: mlua asks for them with an alignment of 16, which hardly anything in Rust has.
    pub luau: u64,
    /// Bytes that came minus bytes that went.
    pub bytes: i64,
}

/// Counts what all threads ask for in `body`.
pub fn count<R>(body: impl FnOnce() -> R) -> (R, Heap) {
    let read = || Heap {
        rust: RUST.load(Ordering::SeqCst),
        luau: LUAU.load(Ordering::SeqCst),
        bytes: BYTES.load(Ordering::SeqCst),
    };
    let before = read();
    COUNTS.store(true, Ordering::SeqCst);
    let result = body();
    COUNTS.store(false, Ordering::SeqCst);
    let after = read();
    let heap = Heap {
        rust: after.rust - before.rust,
        luau: after.luau - before.luau,
        bytes: after.bytes - before.bytes,
    };
    (result, heap)
}

/// Where in this crate's code `body` asks for blocks of Rust's: one line for each place, with how often.
/// A line without a place stands for what others ask for.
pub fn sites(body: impl FnOnce()) -> String {
    TRACES.store(true, Ordering::SeqCst);
    count(body);
    TRACES.store(false, Ordering::SeqCst);
    let traces = std::mem::take(&mut *SITES.lock().unwrap_or_else(PoisonError::into_inner));
    let mut places = std::collections::BTreeMap::<String, usize>::new();
    for trace in &traces {
        let text = trace.to_string();
        // A frame is a line with its number and function, and one with the file.
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        let elsewhere = ["/rustc/", "/registry/"];
        let ours = lines.windows(2).filter_map(|pair| {
            let (_, function) = pair[0].split_once(": ")?;
            let file = pair[1].strip_prefix("at ")?;
            (function.contains("bevy_lua_pool::") && !elsewhere.iter().any(|of| file.contains(of)))
                .then(|| format!("{function} ({file})"))
        });
        let place: Vec<String> = ours.take(2).collect();
        *places.entry(place.join(" < ")).or_default() += 1;
    }
    let mut rows: Vec<_> = places.into_iter().collect();
    rows.sort_by_key(|(_, times)| std::cmp::Reverse(*times));
    rows.iter().map(|(place, times)| format!("{times:>6}  {place}\n")).collect()
}

/// Keeps where the current block is asked for.
fn trace() {
    thread_local! {
        static TRACING: Cell<bool> = const { Cell::new(false) };
    }
    // Tracing asks for blocks itself.
    if !TRACING.replace(true) {
        let trace = Backtrace::force_capture();
        SITES.lock().unwrap_or_else(PoisonError::into_inner).push(trace);
        TRACING.set(false);
    }
}

fn note(layout: Layout, blocks: u64, bytes: i64) {
    if COUNTS.load(Ordering::Relaxed) {
        let luau = layout.align() == 16;
        if !luau && blocks > 0 && TRACES.load(Ordering::Relaxed) {
            trace();
        }
        let counter = if luau { &LUAU } else { &RUST };
        counter.fetch_add(blocks, Ordering::Relaxed);
        BYTES.fetch_add(bytes, Ordering::Relaxed);
    }
}

fn signed(bytes: usize) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

#[expect(unsafe_code, reason = "there is no other way to count allocations")]
// SAFETY: every call is handed on to the system's allocator as it is.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note(layout, 1, signed(layout.size()));
        // SAFETY: the caller keeps the contract, which is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        note(layout, 1, signed(layout.size()));
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        note(layout, 1, signed(size) - signed(layout.size()));
        // SAFETY: as above.
        unsafe { System.realloc(block, layout, size) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        note(layout, 0, -signed(layout.size()));
        // SAFETY: as above.
        unsafe { System.dealloc(block, layout) }
    }
}
