//! The source keeps its structure: each concept in one file, lower layers below higher ones, no circle of imports,
//! and `unsafe` in one folder.
//!
//! What a file takes from another is read from its `use` lines and from the paths in its code. A name that a module
//! re-exports counts as taken from the file that defines it. Tests inside `src` don't count.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use petgraph::algo::tarjan_scc;
use petgraph::graphmap::DiGraphMap;
use syn::visit::{self, Visit};
use syn::{Attribute, Item, ItemMod, Meta, UseTree, Visibility};

/// The layers from the bottom to the top, by the first name of their modules' paths. A file imports from its own layer
/// and from those before it.
const LAYERS: [&[&str]; 11] = [
    &["control", "escape", "sandbox", "value", "error"],
    &["pool"],
    &["config"],
    &["vm"],
    &["modules"],
    &["api_registry"],
    &["engine"],
    &["script", "bindings"],
    &["snapshot"],
    &["run"],
    &["config_file", "diagnostics", "overlay", "plugin", "testing"],
];

/// The most lines in a file.
const MAX_LINES: usize = 500;

/// Where `unsafe` is allowed.
const UNSAFE_ROOM: &str = "src/vm/raw";

/// A module path without `crate`: `["vm", "raw"]`; none is the root.
type ModulePath = Vec<String>;

/// One file of `src`.
struct SourceFile {
    path: PathBuf,
    lines: usize,
    parsed: syn::File,
}

/// What a file says to others and takes from them.
#[derive(Default)]
struct Imports {
    /// Names that it re-exports, and the path that each stands for.
    reexports: BTreeMap<String, ModulePath>,
    /// Modules of which it re-exports everything.
    globs: Vec<ModulePath>,
    /// Absolute paths that it uses.
    uses: BTreeSet<ModulePath>,
}

/// The folder of the package.
fn root() -> PathBuf {
    std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it for a test").into()
}

/// All files of `src` that are no tests, by module path.
fn source_files() -> BTreeMap<ModulePath, SourceFile> {
    let root = root();
    let mut files = BTreeMap::new();
    let mut folders = vec![root.join("src")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("the folder can be read") {
            let path = entry.expect("the entry can be read").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).expect("the file can be read");
                let parsed = syn::parse_file(&text)
                    .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
                let path = path.strip_prefix(&root).expect("it lies in the root").to_owned();
                let module = module_path(&path);
                if !module.iter().any(|name| name == "tests") {
                    let lines = text.lines().count();
                    files.insert(module, SourceFile { path, lines, parsed });
                }
            }
        }
    }
    assert!(files.len() > 100, "only {} files were found", files.len());
    files
}

/// `src/vm/raw.rs` is `["vm", "raw"]`.
fn module_path(path: &Path) -> ModulePath {
    let within = path.strip_prefix("src").expect("it lies in src").with_extension("");
    let names = within.iter().map(|name| name.to_str().expect("names are ASCII").to_owned());
    names.filter(|name| name != "lib").collect()
}

/// Whether an item is there for tests only, or for the model of the pool, which is a crate of its own.
fn is_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("test")
            || matches!(&attribute.meta, Meta::List(list)
                if list.path.is_ident("cfg") && ["test", "pool_model"].contains(&&*list.tokens.to_string()))
    })
}

/// Collects the imports of one file.
struct Collector<'m> {
    modules: &'m BTreeSet<ModulePath>,
    /// The module whose item is looked at.
    module: ModulePath,
    imports: Imports,
}

impl Collector<'_> {
    /// The absolute path of a path in this module; `None` if it is of another crate.
    fn absolute(&self, names: &[String]) -> Option<ModulePath> {
        let (first, rest) = names.split_first()?;
        let mut path = match first.as_str() {
            "crate" => Vec::new(),
            "self" => self.module.clone(),
            "super" => self.parent(self.module.clone())?,
            name => {
                let mut child = self.module.clone();
                child.push(name.to_owned());
                if !self.modules.contains(&child) {
                    return None;
                }
                child
            }
        };
        for name in rest {
            if name == "super" {
                path = self.parent(path)?;
            } else {
                path.push(name.clone());
            }
        }
        Some(path)
    }

    fn parent(&self, mut path: ModulePath) -> Option<ModulePath> {
        path.pop()?;
        Some(path)
    }

    fn use_tree(&mut self, tree: &UseTree, before: &mut Vec<String>, is_reexport: bool) {
        match tree {
            UseTree::Path(path) => {
                before.push(path.ident.to_string());
                self.use_tree(&path.tree, before, is_reexport);
                before.pop();
            }
            UseTree::Group(group) => {
                for tree in &group.items {
                    self.use_tree(tree, before, is_reexport);
                }
            }
            UseTree::Glob(_) => {
                if let Some(path) = self.absolute(before) {
                    if is_reexport {
                        self.imports.globs.push(path);
                    } else {
                        self.imports.uses.insert(path);
                    }
                }
            }
            UseTree::Name(name) => {
                self.use_name(&name.ident.to_string(), None, before, is_reexport)
            }
            UseTree::Rename(rename) => self.use_name(
                &rename.ident.to_string(),
                Some(rename.rename.to_string()),
                before,
                is_reexport,
            ),
        }
    }

    fn use_name(
        &mut self,
        name: &str,
        renamed: Option<String>,
        before: &mut Vec<String>,
        is_reexport: bool,
    ) {
        if name != "self" {
            before.push(name.to_owned());
        }
        if let Some(path) = self.absolute(before) {
            if is_reexport {
                let name = renamed.unwrap_or_else(|| name.to_owned());
                self.imports.reexports.insert(name, path);
            } else {
                self.imports.uses.insert(path);
            }
        }
        if name != "self" {
            before.pop();
        }
    }
}

impl<'ast> Visit<'ast> for Collector<'_> {
    fn visit_item(&mut self, item: &'ast Item) {
        let attributes = match item {
            Item::Fn(item) => &item.attrs,
            Item::Mod(item) => &item.attrs,
            Item::Use(item) => &item.attrs,
            Item::Impl(item) => &item.attrs,
            Item::Struct(item) => &item.attrs,
            _ => &Vec::new(),
        };
        if !is_for_tests(attributes) {
            visit::visit_item(self, item);
        }
    }

    fn visit_item_mod(&mut self, item: &'ast ItemMod) {
        self.module.push(item.ident.to_string());
        visit::visit_item_mod(self, item);
        self.module.pop();
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        let is_reexport = !matches!(item.vis, Visibility::Inherited);
        self.use_tree(&item.tree, &mut Vec::new(), is_reexport);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let names: Vec<_> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        if names.len() > 1
            && ["crate", "self", "super"].contains(&names[0].as_str())
            && let Some(path) = self.absolute(&names)
        {
            self.imports.uses.insert(path);
        }
        visit::visit_path(self, path);
    }
}

/// The files that define what each file takes from others.
struct Structure {
    files: BTreeMap<ModulePath, SourceFile>,
    imports: BTreeMap<ModulePath, Imports>,
}

impl Structure {
    fn read() -> Self {
        let files = source_files();
        let modules: BTreeSet<_> = files.keys().cloned().collect();
        let imports = files
            .iter()
            .map(|(module, file)| {
                let module = module.clone();
                let mut collector = Collector {
                    modules: &modules,
                    module: module.clone(),
                    imports: Imports::default(),
                };
                collector.visit_file(&file.parsed);
                (module, collector.imports)
            })
            .collect();
        Self { files, imports }
    }

    /// The file that defines what a path names.
    fn definer(&self, path: &[String]) -> ModulePath {
        self.definer_within(path, 0)
    }

    fn definer_within(&self, path: &[String], depth: usize) -> ModulePath {
        assert!(depth < 20, "re-exports in a circle: {}", path.join("::"));
        let longest = (0..=path.len())
            .rev()
            .find(|length| self.files.contains_key(&path[..*length]))
            .expect("the root is a file");
        let (module, rest) = path.split_at(longest);
        let Some((name, _)) = rest.split_first() else { return module.to_vec() };
        let imports = &self.imports[module];
        if let Some(target) = imports.reexports.get(name) {
            return self.definer_within(target, depth + 1);
        }
        for glob in &imports.globs {
            if self.defines(glob, name) {
                return self.definer_within(
                    &[glob.as_slice(), std::slice::from_ref(name)].concat(),
                    depth + 1,
                );
            }
        }
        module.to_vec()
    }

    /// Whether a module has an item or a re-export of that name.
    fn defines(&self, module: &[String], name: &str) -> bool {
        let Some(file) = self.files.get(module) else { return false };
        self.imports[module].reexports.contains_key(name)
            || file.parsed.items.iter().any(|item| item_name(item).as_deref() == Some(name))
    }

    /// For each file those that it takes something from, itself left out.
    fn arrows(&self) -> BTreeMap<&ModulePath, BTreeSet<ModulePath>> {
        self.imports
            .iter()
            .map(|(module, imports)| {
                let mut to: BTreeSet<_> =
                    imports.uses.iter().map(|path| self.definer(path)).collect();
                to.remove(module);
                (module, to)
            })
            .collect()
    }
}

fn item_name(item: &Item) -> Option<String> {
    Some(match item {
        Item::Const(item) => item.ident.to_string(),
        Item::Enum(item) => item.ident.to_string(),
        Item::Fn(item) => item.sig.ident.to_string(),
        Item::Static(item) => item.ident.to_string(),
        Item::Struct(item) => item.ident.to_string(),
        Item::Trait(item) => item.ident.to_string(),
        Item::Type(item) => item.ident.to_string(),
        Item::Union(item) => item.ident.to_string(),
        _ => return None,
    })
}

fn layer_of(module: &[String]) -> Option<usize> {
    let first = module.first()?;
    LAYERS.iter().position(|layer| layer.contains(&first.as_str()))
}

#[track_caller]
fn assert_none(problems: &[String], what: &str) {
    assert!(problems.is_empty(), "{what}:\n  {}", problems.join("\n  "));
}

#[test]
fn lower_layers_import_nothing_of_higher_ones() {
    let structure = Structure::read();
    let mut problems = Vec::new();
    for (from, to) in structure.arrows() {
        let Some(own) = layer_of(from) else {
            assert!(from.is_empty(), "{} belongs to no layer: see LAYERS", from.join("::"));
            continue;
        };
        for to in to {
            match layer_of(&to) {
                Some(other) if other <= own => {}
                _ => problems.push(format!("{} imports from {}", from.join("::"), to.join("::"))),
            }
        }
    }
    assert_none(&problems, "imports that go up");
}

#[test]
fn files_import_each_other_in_no_circle() {
    let structure = Structure::read();
    let arrows = structure.arrows();
    let numbers: BTreeMap<_, _> = structure.files.keys().zip(0u32..).collect();
    let names: Vec<_> = structure.files.keys().collect();
    let mut graph = DiGraphMap::<u32, ()>::new();
    for (from, to) in &arrows {
        for to in to {
            graph.add_edge(numbers[*from], numbers[to], ());
        }
    }
    let circles = tarjan_scc(&graph).into_iter().filter(|files| files.len() > 1);
    let problems: Vec<_> = circles
        .map(|circle| {
            let within: Vec<_> = circle
                .iter()
                .flat_map(|from| circle.iter().map(move |to| (*from, *to)))
                .filter(|(from, to)| graph.contains_edge(*from, *to))
                .map(|(from, to)| {
                    let [from, to] = [from, to].map(|file| names[file as usize].join("::"));
                    format!("{from} -> {to}")
                })
                .collect();
            format!("{} files: {}", circle.len(), within.join(", "))
        })
        .collect();
    assert_none(&problems, "circles of imports");
}

#[test]
fn no_file_is_too_long_to_be_read() {
    let files = source_files();
    let problems: Vec<_> = files
        .values()
        .filter(|file| file.lines > MAX_LINES)
        .map(|file| format!("{} has {} lines", file.path.display(), file.lines))
        .collect();
    assert_none(&problems, "files of more than 500 lines");
}

#[test]
fn unsafe_code_lies_in_one_folder() {
    /// Looks for the keyword where it makes code unsafe.
    #[derive(Default)]
    struct Unsafe(usize);
    impl<'ast> Visit<'ast> for Unsafe {
        fn visit_expr_unsafe(&mut self, block: &'ast syn::ExprUnsafe) {
            self.0 += 1;
            visit::visit_expr_unsafe(self, block);
        }
        fn visit_item_impl(&mut self, item: &'ast syn::ItemImpl) {
            self.0 += usize::from(item.unsafety.is_some());
            visit::visit_item_impl(self, item);
        }
        fn visit_signature(&mut self, signature: &'ast syn::Signature) {
            self.0 += usize::from(signature.unsafety.is_some());
            visit::visit_signature(self, signature);
        }
    }
    let mut within = 0;
    let mut problems = Vec::new();
    for file in source_files().values() {
        let mut found = Unsafe::default();
        found.visit_file(&file.parsed);
        if file.path.with_extension("").starts_with(UNSAFE_ROOM) {
            within += found.0;
        } else if found.0 > 0 {
            problems.push(format!("{}: {} times", file.path.display(), found.0));
        }
    }
    assert!(within > 0, "nothing unsafe was found in {UNSAFE_ROOM}");
    assert_none(&problems, "unsafe code outside its folder");
}

#[test]
fn a_type_name_means_one_thing() {
    let mut places: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for file in source_files().values() {
        for item in &file.parsed.items {
            if matches!(
                item,
                Item::Enum(_) | Item::Struct(_) | Item::Trait(_) | Item::Type(_) | Item::Union(_)
            ) {
                let name = item_name(item).expect("types have names");
                places.entry(name).or_default().push(file.path.display().to_string());
            }
        }
    }
    let problems: Vec<_> = places
        .iter()
        .filter(|(_, files)| files.len() > 1)
        .map(|(name, files)| format!("{name}: {}", files.join(", ")))
        .collect();
    assert_none(&problems, "type names that occur more than once");
}

#[test]
fn files_that_the_documents_name_are_there() {
    let root = root();
    let mut named = 0;
    let mut problems = Vec::new();
    for document in ["README.md", "SECURITY.md", "CONTRIBUTING.md", "BENCHMARKS.md", "CHANGELOG.md"]
    {
        let text = fs::read_to_string(root.join(document)).expect("the document can be read");
        let is_of_path = |c: char| c.is_ascii_alphanumeric() || "_-/.".contains(c);
        let paths = text
            .split(|c: char| !is_of_path(c))
            .map(|path| path.trim_end_matches('.'))
            .filter(|path| {
                ["src/", "tests/", "benches/", "examples/", "scripts/", "assets/"]
                    .iter()
                    .any(|folder| path.starts_with(folder))
            });
        for path in paths {
            named += 1;
            // The paths of assets that programs load start below `assets`.
            if !root.join(path).exists() && !root.join("assets").join(path).exists() {
                problems.push(format!("{document}: {path}"));
            }
        }
    }
    assert!(named > 10, "only {named} paths were found");
    assert_none(&problems, "paths in documents that lead nowhere");
}
