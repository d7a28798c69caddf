//! The module `linalg`.

mod matrix;
mod rotation;
mod types;
mod vector;

use super::Module;

/// Vectors, rotations and matrices, as [`bevy::math`] has them: in single precision.
///
/// A vector is Luau's own; one of two dimensions has no z. A quaternion is a table `{x, y, z, w}`, of any
/// length but zero: it is normalised first. A matrix is a table of 9 or 16 numbers, column after column.
/// Angles are in radians. A direction, an axis or a normal is of any length but zero.
///
/// | vectors | |
/// | --- | --- |
/// | `linalg.vec2.from_angle(angle)`, `.to_angle(v)` | direction and angle from the x axis |
/// | `linalg.vec2.rotate(v, angle)`, `.perpendicular(v)` | turned; turned by a quarter |
/// | `linalg.vec2.angle_between(a, b)` | the turn from `a` to `b`, from -π to π |
/// | `linalg.vec2.cross(a, b)` | the z of the cross product |
/// | `linalg.vec3.distance(a, b)` | |
/// | `linalg.vec3.move_towards(v, target, step)` | nearer by at most `step`, never past |
/// | `linalg.vec3.clamp_length(v, min, max)` | as long as at least, at most |
/// | `linalg.vec3.project(v, onto)`, `.reject(v, from)` | the part along a direction, and the rest |
/// | `linalg.vec3.reflect(v, normal)` | thrown back by a surface |
/// | `linalg.vec3.any_orthogonal(v)` | a direction at right angles |
/// | `linalg.vec3.rotate(v, axis, angle)` | turned about an axis through the origin |
/// | `linalg.vec3.rotate_around(point, center, axis, angle)` | turned about an axis through a point |
///
/// Lengths, dot and cross products, `lerp` and the like are in Luau's own `vector`.
///
/// | rotations | |
/// | --- | --- |
/// | `linalg.quat.identity()` | |
/// | `linalg.quat.from_axis_angle(axis, angle)`, `.to_axis_angle(q)` | the latter gives `{axis, angle}` by name |
/// | `linalg.quat.from_euler(x, y, z)`, `.to_euler(q)` | about x, then the new y, then the new z; a vector |
/// | `linalg.quat.from_mat3(m)` | of a matrix that only rotates |
/// | `linalg.quat.look_to(direction, up?)` | turns -z to a direction, as Bevy's cameras look; `up` is y |
/// | `linalg.quat.between(from, to)` | the shortest way from one direction to another |
/// | `linalg.quat.mul(a, b)` | first `b`, then `a` |
/// | `linalg.quat.rotate(q, v)`, `.inverse(q)`, `.normalize(q)` | |
/// | `linalg.quat.slerp(a, b, t)` | part of the way |
/// | `linalg.quat.angle_between(a, b)` | the turn that is left, 0 to π |
///
/// | matrices of 3 by 3 | |
/// | --- | --- |
/// | `linalg.mat3.identity()`, `.from_cols(x, y, z)`, `.from_quat(q)`, `.from_scale(v)` | |
/// | `linalg.mat3.mul(a, b)`, `.transform(m, v)` | |
/// | `linalg.mat3.transpose(m)`, `.determinant(m)`, `.inverse(m)` | a singular matrix has no inverse: an error |
///
/// | matrices of 4 by 4 | |
/// | --- | --- |
/// | `linalg.mat4.identity()`, `.from_translation(v)`, `.from_quat(q)`, `.from_scale(v)` | |
/// | `linalg.mat4.from_scale_rotation_translation(scale, q, v)` | |
/// | `linalg.mat4.decompose(m)` | `{scale, rotation, translation}` by name; not of a singular one |
/// | `linalg.mat4.look_at(eye, target, up)` | from the world to a camera that looks along -z |
/// | `linalg.mat4.perspective(fov_y, aspect, near, far)` | depth 0 to 1, right-handed |
/// | `linalg.mat4.orthographic(left, right, bottom, top, near, far)` | likewise |
/// | `linalg.mat4.mul(a, b)`, `.transpose(m)`, `.determinant(m)`, `.inverse(m)` | |
/// | `linalg.mat4.transform_point(m, v)`, `.transform_vector(m, v)` | with, and without, its translation |
/// | `linalg.mat4.project_point(m, v)` | and divided by w, for perspectives |
///
/// ```lua
/// local quarter = linalg.quat.from_axis_angle(vector.create(0, 0, 1), math.pi / 2)
/// local up = linalg.quat.rotate(quarter, vector.create(1, 0, 0))
/// assert(linalg.vec3.distance(up, vector.create(0, 1, 0)) < 1e-6)
///
/// local m = linalg.mat4.from_scale_rotation_translation(
///     vector.create(2, 2, 2), quarter, vector.create(5, 0, 0))
/// local there = linalg.mat4.transform_point(m, vector.create(1, 0, 0))
/// local back = linalg.mat4.transform_point(linalg.mat4.inverse(m), there)
/// assert(linalg.vec3.distance(back, vector.create(1, 0, 0)) < 1e-6)
/// assert(math.abs(linalg.mat4.decompose(m).scale.x - 2) < 1e-5)
/// ```
pub fn linalg() -> Module {
    matrix::mat4(matrix::mat3(rotation::quat(vector::vec3(vector::vec2(Module::new("linalg"))))))
}
