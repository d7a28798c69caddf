//! What sessions promise that only their inside shows.

use super::*;
use crate::vm::call::Results;
use crate::vm::deadline::CallBounds;
use crate::vm::host::NoWorld;

#[test]
fn coroutines_are_numbered_on_beyond_the_whole_numbers_of_luau() {
    let call = CallBounds::default();
    let limits = SessionLimits { time: Duration::from_secs(60), value_size: 1024, call };
    for edge in [i32::MAX as u64, u32::MAX.into(), 1 << 51] {
        let mut session = Session::new(&Api::default(), 16 << 20).expect("memory");
        session.skip_coroutines(edge - 2);
        let source = "made = {} for n = 1, 4 do made[n] = coroutine.create(print) end
            wrapped = coroutine.wrap(print)";
        let run = |session: &mut Session, source: &str| {
            let chunk = session.load(&"test".into(), source, 1024).expect("it compiles");
            let task = Task::Run(&chunk, Results::Ignored);
            session.perform(task, &mut NoWorld::default(), &limits).expect("it is right");
        };
        run(&mut session, source);
        let ids = |session: &Session| -> Vec<u64> {
            session.coroutines().iter().map(|coroutine| coroutine.id).collect()
        };
        assert_eq!(ids(&session), (edge - 1..edge + 4).collect::<Vec<_>>());
        assert!(session.destroy_coroutine(edge + 1));
        assert!(!session.destroy_coroutine(edge + 1));
        run(&mut session, "assert(coroutine.status(made[3]) == 'dead')");
        assert_eq!(ids(&session), [edge - 1, edge, edge + 2, edge + 3]);
        session.reset(0).expect("memory");
        run(&mut session, source);
        assert_eq!(ids(&session), (edge + 4..edge + 9).collect::<Vec<_>>());
    }
}

#[test]
fn a_coroutine_is_ended_also_when_memory_is_full() {
    let call = CallBounds::default();
    let limits = SessionLimits { time: Duration::from_secs(60), value_size: 1024, call };
    let mut session = Session::new(&Api::default(), 16 << 20).expect("memory");
    let run = |session: &mut Session, source: &str| {
        let chunk = session.load(&"test".into(), source, 1024).expect("it compiles");
        let task = Task::Run(&chunk, Results::Ignored);
        session.perform(task, &mut NoWorld::default(), &limits).expect("it is right");
    };
    let source = "local function deep(n)
            if n == 0 then coroutine.yield() else deep(n - 1) end
            return n
        end
        co = coroutine.create(function() deep(500) end)
        coroutine.resume(co)";
    run(&mut session, source);
    let id = session.coroutines()[0].id;
    // Luau has pages for small blocks: there is room for tables, and their lists fill what is free for others.
    let table = |session: &Session, list| session.lua.create_table_with_capacity(list, 0);
    let held = table(&session, 10_000).expect("memory");
    let mut few: Vec<_> = (0..10_000).map(|_| table(&session, 0).expect("memory")).collect();
    let mut count = 0;
    few.retain(|_| {
        count += 1;
        count % 50 == 0
    });
    session.collect_garbage();
    session.set_memory_limit(1);
    let mut count = 0;
    for list in (16..60).rev() {
        while let Ok(block) = table(&session, list) {
            count += 1;
            held.raw_set(count, block).expect("there is room for it");
        }
    }
    assert!(session.destroy_coroutine(id));
    session.set_memory_limit(16 << 20);
    drop((held, few));
    run(&mut session, "assert(coroutine.status(co) == 'dead' and not coroutine.resume(co))");
}
