//! Snapshot: all runs of one stage see the world as it was when the stage began, plus their own
//! writes.

mod common;

use bevy::prelude::*;
use bevy_lua_pool::prelude::*;
use common::{Lab, patient};

#[derive(Component, Reflect, Clone, Default, PartialEq, Debug)]
struct Health {
    hp: f64,
    marks: Vec<f64>,
}

#[derive(Component, Reflect, Clone, Default, PartialEq, Debug)]
struct Burning {
    heat: f64,
}

fn lab() -> Lab {
    let mut lab = Lab::with_config(LuaPoolConfig {
        pool: PoolConfig { max_size: 3, ..patient().pool },
        ..patient()
    });
    lab.app.expose_component::<Health>().expose_component::<Burning>();
    lab
}

fn health(hp: f64) -> Health {
    Health { hp, marks: vec![hp] }
}

/// Sends each of these entities the message `go` with this payload, and runs a frame.
fn go(lab: &mut Lab, entities: &[Entity], payload: impl Into<ScriptValue>) {
    let payload = payload.into();
    for entity in entities {
        lab.app.world_mut().write_message(ToScript::new(*entity, "go", payload.clone()));
    }
    lab.frame();
    assert_eq!(lab.failures(), [""; 0]);
}

/// Many entities in a ring that each copy their right neighbour's number: nobody may see a new one.
#[test]
fn everybody_sees_the_others_as_they_were_when_the_stage_began() {
    const COUNT: usize = 300;
    let mut lab = lab();
    let script = lab.script(
        "a.luau",
        "function on_message(self, _, ring)
            self.next = ring[entity.Health.hp % #ring + 1]
        end
        function on_update(self)
            if self.next then
                entity.Health.hp = self.next.Health.hp
                entity.Health.marks = self.next.Health.marks
                self.next.Name = entity.Name
            end
        end",
    );
    let world = lab.app.world_mut();
    let all: Vec<_> = (1..=COUNT)
        .map(|n| {
            let scripts = LuaScripts::new(script.clone());
            world.spawn((health(n as f64), Name::new(n.to_string()), scripts)).id()
        })
        .collect();
    let mut ring = ScriptTable::default();
    all.iter().for_each(|entity| ring.push(*entity));
    // They ask for their places and move on by one in the same frame, and once more after that.
    go(&mut lab, &all, ring);
    lab.frame();
    assert_eq!(lab.failures(), [""; 0]);
    for (n, entity) in all.iter().enumerate() {
        let entity = lab.app.world().entity(*entity);
        let expected = health(((n + 2) % COUNT + 1) as f64);
        assert_eq!(entity.get::<Health>(), Some(&expected), "{n}");
        let name = ((n + COUNT - 2) % COUNT + 1).to_string();
        assert_eq!(entity.get::<Name>().map(Name::as_str), Some(name.as_str()), "{n}");
    }
}

#[test]
fn a_run_sees_its_own_writes_at_once_and_others_see_them_in_the_next_frame() {
    let mut lab = lab();
    let target = lab.app.world_mut().spawn((Transform::default(), health(10.0))).id();
    let doomed = lab.app.world_mut().spawn((Transform::default(), Burning { heat: 1.0 })).id();
    let look = "
        local function look(target, doomed)
            return {
                x = target.Transform.translation.x, hp = target.Health.hp,
                marks = table.concat(target.Health.marks, ' '),
                heat = target.Burning and target.Burning.heat,
                doomed = world.exists(doomed), got = world.get(doomed) == doomed,
                gone = world.exists(doomed) and doomed.Burning == nil,
            }
        end
        function on_message(self, _, it)
            self.before = look(it.target, it.doomed)
            if it.writer == entity.id then
                it.target.Transform.translation = vector.create(5, 0, 0)
                it.target.Health.hp += 1
                table.insert(it.target.Health.marks, 11)
                it.target.Burning = {heat = 3}
                it.target.Burning.heat += 1
                self.child = world.spawn{Name = 'new', Health = {hp = 7, marks = {}}}
                self.child.Health.hp += 1
                self.hp = self.child.Health.hp
                self.name = self.child.Name
                assert(world.exists(self.child) and self.child.Transform == nil)
                it.doomed.Burning = nil
                assert(it.doomed.Burning == nil)
                local ok = pcall(function() return it.doomed.Burning.heat end)
                assert(not ok)
                world.despawn(it.doomed)
                assert(not pcall(function() return it.doomed.Transform end))
            end
            self.after = look(it.target, it.doomed)
        end";
    let script = lab.script("a.luau", look);
    let world = lab.app.world_mut();
    // Before and after the writer in the stable order.
    let all = [(); 3].map(|()| world.spawn(LuaScripts::new(script.clone())).id());
    let order = |writer: Entity| {
        ScriptTable::from([("target", target), ("doomed", doomed), ("writer", writer)])
    };
    go(&mut lab, &all, order(all[1]));
    let shown = |lab: &Lab, n: usize, field| lab.field(all[n], field).to_string();
    let old = r#"{doomed = true, gone = false, got = true, hp = 10, marks = "10", x = 0}"#;
    let new =
        r#"{doomed = false, gone = false, got = false, heat = 4, hp = 11, marks = "10 11", x = 5}"#;
    assert_eq!(shown(&lab, 1, "before"), old);
    assert_eq!(shown(&lab, 1, "after"), new);
    for other in [0, 2] {
        assert_eq!(shown(&lab, other, "before"), old);
        assert_eq!(shown(&lab, other, "after"), old);
    }
    assert_eq!((shown(&lab, 1, "hp"), shown(&lab, 1, "name")), ("8".into(), r#""new""#.into()));

    // In the next frame it is everybody's, and the child is an entity like others.
    let ScriptValue::Entity(child) = lab.field(all[1], "child") else { panic!("no child") };
    assert_eq!(lab.app.world().get::<Health>(child).map(|health| health.hp), Some(8.0));
    assert!(lab.app.world().get_entity(doomed).is_err());
    go(&mut lab, &all, order(target));
    for n in 0..3 {
        assert_eq!(shown(&lab, n, "before"), new);
    }
}

#[test]
fn the_scripts_of_one_entity_do_not_see_each_others_writes_in_one_stage() {
    let mut lab = lab();
    let script = "function on_update(self)
        self.saw = entity.Health.hp
        entity.Health.hp = self.saw + 1
    end";
    let scripts = ["a.luau", "b.luau"].map(|path| lab.script(path, script));
    let scripts: LuaScripts = scripts.into_iter().collect();
    let entity = lab.app.world_mut().spawn((health(1.0), scripts)).id();
    lab.frame();
    let states = lab.app.world().get::<ScriptStates>(entity).expect("it ran");
    for path in ["a.luau", "b.luau"] {
        assert_eq!(states.get(path).map(|fields| fields.get("saw")), Some(&1.0.into()));
    }
    assert_eq!(lab.app.world().get::<Health>(entity).map(|health| health.hp), Some(2.0));
    assert_eq!(lab.stats().conflicts, 1);
}

#[test]
fn several_messages_of_one_frame_add_up() {
    let mut lab = lab();
    let entity = lab.entity(
        "a.luau",
        "function on_message(self, name, n)
            self.sum = (self.sum or 0) + n
            entity.Health.hp -= n
            table.insert(entity.Health.marks, entity.Health.hp)
            if entity.Health.hp < 95 and not self.burning then
                self.burning = true
                entity.Burning = {heat = 0}
            end
            if self.burning then entity.Burning.heat += n end
        end
        function on_update(self) self.seen = entity.Health.hp end",
    );
    lab.app.world_mut().entity_mut(entity).insert(health(100.0));
    for n in 1..=4 {
        lab.app.world_mut().write_message(ToScript::new(entity, "hit", f64::from(n)));
    }
    lab.frame();
    assert_eq!(lab.failures(), [""; 0]);
    let world = lab.app.world();
    let health = world.get::<Health>(entity).expect("it has one");
    assert_eq!(*health, Health { hp: 90.0, marks: vec![100.0, 99.0, 97.0, 94.0, 90.0] });
    assert_eq!(world.get::<Burning>(entity), Some(&Burning { heat: 7.0 }));
    assert_eq!(lab.field(entity, "sum"), 10.0.into());
    assert_eq!(lab.field(entity, "seen"), 90.0.into());
}

#[test]
fn what_on_start_writes_is_seen_by_on_update_in_the_same_frame() {
    let mut lab = lab();
    let entity = lab.entity(
        "a.luau",
        "function on_start(self)
            self.n = 1
            entity.Health = {hp = 5, marks = {1}}
            self.child = world.spawn{Burning = {heat = 2}}
        end
        function on_update(self)
            if self.seen then return end
            self.seen = {self.n, entity.Health.hp, #entity.Health.marks, self.child.Burning.heat}
            entity.Health.hp += 1
            self.child.Burning.heat += 1
        end",
    );
    // A fixed step would start it in a stage of its own.
    lab.app.insert_resource(Time::<Fixed>::from_duration(std::time::Duration::from_secs(9999)));
    lab.frame();
    assert_eq!(lab.failures(), [""; 0]);
    assert_eq!(lab.field(entity, "seen").to_string(), "{1, 5, 1, 2}");
    let ScriptValue::Entity(child) = lab.field(entity, "child") else { panic!("no child") };
    let world = lab.app.world();
    assert_eq!(world.get::<Health>(entity), Some(&Health { hp: 6.0, marks: vec![1.0] }));
    assert_eq!(world.get::<Burning>(child), Some(&Burning { heat: 3.0 }));
}

#[test]
fn the_game_between_two_stages_is_seen_by_the_second() {
    let mut lab = lab();
    lab.app.insert_resource(Time::<Fixed>::from_duration(common::STEP));
    let entity = lab.entity(
        "a.luau",
        "function on_fixed_update(self)
            self.fixed = entity.Health.hp
            entity.Health.hp += 1
        end
        function on_update(self) self.update = entity.Health.hp end",
    );
    lab.app.world_mut().entity_mut(entity).insert(health(1.0));
    lab.frame();
    assert_eq!(lab.failures(), [""; 0]);
    assert_eq!(lab.field(entity, "fixed"), 1.0.into());
    assert_eq!(lab.field(entity, "update"), 2.0.into());
}

#[test]
fn nothing_is_written_where_nothing_differs() {
    let mut lab = lab();
    let entity = lab.entity(
        "a.luau",
        "function on_update(self)
            entity.Health.hp += 1
            entity.Health.hp -= 1
            entity.Health.marks = {1}
            table.insert(entity.Health.marks, 2)
            table.remove(entity.Health.marks)
            entity.Transform = {translation = vector.zero}
            entity.Name = 'same'
        end",
    );
    lab.app.world_mut().entity_mut(entity).insert((health(1.0), Name::new("same")));
    lab.frame();
    let changed = |lab: &Lab| {
        let entity = lab.app.world().entity(entity);
        [
            entity.get_ref::<Health>().expect("it is there").last_changed(),
            entity.get_ref::<Transform>().expect("it is there").last_changed(),
            entity.get_ref::<Name>().expect("it is there").last_changed(),
        ]
    };
    let before = changed(&lab);
    lab.frame();
    assert_eq!(lab.failures(), [""; 0]);
    assert_eq!(changed(&lab), before, "change detection stays true");
    assert_eq!(lab.stats().writes, 0);
}
