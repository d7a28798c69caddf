//! What a sandbox lets scripts find, and what a run may hold.

use super::*;
use crate::sandbox::{Library, SandboxConfig};
use crate::vm::api::ApiMark;

const MIB: usize = 1024 * 1024;

fn vm_without(missing: &[Library]) -> Vm {
    let mut sandbox = SandboxConfig::default();
    sandbox.libraries.retain(|library| !missing.contains(library));
    Vm::new(&Api::default().within(&sandbox), 16 * MIB).expect("a VM fits into 16 MiB")
}

/// What each of these expressions comes to, as text; an error begins with `!`.
fn values(vm: &mut Vm, expressions: &[&str]) -> Vec<String> {
    let lines = expressions.iter().enumerate().map(|(n, expression)| {
        format!(
            "local ok, value = pcall(function() return {expression} end)
            self[{}] = if ok then tostring(value) else '!' .. tostring(value)",
            n + 1
        )
    });
    let body: Vec<_> = lines.collect();
    let body = body.iter().fold(String::new(), |body, line| body + "do " + line + " end\n");
    let program = program(&format!("function on_update(self)\n{body}end"));
    match update(vm, &program, &ScriptTable::default()) {
        Outcome::Done(state) => state
            .array
            .iter()
            .map(|value| match value {
                ScriptValue::String(text) => text.clone(),
                other => panic!("{other} is no text"),
            })
            .collect(),
        other => panic!("{other:?}"),
    }
}

/// One for each library; the compiler makes a fast call of most.
const USES: [(Library, &str); 9] = [
    (Library::Bit32, "bit32.band(12, 10)"),
    (Library::Buffer, "buffer.len(buffer.create(8))"),
    (Library::Coroutine, "coroutine.status(coroutine.create(print))"),
    (Library::Debug, "#debug.traceback() >= 0"),
    (Library::Math, "math.abs(-8)"),
    (Library::String, "string.byte('8')"),
    (Library::Table, "table.unpack({8})"),
    (Library::Utf8, "utf8.len('ä')"),
    (Library::Vector, "vector.magnitude(vector.create(0, 8, 0))"),
];

#[test]
fn a_library_that_is_left_out_is_gone_and_the_others_are_there() {
    let uses = USES.map(|(_, text)| text);
    let found = values(&mut vm_without(&[]), &uses);
    assert_eq!(found, ["8", "8", "suspended", "true", "8", "56", "8", "1", "8"]);
    for (place, (library, _)) in USES.iter().enumerate() {
        let got = values(&mut vm_without(&[*library]), &uses);
        for (other, (got, found)) in got.iter().zip(&found).enumerate() {
            if other == place {
                assert!(got.starts_with('!') && got.contains("nil"), "{library:?}: {got}");
            } else {
                assert_eq!(got, found, "without {library:?}");
            }
        }
    }
}

#[test]
fn without_libraries_the_functions_that_belong_to_none_still_work() {
    let mut vm = vm_without(&Library::ALL);
    let found = values(
        &mut vm,
        &[
            "select('#', unpack({1, 2, 3}))",
            "tostring(12) .. 'x'",
            "getmetatable('')",
            "('x').upper",
            "('x'):rep(3)",
            "#'abc'",
            "rawlen({1})",
            "select(2, pcall(error, 'told'))",
            "_G.math",
            "next({9})",
        ],
    );
    let upper = &found[4];
    assert!(upper.starts_with('!'), "{upper}");
    let others: Vec<_> = found.iter().filter(|found| *found != upper).collect();
    assert_eq!(others, ["3", "12x", "false", "nil", "3", "1", "told", "nil", "1"]);
}

#[test]
fn a_module_that_is_not_allowed_is_gone_and_numbers_of_functions_stay() {
    let mut api = Api::default();
    let version = 1.0.into();
    for (name, module) in [("json.encode", "json"), ("math.mean", "math"), ("toml.encode", "toml")]
    {
        let constants = (module == "toml").then_some(("toml.version", &version));
        api.add_module(module, [name].into_iter(), constants.into_iter()).expect("free names");
    }
    api.add_function("game.damage").expect("a free name");
    let sandbox =
        SandboxConfig { modules: Some(["math".to_owned()].into()), ..SandboxConfig::default() };
    let within = api.within(&sandbox);
    let functions: Vec<_> = within.functions_since(ApiMark::default()).collect();
    assert_eq!(functions, [(1, "math.mean"), (3, "game.damage")]);
    let mut vm = Vm::new(&within, 16 * MIB).expect("a VM fits into 16 MiB");
    let found = values(&mut vm, &["json", "toml", "type(math.mean)", "type(game.damage)"]);
    assert_eq!(found, ["nil", "nil", "function", "function"]);
}

fn run(vm: &mut Vm, source: &str, memory: usize) -> Outcome {
    let state = ScriptTable::default();
    let call = Call { callback: Callback::Update, state: &state, args: &[], seed: 0 };
    vm.run(&program(source), call, &mut NoWorld::default(), &RunLimits { memory, ..LIMITS })
}

fn holding(mebibytes: f64) -> String {
    format!("function on_update(self)\n    local s = ('x'):rep({mebibytes} * 2^20)\nend")
}

#[test]
fn each_script_has_the_memory_that_its_limit_gives_it() {
    let mut vm = vm();
    for _ in 0..3 {
        for (limit, fits, too_much) in [(2, 1.5, 3.5), (8, 7.5, 9.5), (4, 3.5, 5.5)] {
            let outcome = run(&mut vm, &holding(fits), limit * MIB);
            assert!(matches!(outcome, Outcome::Done(_)), "{fits} of {limit}: {outcome:?}");
            let outcome = run(&mut vm, &holding(too_much), limit * MIB);
            let Outcome::Failed(Failure { error, line, .. }) = outcome else {
                panic!("{too_much} of {limit}: {outcome:?}");
            };
            let ScriptError::OutOfMemory { limit: told, used, setting } = error else {
                panic!("{error}");
            };
            assert_eq!((told, setting), (limit * MIB, Setting::RunMemoryLimit));
            assert!(matches!(line, Some(2 | 3)), "{line:?}: there, or at the next safepoint");
            assert!(used <= limit * MIB, "{used}");
            assert!(vm.is_spent());
        }
    }
}

#[test]
fn garbage_of_others_takes_nothing_of_a_small_limit() {
    let mut vm = vm();
    let litter = "function on_update() for n = 1, 4000 do local t = {tostring(n)} end end";
    for _ in 0..50 {
        assert!(matches!(run(&mut vm, litter, 8 * MIB), Outcome::Done(_)));
        let outcome = run(&mut vm, &holding(1.9), 2 * MIB);
        assert!(matches!(outcome, Outcome::Done(_)), "{outcome:?}");
    }
}

#[test]
fn the_limit_of_the_vm_holds_whatever_a_script_may_have() {
    let mut vm = Vm::new(&Api::default(), 2 * MIB).expect("a VM fits into 2 MiB");
    match run(&mut vm, &holding(2.5), 64 * MIB) {
        Outcome::Failed(Failure {
            error: ScriptError::OutOfMemory { limit, setting, .. }, ..
        }) => {
            assert_eq!((limit, setting), (2 * MIB, Setting::MemoryLimit));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_run_may_make_any_amount_of_garbage_if_it_holds_little_at_a_time() {
    let mut vm = vm();
    for (mebibytes, memory) in [(1, 4), (2, 8), (0, 2), (1, 4), (4, 16)] {
        let source = format!(
            "function on_update()
                local held = table.create({mebibytes} * 2^16, 0)
                for n = 1, 400000 do local t = {{n}} end
                for n = 1, 2000 do local s = ('x'):rep(10000 + n) end
            end"
        );
        let outcome = run(&mut vm, &source, memory * MIB);
        assert!(matches!(outcome, Outcome::Done(_)), "{mebibytes} of {memory}: {outcome:?}");
    }
}

/// Every way to leave libraries out that is looked at here: none, each one alone, every one but one, all.
fn omissions() -> Vec<Vec<Library>> {
    let all = Library::ALL;
    let mut omissions = vec![Vec::new(), all.to_vec()];
    omissions.extend(all.map(|library| vec![library]));
    omissions.extend(all.map(|kept| all.into_iter().filter(|it| *it != kept).collect()));
    omissions
}

/// Runs that use what is there, fail, and try to change what they share.
fn ordinary_runs(vm: &mut Vm) {
    let uses = USES.map(|(_, text)| text);
    values(vm, &uses);
    for body in [
        "self.text = 'x' .. 1",
        "error('it fails')",
        "self.none = nothing.at.all",
        "local t = getmetatable('').__index t.stash = 1",
        "('x').stash = 1",
        "rawset(getmetatable('x') or {}, 'stash', 1)",
    ] {
        let program = program(&format!("function on_update(self) {body} end"));
        update(vm, &program, &ScriptTable::default());
    }
}

#[test]
fn whatever_libraries_are_left_out_a_vm_stays_as_it_was_made() {
    for missing in omissions() {
        let mut vm = vm_without(&missing);
        for _ in 0..3 {
            assert!(vm.check_frozen().is_ok(), "without {missing:?}: {:?}", vm.check_frozen());
            assert!(vm.check_all().is_ok(), "without {missing:?}: {:?}", vm.check_all());
            ordinary_runs(&mut vm);
        }
    }
}

#[test]
fn whatever_libraries_are_left_out_a_vm_that_was_changed_is_found() {
    for missing in omissions() {
        let count = vm_without(&missing).shared_tables().len();
        assert!(count > 1, "without {missing:?}");
        for number in 0..count {
            let mut vm = vm_without(&missing);
            let (name, table) = vm.shared_tables().swap_remove(number);
            table.set_readonly(false);
            assert!(vm.check_frozen().is_err(), "`{name}` was thawed, without {missing:?}");
            table.raw_set("stash", 1).expect("it is thawed");
            table.set_readonly(true);
            assert!(vm.check_all().is_err(), "`{name}` was written to, without {missing:?}");
        }
    }
}
