//! The module `random`.

use bevy::math::Vec3;
use rand::distr::weighted::WeightedIndex;
use rand::seq::{IndexedRandom, SliceRandom};
use rand::{Rng, RngExt, SeedableRng};
use rand_distr::{Distribution, Exp, Normal, Poisson, UnitBall, UnitCircle, UnitDisc, UnitSphere};
use rand_pcg::Pcg32;

use super::Module;
use super::arguments::{
    Chance, Filled, Finite, Index, Natural, NotNegative, Positive, Whole, wrong,
};
use crate::error::ScriptError;
use crate::value::ScriptValue;
use crate::vm::Caller;

/// The most numbers that `random.sequence` makes at once.
const MAX_SEQUENCE: f64 = 10_000.0;

/// Random numbers, of many kinds.
///
/// They are drawn from the run's own numbers, those of `math.random`: an entity's script gets the same ones
/// whenever the game does the same. With a `seed` (a whole number) as the last argument, a call depends on
/// its arguments alone: the same ones give the same result, always and everywhere. For the many things that
/// one seed is to make, `random.seed(seed, index)` gives as many seeds that have nothing to do with each
/// other.
///
/// | function | |
/// | --- | --- |
/// | `random.number(min?, max?, seed?)` | from `min` (0) to below `max` (1) |
/// | `random.integer(min, max, seed?)` | both included |
/// | `random.boolean(chance?, seed?)` | true with that chance (0.5) |
/// | `random.pick(list, seed?)` | one of the elements |
/// | `random.weighted(list, weights, seed?)` | one of them, as often as its weight says |
/// | `random.shuffle(list, seed?)` | a new list in another order |
/// | `random.sample(list, count, seed?)` | so many of the elements, none twice |
/// | `random.normal(mean?, deviation?, seed?)` | bell curve around `mean` (0); `deviation` is 1 |
/// | `random.exponential(rate, seed?)` | waiting time at so many events a second |
/// | `random.poisson(mean, seed?)` | how many events, if there are `mean` of them as a rule |
/// | `random.direction(seed?)`, `random.direction_2d(seed?)` | vector of length 1 |
/// | `random.in_sphere(radius?, seed?)`, `random.in_circle(radius?, seed?)` | point within; `radius` is 1 |
/// | `random.seed(seed, index)` | the n-th seed of a seed, from 1 |
/// | `random.at(seed, index)` | the n-th number of a seed's sequence, from 0 to below 1 |
/// | `random.sequence(seed, count, from?)` | so many of these numbers (10,000 at most), from a place (1) on |
///
/// `normal`, `exponential` and `poisson` reckon with the system's logarithms, whose last digits may differ
/// from one platform to another.
///
/// ```lua
/// local loot = random.weighted({"gold", "gem"}, {9, 1})
/// assert(loot == "gold" or loot == "gem")
///
/// local die = random.integer(1, 6)
/// assert(die >= 1 and die <= 6)
///
/// local WORLD = 42
/// local deck = random.shuffle({"ace", "king", "queen"}, random.seed(WORLD, 1))
/// local again = random.shuffle({"ace", "king", "queen"}, random.seed(WORLD, 1))
/// assert(deck[1] == again[1] and deck[2] == again[2])
///
/// local heights = random.sequence(WORLD, 100)
/// assert(heights[7] == random.at(WORLD, 7))
/// ```
pub fn random() -> Module {
    sequences(points(distributions(lists(numbers(Module::new("random"))))))
}

/// A seed of the caller's own choice.
type Seed = Option<Whole>;

/// Draws from the sequence of a seed, or from the run's own.
fn draw<T>(caller: &mut Caller<'_>, seed: Seed, from: impl FnOnce(&mut dyn Rng) -> T) -> T {
    match seed {
        Some(seed) => from(&mut generator(seed)),
        None => from(caller.random()),
    }
}

/// PCG-XSH-RR 64/32; neighbouring seeds are spread first.
fn generator(seed: Whole) -> Pcg32 {
    Pcg32::seed_from_u64(seed.get().cast_unsigned())
}

fn numbers(module: Module) -> Module {
    module
        .function(
            "number",
            |caller: &mut Caller<'_>, (min, max, seed): (Option<Finite>, Option<Finite>, Seed)| {
                let min = min.map_or(0.0, |min| min.0);
                let max = max.map_or(1.0, |max| max.0);
                if min >= max || !(max - min).is_finite() {
                    let expected = format!("number above {min}, and not too far from it");
                    return Err(wrong("random.number", 2, expected, max));
                }
                let part: f64 = draw(caller, seed, |random| random.random());
                // Rounding may reach the end.
                Ok((min + part * (max - min)).min(max.next_down()))
            },
        )
        .function("integer", |caller: &mut Caller<'_>, (min, max, seed): (Whole, Whole, Seed)| {
            if min.0 > max.0 {
                return Err(wrong("random.integer", 2, format!("from {}", min.0), max.0));
            }
            Ok(draw(caller, seed, |random| random.random_range(min.get()..=max.get())))
        })
        .function("boolean", |caller: &mut Caller<'_>, (chance, seed): (Option<Chance>, Seed)| {
            let chance = chance.map_or(0.5, |chance| chance.0);
            draw(caller, seed, |random| random.random_bool(chance))
        })
}

fn lists(module: Module) -> Module {
    module
        .function(
            "pick",
            |caller: &mut Caller<'_>, (Filled(list), seed): (Filled<ScriptValue>, Seed)| {
                draw(caller, seed, |random| list.choose(random).cloned())
            },
        )
        .function("weighted", weighted)
        .function(
            "shuffle",
            |caller: &mut Caller<'_>, (mut list, seed): (Vec<ScriptValue>, Seed)| {
                draw(caller, seed, |random| list.shuffle(random));
                list
            },
        )
        .function("sample", sample)
}

fn weighted(
    caller: &mut Caller<'_>,
    (Filled(mut list), weights, seed): (Filled<ScriptValue>, Vec<NotNegative>, Seed),
) -> Result<ScriptValue, ScriptError> {
    let wrong = |expected: String, got: &str| ScriptError::Argument {
        function: "random.weighted".to_owned(),
        position: 2,
        expected,
        got: got.to_owned(),
    };
    if weights.len() != list.len() {
        let expected = format!("list of {} weights, one for each element", list.len());
        return Err(wrong(expected, &format!("a list of {}", weights.len())));
    }
    let sum: f64 = weights.iter().map(|weight| weight.0).sum();
    match WeightedIndex::new(weights.iter().map(|weight| weight.0)) {
        Ok(index) if sum.is_finite() => {
            let chosen = draw(caller, seed, |random| index.sample(random));
            Ok(list.swap_remove(chosen))
        }
        _ => {
            let expected = "weights of which one at least is above 0".to_owned();
            Err(wrong(expected, &format!("a list whose sum is {sum}")))
        }
    }
}

fn sample(
    caller: &mut Caller<'_>,
    (mut list, count, seed): (Vec<ScriptValue>, Natural, Seed),
) -> Result<Vec<ScriptValue>, ScriptError> {
    if count.0 > list.len() as f64 {
        let expected = format!("whole number from 0 to {}, the length of the list", list.len());
        return Err(wrong("random.sample", 2, expected, count.0));
    }
    draw(caller, seed, |random| list.shuffle(random));
    list.truncate(count.get() as usize);
    Ok(list)
}

fn distributions(module: Module) -> Module {
    module
        .function(
            "normal",
            |caller: &mut Caller<'_>,
             (mean, deviation, seed): (Option<Finite>, Option<NotNegative>, Seed)| {
                let mean = mean.map_or(0.0, |mean| mean.0);
                let deviation = deviation.map_or(1.0, |deviation| deviation.0);
                let normal = Normal::new(mean, deviation)?;
                Ok::<f64, rand_distr::NormalError>(draw(caller, seed, |random| {
                    normal.sample(random)
                }))
            },
        )
        .function("exponential", |caller: &mut Caller<'_>, (rate, seed): (Positive, Seed)| {
            let exponential = Exp::new(rate.0)?;
            Ok::<f64, rand_distr::ExpError>(draw(caller, seed, |random| exponential.sample(random)))
        })
        .function("poisson", |caller: &mut Caller<'_>, (mean, seed): (Positive, Seed)| {
            const MAX: f64 = 1e15;
            if mean.0 > MAX {
                return Err(wrong("random.poisson", 1, format!("number up to {MAX}"), mean.0));
            }
            match Poisson::new(mean.0) {
                Ok(poisson) => Ok(draw(caller, seed, |random| poisson.sample(random))),
                Err(_) => Err(wrong("random.poisson", 1, "number well above 0", mean.0)),
            }
        })
}

fn points(module: Module) -> Module {
    module
        .function("direction", |caller: &mut Caller<'_>, seed: Seed| {
            Vec3::from(draw(caller, seed, |random| -> [f32; 3] { UnitSphere.sample(random) }))
        })
        .function("direction_2d", |caller: &mut Caller<'_>, seed: Seed| {
            let [x, y] = draw(caller, seed, |random| -> [f32; 2] { UnitCircle.sample(random) });
            Vec3::new(x, y, 0.0)
        })
        .function(
            "in_sphere",
            |caller: &mut Caller<'_>, (radius, seed): (Option<NotNegative>, Seed)| {
                let point = draw(caller, seed, |random| -> [f32; 3] { UnitBall.sample(random) });
                Vec3::from(point) * radius.map_or(1.0, |radius| radius.0 as f32)
            },
        )
        .function(
            "in_circle",
            |caller: &mut Caller<'_>, (radius, seed): (Option<NotNegative>, Seed)| {
                let [x, y] = draw(caller, seed, |random| -> [f32; 2] { UnitDisc.sample(random) });
                Vec3::new(x, y, 0.0) * radius.map_or(1.0, |radius| radius.0 as f32)
            },
        )
}

fn sequences(module: Module) -> Module {
    module
        .function("seed", |(seed, index): (Whole, Index)| {
            // As many bits as Lua's numbers hold.
            place(seed, index).next_u64() >> 11
        })
        .function("at", |(seed, index): (Whole, Index)| place(seed, index).random::<f64>())
        .function("sequence", |(seed, count, from): (Whole, Natural, Option<Index>)| {
            if count.0 > MAX_SEQUENCE {
                let expected = format!("whole number from 0 to {MAX_SEQUENCE}");
                return Err(wrong("random.sequence", 2, expected, count.0));
            }
            let mut random = place(seed, from.unwrap_or(Index(1.0)));
            Ok((0..count.get()).map(|_| random.random::<f64>()).collect::<Vec<_>>())
        })
}

/// A seed's sequence from a place on: each number takes 64 bits, two steps of the generator.
fn place(seed: Whole, index: Index) -> Pcg32 {
    let mut random = generator(seed);
    random.advance(2 * (index.get() - 1));
    random
}
