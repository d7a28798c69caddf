//! Which of Luau's globals and libraries scripts find: an allow-list.

/// The globals that stay. All others of Luau and mlua are removed: `getfenv`, `setfenv`, `load`,
/// `loadstring`, `require`, `newproxy`, `collectgarbage`, `gcinfo`, `os`, `io`, `package`, …
const GLOBALS: [&str; 21] = [
    "_VERSION",
    "assert",
    "error",
    "getmetatable",
    "ipairs",
    "next",
    "pairs",
    "pcall",
    "rawequal",
    "rawget",
    "rawlen",
    "rawset",
    "select",
    "setmetatable",
    "tonumber",
    "tostring",
    "type",
    "typeof",
    "unpack",
    "xpcall",
    "bit32",
];

/// The members of each library that stay. Libraries of which all stay are in [`GLOBALS`] or in [`WHOLE`].
pub(super) const MEMBERS: [(&str, &[&str]); 4] = [
    (
        "math",
        &[
            "abs", "acos", "asin", "atan", "atan2", "ceil", "clamp", "cos", "cosh", "deg", "exp",
            "floor", "fmod", "frexp", "huge", "isfinite", "isinf", "isnan", "ldexp", "lerp", "log",
            "log10", "map", "max", "min", "modf", "noise", "pi", "pow", "rad", "round", "sign",
            "sin", "sinh", "sqrt", "tan", "tanh", "e", "phi", "tau", "nan", "sqrt2",
        ],
    ),
    (
        "string",
        &[
            "byte", "char", "find", "format", "gmatch", "gsub", "len", "lower", "match", "pack",
            "packsize", "rep", "reverse", "split", "sub", "unpack", "upper",
        ],
    ),
    (
        // Not `foreach` and `foreachi`, which call built-ins without a safepoint, nor the other members
        // that Luau keeps for Lua 5.0 only.
        "table",
        &[
            "clear", "clone", "concat", "create", "find", "freeze", "insert", "isfrozen", "move",
            "pack", "remove", "sort", "unpack",
        ],
    ),
    ("debug", &["traceback"]),
];

/// The libraries that stay as they are.
const WHOLE: [&str; 4] = ["coroutine", "utf8", "buffer", "vector"];

/// Names in the environment of a run that no app may define.
pub(super) const RESERVED: [&str; 6] = ["_G", "entity", "log", "params", "print", "self"];

/// The libraries that modules may add members to.
const EXTENSIBLE: [&str; 2] = ["math", "string"];

/// Whether Luau or the sandbox defines this global.
pub(super) fn defines(name: &str) -> bool {
    GLOBALS.contains(&name)
        || WHOLE.contains(&name)
        || MEMBERS.iter().any(|(library, _)| *library == name)
}

/// Whether members can be added to this library.
pub(super) fn can_be_extended(library: &str) -> bool {
    EXTENSIBLE.contains(&library)
}

/// Whether this is, or lies below, a member of a library, such as `math.sin`.
pub(super) fn has_member(name: &str) -> bool {
    let mut parts = name.split('.');
    let (Some(library), Some(member)) = (parts.next(), parts.next()) else {
        return false;
    };
    (library, member) == ("math", "random")
        || MEMBERS.iter().any(|(name, members)| *name == library && members.contains(&member))
}
