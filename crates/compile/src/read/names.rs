//! The name section. It is a custom section, so nothing in it can make a module invalid: what
//! cannot be read, or names what does not exist, is left out.

use crate::read::Names;
use sarsen_abi::{FuncIndex, Module, TagIndex};
use wasmparser::{Name, NameMap, NameSectionReader};

/// What the name section says.
#[derive(Default)]
pub(super) struct NameSection<'a> {
    /// What the module calls itself.
    pub(super) module: Option<&'a str>,
    /// What it calls its functions.
    pub(super) names: Names<'a>,
    /// What it calls its tags.
    pub(super) tags: Vec<(TagIndex, &'a str)>,
}

/// Reads the names of what the module has.
pub(super) fn read<'a>(section: NameSectionReader<'a>, module: &Module) -> NameSection<'a> {
    let mut found = NameSection::default();
    for subsection in section {
        match subsection {
            Ok(Name::Module { name, .. }) => found.module = Some(name),
            Ok(Name::Function(map)) => {
                let funcs = names(map, module.funcs.len());
                let funcs = funcs.map(|(index, name)| (FuncIndex::new(index), name));
                found.names.funcs = funcs.collect();
            }
            Ok(Name::Tag(map)) => {
                let tags = names(map, module.tags.len());
                found.tags = tags
                    .map(|(index, name)| (TagIndex::new(index), name))
                    .collect();
            }
            Ok(_) => {}
            Err(_) => break,
        }
    }
    found
}

/// The names of the first `count` of some index space, in ascending order.
fn names(map: NameMap<'_>, count: usize) -> impl Iterator<Item = (u32, &str)> {
    let mut names: Vec<_> = map
        .into_iter()
        .map_while(Result::ok)
        .filter(|naming| (naming.index as usize) < count)
        .map(|naming| (naming.index, naming.name))
        .collect();
    // Stable, so that of several names of one thing the first wins.
    names.sort_by_key(|&(index, _)| index);
    names.dedup_by_key(|&mut (index, _)| index);
    names.into_iter()
}
