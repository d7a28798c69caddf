//! Whatever happens to entities is noticed: the result is as if all were examined one by one.

mod twins;

use bevy::asset::Assets;
use bevy::ecs::change_detection::DetectChangesMut;
use bevy::prelude::{Entity, Name, Resource, World};

use self::twins::{SCRIPTS, Scripts, Twins, replace, spawn, states, test_app};
use crate::run::frame::Frame;
use crate::run::messages::ToScript;
use crate::script::{LuaScript, LuaScripts, ScriptStates};

/// A state that was taken from an entity.
#[derive(Resource)]
struct PutAway(ScriptStates);

#[test]
fn nothing_is_examined_if_nothing_happens() {
    let mut twins = Twins::new(40);
    twins.assert_examined(0);
    twins.frames(3);
    twins.assert_examined(0);
}

#[test]
fn a_state_cloned_from_another_entity_is_noticed() {
    let mut twins = Twins::new(40);
    twins.unsettle(|world, entities| {
        let walker = states(world, entities[5]);
        // With the same script, with others, and with three.
        for other in [10, 1, 2, 7] {
            world.entity_mut(entities[other]).insert(walker.clone());
        }
    });
}

#[test]
fn states_that_change_places_are_recognised() {
    let mut twins = Twins::new(40);
    twins.unsettle(|world, entities| {
        for (one, other) in [(5, 6), (8, 13), (10, 15)] {
            let [mut one, mut other] = world
                .entity_mut([entities[one], entities[other]])
                .map(|entity| entity.into_mut::<ScriptStates>().unwrap());
            std::mem::swap(one.bypass_change_detection(), other.bypass_change_detection());
        }
    });
}

#[test]
fn an_older_state_of_its_own_is_recognised_after_the_scripts_changed() {
    let mut twins = Twins::new(40);
    twins.both(|world, entities| {
        let old = states(world, entities[5]);
        world.insert_resource(PutAway(old));
        let idle = Scripts::get(world, 1);
        world.get_mut::<LuaScripts>(entities[5]).unwrap().scripts[0] = idle;
    });
    twins.frames(3);
    twins.unsettle(|world, entities| {
        let PutAway(old) = world.remove_resource().unwrap();
        world.entity_mut(entities[5]).insert(old);
    });
}

#[test]
fn an_older_state_of_its_own_is_recognised_after_the_asset_changed() {
    let mut twins = Twins::new(40);
    twins.both(|world, entities| {
        let old = states(world, entities[5]);
        world.insert_resource(PutAway(old));
        replace(world, 0, "runner", "function on_update(self) self.n += 2 end");
    });
    twins.frames(3);
    twins.unsettle(|world, entities| {
        let PutAway(old) = world.remove_resource().unwrap();
        world.entity_mut(entities[5]).insert(old);
    });
}

#[test]
fn a_state_from_another_app_is_recognised() {
    let mut other = test_app(false);
    other.app.world_mut().resource_mut::<Scripts>().0.reverse();
    let entities: Vec<Entity> =
        (0..40).map(|number| spawn(other.app.world_mut(), number)).collect();
    other.frames(3);
    let mut twins = Twins::new(40);
    assert_eq!(twins.entities, entities);
    twins.unsettle(|world, entities| {
        for entity in &entities[..10] {
            world.entity_mut(*entity).insert(states(other.app.world(), *entity));
        }
    });
}

#[test]
fn another_list_of_scripts_is_noticed() {
    let mut twins = Twins::new(40);
    twins.unsettle(|world, entities| {
        let [walker, idle] = [0, 1].map(|number| Scripts::get(world, number));
        let mut scripts = world.get_mut::<LuaScripts>(entities[5]).unwrap();
        scripts.scripts[0] = idle;
        let mut scripts = world.get_mut::<LuaScripts>(entities[6]).unwrap();
        scripts.scripts.push(walker);
        world.get_mut::<LuaScripts>(entities[7]).unwrap().scripts.swap(0, 2);
        world.get_mut::<LuaScripts>(entities[8]).unwrap().scripts.clear();
    });
}

#[test]
fn scripts_that_went_and_came_back_are_noticed() {
    let mut twins = Twins::new(40);
    twins.unsettle(|world, entities| {
        let scripts = world.entity_mut(entities[5]).take::<LuaScripts>().unwrap();
        world.entity_mut(entities[5]).insert(scripts);
        let scripts = world.entity_mut(entities[7]).take::<LuaScripts>().unwrap();
        world.entity_mut(entities[8]).insert(scripts);
        world.entity_mut(entities[10]).remove::<(LuaScripts, ScriptStates)>();
    });
    twins.unsettle(|world, entities| {
        let walker = Scripts::get(world, 0);
        world.entity_mut(entities[10]).insert(LuaScripts::new(walker));
    });
}

#[test]
fn whether_scripts_are_enabled_is_noticed_also_past_change_detection() {
    let mut twins = Twins::new(40);
    for enabled in [false, true] {
        twins.unsettle(|world, entities| {
            for entity in &entities[5..8] {
                world.get_mut::<LuaScripts>(*entity).unwrap().enabled = enabled;
            }
            for entity in &entities[10..15] {
                let mut scripts = world.get_mut::<LuaScripts>(*entity).unwrap();
                scripts.bypass_change_detection().enabled = enabled;
            }
        });
    }
}

#[test]
fn while_scripts_do_not_run_an_asset_may_go() {
    let mut twins = Twins::new(40);
    twins.both(|world, entities| {
        for entity in entities {
            world.get_mut::<LuaScripts>(*entity).unwrap().enabled = false;
        }
    });
    twins.frames(2);
    twins.unsettle(|world, _| {
        let walker = Scripts::get(world, 0);
        world.resource_mut::<Assets<LuaScript>>().remove(&walker).unwrap();
    });
}

#[test]
fn an_asset_that_is_another_program_now_is_noticed() {
    let mut twins = Twins::new(40);
    for name in ["walker", "runner"] {
        twins.unsettle(|world, _| {
            replace(world, 0, name, "function on_update(self) self.n += 2 end");
            // It defines another callback now.
            replace(world, 1, "busy", "function on_update(self) self.n += 1 end");
        });
    }
}

#[test]
fn an_asset_that_went_and_came_back_is_noticed() {
    let mut twins = Twins::new(40);
    twins.both(|world, _| {
        let walker = Scripts::get(world, 0);
        world.resource_mut::<Assets<LuaScript>>().remove(&walker).unwrap();
    });
    twins.frames(3);
    let carriers = (0..40).filter(|number| {
        let scripts = if number % 7 == 0 { 3 } else { 1 };
        (0..scripts).any(|more| (number + more) % SCRIPTS.len() == 0)
    });
    twins.assert_some_examined(2 * carriers.count() as u64);
    twins.both(|world, _| replace(world, 0, "walker", SCRIPTS[0].1));
    twins.frames(3);
    twins.assert_examined(0);
}

#[test]
fn a_script_that_is_put_aside_and_one_that_is_woken_are_noticed() {
    let mut twins = Twins::new(40);
    let set_bad = |world: &mut World, entities: &[Entity], bad: bool| {
        for entity in [entities[4], entities[9]] {
            let mut states = world.get_mut::<ScriptStates>(entity).unwrap();
            states.get_mut("failing").unwrap().set("bad", bad);
        }
    };
    twins.both(|world, entities| set_bad(world, entities, true));
    twins.frames(2);
    twins.assert_examined(0);
    // It is tried again more than once.
    twins.frames(12);
    twins.both(|world, entities| {
        assert!(states(world, entities[4]).is_put_aside("failing"));
        set_bad(world, entities, false);
        world.get_mut::<ScriptStates>(entities[9]).unwrap().wake();
    });
    twins.frames(6);
    twins.both(|world, entities| {
        assert!(!states(world, entities[4]).is_put_aside("failing"));
    });
    twins.assert_examined(0);
}

#[test]
fn scripts_put_aside_while_paused_are_counted() {
    let mut twins = Twins::new(40);
    twins.both(|world, entities| {
        let mut states = world.get_mut::<ScriptStates>(entities[4]).unwrap();
        states.get_mut("failing").unwrap().set("bad", true);
    });
    twins.frames(3);
    twins.both(|world, entities| {
        assert!(states(world, entities[4]).is_put_aside("failing"));
        world.get_mut::<LuaScripts>(entities[4]).unwrap().enabled = false;
    });
    twins.frames(3);
}

#[test]
fn entities_that_take_the_places_of_others_are_new() {
    let mut twins = Twins::new(40);
    twins.unsettle(|world, entities| {
        for number in [5, 12, 20, 21] {
            world.despawn(entities[number]);
            // The new entity gets the index, and another one moves to the free row.
            spawn(world, number + 1);
        }
    });
}

#[test]
fn receivers_of_messages_are_noticed() {
    let mut twins = Twins::new(40);
    twins.unsettle(|world, entities| {
        // Back and forth, to some that don't listen, and to nobody.
        for number in [38, 3, 20, 8, 4, 38, 7] {
            world.write_message(ToScript::new(entities[number], format!("to {number}"), 1.0));
        }
        world.write_message(ToScript::new(Entity::PLACEHOLDER, "to nobody", 1.0));
    });
}

#[test]
fn messages_to_paused_scripts_wait() {
    let mut twins = Twins::new(40);
    twins.both(|world, entities| {
        world.get_mut::<LuaScripts>(entities[3]).unwrap().enabled = false;
        world.write_message(ToScript::new(entities[3], "later", 1.0));
    });
    twins.frames(3);
    twins.assert_examined(1);
    twins.both(|world, entities| {
        world.get_mut::<LuaScripts>(entities[3]).unwrap().enabled = true;
    });
    twins.frames(2);
    twins.both(|world, entities| {
        assert_eq!(states(world, entities[3]).states[0].fields.get("heard"), &"later".into());
    });
}

#[test]
fn what_reflection_did_to_the_states_is_noticed() {
    use bevy::reflect::structs::Struct;

    let mut twins = Twins::new(40);
    twins.unsettle(|world, entities| {
        // As loading a scene over an entity does.
        let mut states = world.get_mut::<ScriptStates>(entities[5]).unwrap();
        states.states[0].started = false;
        let mut states = world.get_mut::<ScriptStates>(entities[7]).unwrap();
        let states = states.bypass_change_detection().field_mut("states").unwrap();
        let states = states.reflect_mut().as_list().unwrap();
        let first = states.remove(0);
        states.push(first);
        let mut states = world.get_mut::<ScriptStates>(entities[8]).unwrap();
        states.states.clear();
    });
}

#[test]
fn pending_time_and_waiting_are_the_same() {
    let mut twins = Twins::new(40);
    twins.unsettle(|world, entities| {
        for entity in &entities[..20] {
            let mut states = world.get_mut::<ScriptStates>(*entity).unwrap();
            let attached = &mut states.bypass_change_detection().states[0].attached;
            let waiting = (entity.index_u32() % 3) as u16;
            (attached.waiting, attached.pending_delta) = ([waiting, 1], [0.5, 0.25]);
        }
    });
}

#[test]
fn a_reload_that_is_due_is_not_forgotten() {
    let mut twins = Twins::new(40);
    twins.unsettle(|world, entities| {
        let mut states = world.get_mut::<ScriptStates>(entities[5]).unwrap();
        states.bypass_change_detection().states[0].attached.reload = true;
    });
}

#[test]
fn descendants_share_with_others() {
    let mut twins = Twins::new(40);
    twins.both(|world, entities| {
        for entity in &entities[5..12] {
            let mut states = world.get_mut::<ScriptStates>(*entity).unwrap();
            states.origin = Some(entities[0]);
        }
    });
    twins.frames(3);
    twins.assert_examined(2 * 7);
}

#[test]
fn programs_that_nobody_carries_any_more_lose_their_numbers() {
    let mut twins = Twins::new(40);
    for round in 0..30 {
        twins.both(|world, _| {
            replace(world, 0, &format!("walker {round}"), SCRIPTS[0].1);
        });
        twins.frames(2);
    }
    for test in &twins.apps {
        let programs = test.app.world().resource::<Frame>().programs.list.len();
        assert!(programs < 30, "{programs} are known");
    }
    twins.frames(3);
    twins.assert_examined(0);
}

#[test]
fn thousands_on_several_threads_are_the_same() {
    let mut twins = Twins::new(6_000);
    twins.assert_examined(0);
    for round in 0..6_usize {
        twins.both(|world, entities| {
            for number in (round * 7..6_000).step_by(501) {
                let entity = entities[number];
                match (number + round) % 6 {
                    0 => _ = world.despawn(entity),
                    1 => _ = spawn(world, number),
                    2 => _ = world.write_message(ToScript::new(entity, "hello", 1.0)),
                    _ if world.get_entity(entity).is_err() => {}
                    3 => world.get_mut::<LuaScripts>(entity).unwrap().enabled ^= true,
                    4 => _ = world.entity_mut(entity).insert(Name::new("moves to another table")),
                    _ => {
                        let idle = Scripts::get(world, 1);
                        world.get_mut::<LuaScripts>(entity).unwrap().scripts.push(idle);
                    }
                }
            }
        });
        twins.frames(2);
    }
}
