//! The module `math`: what Luau's `math` lacks.

use std::f64::consts::{PI, TAU};

use bevy::math::curve::{Curve, EaseFunction};

use super::Module;
use super::arguments::{Filled, Finite, Natural, Positive, Whole, wrong};
use crate::value::{FromScript, ScriptValue};

/// More members of `math`, beside Luau's own (`clamp`, `lerp`, `map`, `noise`, `round`, `sign`, …).
///
/// Angles are in radians.
///
/// | function | |
/// | --- | --- |
/// | `math.inverse_lerp(a, b, x)` | where `x` is on the way from `a` (0) to `b` (1) |
/// | `math.step(edge, x)` | 0 below the edge, else 1 |
/// | `math.smoothstep(a, b, x)` | 0 up to `a`, 1 from `b` on, smooth between |
/// | `math.ease(name, t)` | eased progress, 0 to 1; `t` is held within 0 to 1 |
/// | `math.wrap(x, min, max)` | `x` moved by whole spans into min ≤ x < max |
/// | `math.ping_pong(x, length)` | to and fro between 0 and `length` |
/// | `math.move_towards(x, target, step)` | nearer by at most `step`, never past |
/// | `math.angle_difference(from, to)` | the shortest turn, from -π to below π |
/// | `math.lerp_angle(from, to, t)` | part of the shortest turn |
/// | `math.trunc(x)`, `math.fract(x)` | without, and only, what follows the point |
/// | `math.hypot(x, y)`, `math.cbrt(x)` | length, cube root |
/// | `math.log2(x)`, `math.log1p(x)`, `math.expm1(x)` | logarithms, exponentials |
/// | `math.asinh(x)`, `math.acosh(x)`, `math.atanh(x)` | inverse hyperbolic functions |
/// | `math.gcd(a, b)`, `math.lcm(a, b)` | of whole numbers |
/// | `math.factorial(n)` | up to 170; exact up to 18 |
/// | `math.is_power_of_two(n)` | of a whole number from 0 |
/// | `math.sum(list)`, `math.mean(list)`, `math.median(list)` | of numbers; only a sum may be of none |
///
/// `ease` knows Bevy's [`EaseFunction`]s by name: `Linear`, `SmoothStep`, `SmootherStep`, each of
/// `Quadratic`, `Cubic`, `Quartic`, `Quintic`, `Sine`, `Circular`, `Exponential`, `Elastic`, `Back`, `Bounce`
/// with `In`, `Out` or `InOut` after it, and `SmoothStep` and `SmootherStep` with `In` or `Out`.
///
/// Logarithms, roots, angles and easings are those of the system, whose last digits may differ from one
/// platform to another.
///
/// ```lua
/// assert(math.inverse_lerp(10, 20, 15) == 0.5)
/// assert(math.wrap(-1, 0, 4) == 3)
/// assert(math.ping_pong(5, 4) == 3)
/// assert(math.move_towards(0, 10, 3) == 3)
/// assert(math.ease("QuadraticIn", 0.5) == 0.25)
/// assert(math.gcd(12, 18) == 6 and math.lcm(4, 6) == 12)
/// assert(math.median({5, 1, 3}) == 3)
/// assert(math.sin(0) == 0)  -- Luau's own are still there
/// ```
pub fn math() -> Module {
    let module = Module::new("math");
    statistics(whole_numbers(functions(motion(module))))
}

fn motion(module: Module) -> Module {
    module
        .function("inverse_lerp", |(a, b, x): (Finite, Finite, f64)| {
            if a.0 == b.0 {
                let expected = format!("a number other than the first, {}", a.0);
                return Err(wrong("math.inverse_lerp", 2, expected, b.0));
            }
            Ok((x - a.0) / (b.0 - a.0))
        })
        .function("step", |(edge, x): (f64, f64)| if x < edge { 0.0 } else { 1.0 })
        .function("smoothstep", |(a, b, x): (Finite, Finite, f64)| {
            if a.0 >= b.0 {
                return Err(wrong("math.smoothstep", 2, format!("above {}", a.0), b.0));
            }
            let t = ((x - a.0) / (b.0 - a.0)).clamp(0.0, 1.0);
            Ok(t * t * (3.0 - 2.0 * t))
        })
        .function("ease", |(Easing(easing), t): (Easing, f64)| {
            // Held within the curve, which only NaN can leave.
            easing.sample_clamped(t as f32)
        })
        .function("wrap", |(x, min, max): (f64, Finite, Finite)| {
            if min.0 >= max.0 {
                return Err(wrong("math.wrap", 3, format!("above {}", min.0), max.0));
            }
            Ok(wrap(x, min.0, max.0))
        })
        .function("ping_pong", |(x, length): (f64, Positive)| {
            length.0 - ((x.rem_euclid(2.0 * length.0)) - length.0).abs()
        })
        .function("move_towards", |(x, target, step): (f64, f64, f64)| {
            if step < 0.0 || step.is_nan() {
                return Err(wrong("math.move_towards", 3, "number from 0", step));
            }
            let way = target - x;
            Ok(if way.abs() <= step { target } else { x + step.copysign(way) })
        })
        .function("angle_difference", |(from, to): (f64, f64)| turn(from, to))
        .function("lerp_angle", |(from, to, t): (f64, f64, f64)| from + turn(from, to) * t)
}

fn functions(module: Module) -> Module {
    module
        .function("trunc", f64::trunc)
        .function("fract", f64::fract)
        .function("hypot", |(x, y): (f64, f64)| x.hypot(y))
        .function("cbrt", f64::cbrt)
        .function("log2", f64::log2)
        .function("log1p", f64::ln_1p)
        .function("expm1", f64::exp_m1)
        .function("asinh", f64::asinh)
        .function("acosh", f64::acosh)
        .function("atanh", f64::atanh)
}

fn whole_numbers(module: Module) -> Module {
    module
        .function("gcd", |(a, b): (Whole, Whole)| {
            gcd(a.get().unsigned_abs(), b.get().unsigned_abs())
        })
        .function("lcm", |(a, b): (Whole, Whole)| {
            let (a, b) = (a.get().unsigned_abs(), b.get().unsigned_abs());
            match gcd(a, b) {
                0 => 0.0,
                // A float, for it may be beyond what is exact.
                divisor => (u128::from(a / divisor) * u128::from(b)) as f64,
            }
        })
        .function("factorial", |n: Natural| {
            // 171! is beyond the largest number.
            if n.0 > 170.0 {
                return Err(wrong("math.factorial", 1, "whole number from 0 to 170", n.0));
            }
            Ok((2..=n.get()).map(|factor| factor as f64).product::<f64>())
        })
        .function("is_power_of_two", |n: Natural| n.get().is_power_of_two())
}

fn statistics(module: Module) -> Module {
    module
        .function("sum", |numbers: Vec<f64>| numbers.iter().sum::<f64>() + 0.0)
        .function("mean", |Filled(numbers): Filled<f64>| {
            numbers.iter().sum::<f64>() / numbers.len() as f64
        })
        .function("median", |Filled(mut numbers): Filled<f64>| {
            numbers.sort_unstable_by(f64::total_cmp);
            let middle = numbers.len() / 2;
            if numbers.len().is_multiple_of(2) {
                f64::midpoint(numbers[middle - 1], numbers[middle])
            } else {
                numbers[middle]
            }
        })
}

fn wrap(x: f64, min: f64, max: f64) -> f64 {
    let wrapped = min + (x - min).rem_euclid(max - min);
    // A tiny step below `min` rounds up to `max`.
    if wrapped >= max { min } else { wrapped }
}

/// The shortest way round from one angle to another.
fn turn(from: f64, to: f64) -> f64 {
    wrap(to - from, -PI, -PI + TAU)
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// An easing by its name.
struct Easing(EaseFunction);

impl FromScript for Easing {
    fn expected() -> String {
        "name of an easing, such as Linear, QuadraticInOut, SineIn or BounceOut".to_owned()
    }
    fn from_script(value: ScriptValue) -> Result<Self, ScriptValue> {
        match &value {
            ScriptValue::String(name) => {
                let found = EASINGS.iter().find(|(known, _)| known == name);
                found.map(|(_, easing)| Self(*easing)).ok_or(value)
            }
            _ => Err(value),
        }
    }
}

macro_rules! easings {
    ($($name:ident)*) => {
        /// All that need no parameter.
        pub(super) const EASINGS: &[(&str, EaseFunction)] = &[$((stringify!($name), EaseFunction::$name)),*];
    };
}
easings! {
    Linear
    QuadraticIn QuadraticOut QuadraticInOut
    CubicIn CubicOut CubicInOut
    QuarticIn QuarticOut QuarticInOut
    QuinticIn QuinticOut QuinticInOut
    SmoothStepIn SmoothStepOut SmoothStep
    SmootherStepIn SmootherStepOut SmootherStep
    SineIn SineOut SineInOut
    CircularIn CircularOut CircularInOut
    ExponentialIn ExponentialOut ExponentialInOut
    ElasticIn ElasticOut ElasticInOut
    BackIn BackOut BackInOut
    BounceIn BounceOut BounceInOut
}
