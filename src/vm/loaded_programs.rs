//! [`LoadedPrograms`]: the programs that a VM holds, and which of them are evicted when there is no room for all.

use std::cmp::Reverse;

use bevy::platform::collections::HashMap;
use mlua::{Function, Lua};

use super::program_stats::ProgramCounts;
use super::raw;
use super::text::Text;

/// For how many leases of the VM an unused program counts as needed. In each frame a VM is leased once for every
/// schedule in which scripts run.
const KEPT_LEASES: u64 = 4;

/// A program in one VM.
#[derive(Debug)]
pub(super) struct Loaded {
    id: u64,
    /// Its main function. Dropped once there is an image: the code that makes a table of data is as large as the
    /// table.
    main: Option<Main>,
    pub(super) image: Option<raw::Image>,
    image_weight: Weight,
    /// The shapes of the states that came to the image.
    pub(super) shapes: raw::Shapes,
    /// The bytes that loading it and making its image took, garbage included.
    pub(super) bytes: usize,
    /// The strings that it holds.
    texts: Vec<Text>,
    /// When it was loaded, and last used, as counted by [`LoadedPrograms::uses`].
    loaded_at: u64,
    used_at: u64,
    /// The lease of the VM in which it was last used.
    used_in: u64,
}

/// The main function of a program.
#[derive(Debug)]
pub(super) struct Main {
    pub(super) function: Function,
    pub(super) weight: Weight,
}

/// The memory that making something took.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Weight {
    /// Bytes, garbage included.
    pub(super) bytes: usize,
    /// How often the VM had collected its garbage by then.
    pub(super) collections: u64,
}

impl Weight {
    /// At most how many of the bytes that the last of so many collections left go with it.
    fn left_after(self, collections: u64) -> usize {
        if self.collections < collections { self.bytes } else { 0 }
    }
}

impl Loaded {
    /// Its main function, which is there as long as there is no image.
    pub(super) fn main(&self) -> Option<&Function> {
        self.main.as_ref().map(|main| &main.function)
    }
}

/// The programs that a VM holds, by place. Places are valid until the next eviction.
#[derive(Debug, Default)]
pub(super) struct LoadedPrograms {
    list: Vec<Loaded>,
    places: HashMap<u64, usize>,
    /// The id and the place of the program that was used last.
    recent: Option<(u64, usize)>,
    /// How often another program was used than the time before.
    uses: u64,
    /// The leases of the VM that are over.
    leases: u64,
    /// The strings of all programs, and how many programs hold each.
    texts: HashMap<Text, u32>,
    /// The bytes of these strings.
    text_bytes: usize,
    /// The bytes of the shapes of states, when they were last weighed.
    shape_bytes: usize,
    /// The bytes of the largest program, when they were last weighed.
    largest: usize,
}

impl LoadedPrograms {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    /// The place of a program that is loaded, and is used now.
    #[inline]
    pub(super) fn place_of(&mut self, id: u64) -> Option<usize> {
        match self.recent {
            Some((recent, place)) if recent == id => Some(place),
            _ => self.turn_to(id),
        }
    }

    fn turn_to(&mut self, id: u64) -> Option<usize> {
        let place = *self.places.get(&id)?;
        self.recent = Some((id, place));
        self.uses += 1;
        let program = &mut self.list[place];
        (program.used_at, program.used_in) = (self.uses, self.leases);
        Some(place)
    }

    pub(super) fn at(&mut self, place: usize) -> &mut Loaded {
        &mut self.list[place]
    }

    /// Adds a program that is used now.
    pub(super) fn add(&mut self, id: u64, texts: &[Text]) -> usize {
        self.uses += 1;
        let place = self.list.len();
        self.list.push(Loaded {
            id,
            main: None,
            image: None,
            image_weight: Weight::default(),
            shapes: raw::Shapes::default(),
            bytes: 0,
            texts: Vec::new(),
            loaded_at: self.uses,
            used_at: self.uses,
            used_in: self.leases,
        });
        self.places.insert(id, place);
        self.recent = Some((id, place));
        self.add_texts(place, texts);
        place
    }

    /// Adds strings that a program holds.
    fn add_texts(&mut self, place: usize, texts: &[Text]) {
        let mut known = std::mem::take(&mut self.list[place].texts);
        self.count_texts(&known, false);
        known.extend_from_slice(texts);
        known.sort_unstable();
        known.dedup();
        known.shrink_to_fit();
        self.count_texts(&known, true);
        self.list[place].texts = known;
    }

    /// Counts a program's distinct strings, or counts them no more.
    fn count_texts(&mut self, texts: &[Text], there: bool) {
        for text in texts {
            let holders = self.texts.entry(*text).or_default();
            if there {
                self.text_bytes += if *holders == 0 { text.1 as usize } else { 0 };
                *holders += 1;
            } else {
                *holders -= 1;
                if *holders == 0 {
                    self.texts.remove(text);
                    self.text_bytes -= text.1 as usize;
                }
            }
        }
    }

    /// Keeps the main function of a program.
    pub(super) fn keep_main(&mut self, place: usize, main: Main) {
        let program = &mut self.list[place];
        program.bytes += main.weight.bytes;
        program.main = Some(main);
    }

    /// Keeps the image of a program in place of its main function. Gives at most how many of the bytes that the last
    /// collection left are garbage now.
    #[must_use]
    pub(super) fn keep_image(
        &mut self,
        place: usize,
        mut image: raw::Image,
        weight: Weight,
    ) -> usize {
        let texts = std::mem::take(&mut image.texts);
        let program = &mut self.list[place];
        program.bytes += weight.bytes;
        (program.image, program.image_weight) = (Some(image), weight);
        let gone = program.main.take();
        self.add_texts(place, &texts);
        gone.map_or(0, |main| main.weight.left_after(weight.collections))
    }

    /// Drops the image of a program, if it has one, which leaves the program with these strings. Gives at most how
    /// many of the bytes that the last of so many collections left are garbage now.
    #[must_use]
    pub(super) fn drop_image(
        &mut self,
        lua: &Lua,
        place: usize,
        (texts, collections): (&[Text], u64),
    ) -> usize {
        let program = &mut self.list[place];
        let Some(image) = program.image.take() else { return 0 };
        raw::drop_image(lua, &image, &std::mem::take(&mut program.shapes));
        program.bytes = 0;
        let gone = program.image_weight.left_after(collections);
        let held = std::mem::take(&mut program.texts);
        self.count_texts(&held, false);
        self.add_texts(place, texts);
        gone
    }

    /// A lease of the VM is over.
    pub(super) fn end_lease(&mut self) {
        self.leases += 1;
        self.recent = None;
    }

    /// The bytes of the largest program.
    pub(super) fn largest(&self) -> usize {
        self.largest
    }

    /// Weighs the programs and the shapes of states.
    pub(super) fn weigh(&mut self) {
        self.largest = self.list.iter().map(|program| program.bytes).max().unwrap_or(0);
        self.shape_bytes = self.list.iter().map(|program| program.shapes.bytes()).sum();
    }

    /// At most how many bytes the strings of all programs and the shapes of states take.
    pub(super) fn strings(&self) -> usize {
        self.text_bytes + self.shape_bytes
    }

    /// Evicts programs that hold about `excess` of the `held` bytes of all programs, but never the one in use.
    ///
    /// The least recently used go first. But if programs are used in turn and there is no room for all, the least
    /// recently used is the one that is needed next. So among those used in this lease or shortly before, the last
    /// one loaded goes first: the others stay, frame after frame.
    pub(super) fn evict(
        &mut self,
        lua: &Lua,
        (held, excess): (usize, usize),
        in_use: Option<u64>,
        counts: &ProgramCounts,
    ) {
        let known: usize = self.list.iter().map(|program| program.bytes).sum();
        let share = held as f64 / known.max(1) as f64;
        let is_needed =
            |program: &Loaded| self.leases > 0 && program.used_in + KEPT_LEASES > self.leases;
        let mut order: Vec<usize> = (0..self.list.len()).collect();
        order.sort_by_key(|place| {
            let program = &self.list[*place];
            let needed = is_needed(program);
            (needed, if needed { 0 } else { program.used_at }, Reverse(program.loaded_at))
        });
        let mut left = excess as f64;
        let mut gone = Vec::new();
        for place in order {
            let program = &self.list[place];
            // The last one stays, or it would be loaded anew for every run.
            if left <= 0.0 || gone.len() + 1 == self.list.len() {
                break;
            }
            if in_use != Some(program.id) {
                left -= share * program.bytes as f64;
                counts.evicted(is_needed(program));
                gone.push(program.id);
            }
        }
        self.remove(lua, |program| gone.contains(&program.id));
    }

    /// Drops all programs.
    #[cfg(test)]
    pub(super) fn clear(&mut self, lua: &Lua) {
        self.remove(lua, |_| true);
    }

    fn remove(&mut self, lua: &Lua, goes: impl Fn(&Loaded) -> bool) {
        self.recent = None;
        let (gone, left): (Vec<_>, _) = std::mem::take(&mut self.list).into_iter().partition(goes);
        self.list = left;
        for program in gone {
            self.count_texts(&program.texts, false);
            if let Some(image) = &program.image {
                raw::drop_image(lua, image, &program.shapes);
            }
        }
        self.places.clear();
        self.places.extend(self.list.iter().enumerate().map(|(place, it)| (it.id, place)));
    }
}
