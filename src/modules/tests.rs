mod formats;
mod numbers;

use super::*;
use crate::error::ScriptError;
use crate::value::{ScriptTable, ScriptValues};
use crate::vm::{Caller, RunRandom};

/// Calls a function of one of this crate's modules.
fn call(name: &str, args: impl Into<Vec<ScriptValue>>) -> Result<ScriptValue, ScriptError> {
    call_in(&mut RunRandom::new(1), name, args)
}

fn call_in(
    random: &mut RunRandom,
    name: &str,
    args: impl Into<Vec<ScriptValue>>,
) -> Result<ScriptValue, ScriptError> {
    let modules = all();
    let mut functions = modules.iter().flat_map(Module::functions);
    let function = functions.find(|function| function.name() == name).expect("there is such a one");
    function.call(&mut Caller::new(random), args.into()).map(ScriptValues::into_first)
}

fn list(values: impl IntoIterator<Item = impl Into<ScriptValue>>) -> ScriptValue {
    let array = values.into_iter().map(Into::into).collect();
    ScriptTable { array, ..ScriptTable::default() }.into()
}

/// The error's text.
fn refused(name: &str, args: impl Into<Vec<ScriptValue>>) -> String {
    call(name, args).expect_err("it has to be refused").to_string()
}

#[test]
fn functions_and_constants_have_full_names() {
    let dice = Module::new("dice").function("roll", |(): ()| 4.0).constant("faces", 6.0);
    assert_eq!(dice.name(), "dice");
    assert_eq!(dice.functions().map(NativeFunction::name).collect::<Vec<_>>(), ["dice.roll"]);
    assert_eq!(dice.constants().collect::<Vec<_>>(), [("dice.faces", &ScriptValue::Number(6.0))]);
}

#[test]
fn no_name_is_there_twice() {
    let modules = all();
    let mut names: Vec<_> =
        modules.iter().flat_map(Module::functions).map(NativeFunction::name).collect();
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count);
}

#[test]
fn whatever_the_arguments_no_function_panics() {
    let odd = |number: f64| ScriptValue::Number(number);
    let values = [
        ScriptValue::Nil,
        true.into(),
        odd(0.0),
        odd(-0.0),
        odd(1.0),
        odd(-1.0),
        odd(0.5),
        odd(1e308),
        odd(-1e308),
        odd(5e-324),
        odd(9_007_199_254_740_992.0),
        odd(f64::NAN),
        odd(f64::INFINITY),
        "".into(),
        "x".into(),
        "Linear".into(),
        ScriptValue::Bytes(vec![0xff]),
        bevy::math::Vec3::ZERO.into(),
        bevy::math::Vec3::new(1.0, -2.0, 3.0).into(),
        bevy::math::Vec3::splat(f32::NAN).into(),
        bevy::math::Vec3::splat(f32::MAX).into(),
        list([0.0; 0]),
        list([1.0, 2.0]),
        list([f64::NAN, 0.0]),
        list([0.0; 9]),
        list([1e30; 16]),
        ScriptTable::from([("x", 0.0), ("y", 0.0), ("z", 0.0), ("w", 0.0)]).into(),
        ScriptTable::from([("x", 1e30), ("y", 1.0), ("z", f64::NAN), ("w", 0.0)]).into(),
        ScriptTable::from([("x", 1.0), ("y", 1.0), ("z", 1.0), ("w", 0.0)]).into(),
    ];
    let mut random = RunRandom::new(3);
    for function in all().iter().flat_map(Module::functions) {
        for (a, first) in values.iter().enumerate() {
            for (b, second) in values.iter().enumerate() {
                let third = &values[(a * 7 + b * 5) % values.len()];
                let rest = &values[(a * 3 + b) % values.len()];
                let args = [first, second, third, rest, third, second].map(Clone::clone).to_vec();
                // Both are fine: a result, or an error.
                let _ = function.call(&mut Caller::new(&mut random), args);
            }
        }
    }
}

#[test]
fn every_function_names_itself_when_an_argument_is_wrong() {
    for module in all() {
        for function in module.functions() {
            // A coroutine, say, never gets here; of plain data, bytes are the oddest.
            let args = vec![ScriptValue::Bytes(vec![0xff]); 6];
            if let Err(error) = function.call(&mut Caller::new(&mut RunRandom::new(0)), args) {
                let text = error.to_string();
                assert!(text.starts_with(&format!("{}:", function.name())), "{text}");
            }
        }
    }
}
