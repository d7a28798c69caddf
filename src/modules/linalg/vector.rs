//! `linalg.vec2` and `linalg.vec3`.

use bevy::math::{Quat, Vec2, Vec3};

use super::types::Direction;
use crate::modules::Module;
use crate::modules::arguments::{Finite, NotNegative, wrong};

pub(super) fn vec2(module: Module) -> Module {
    module
        .function("vec2.from_angle", |angle: f32| Vec2::from_angle(angle))
        .function("vec2.to_angle", |v: Vec2| v.to_angle())
        .function("vec2.rotate", |(v, angle): (Vec2, f32)| Vec2::from_angle(angle).rotate(v))
        .function("vec2.perpendicular", |v: Vec2| v.perp())
        .function("vec2.angle_between", |(a, b): (Vec2, Vec2)| a.perp_dot(b).atan2(a.dot(b)))
        .function("vec2.cross", |(a, b): (Vec2, Vec2)| a.perp_dot(b))
}

pub(super) fn vec3(module: Module) -> Module {
    module
        .function("vec3.distance", |(a, b): (Vec3, Vec3)| a.distance(b))
        .function("vec3.move_towards", |(v, target, step): (Vec3, Vec3, NotNegative)| {
            v.move_towards(target, step.0 as f32)
        })
        .function("vec3.clamp_length", |(v, min, max): (Vec3, NotNegative, NotNegative)| {
            if min.0 > max.0 {
                return Err(wrong("linalg.vec3.clamp_length", 3, format!("from {}", min.0), max.0));
            }
            // The zero vector has no direction to grow in.
            Ok(v.try_normalize().map_or(v, |direction| {
                direction * f64::from(v.length()).clamp(min.0, max.0) as f32
            }))
        })
        .function("vec3.project", |(v, onto): (Vec3, Direction)| onto.0 * v.dot(onto.0))
        .function("vec3.reject", |(v, from): (Vec3, Direction)| v - from.0 * v.dot(from.0))
        .function("vec3.reflect", |(v, normal): (Vec3, Direction)| v.reflect(normal.0))
        .function("vec3.any_orthogonal", |v: Direction| v.0.any_orthonormal_vector())
        .function("vec3.rotate", |(v, axis, angle): (Vec3, Direction, Finite)| {
            Quat::from_axis_angle(axis.0, angle.0 as f32) * v
        })
        .function(
            "vec3.rotate_around",
            |(point, center, axis, angle): (Vec3, Vec3, Direction, Finite)| {
                center + Quat::from_axis_angle(axis.0, angle.0 as f32) * (point - center)
            },
        )
}
