//! How deep scripts may nest entities. Bevy recurses through children, for example when it despawns them, so a
//! hierarchy that is too deep would overflow the stack.

use bevy::prelude::{ChildOf, Children, Entity, World};

/// The most levels below the root of a hierarchy that scripts may make.
pub(crate) const MAX_LEVELS: usize = 256;

/// Why an entity can't become the child of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Misfit {
    #[error(
        "it would be nested too deeply: scripts make hierarchies at most {MAX_LEVELS} levels deep"
    )]
    TooDeep,
    #[error("an entity can't be below itself")]
    Cycle,
    #[error("the parent does not exist (any more)")]
    NoParent,
    #[error("it has too many descendants to be moved by scripts in one frame")]
    TooMany,
}

/// The level at which a child of `parent` would be: how many ancestors it would have. `parent_of` finds them.
///
/// # Errors
/// If that is too deep, or `child` is among the ancestors.
pub(crate) fn level_below(
    parent: Entity,
    child: Option<Entity>,
    parent_of: impl Fn(Entity) -> Option<Entity>,
) -> Result<usize, Misfit> {
    let mut level = 1;
    let mut above = parent;
    loop {
        if Some(above) == child {
            return Err(Misfit::Cycle);
        }
        if level > MAX_LEVELS {
            return Err(Misfit::TooDeep);
        }
        match parent_of(above) {
            Some(next) => above = next,
            None => return Ok(level),
        }
        level += 1;
    }
}

/// The parent of an entity in the world.
pub(crate) fn parent_in(world: &World) -> impl Fn(Entity) -> Option<Entity> {
    |entity| world.get::<ChildOf>(entity).map(ChildOf::parent)
}

/// Checks that no descendant gets too deep if `entity` is at this level. Subtracts the descendants that it visits from
/// `looks`.
///
/// # Errors
/// If one does, or `looks` would fall below zero.
pub(crate) fn has_room_below(
    world: &World,
    entity: Entity,
    level: usize,
    looks: &mut usize,
) -> Result<(), Misfit> {
    let mut found = vec![(entity, level)];
    while let Some((entity, level)) = found.pop() {
        if level > MAX_LEVELS {
            return Err(Misfit::TooDeep);
        }
        let Some(children) = world.get::<Children>(entity) else { continue };
        *looks = looks.checked_sub(children.len()).ok_or(Misfit::TooMany)?;
        found.extend(children.into_iter().map(|child| (*child, level + 1)));
    }
    Ok(())
}

/// Checks that an entity of the world may become the child of another, with all its descendants.
///
/// # Errors
/// If it may not.
pub(crate) fn fits(
    world: &World,
    child: Entity,
    parent: Entity,
    looks: &mut usize,
) -> Result<(), Misfit> {
    if world.get_entity(parent).is_err() {
        return Err(Misfit::NoParent);
    }
    let level = level_below(parent, Some(child), parent_in(world))?;
    has_room_below(world, child, level, looks)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chain(world: &mut World, length: usize) -> Vec<Entity> {
        let mut chain = vec![world.spawn_empty().id()];
        for _ in 0..length {
            let last = chain[chain.len() - 1];
            chain.push(world.spawn(ChildOf(last)).id());
        }
        chain
    }

    #[test]
    fn two_chains_fit_together_as_long_as_both_are_not_too_long() {
        let mut world = World::new();
        let (upper, lower) = (chain(&mut world, 100), chain(&mut world, 100));
        let fits = |child, parent| fits(&world, child, parent, &mut 1000);
        for (parent, fit) in [(0, Ok(())), (55, Ok(())), (100, Ok(()))] {
            assert_eq!(fits(lower[0], upper[parent]), fit, "{parent}");
        }
        let long = chain(&mut world, MAX_LEVELS);
        let fits = |child, parent| super::fits(&world, child, parent, &mut 1000);
        assert_eq!(fits(lower[0], long[MAX_LEVELS]), Err(Misfit::TooDeep));
        assert_eq!(fits(lower[0], long[MAX_LEVELS - 101]), Ok(()));
        assert_eq!(fits(lower[0], long[MAX_LEVELS - 100]), Err(Misfit::TooDeep));
        assert_eq!(fits(lower[100], long[MAX_LEVELS - 1]), Ok(()));
        assert_eq!(fits(upper[0], upper[0]), Err(Misfit::Cycle));
        assert_eq!(fits(upper[3], upper[50]), Err(Misfit::Cycle));
        assert_eq!(fits(upper[50], upper[3]), Ok(()));
        assert_eq!(super::fits(&world, lower[0], upper[0], &mut 50), Err(Misfit::TooMany));
        assert_eq!(fits(lower[0], Entity::PLACEHOLDER), Err(Misfit::NoParent));
    }
}
