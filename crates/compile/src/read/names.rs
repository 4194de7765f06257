//! The name section. It is a custom section, so nothing in it can make a module invalid: what
//! cannot be read, or names what does not exist, is left out.

use crate::read::Names;
use sarsen_abi::{FuncIndex, Module};
use wasmparser::{Name, NameMap, NameSectionReader};

/// What the module calls itself and its functions.
pub(super) fn read<'a>(
    section: NameSectionReader<'a>,
    module: &Module,
) -> (Option<&'a str>, Names<'a>) {
    let mut module_name = None;
    let mut names = Names::default();
    for subsection in section {
        match subsection {
            Ok(Name::Module { name, .. }) => module_name = Some(name),
            Ok(Name::Function(map)) => names.funcs = func_names(map, module),
            Ok(_) => {}
            Err(_) => break,
        }
    }
    (module_name, names)
}

fn func_names<'a>(map: NameMap<'a>, module: &Module) -> Vec<(FuncIndex, &'a str)> {
    let mut funcs: Vec<_> = map
        .into_iter()
        .map_while(Result::ok)
        .filter(|naming| (naming.index as usize) < module.funcs.len())
        .map(|naming| (FuncIndex::new(naming.index), naming.name))
        .collect();
    // Stable, so that of several names of one function the first wins.
    funcs.sort_by_key(|&(func, _)| func);
    funcs.dedup_by_key(|&mut (func, _)| func);
    funcs
}
