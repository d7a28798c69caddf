//! `linalg.mat3` and `linalg.mat4`.

use bevy::math::{Mat3, Mat4, Quat, Vec3};

use super::types::{Direction, Matrix3, Matrix4, Rotation};
use crate::error::ScriptError;
use crate::modules::Module;
use crate::modules::arguments::{Finite, Positive, wrong};
use crate::value::{IntoScript, ScriptTable};

pub(super) fn mat3(module: Module) -> Module {
    module
        .function("mat3.identity", |(): ()| Matrix3(Mat3::IDENTITY))
        .function("mat3.from_cols", |(x, y, z): (Vec3, Vec3, Vec3)| {
            Matrix3(Mat3::from_cols(x, y, z))
        })
        .function("mat3.from_quat", |q: Rotation| Matrix3(Mat3::from_quat(q.0)))
        .function("mat3.from_scale", |v: Vec3| Matrix3(Mat3::from_diagonal(v)))
        .function("mat3.mul", |(a, b): (Matrix3, Matrix3)| Matrix3(a.0 * b.0))
        .function("mat3.transform", |(m, v): (Matrix3, Vec3)| m.0 * v)
        .function("mat3.transpose", |m: Matrix3| Matrix3(m.0.transpose()))
        .function("mat3.determinant", |m: Matrix3| m.0.determinant())
        .function("mat3.inverse", |m: Matrix3| {
            let invertible = invertible(m.0.determinant());
            if invertible { Ok(Matrix3(m.0.inverse())) } else { Err(singular("mat3.inverse")) }
        })
}

pub(super) fn mat4(module: Module) -> Module {
    cameras(operations(makers(module)))
}

fn makers(module: Module) -> Module {
    module
        .function("mat4.identity", |(): ()| Matrix4(Mat4::IDENTITY))
        .function("mat4.from_translation", |v: Vec3| Matrix4(Mat4::from_translation(v)))
        .function("mat4.from_quat", |q: Rotation| Matrix4(Mat4::from_quat(q.0)))
        .function("mat4.from_scale", |v: Vec3| Matrix4(Mat4::from_diagonal(v.extend(1.0))))
        .function(
            "mat4.from_scale_rotation_translation",
            |(scale, rotation, translation): (Vec3, Rotation, Vec3)| {
                Matrix4(Mat4::from_scale_rotation_translation(scale, rotation.0, translation))
            },
        )
}

fn operations(module: Module) -> Module {
    module
        .function("mat4.mul", |(a, b): (Matrix4, Matrix4)| Matrix4(a.0 * b.0))
        .function("mat4.transpose", |m: Matrix4| Matrix4(m.0.transpose()))
        .function("mat4.determinant", |m: Matrix4| m.0.determinant())
        .function("mat4.inverse", |m: Matrix4| {
            let invertible = invertible(m.0.determinant());
            if invertible { Ok(Matrix4(m.0.inverse())) } else { Err(singular("mat4.inverse")) }
        })
        .function("mat4.transform_point", |(m, v): (Matrix4, Vec3)| {
            (m.0 * v.extend(1.0)).truncate()
        })
        .function("mat4.transform_vector", |(m, v): (Matrix4, Vec3)| {
            (m.0 * v.extend(0.0)).truncate()
        })
        .function("mat4.project_point", |(m, v): (Matrix4, Vec3)| m.0.project_point3(v))
        .function("mat4.decompose", |m: Matrix4| decompose(m.0))
}

fn cameras(module: Module) -> Module {
    module
        .function("mat4.look_at", |(eye, target, up): (Vec3, Vec3, Direction)| {
            look_at(eye, target, up.0)
        })
        .function(
            "mat4.perspective",
            |(fov, aspect, near, far): (Positive, Positive, Positive, Positive)| {
                const NAME: &str = "linalg.mat4.perspective";
                if fov.0 >= std::f64::consts::PI {
                    return Err(wrong(NAME, 1, "angle below π", fov.0));
                }
                if far.0 <= near.0 {
                    return Err(wrong(NAME, 4, format!("above {}", near.0), far.0));
                }
                let [fov, aspect, near, far] = [fov, aspect, near, far].map(|x| x.0 as f32);
                finite(NAME, Mat4::perspective_rh(fov, aspect, near, far))
            },
        )
        .function(
            "mat4.orthographic",
            |(left, right, bottom, top, near, far): (
                Finite,
                Finite,
                Finite,
                Finite,
                Finite,
                Finite,
            )| {
                const NAME: &str = "linalg.mat4.orthographic";
                for (position, a, b) in [(2, left, right), (4, bottom, top), (6, near, far)] {
                    if a.0 == b.0 {
                        return Err(wrong(NAME, position, format!("other than {}", a.0), b.0));
                    }
                }
                let [left, right, bottom, top, near, far] =
                    [left, right, bottom, top, near, far].map(|x| x.0 as f32);
                finite(NAME, Mat4::orthographic_rh(left, right, bottom, top, near, far))
            },
        )
}

fn look_at(eye: Vec3, target: Vec3, up: Vec3) -> Result<Matrix4, ScriptError> {
    const NAME: &str = "linalg.mat4.look_at";
    let Some(direction) = (target - eye).try_normalize() else {
        return Err(ScriptError::Host {
            message: format!("{NAME}: eye and target have to be different, finite points"),
        });
    };
    if direction.cross(up).try_normalize().is_none() {
        return Err(ScriptError::Host {
            message: format!("{NAME}: up must not point to the target, nor away from it"),
        });
    }
    finite(NAME, Mat4::look_to_rh(eye, direction, up))
}

fn decompose(matrix: Mat4) -> Result<ScriptTable, ScriptError> {
    if !invertible(matrix.determinant()) {
        return Err(singular("mat4.decompose"));
    }
    let (scale, rotation, translation) = matrix.to_scale_rotation_translation();
    let rotation: Quat = rotation.normalize();
    Ok(ScriptTable::from([
        ("scale", scale.into_script()?),
        ("rotation", rotation.into_script()?),
        ("translation", translation.into_script()?),
    ]))
}

/// Whether a matrix of this determinant can be divided by.
fn invertible(determinant: f32) -> bool {
    determinant.is_finite() && determinant.recip().is_finite()
}

fn singular(function: &str) -> ScriptError {
    ScriptError::Argument {
        function: format!("linalg.{function}"),
        position: 1,
        expected: "a matrix that can be inverted".to_owned(),
        got: "a singular one".to_owned(),
    }
}

/// A matrix, unless it overflowed.
fn finite(function: &str, matrix: Mat4) -> Result<Matrix4, ScriptError> {
    if matrix.is_finite() {
        return Ok(Matrix4(matrix));
    }
    Err(ScriptError::Host {
        message: format!("{function}: the numbers are too far apart for single precision"),
    })
}
