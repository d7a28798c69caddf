//! `print` and `log.*`.
//!
//! # Safety
//!
//! Luau calls the C functions here, with their arguments from 1 to the top.

use std::ffi::c_int;

use mlua::ffi::lua_State;
use mlua::{Function, Lua, ffi};

use crate::vm::host::{LogLevel, LogLine};
use crate::vm::raw::errors::traceback::caller_line;
use crate::vm::raw::functions::{numbered, upvalue_number};
use crate::vm::raw::host::answer::answer_nothing;
use crate::vm::raw::run::current::{with_host, with_run};
use crate::vm::raw::stack::TOO_DEEP;
use crate::vm::raw::strings::{MAX_MESSAGE, cut, push_text, text_at};

/// `print`, or a function of `log`.
pub(in crate::vm) fn log_function(lua: &Lua, level: LogLevel) -> mlua::Result<Function> {
    numbered(lua, level as u32, "log", write_log)
}

/// Logs its arguments, separated by tabs; the level is the first upvalue.
unsafe extern "C-unwind" fn write_log(state: *mut lua_State) -> c_int {
    // SAFETY: `numbered` made the closure with two upvalues; the arguments lie from 1 to the top,
    // and there is room to push the text of one of them.
    unsafe {
        let level = match upvalue_number(state) {
            0 => LogLevel::Info,
            1 => LogLevel::Warn,
            _ => LogLevel::Error,
        };
        let count = ffi::lua_gettop(state);
        ffi::luaL_checkstack(state, 4, TOO_DEEP.as_ptr());
        let mut text = String::new();
        for position in 1..=count {
            if position > 1 {
                text.push('\t');
            }
            push_text(state, position);
            text.push_str(&text_at(state, -1).unwrap_or_default());
            ffi::lua_pop(state, 1);
            if text.len() > MAX_MESSAGE {
                break;
            }
        }
        cut(&mut text);
        let line = caller_line(state);
        let result = match with_run("print", |run| Ok(run.in_callback)) {
            Ok(false) => with_run("print", |run| {
                if let Some(lines) = &mut run.per_run.file_lines {
                    lines.add(LogLine { level, text, line });
                }
                Ok(())
            }),
            _ => with_host("print", |host, _| host.log(level, text, line)),
        };
        answer_nothing(state, result)
    }
}
