use std::f64::consts::PI;

use bevy::math::{Mat4, Quat, Vec3};
use proptest::prelude::*;

use super::*;
use crate::value::{FromScript, IntoScript};

fn number(name: &str, args: impl Into<Vec<ScriptValue>>) -> f64 {
    match call(name, args) {
        Ok(ScriptValue::Number(number)) => number,
        other => panic!("{name}: {other:?}"),
    }
}

fn numbers<const N: usize>(args: [f64; N]) -> [ScriptValue; N] {
    args.map(ScriptValue::from)
}

proptest! {
    #[test]
    fn wrap_stays_within_its_bounds(x in -1e6..1e6_f64, min in -1e3..1e3_f64, span in 1e-3..1e3_f64) {
        let wrapped = number("math.wrap", numbers([x, min, min + span]));
        prop_assert!(min <= wrapped && wrapped < min + span);
    }

    #[test]
    fn a_turn_is_never_more_than_half_a_circle(from in -100.0..100.0_f64, to in -100.0..100.0_f64) {
        let turn = number("math.angle_difference", numbers([from, to]));
        prop_assert!((-PI..=PI).contains(&turn));
        prop_assert!(((from + turn).cos() - to.cos()).abs() < 1e-9);
        prop_assert!(((from + turn).sin() - to.sin()).abs() < 1e-9);
    }

    #[test]
    fn a_step_never_goes_past_its_target(x in -9.0..9.0_f64, target in -9.0..9.0_f64, step in 0.0..20.0_f64) {
        let moved = number("math.move_towards", numbers([x, target, step]));
        prop_assert!((moved - x).abs() <= step + 1e-9);
        prop_assert!((target - moved).abs() <= (target - x).abs());
    }

    #[test]
    fn every_draw_is_within_its_range(seed in -(1_i64 << 53)..1_i64 << 53, a in -1e9..1e9_f64, span in 1e-9..1e9_f64) {
        let seed = ScriptValue::Number(seed as f64);
        let drawn = number("random.number", [a.into(), (a + span).into(), seed.clone()]);
        prop_assert!(a <= drawn && drawn < a + span);
        let (low, high) = (a.floor(), (a + span).ceil());
        let drawn = number("random.integer", [low.into(), high.into(), seed]);
        prop_assert!(low <= drawn && drawn <= high && drawn.fract() == 0.0);
    }

    #[test]
    fn a_matrix_and_its_inverse_are_one(
        scale in prop::array::uniform3(0.1..10.0_f32), turn in prop::array::uniform3(-3.0..3.0_f32),
        shift in prop::array::uniform3(-9.0..9.0_f32),
    ) {
        let q = call("linalg.quat.from_euler", turn.map(ScriptValue::from)).expect("numbers");
        let args = [Vec3::from(scale).into(), q, Vec3::from(shift).into()];
        let m = call("linalg.mat4.from_scale_rotation_translation", args).expect("finite");
        let inverse = call("linalg.mat4.inverse", [m.clone()]).expect("not singular");
        let one = call("linalg.mat4.mul", [m, inverse]).expect("matrices");
        let one: [f32; 16] = Vec::from_script(one).expect("numbers").try_into().expect("sixteen");
        prop_assert!(Mat4::from_cols_array(&one).abs_diff_eq(Mat4::IDENTITY, 1e-3), "{one:?}");
    }

    #[test]
    fn a_rotation_looks_where_it_is_told(direction in prop::array::uniform3(-5.0..5.0_f32)) {
        let direction = Vec3::from(direction);
        prop_assume!(direction.length() > 0.01);
        let q = call("linalg.quat.look_to", [direction.into()]).expect("not zero");
        let q = Quat::from_script(q).expect("a quaternion");
        prop_assert!((q * Vec3::NEG_Z).abs_diff_eq(direction.normalize(), 1e-4));
        prop_assert!((q * Vec3::Y).y > -1e-4, "not upside down");
    }
}

#[test]
fn a_factorial_that_no_number_holds_is_refused() {
    assert_eq!(number("math.factorial", numbers([18.0])), 6_402_373_705_728_000.0);
    assert!(number("math.factorial", numbers([170.0])).is_finite());
    assert!(refused("math.factorial", numbers([171.0])).contains("0 to 170"));
    refused("math.factorial", numbers([-1.0]));
    refused("math.factorial", numbers([0.5]));
}

#[test]
fn all_easings_start_at_0_and_end_at_1() {
    for (name, at) in [("Linear", 0.5), ("CubicInOut", 0.5), ("SineIn", 0.292_893)] {
        let eased = number("math.ease", [name.into(), 0.5.into()]);
        assert!((eased - at).abs() < 1e-5, "{name}: {eased}");
    }
    for (name, _) in math::EASINGS {
        let at = |t: f64| number("math.ease", [(*name).into(), t.into()]);
        assert!(at(0.0).abs() < 1e-2 && (at(1.0) - 1.0).abs() < 1e-2, "{name}");
        assert_eq!([at(-1.0), at(2.0)], [at(0.0), at(1.0)], "{name} is held within");
    }
    let error = refused("math.ease", ["Quadratic".into(), 0.5.into()]);
    assert!(error.contains("math.ease: argument 1") && error.contains("QuadraticInOut"), "{error}");
}

#[test]
fn a_seed_gives_the_same_everywhere_and_the_run_goes_on_undisturbed() {
    let seeded = |random: &mut RunRandom| {
        call_in(random, "random.integer", numbers([1.0, 1e9, 42.0])).expect("a number")
    };
    let mut random = RunRandom::new(1);
    let first = seeded(&mut random);
    let drawn = call_in(&mut random, "random.number", []).expect("a number");
    assert_eq!(seeded(&mut random), first, "the same however far the run is");
    let untouched = call_in(&mut RunRandom::new(1), "random.number", []).expect("a number");
    assert_eq!(drawn, untouched, "a seeded draw takes nothing from the run");
    // Written down, so that a later version can't change what a seed means without notice.
    assert_eq!(number("random.at", numbers([42.0, 1.0])), 0.779_928_044_600_326_7);
    assert_eq!(first, ScriptValue::Number(779_928_045.0));
}

#[test]
fn the_numbers_of_a_seed_are_the_same_one_by_one_and_in_a_row() {
    let Ok(ScriptValue::Table(row)) = call("random.sequence", numbers([-7.0, 50.0, 11.0])) else {
        panic!("a list");
    };
    assert_eq!(row.array.len(), 50);
    for (index, expected) in (11..).zip(row.array) {
        assert_eq!(call("random.at", numbers([-7.0, f64::from(index)])), Ok(expected));
    }
    assert_ne!(call("random.at", numbers([7.0, 1.0])), call("random.at", numbers([-7.0, 1.0])));
}

#[test]
fn a_sequence_has_an_end() {
    let error = refused("random.sequence", numbers([1.0, 10_001.0]));
    assert!(error.contains("random.sequence: argument 2") && error.contains("10000"), "{error}");
}

#[test]
fn a_shuffle_loses_nothing_and_a_sample_takes_none_twice() {
    let deck = || list((1..=52).map(f64::from));
    let sorted = |value: ScriptValue| {
        let mut cards = Vec::<u32>::from_script(value).expect("numbers");
        cards.sort_unstable();
        cards
    };
    let shuffled = call("random.shuffle", [deck()]).expect("a list");
    assert_ne!(shuffled, deck());
    assert_eq!(sorted(shuffled), (1..=52).collect::<Vec<_>>());
    let mut hand = sorted(call("random.sample", [deck(), 10.0.into()]).expect("a list"));
    hand.dedup();
    assert_eq!(hand.len(), 10);
    assert!(refused("random.sample", [deck(), 53.0.into()]).contains("0 to 52"));
}

#[test]
fn weights_decide_and_must_fit() {
    let things = || list(["never", "always"]);
    for seed in 0..100 {
        let args = [things(), list([0.0, 2.0]), seed.into()];
        assert_eq!(call("random.weighted", args), Ok("always".into()));
    }
    for weights in [list([1.0]), list([0.0, 0.0]), list([1e308, 1e308]), list([1.0, -1.0])] {
        let error = refused("random.weighted", [things(), weights]);
        assert!(error.contains("random.weighted: argument 2"), "{error}");
    }
    refused("random.pick", [list([0.0; 0])]);
}

#[test]
fn directions_are_of_length_1_and_points_within() {
    for seed in 0..200 {
        let vector = |name: &str, args: &[ScriptValue]| match call(name, args) {
            Ok(ScriptValue::Vector(vector)) => vector,
            other => panic!("{name}: {other:?}"),
        };
        assert!(vector("random.direction", &[seed.into()]).is_normalized());
        let flat = vector("random.direction_2d", &[seed.into()]);
        assert!(flat.is_normalized() && flat.z == 0.0);
        assert!(vector("random.in_sphere", &[3.0.into(), seed.into()]).length() <= 3.0);
        let flat = vector("random.in_circle", &[3.0.into(), seed.into()]);
        assert!(flat.length() <= 3.0 && flat.z == 0.0);
    }
}

#[test]
fn distributions_have_the_mean_they_are_asked_for() {
    let mut random = RunRandom::new(5);
    let mut mean = |name: &str, args: &[f64]| {
        let draw = |random: &mut RunRandom| {
            let args: Vec<ScriptValue> = args.iter().copied().map(ScriptValue::from).collect();
            f64::from_script(call_in(random, name, args).expect("a number")).expect("a number")
        };
        (0..4000).map(|_| draw(&mut random)).sum::<f64>() / 4000.0
    };
    assert!((mean("random.normal", &[10.0, 2.0]) - 10.0).abs() < 0.2);
    assert!((mean("random.exponential", &[4.0]) - 0.25).abs() < 0.03);
    assert!((mean("random.poisson", &[3.0]) - 3.0).abs() < 0.2);
    assert!((mean("random.number", &[]) - 0.5).abs() < 0.03);
    assert!((mean("random.integer", &[1.0, 6.0]) - 3.5).abs() < 0.15);
}

#[test]
fn a_singular_matrix_has_no_inverse() {
    for (name, count) in [("mat3.inverse", 9), ("mat4.inverse", 16), ("mat4.decompose", 16)] {
        let error = refused(&format!("linalg.{name}"), [list(vec![1.0; count])]);
        assert!(error.contains("inverted"), "{error}");
        let error = refused(&format!("linalg.{name}"), [list(vec![1.0; count - 1])]);
        assert!(error.contains(&format!("table of {count} numbers")), "{error}");
    }
}

#[test]
fn a_view_from_nowhere_to_nowhere_is_refused() {
    let look_at = |eye: Vec3, target: Vec3, up: Vec3| {
        call("linalg.mat4.look_at", [eye.into(), target.into(), up.into()])
    };
    assert!(look_at(Vec3::ONE, Vec3::ZERO, Vec3::Y).is_ok());
    assert!(look_at(Vec3::ONE, Vec3::ONE, Vec3::Y).is_err());
    assert!(look_at(Vec3::Y, Vec3::ZERO, Vec3::Y).is_err());
    assert!(look_at(Vec3::ONE, Vec3::ZERO, Vec3::ZERO).is_err());
    refused("linalg.mat4.perspective", numbers([4.0, 1.0, 0.1, 10.0]));
    refused("linalg.mat4.perspective", numbers([1.0, 1.0, 10.0, 0.1]));
    refused("linalg.mat4.orthographic", numbers([1.0, 1.0, 0.0, 1.0, 0.0, 1.0]));
}

#[test]
fn a_quaternion_of_any_length_but_zero_will_do() {
    let twice = Quat::from_xyzw(0.0, 0.0, 2.0, 0.0).into_script().expect("numbers");
    let turned = call("linalg.quat.rotate", [twice, Vec3::X.into()]);
    assert_eq!(turned, Ok(Vec3::NEG_X.into()));
    let zero = Quat::from_xyzw(0.0, 0.0, 0.0, 0.0).into_script().expect("numbers");
    assert!(refused("linalg.quat.inverse", [zero]).contains("not all zero"));
}
