//! Random scripts whose file level makes functions that make functions, and keeps what they gave.
//!
//! Whatever such a function remembers, a run must not find what another one left there.

use super::generator::Choices;

/// Makes the script of these choices.
pub(crate) fn script(choices: &mut dyn Choices) -> String {
    let mut writer =
        Writer { choices, text: String::new(), names: Vec::new(), of_file: 0, next: 0 };
    for _ in 0..=writer.choices.choose(4) {
        writer.declare(0);
        if writer.choices.choose(2) == 0 {
            // What a function made when the file level ran.
            let (maker, made) = (writer.last(), writer.fresh());
            writer.text += &format!("local {made} = call({maker}, 0)\n");
            writer.names.push(made);
        }
    }
    writer.text += "function on_update(self)\nself.seen = {}\n";
    for _ in 0..=writer.choices.choose(4) {
        writer.observe();
    }
    writer.text += "end\n";
    writer.text
}

struct Writer<'c> {
    choices: &'c mut dyn Choices,
    text: String,
    /// The locals in sight.
    names: Vec<String>,
    /// Those of them that belong to the file level.
    of_file: usize,
    next: usize,
}

impl Writer<'_> {
    fn name(&mut self) -> String {
        match self.names.len() {
            0 => "nil".to_owned(),
            count => self.names[self.choices.choose(count)].clone(),
        }
    }

    fn last(&self) -> String {
        self.names.last().cloned().unwrap_or_else(|| "nil".to_owned())
    }

    /// A local to be assigned. Mostly none of the file level, since then every run makes that anew.
    fn assigned(&mut self) -> Option<String> {
        let first = if self.choices.choose(32) == 31 { 0 } else { self.of_file };
        let count = self.names.len() - first;
        (count > 0).then(|| self.names[first + self.choices.choose(count)].clone())
    }

    fn fresh(&mut self) -> String {
        self.next += 1;
        format!("v{}", self.next)
    }

    fn declare(&mut self, depth: usize) {
        let name = self.fresh();
        if self.choices.choose(4) == 0 {
            // It can call itself.
            self.text += &format!("local {name}\n{name} = ");
            self.names.push(name);
            self.value(depth);
        } else {
            self.text += &format!("local {name} = ");
            self.value(depth);
            self.names.push(name);
        }
        self.text += "\n";
    }

    fn value(&mut self, depth: usize) {
        let function = depth < 4 && self.choices.goes_on();
        match self.choices.choose(if depth == 0 { 12 } else { 20 }) {
            0..=4 if function => self.function(depth + 1),
            5..=7 => self.call(),
            8 => {
                let name = self.name();
                self.text += &format!("{{n = 0, f = {name}}}");
            }
            9 => {
                let name = self.name();
                self.text += &format!("pack({name})");
            }
            10 => {
                let name = self.name();
                let call = format!("function(_, ...) return call({name}, ...) end");
                self.text += &format!("setmetatable({{}}, {{__index = {name}, __call = {call}}})");
            }
            11 if function => {
                self.text += "coroutine.wrap(";
                self.function(depth + 1);
                self.text += ")";
            }
            12..=15 => {
                let name = self.name();
                self.text += &name;
            }
            _ => self.text += "0",
        }
    }

    fn function(&mut self, depth: usize) {
        let known = self.names.len();
        if depth == 1 {
            self.of_file = known;
        }
        let parameter = self.fresh();
        self.text += &format!("function({parameter}, ...)\n");
        self.names.push(parameter);
        if self.choices.choose(2) == 0 {
            let kept = self.fresh();
            self.text += &format!("local {kept} = 0\n");
            self.names.push(kept);
        }
        for _ in 0..self.choices.choose(5) {
            self.statement(depth);
        }
        self.text += "return ";
        self.value(depth);
        self.text += "\nend";
        self.names.truncate(known);
    }

    fn statement(&mut self, depth: usize) {
        match self.choices.choose(14) {
            12 | 13 => {
                // By a function that is made anew in each call.
                if let Some(name) = self.assigned() {
                    self.text += &format!("call(function() {name} = plus({name}) end)\n");
                }
            }
            0 | 1 | 10 => self.declare(depth),
            2 | 8 | 9 => {
                if let Some(name) = self.assigned() {
                    self.text += &format!("{name} = plus({name})\n");
                }
            }
            3 => {
                if let Some(name) = self.assigned() {
                    self.text += &format!("{name} = ");
                    self.value(depth);
                    self.text += "\n";
                }
            }
            4 => {
                let name = self.name();
                self.text += &format!("pcall(function() {name}.n = plus({name}.n) end)\n");
            }
            5 if depth < 4 => {
                let name = self.fresh();
                self.text += &format!("for {name} = 1, 2 do\n");
                self.names.push(name);
                self.statement(depth + 1);
                self.names.pop();
                self.text += "end\n";
            }
            6 if self.choices.choose(3) == 0 => {
                self.text += "coroutine.yield(";
                self.call();
                self.text += ")\n";
            }
            _ => {
                self.text += "local _ = ";
                self.call();
                self.text += "\n";
            }
        }
    }

    fn call(&mut self) {
        let (name, argument) = (self.name(), self.name());
        self.text += &format!("call({name}, {argument})");
    }

    fn observe(&mut self) {
        self.text += "table.insert(self.seen, show(";
        let calls = self.choices.choose(4);
        self.text += &"call(".repeat(calls);
        let name = self.name();
        self.text += &name;
        for _ in 0..calls {
            let argument = self.name();
            self.text += &format!(", {argument})");
        }
        self.text += "))\n";
        if self.choices.choose(6) == 0 {
            self.text +=
                "if self.runs == nil then self.runs = 1 error('the first run fails') end\n";
        }
    }
}

/// What such a script calls: nothing of it fails, nothing keeps anything, and calls have an end.
pub(crate) const PRELUDE: &str = "
local function plus(n) return type(n) == 'number' and n + 1 or n end
local function pack(...) return {n = 0, ...} end
local function call(f, ...)
    local ok, result = pcall(f, ...)
    if ok then return result end
    return nil
end
local function show(value)
    if type(value) == 'table' then
        local first = rawget(value, 1)
        return `table {rawget(value, 'n')} {type(first) == 'number' and first}`
    end
    if type(value) == 'number' or type(value) == 'nil' then return tostring(value) end
    return type(value)
end
";
