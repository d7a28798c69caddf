//! `linalg.quat`.

use bevy::math::{EulerRot, Mat3, Quat, Vec3};

use super::types::{Direction, Matrix3, Rotation};
use crate::error::ScriptError;
use crate::modules::Module;
use crate::value::ScriptTable;

pub(super) fn quat(module: Module) -> Module {
    operations(makers(module))
}

fn makers(module: Module) -> Module {
    module
        .function("quat.identity", |(): ()| Quat::IDENTITY)
        .function("quat.from_axis_angle", |(axis, angle): (Direction, f32)| {
            Quat::from_axis_angle(axis.0, angle)
        })
        .function("quat.from_euler", |(x, y, z): (f32, f32, f32)| {
            Quat::from_euler(EulerRot::XYZ, x, y, z)
        })
        .function("quat.from_mat3", |m: Matrix3| from_mat3(&m.0))
        .function("quat.look_to", |(direction, up): (Direction, Option<Direction>)| {
            look_to(direction.0, up.map_or(Vec3::Y, |up| up.0))
        })
        .function("quat.between", |(from, to): (Direction, Direction)| {
            Quat::from_rotation_arc(from.0, to.0)
        })
}

fn operations(module: Module) -> Module {
    module
        .function("quat.to_axis_angle", |q: Rotation| {
            let (axis, angle) = q.0.to_axis_angle();
            ScriptTable::from([("axis", axis.into()), ("angle", crate::ScriptValue::from(angle))])
        })
        .function("quat.to_euler", |q: Rotation| Vec3::from(q.0.to_euler(EulerRot::XYZ)))
        .function("quat.mul", |(a, b): (Rotation, Rotation)| a.0 * b.0)
        .function("quat.rotate", |(q, v): (Rotation, Vec3)| q.0 * v)
        .function("quat.inverse", |q: Rotation| q.0.inverse())
        .function("quat.normalize", |q: Rotation| q.0)
        .function("quat.slerp", |(a, b, t): (Rotation, Rotation, f32)| a.0.slerp(b.0, t))
        .function("quat.angle_between", |(a, b): (Rotation, Rotation)| a.0.angle_between(b.0))
}

/// The rotation that turns -z to a direction, as Bevy's `Transform::looking_to`.
fn look_to(direction: Vec3, up: Vec3) -> Quat {
    let back = -direction;
    let right = up.cross(back).try_normalize().unwrap_or_else(|| up.any_orthonormal_vector());
    Quat::from_mat3(&Mat3::from_cols(right, back.cross(right), back))
}

fn from_mat3(matrix: &Mat3) -> Result<Quat, ScriptError> {
    const TOLERANCE: f32 = 1e-3;
    let square = *matrix * matrix.transpose();
    let rotates = square.abs_diff_eq(Mat3::IDENTITY, TOLERANCE) && matrix.determinant() > 0.0;
    if !rotates {
        return Err(ScriptError::Argument {
            function: "linalg.quat.from_mat3".to_owned(),
            position: 1,
            expected: "a matrix that only rotates".to_owned(),
            got: "one that scales, skews or mirrors".to_owned(),
        });
    }
    Ok(Quat::from_mat3(matrix).normalize())
}
