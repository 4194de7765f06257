//! The sections that every image has.

macro_rules! sections {
    ($($(#[$doc:meta])* $section:ident = $name:literal;)*) => {
        /// A section that every image has.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub(super) enum Section {
            $($(#[$doc])* $section,)*
        }

        impl Section {
            /// Every section, in the order of this enumeration.
            pub(super) const ALL: &'static [Section] = &[$(Section::$section),*];

            /// Its name in the ELF file.
            pub(super) const fn name(self) -> &'static str {
                match self {
                    $(Section::$section => $name,)*
                }
            }
        }
    };
}

sections! {
    /// [`super::header`]
    Header = ".sarsen.header";
    /// [`crate::Module`], as postcard writes it.
    Module = ".sarsen.module";
    /// [`super::funcs`]
    Funcs = ".sarsen.funcs";
    /// [`super::stubs`]
    Stubs = ".sarsen.stubs";
    /// [`super::traps`]
    Traps = ".sarsen.traps";
    /// [`super::points`]
    Points = ".sarsen.points";
    /// [`super::points`]
    Contexts = ".sarsen.contexts";
    /// [`super::stack_maps`]
    StackMaps = ".sarsen.stack_maps";
    /// [`super::handlers`]
    Handlers = ".sarsen.handlers";
    /// [`super::names`]
    Names = ".sarsen.names";
    /// Machine code.
    Text = ".text";
    /// Memory images, then the other data segments.
    Data = ".sarsen.data";
    /// The names of symbols and functions.
    Strings = ".strtab";
}

/// What stands before the name of a custom section of the module in the ELF section's name. DWARF of
/// WebAssembly under its own name would be taken for DWARF of the machine code.
pub(super) const CUSTOM_PREFIX: &str = ".sarsen";
