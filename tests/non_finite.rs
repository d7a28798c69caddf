//! Numbers that are not finite reach no component, unless the scripts may write them.

mod common;

use bevy::prelude::*;
use bevy_lua_pool::prelude::*;
use common::{Lab, patient};

#[derive(Component, Reflect, Clone, Default, Debug, PartialEq)]
#[reflect(Default)]
struct Body {
    mass: f64,
    speed: f32,
    at: Vec2,
    shape: Shape,
    points: Vec<Vec3>,
    name: String,
}

#[derive(Reflect, Clone, Default, Debug, PartialEq)]
#[reflect(Default)]
enum Shape {
    #[default]
    Point,
    Ball {
        radius: f32,
    },
}

/// What scripts write, and the field that the error names.
const WRITES: [(&str, &str); 18] = [
    ("entity.Transform.translation = vector.create(0/0, 0, 0)", "`Transform.translation`"),
    ("entity.Transform.translation *= math.huge", "`Transform.translation`"),
    ("entity.Transform.scale = vector.create(1, 1e300, 1)", "`Transform.scale`"),
    ("local t = entity.Transform t.scale = t.scale / 0 * 0", "`Transform.scale`"),
    ("entity.Transform.rotation = {x = 0/0}", "`Transform.rotation.x`"),
    ("entity.Transform.rotation.w = -math.huge", "`Transform.rotation.w`"),
    ("entity.Transform = {translation = vector.create(0, 0, 0/0)}", "`Transform.translation`"),
    (
        "entity.Transform = {translation = vector.zero, rotation = {y = 1/0}}",
        "`Transform.rotation.y`",
    ),
    ("world.spawn{Transform = {scale = vector.one / 0}}", "`Transform.scale`"),
    ("world.get(other).Transform.translation = vector.one / 0", "`Transform.translation`"),
    ("entity.Body.mass = 0/0", "`Body.mass`"),
    ("entity.Body.mass = 1/0", "`Body.mass`"),
    ("entity.Body.at = vector.create(0/0, 1)", "`Body.at`"),
    ("entity.Body.shape = {Ball = {radius = 1/0}}", "`Body.shape.Ball.radius`"),
    ("entity.Body.points = {vector.one, vector.one * (0/0)}", "`Body.points[2]`"),
    ("local p = entity.Body.points p[1] = vector.one / 0", "`Body.points[1]`"),
    ("entity.Body = {speed = -1/0}", "`Body.speed`"),
    ("local b = world.get(other).Body b.mass = 0/0", "`Body.mass`"),
];

fn lab(config: LuaPoolConfig) -> Lab {
    let mut lab = Lab::with_config(config);
    lab.app.expose_component::<Body>();
    lab
}

/// Runs one script; gives the failure's text, if it failed, and whether all that was written is finite.
fn run(config: LuaPoolConfig, write: &str) -> (Vec<String>, bool) {
    let mut lab = lab(config);
    let source = format!("function on_update(self) local other = entity.parent {write} end");
    let body = Body { points: vec![Vec3::ONE], ..Body::default() };
    let script = lab.script("a.luau", &source);
    let world = lab.app.world_mut();
    let parent = world.spawn((Transform::default(), body.clone())).id();
    world.spawn((Transform::default(), body, ChildOf(parent), LuaScripts::new(script)));
    lab.frame();
    let failures = lab.failures();
    let world = lab.app.world_mut();
    let mut transforms = world.query::<&Transform>();
    let mut finite = transforms.iter(world).all(|transform| {
        transform.translation.is_finite()
            && transform.scale.is_finite()
            && transform.rotation.is_finite()
    });
    let mut bodies = world.query::<&Body>();
    finite &= bodies.iter(world).all(|body| {
        body.mass.is_finite()
            && body.speed.is_finite()
            && body.at.is_finite()
            && body.points.iter().all(|point| point.is_finite())
            && !matches!(body.shape, Shape::Ball { radius } if !radius.is_finite())
    });
    (failures, finite)
}

#[test]
fn what_is_not_finite_is_an_error_that_names_the_field() {
    for (write, field) in WRITES {
        let (failures, finite) = run(patient(), write);
        assert!(finite, "{write}");
        let [failure] = failures.as_slice() else { panic!("{write}: {failures:?}") };
        assert!(failure.contains(field), "{write}: {failure}");
        assert!(failure.contains("allow_non_finite"), "{write}: {failure}");
    }
}

#[test]
fn a_number_does_not_become_infinite_by_itself() {
    for (write, field) in [
        ("entity.Transform.rotation.w = 1e300", "`Transform.rotation.w`"),
        ("entity.Body.speed = 1e300", "`Body.speed`"),
        ("entity.Body = {speed = -1e300}", "`Body.speed`"),
    ] {
        for allow in [None, Some(true)] {
            let (failures, finite) = run(with(allow), write);
            assert!(finite && failures.len() == 1, "{write}: {failures:?}");
            assert!(failures[0].contains(field) && failures[0].contains("3.4e38"), "{failures:?}");
        }
    }
}

/// A configuration in which scripts may write such numbers, or not.
fn with(allow_non_finite: Option<bool>) -> LuaPoolConfig {
    let mut config = patient();
    config.sandbox.limits.allow_non_finite = allow_non_finite;
    config
}

#[test]
fn a_script_writes_them_where_the_sandbox_lets_it() {
    for (write, _) in WRITES {
        let (failures, finite) = run(with(Some(true)), write);
        assert_eq!((failures, finite), (vec![], false), "{write}");
    }
    let config = |rule: &str| {
        let text = format!("(sandbox: (scripts: {{\"{rule}\": (allow_non_finite: true)}}))");
        let sandbox = LuaPoolConfig::from_ron(&text).expect("it is right").sandbox;
        LuaPoolConfig { sandbox, ..patient() }
    };
    let write = "entity.Body.mass = 1/0";
    assert!(!run(config("a.luau"), write).1);
    assert!(run(config("b.luau"), write).1);
    assert!(SandboxConfig::default().limits.allow_non_finite.is_none());
    assert_eq!(SandboxConfig::trusted().limits.allow_non_finite, Some(true));
}

#[test]
fn what_the_game_wrote_may_stay() {
    let mut lab = lab(patient());
    let body = Body { points: vec![Vec3::ONE, Vec3::INFINITY], mass: f64::NAN, ..Body::default() };
    let script = lab.script(
        "a.luau",
        "function on_update(self)
        local body = entity.Body
        local points = body.points
        points[1] = vector.zero
        body.speed = 2
    end",
    );
    let entity = lab.app.world_mut().spawn((body, LuaScripts::new(script))).id();
    lab.frame();
    assert_eq!(lab.failures(), [""; 0]);
    let body = lab.app.world().get::<Body>(entity).expect("it has one");
    assert_eq!((body.speed, &body.points[..]), (2.0, &[Vec3::ZERO, Vec3::INFINITY][..]));
}

#[test]
fn what_is_finite_or_no_number_of_a_component_is_no_error() {
    for write in [
        "self.n = 0/0 self.v = vector.one / 0",
        "entity.Body = {name = 'inf', speed = 3e38}",
        "entity.Body.mass = 1e300 entity.Transform.translation = vector.create(3e38, 0, 0)",
        "emit('x', {0/0, 1/0}) send(entity.id, 'x', 1/0)",
    ] {
        assert_eq!(run(patient(), write), (vec![], true), "{write}");
    }
}
