//! Random scripts that use everything that scripts can reach, and nothing sensible.
//!
//! A script is made of choices. They come from a seed or from a fuzzer's bytes; the same choices make the
//! same script.

use std::fmt::Write as _;

/// The libraries, by the names of their members. A test holds them against what a VM offers.
pub(crate) const LIBRARIES: &[(&str, &[&str])] = &[
    (
        "bit32",
        &[
            "arshift", "band", "bnot", "bor", "btest", "bxor", "byteswap", "countlz", "countrz",
            "extract", "lrotate", "lshift", "replace", "rrotate", "rshift",
        ],
    ),
    (
        "buffer",
        &[
            "copy",
            "create",
            "fill",
            "fromstring",
            "len",
            "readbits",
            "readf32",
            "readf64",
            "readi16",
            "readi32",
            "readi8",
            "readstring",
            "readu16",
            "readu32",
            "readu8",
            "tostring",
            "writebits",
            "writef32",
            "writef64",
            "writei16",
            "writei32",
            "writei8",
            "writestring",
            "writeu16",
            "writeu32",
            "writeu8",
        ],
    ),
    (
        "coroutine",
        &["close", "create", "isyieldable", "resume", "running", "status", "wrap", "yield"],
    ),
    ("debug", &["traceback"]),
    (
        "math",
        &[
            "abs", "acos", "asin", "atan", "atan2", "ceil", "clamp", "cos", "cosh", "deg", "e",
            "exp", "floor", "fmod", "frexp", "huge", "isfinite", "isinf", "isnan", "ldexp", "lerp",
            "log", "log10", "map", "max", "min", "modf", "nan", "noise", "phi", "pi", "pow", "rad",
            "random", "round", "sign", "sin", "sinh", "sqrt", "sqrt2", "tan", "tanh", "tau",
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
        "table",
        &[
            "clear", "clone", "concat", "create", "find", "freeze", "insert", "isfrozen", "move",
            "pack", "remove", "sort", "unpack",
        ],
    ),
    ("utf8", &["char", "charpattern", "codepoint", "codes", "len", "offset"]),
    (
        "vector",
        &[
            "abs",
            "angle",
            "ceil",
            "clamp",
            "create",
            "cross",
            "dot",
            "floor",
            "lerp",
            "magnitude",
            "max",
            "min",
            "normalize",
            "one",
            "sign",
            "zero",
        ],
    ),
];

/// The functions that belong to no library.
pub(crate) const GLOBALS: &[&str] = &[
    "assert",
    "error",
    "getmetatable",
    "ipairs",
    "next",
    "pairs",
    "pcall",
    "print",
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
];

/// What the host offers.
const HOST: &[&str] = &[
    "send",
    "emit",
    "world.get",
    "world.exists",
    "world.spawn",
    "world.despawn",
    "log.info",
    "log.warn",
    "log.error",
    "quat.from_euler",
    "quat.from_axis_angle",
    "quat.mul",
    "quat.rotate",
    "quat.inverse",
    "host.echo",
    "host.fails",
    "host.panics",
];

/// Values that things tend to break on.
const NASTY: &[&str] = &[
    "nil",
    "true",
    "false",
    "0",
    "1",
    "-1",
    "-0",
    "2",
    "3",
    "0.5",
    "7",
    "100",
    "255",
    "256",
    "1e3",
    "65536",
    "1e5",
    "1e6",
    "2^24",
    "2^26",
    "2^31",
    "2^32 - 1",
    "2^53",
    "-2^53",
    "2^63",
    "-2^63",
    "1e308",
    "math.huge",
    "-math.huge",
    "0/0",
    "''",
    "'x'",
    "'abc'",
    "'%'",
    "'[a-'",
    "'%f[%w]'",
    "'(a*)*b'",
    "'.-.-.-x'",
    "'(.)(.)(.)(.)'",
    "'%b()'",
    "'%g+'",
    "'[^%s]*'",
    "'%1'",
    "'%99d'",
    "'%s%d%q%x'",
    "'%5.2f'",
    "'\\0\\255\\200'",
    "'i16<s4z'",
    "'!8d'",
    "'utf8 äöü'",
    "'__index'",
    "'n'",
    "('x'):rep(100)",
    "('ab'):rep(5000)",
    "('x'):rep(1e5)",
    "('x'):rep(1e6)",
    "{}",
    "{1, 2, 3}",
    "{a = 1, b = {c = {}}}",
    "{n = 3, [2] = 'x'}",
    "table.create(1000, 0)",
    "table.create(1e5, {})",
    "vector.create(1, 2, 3)",
    "vector.create(0/0, math.huge, -0)",
    "vector.zero",
    "buffer.create(0)",
    "buffer.create(16)",
    "buffer.create(2^20)",
    "buffer.create(2^23 - 1e5)",
    "('x'):rep(2^24)",
    "('x'):rep(2^22)",
    "table.create(2^21, 0)",
    "table.create(2^18, 'x')",
    "function(...) return ... end",
    "function() end",
    "function(a, b) return a < b end",
    "function() error('e') end",
    "function(x) return {x} end",
    "function() return coroutine.yield(1) end",
    "coroutine.create(function() coroutine.yield() end)",
    "coroutine.wrap(function(...) return coroutine.yield(...) end)",
    "coroutine.running()",
    "print",
    "pcall",
    "error",
    "setmetatable",
    "string",
    "math",
    "_G",
    "self",
    "entity",
    "entity.id",
    "entity.Transform",
    "entity.Bag",
    "entity.Bag.items",
    "entity.Bag.prices",
    "entity.parent",
    "world",
    "time",
    "time.delta",
    "setmetatable({}, {__index = function(t, k) return k end})",
    "setmetatable({}, {__tostring = function() return {} end})",
    "setmetatable({}, {__len = function() return 2^53 end, __iter = function() return next, {} end})",
    "setmetatable({}, {__call = function(f, ...) return f, ... end})",
    "setmetatable({}, {__eq = function() return true end, __lt = function() error('lt') end})",
    "setmetatable({}, {[table.concat({'__mo', 'de'})] = 'kv', __metatable = 'locked'})",
    "setmetatable({}, {__concat = function(a, b) return a end, __newindex = rawset})",
];

const OPERATORS: &[&str] =
    &["+", "-", "*", "/", "//", "%", "^", "..", "==", "~=", "<", "<=", ">", ">=", "and", "or"];

const METAMETHODS: &[&str] = &[
    "__index",
    "__newindex",
    "__call",
    "__concat",
    "__unm",
    "__add",
    "__sub",
    "__mul",
    "__div",
    "__idiv",
    "__mod",
    "__pow",
    "__eq",
    "__lt",
    "__le",
    "__len",
    "__iter",
    "__tostring",
    "__metatable",
    "__type",
];

const FIELDS: &[&str] = &[
    "translation",
    "rotation",
    "scale",
    "items",
    "prices",
    "x",
    "y",
    "z",
    "w",
    "n",
    "id",
    "a",
    "1",
];

/// Where choices come from.
pub(crate) trait Choices {
    /// A number below `count`, which is at least 1.
    fn choose(&mut self, count: usize) -> usize;

    /// Whether to go on: there is nothing left to choose from otherwise.
    fn goes_on(&self) -> bool;
}

/// Makes the script of these choices.
pub(crate) fn script(choices: &mut dyn Choices) -> String {
    let mut writer = Writer { choices, text: String::new(), names: 0, depth: 0, budget: 220 };
    for name in ["v1", "v2", "v3"] {
        // An error ends the file level: a script that ends there tries little.
        writer.text += &format!("local _, {name} = pcall(function() return ");
        writer.expression();
        writer.text += " end)\n";
    }
    writer.names = 3;
    for _ in 0..writer.choices.choose(4) {
        writer.tried();
    }
    for callback in [
        "on_start(self)",
        "on_update(self, dt)",
        "on_message(self, name, payload, sender)",
        "on_fixed_update(self, dt)",
        "on_stop(self)",
    ] {
        if callback == "on_update(self, dt)" || writer.choices.choose(4) == 0 {
            let _ = writeln!(writer.text, "function {callback}");
            writer.budget = writer.budget.max(40);
            writer.block();
            writer.text += "end\n";
        }
    }
    writer.text
}

struct Writer<'c> {
    choices: &'c mut dyn Choices,
    text: String,
    /// Locals `v1` to this one are there.
    names: usize,
    depth: usize,
    /// Parts that may still be written.
    budget: usize,
}

impl Writer<'_> {
    fn pick<'t>(&mut self, of: &[&'t str]) -> &'t str {
        of[self.choices.choose(of.len())]
    }

    fn may_nest(&mut self) -> bool {
        self.budget = self.budget.saturating_sub(1);
        self.depth < 7 && self.budget > 0 && self.choices.goes_on()
    }

    fn block(&mut self) {
        let names = self.names;
        self.depth += 1;
        for _ in 0..=self.choices.choose(5) {
            if self.depth == 1 {
                self.tried();
            } else {
                self.statement();
            }
        }
        self.depth -= 1;
        self.names = names;
    }

    /// A statement whose error mostly doesn't end all.
    fn tried(&mut self) {
        if self.choices.choose(8) == 0 {
            return self.statement();
        }
        let names = self.names;
        self.text += "pcall(function()\n";
        self.statement();
        self.text += "end)\n";
        self.names = names;
    }

    fn name(&mut self) -> String {
        format!("v{}", 1 + self.choices.choose(self.names.max(1)))
    }

    fn statement(&mut self) {
        if !self.may_nest() {
            return;
        }
        match self.choices.choose(24) {
            0..=2 => {
                // There may be no more than 200 locals.
                if self.names < 60 {
                    self.text += &format!("local v{} = ", self.names + 1);
                    self.expression();
                    self.names += 1;
                }
            }
            3 | 4 => {
                let name = self.name();
                self.text += &format!("{name} = ");
                self.expression();
            }
            5 => {
                let field = self.pick(FIELDS);
                self.text += &format!("self.{} = ", if field == "1" { "one" } else { field });
                self.expression();
            }
            6 => {
                let name = self.name();
                self.text += &format!("{name}[");
                self.expression();
                self.text += "] = ";
                self.expression();
            }
            7 => {
                {
                    let text = self.pick(&["stray", "_G.stray"]);
                    self.text += text;
                }
                self.text += " = ";
                self.expression();
            }
            8 => {
                let component = self.pick(&["Transform", "Bag", "Name", "Nothing"]);
                let field = self.pick(&FIELDS[..8]);
                self.text += &format!("entity.{component}.{field} = ");
                self.expression();
            }
            9 => {
                self.text += "if ";
                self.expression();
                self.text += " then\n";
                self.block();
                self.text += "else\n";
                self.block();
                self.text += "end";
            }
            10 => {
                let limit = self.pick(&["3", "10", "100", "1000", "1e5", "math.huge"]);
                self.text += &format!("for i = 1, {limit} do\n");
                self.block();
                self.text += "end";
            }
            11 => {
                self.text += "for k, v in ";
                if self.choices.choose(2) == 0 {
                    self.expression();
                } else {
                    self.call();
                }
                self.text += " do\n";
                self.block();
                self.text += "end";
            }
            12 => {
                self.text += "while ";
                self.expression();
                self.text += " do\n";
                self.block();
                self.text += "if math.random() < 0.3 then break end\nend";
            }
            13 => {
                self.text += "repeat\n";
                self.block();
                self.text += "until ";
                self.expression();
            }
            14 => {
                self.text += "pcall(function()\n";
                self.block();
                self.text += "end)";
            }
            15 => {
                self.text += "xpcall(function()\n";
                self.block();
                self.text += "end, function(e)\n";
                self.block();
                self.text += "return e end)";
            }
            16 => {
                self.text += "coroutine.wrap(function()\n";
                self.block();
                self.text += "end)()";
            }
            17 => {
                let name = self.name();
                let metamethod = self.pick(METAMETHODS);
                self.text +=
                    &format!("pcall(setmetatable, {name}, {{{metamethod} = function(a, b, c)\n");
                self.block();
                self.text += "return a end})";
            }
            18 => {
                let name = self.name();
                let operator = self.pick(&["+=", "-=", "*=", "/=", "..=", "//=", "%=", "^="]);
                self.text += &format!("{name} {operator} ");
                self.expression();
            }
            19 => {
                // Holds ever more.
                let (name, limit) = (self.name(), self.pick(&["100", "1e4", "math.huge"]));
                let _ = writeln!(self.text, "for i = 1, {limit} do");
                let way = self.pick(&[
                    "table.insert({}, ",
                    "{}[#{} + 1] = (",
                    "{} = tostring({}) .. tostring(",
                    "rawset({}, i, ",
                    "{} = table.pack({}, ",
                ]);
                self.text += &way.replace("{}", &name);
                self.expression();
                self.text += ")\nend";
            }
            _ => {
                self.text += "local _ = ";
                self.call();
            }
        }
        self.text += "\n";
    }

    fn expression(&mut self) {
        if !self.may_nest() {
            let value = self.pick(NASTY);
            self.text += value;
            return;
        }
        self.depth += 1;
        match self.choices.choose(16) {
            0..=3 => {
                let value = self.pick(NASTY);
                self.text += &format!("({value})");
            }
            4..=6 => {
                let name = self.name();
                self.text += &name;
            }
            7 => {
                let operator = self.pick(OPERATORS);
                self.text += "(";
                self.expression();
                self.text += &format!(" {operator} ");
                self.expression();
                self.text += ")";
            }
            8 => {
                let operator = self.pick(&["#", "- ", "not "]);
                self.text += &format!("({operator}");
                self.expression();
                self.text += ")";
            }
            9 => {
                let name = self.name();
                self.text += &format!("{name}[");
                self.expression();
                self.text += "]";
            }
            10 => {
                self.text += "{";
                for _ in 0..self.choices.choose(4) {
                    self.expression();
                    self.text += ", ";
                }
                let field = self.pick(&["x", "n", "scripts", "parent", "Transform", "Bag"]);
                self.text += &format!("{field} = ");
                self.expression();
                self.text += "}";
            }
            11 => {
                self.text += "(function(...)\n";
                self.block();
                self.text += "return ... end)";
            }
            12 => {
                self.text += "`{(";
                self.expression();
                self.text += ")}`";
            }
            _ => self.call(),
        }
        self.depth -= 1;
    }

    fn call(&mut self) {
        if !self.may_nest() {
            self.text += "type(nil)";
            return;
        }
        self.depth += 1;
        match self.choices.choose(12) {
            0..=6 => {
                let (library, members) = LIBRARIES[self.choices.choose(LIBRARIES.len())];
                let member = self.pick(members);
                self.text += &format!("{library}.{member}");
            }
            7 | 8 => {
                let text = self.pick(GLOBALS);
                self.text += text;
            }
            9 | 10 => {
                let text = self.pick(HOST);
                self.text += text;
            }
            _ => {
                // A method of a text.
                let member = self.pick(LIBRARIES[5].1);
                self.text += "('";
                {
                    let text = self.pick(&["", "x", "a,b,c", "hello world", "%d %s", "\\0\\1\\2"]);
                    self.text += text;
                }
                self.text += &format!("'):{member}");
            }
        }
        self.text += "(";
        let count = self.choices.choose(5);
        for number in 0..count {
            if number > 0 {
                self.text += ", ";
            }
            self.expression();
        }
        self.text += ")";
        self.depth -= 1;
    }
}
