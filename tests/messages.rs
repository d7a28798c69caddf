//! Messages between scripts, and between scripts and the game.

mod common;

use bevy::prelude::*;
use bevy_lua_pool::prelude::*;
use common::Lab;

/// Keeps what it gets.
const RECEIVER: &str = "
function on_message(self, name, payload, sender)
    self.got = self.got or {}
    table.insert(self.got, {name = name, payload = payload, sender = sender})
end
";

fn got(lab: &Lab, entity: Entity) -> Vec<ScriptTable> {
    match lab.field(entity, "got") {
        ScriptValue::Nil => Vec::new(),
        ScriptValue::Table(got) => got
            .array
            .into_iter()
            .map(|message| match message {
                ScriptValue::Table(message) => message,
                other => panic!("{other}"),
            })
            .collect(),
        other => panic!("{other}"),
    }
}

fn names(lab: &Lab, entity: Entity) -> Vec<String> {
    got(lab, entity).iter().map(|message| message.get("name").to_string()).collect()
}

/// A script that sends once, to the entity it is told of.
fn sender(lab: &mut Lab, path: &str, lua: &str, to: Entity) -> Entity {
    let text = format!("function on_message(self, name, target) {lua} end");
    let entity = lab.entity(path, &text);
    lab.app.world_mut().write_message(ToScript::new(entity, "go", to));
    entity
}

#[test]
fn a_message_arrives_in_the_next_frame_with_payload_and_sender() {
    let mut lab = Lab::new();
    let receiver = lab.entity("receiver.luau", RECEIVER);
    let sender = sender(
        &mut lab,
        "sender.luau",
        "local payload = {damage = 3, list = {1, 'x', {true}}, at = vector.create(1, 2, 3)}
        send(target, 'hit', payload)
        payload.damage = 99",
        receiver,
    );
    lab.frame();
    assert_eq!(got(&lab, receiver), [], "not in the same frame");
    assert_eq!(lab.stats().messages, 1);
    lab.frame();
    let got = got(&lab, receiver);
    assert_eq!(got.len(), 1);
    assert_eq!(got[0].get("name"), &"hit".into());
    assert_eq!(got[0].get("sender"), &sender.into());
    let ScriptValue::Table(payload) = got[0].get("payload") else { panic!("no table") };
    assert_eq!(payload.get("damage"), &3.0.into(), "copied when it was sent");
    assert_eq!(payload.get("at"), &Vec3::new(1.0, 2.0, 3.0).into());
    assert_eq!(payload.get("list").to_string(), "{1, \"x\", {true}}");
}

#[test]
fn messages_arrive_in_the_order_of_their_senders_and_of_each_script() {
    let mut lab = Lab::new();
    let receiver = lab.entity("receiver.luau", RECEIVER);
    let mut expected = Vec::new();
    for number in 0..100 {
        let lua = format!("send(target, 'a{number}') send(target, 'b{number}')");
        sender(&mut lab, &format!("sender{number}.luau"), &lua, receiver);
        expected.extend([format!("\"a{number}\""), format!("\"b{number}\"")]);
    }
    lab.frames(2);
    assert_eq!(names(&lab, receiver), expected);
}

#[test]
fn the_game_sends_to_scripts_and_has_no_sender() {
    let mut lab = Lab::new();
    let receiver = lab.entity("receiver.luau", RECEIVER);
    lab.app.world_mut().write_message(ToScript::new(receiver, "one", 1.0));
    lab.app.world_mut().write_message(ToScript::new(receiver, "two", "x"));
    lab.frame();
    let got = got(&lab, receiver);
    assert_eq!(names(&lab, receiver), ["\"one\"", "\"two\""]);
    assert_eq!(got[0].get("payload"), &1.0.into());
    assert_eq!(got[1].get("payload"), &"x".into());
    assert_eq!(got[0].get("sender"), &ScriptValue::Nil);
}

#[test]
fn messages_of_scripts_come_before_those_of_the_game() {
    let mut lab = Lab::new();
    let receiver = lab.entity("receiver.luau", RECEIVER);
    sender(&mut lab, "sender.luau", "send(target, 'script')", receiver);
    lab.frame();
    lab.app.world_mut().write_message(ToScript::new(receiver, "game", ScriptValue::Nil));
    lab.frame();
    assert_eq!(names(&lab, receiver), ["\"script\"", "\"game\""]);
}

#[test]
fn a_script_sends_to_the_game() {
    let mut lab = Lab::new();
    let entity = lab.entity(
        "doors/door.luau",
        "function on_start(self) emit('opened', {by = entity.id, door = 4}) emit('bare') end",
    );
    lab.frame();
    let events = lab.drain::<ScriptEvent>();
    assert_eq!(events.len(), 2);
    assert_eq!((events[0].entity, &*events[0].script), (entity, "doors/door.luau"));
    assert_eq!(events[0].name, "opened");
    let payload = ScriptTable::from_iter([
        ("by", ScriptValue::from(entity)),
        ("door", ScriptValue::from(4.0)),
    ]);
    assert_eq!(events[0].payload, payload.into());
    assert_eq!((events[1].name.as_str(), &events[1].payload), ("bare", &ScriptValue::Nil));
}

#[test]
fn a_message_reader_of_the_game_sees_every_event_once() {
    #[derive(Resource, Default)]
    struct Heard(Vec<String>);
    let mut lab = Lab::new();
    lab.app.init_resource::<Heard>().add_systems(
        Update,
        (|mut events: MessageReader<ScriptEvent>, mut heard: ResMut<Heard>| {
            heard.0.extend(events.read().map(|event| event.name.clone()));
        })
        .after(ScriptSystems::Apply),
    );
    lab.entity("a.luau", "function on_start(self) emit('one') emit('two') end");
    lab.frames(3);
    assert_eq!(lab.app.world().resource::<Heard>().0, ["one", "two"]);
}

#[test]
fn a_message_to_an_entity_that_is_gone_or_has_no_script_is_counted() {
    let mut lab = Lab::new();
    let gone = lab.app.world_mut().spawn_empty().id();
    lab.app.world_mut().despawn(gone);
    let bare = lab.app.world_mut().spawn_empty().id();
    sender(&mut lab, "a.luau", "send(target, 'x')", gone);
    sender(&mut lab, "b.luau", "send(target, 'x')", bare);
    lab.frame();
    assert_eq!(lab.stats().messages, 2);
    lab.frame();
    assert_eq!(lab.stats().undelivered, 2);
    assert_eq!(lab.failures(), Vec::<String>::new());
    lab.frame();
    assert_eq!(lab.stats().undelivered, 0, "counted once");
}

#[test]
fn a_message_to_a_receiver_that_was_despawned_while_it_waited_is_counted() {
    let mut lab = Lab::new();
    let receiver = lab.entity("receiver.luau", RECEIVER);
    sender(&mut lab, "sender.luau", "send(target, 'x')", receiver);
    lab.frame();
    lab.app.world_mut().despawn(receiver);
    lab.frame();
    assert_eq!(lab.stats().undelivered, 1);
}

#[test]
fn a_message_to_a_script_that_is_still_loading_waits() {
    let mut lab = Lab::new();
    lab.frame();
    lab.hold_files(true);
    lab.file("late.luau", RECEIVER);
    let script = lab.app.world().resource::<AssetServer>().load("late.luau");
    let late = lab.app.world_mut().spawn(LuaScripts::new(script)).id();
    lab.app.world_mut().write_message(ToScript::new(late, "one", ScriptValue::Nil));
    lab.frames(10);
    lab.app.world_mut().write_message(ToScript::new(late, "two", ScriptValue::Nil));
    lab.frames(10);
    assert_eq!(lab.snapshot().total.undelivered, 0);
    lab.hold_files(false);
    lab.until(|lab| lab.snapshot().total.runs > 0);
    assert_eq!(names(&lab, late), ["\"one\"", "\"two\""]);
}

#[test]
fn a_payload_with_an_entity_that_the_run_spawned_names_the_real_one() {
    let mut lab = Lab::new();
    let receiver = lab.entity("receiver.luau", RECEIVER);
    sender(
        &mut lab,
        "sender.luau",
        "local new = world.spawn{Name = 'new'}
        send(target, 'spawned', {list = {new}, [new] = true})
        emit('spawned', new)",
        receiver,
    );
    lab.frames(2);
    let ScriptValue::Entity(new) = lab.drain::<ScriptEvent>().remove(0).payload else {
        panic!("no entity")
    };
    assert_eq!(lab.get::<Name>(new), Name::new("new"));
    let mut payload = ScriptTable::from_iter([(new, true)]);
    payload.set("list", ScriptTable { array: vec![new.into()], ..ScriptTable::default() });
    assert_eq!(got(&lab, receiver)[0].get("payload"), &payload.into());
}

#[test]
fn a_message_to_an_entity_that_the_run_spawned_reaches_its_scripts() {
    let mut lab = Lab::new();
    let _loaded = lab.script("receiver.luau", RECEIVER);
    let entity = lab.does(
        (),
        "local new = world.spawn{scripts = 'receiver.luau'}
        send(new, 'welcome', entity.id)
        self.new = new",
    );
    lab.frame();
    let ScriptValue::Entity(new) = lab.field(entity, "new") else { panic!("no entity") };
    let got = got(&lab, new);
    assert_eq!(got.len(), 1);
    assert_eq!(got[0].get("payload"), &entity.into());
    assert_eq!(got[0].get("sender"), &entity.into());
}

#[test]
fn a_payload_that_is_no_plain_data_is_an_error_that_names_the_place() {
    let mut lab = Lab::new();
    let failure = lab.refuses((), "send(entity.id, 'x', {callback = {print}})");
    assert!(failure.contains("argument 3.callback[1]` is a function"), "{failure}");
    let failure = lab.refuses((), "emit('x', coroutine.create(print))");
    assert!(failure.contains("argument 2` is a coroutine"), "{failure}");
}

#[test]
fn a_failed_run_sends_nothing() {
    let mut lab = Lab::new();
    let receiver = lab.entity("receiver.luau", RECEIVER);
    sender(&mut lab, "sender.luau", "send(target, 'x') emit('x') error('no')", receiver);
    lab.frames(2);
    assert_eq!(got(&lab, receiver), []);
    assert_eq!(lab.drain::<ScriptEvent>(), []);
}

#[test]
fn a_message_goes_to_every_script_of_its_receiver() {
    let mut lab = Lab::new();
    let [a, b] = ["a.luau", "b.luau"].map(|path| lab.script(path, RECEIVER));
    let receiver = lab.app.world_mut().spawn(LuaScripts::new(a).with(b)).id();
    lab.app.world_mut().write_message(ToScript::new(receiver, "x", ScriptValue::Nil));
    lab.frame();
    let states = lab.get::<ScriptStates>(receiver);
    assert_eq!(states.iter().count(), 2);
    assert!(states.iter().all(|state| *state.fields.get("got") != ScriptValue::Nil));
}
