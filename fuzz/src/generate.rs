//! [`Case`]: a module, and the settings under which Sarsen runs it, from bytes.

use crate::peer::Abilities;
use crate::random::Random;
use crate::vectors::{self, Relaxed};
use crate::{host, objects, rewrite, typed};
use arbitrary::{Result, Unstructured};
use std::fmt;
use std::num::NonZeroU32;
use wasm_smith::{Config, MemoryOffsetChoices, Module};

/// How Sarsen compiles and runs a module. Nothing in it may change what can be observed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Settings {
    /// Whether to optimize.
    pub optimize: bool,
    /// Whether to inline.
    pub inlining: bool,
    /// Address space for a memory. With less than 4 GiB, accesses are checked in code, and memories
    /// move when they outgrow it.
    pub reservation: u64,
    /// Inaccessible bytes after a memory.
    pub guard: u64,
    /// Whether to count fuel; there is more than enough.
    pub fuel: bool,
    /// Whether to check epochs; none passes.
    pub epochs: bool,
    /// Whether memories begin as mappings of the image.
    pub copy_on_write: bool,
    /// Whether Sarsen makes NaNs canonical. Where the other runtime cannot, the module does it, too.
    pub canonical_nans: bool,
    /// Whether to collect at every so many allocations.
    pub zeal: Option<NonZeroU32>,
    /// The size of the nursery, in bytes; zero leaves it as it is.
    pub nursery: usize,
    /// Whether relaxed vector instructions do the same everywhere. Modules with such choose it.
    pub deterministic: bool,
}

/// How a compiled module gets into the process.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Loading {
    /// It is compiled, and stays.
    Direct,
    /// Through the bytes of its image.
    Image,
    /// It is compiled twice, and the images must be equal.
    Twice,
}

/// Something to run.
#[derive(Clone)]
pub struct Case {
    /// A valid module.
    pub module: Vec<u8>,
    /// How Sarsen compiles it.
    pub settings: Settings,
    /// How it is loaded.
    pub loading: Loading,
    /// Determines the arguments of calls.
    pub arguments: u64,
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} bytes, {:?}, {:?}, arguments {:#x}",
            self.module.len(),
            self.settings,
            self.loading,
            self.arguments
        )
    }
}

impl Case {
    /// The case that a seed determines, for a runtime of these abilities. Some seeds make none.
    pub fn from_seed(seed: u64, peer: Abilities) -> Option<Case> {
        let mut random = Random::new(seed);
        let size = random.choose(&[512, 2048, 8192, 20_000]);
        Case::from_bytes(&random.bytes(size), peer).ok()
    }

    /// The program of collected objects that a seed determines. Some seeds make none.
    pub fn of_objects(seed: u64) -> Option<Case> {
        let mut random = Random::new(seed);
        let size = random.choose(&[2048, 8192, 20_000]);
        let bytes = random.bytes(size);
        let mut bytes = Unstructured::new(&bytes);
        Case::of_objects_from_bytes(&mut bytes).ok()
    }

    fn of_objects_from_bytes(bytes: &mut Unstructured<'_>) -> Result<Case> {
        Ok(Case {
            settings: Settings::from_bytes(bytes)?,
            loading: Loading::from_bytes(bytes)?,
            arguments: bytes.arbitrary()?,
            // No instruction in it makes NaNs.
            module: objects::module(bytes)?,
        })
    }

    /// The case that some bytes determine, for a runtime of these abilities.
    ///
    /// # Errors
    ///
    /// When there are too few of them.
    pub fn from_bytes(bytes: &[u8], peer: Abilities) -> Result<Case> {
        let mut bytes = Unstructured::new(bytes);
        let mut settings = Settings::from_bytes(&mut bytes)?;
        let loading = Loading::from_bytes(&mut bytes)?;
        let arguments = bytes.arbitrary()?;
        let proposals = Proposals::from_bytes(&mut bytes, peer)?;
        let everything_collected = peer.gc && peer.function_references && peer.exceptions;
        let module = if everything_collected && bytes.ratio(1, 3)? {
            objects::module(&mut bytes)?
        } else if proposals.simd && bytes.ratio(1, 2)? {
            let relaxed = relaxed(&mut bytes)?;
            match relaxed {
                Relaxed::None => {}
                Relaxed::Deterministic => settings.deterministic = true,
                Relaxed::Fused => settings.deterministic = false,
            }
            vectors::module(&mut bytes, relaxed)?
        } else if peer.function_references && bytes.ratio(1, 6)? {
            typed::module(&mut bytes)?
        } else {
            anything(&mut bytes, &proposals)?
        };
        let nans = !(settings.canonical_nans && peer.canonical_nans);
        let module = rewrite::rewrite(&module, nans);
        Ok(Case {
            module: module.expect("generated modules are valid"),
            settings,
            loading,
            arguments,
        })
    }
}

impl Loading {
    fn from_bytes(bytes: &mut Unstructured<'_>) -> Result<Loading> {
        Ok(*bytes.choose(&[
            Loading::Direct,
            Loading::Direct,
            Loading::Direct,
            Loading::Image,
            Loading::Image,
            Loading::Twice,
        ])?)
    }
}

impl Settings {
    fn from_bytes(bytes: &mut Unstructured<'_>) -> Result<Settings> {
        Ok(Settings {
            optimize: bytes.ratio(2, 3)?,
            inlining: bytes.ratio(2, 3)?,
            reservation: *bytes.choose(&[4 << 30, 4 << 30, 4 << 30, 1 << 20, 64 << 10, 0])?,
            guard: *bytes.choose(&[32 << 20, 32 << 20, 64 << 10, 0])?,
            fuel: bytes.ratio(1, 4)?,
            epochs: bytes.ratio(1, 4)?,
            copy_on_write: bytes.ratio(3, 4)?,
            canonical_nans: bytes.ratio(1, 3)?,
            zeal: NonZeroU32::new(*bytes.choose(&[0, 0, 1, 3])?),
            nursery: *bytes.choose(&[0, 0, 16 << 10])?,
            deterministic: bytes.ratio(1, 2)?,
        })
    }

    /// Settings that change as little as can be: nothing is optimized, checked or collected before it must be.
    pub fn plain() -> Settings {
        Settings {
            optimize: false,
            inlining: false,
            ..Settings::usual()
        }
    }

    fn usual() -> Settings {
        Settings {
            optimize: true,
            inlining: true,
            reservation: 4 << 30,
            guard: 32 << 20,
            fuel: false,
            epochs: false,
            copy_on_write: true,
            canonical_nans: false,
            zeal: None,
            nursery: 0,
            deterministic: true,
        }
    }

    /// Settings that differ from each other in everything, for a module that comes without.
    pub fn samples() -> [Settings; 4] {
        let (usual, plain) = (Settings::usual(), Settings::plain());
        let movable = Settings {
            reservation: 64 << 10,
            guard: 0,
            copy_on_write: false,
            ..usual
        };
        let counted = Settings {
            fuel: true,
            epochs: true,
            canonical_nans: true,
            zeal: Some(NonZeroU32::MIN),
            nursery: 16 << 10,
            reservation: 1 << 20,
            ..plain
        };
        [usual, plain, movable, counted]
    }
}

/// Which proposals a module is made of. They are on and off at random: what is off changes what the
/// generator makes of the others.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Proposals {
    pub(crate) multi_value: bool,
    pub(crate) reference_types: bool,
    pub(crate) bulk_memory: bool,
    pub(crate) tail_call: bool,
    pub(crate) memory64: bool,
    pub(crate) multi_memory: bool,
    pub(crate) extended_const: bool,
    pub(crate) saturating_float_to_int: bool,
    pub(crate) sign_extension: bool,
    pub(crate) custom_page_sizes: bool,
    pub(crate) wide_arithmetic: bool,
    pub(crate) simd: bool,
    pub(crate) threads: bool,
    pub(crate) gc: bool,
    pub(crate) exceptions: bool,
}

impl Proposals {
    fn from_bytes(bytes: &mut Unstructured<'_>, peer: Abilities) -> Result<Proposals> {
        let reference_types = bytes.ratio(3, 4)?;
        let simd = bytes.ratio(1, 2)?;
        Ok(Proposals {
            multi_value: bytes.ratio(3, 4)?,
            reference_types,
            bulk_memory: reference_types || bytes.ratio(3, 4)?,
            tail_call: bytes.ratio(1, 2)?,
            memory64: bytes.ratio(1, 3)?,
            multi_memory: bytes.ratio(1, 3)?,
            extended_const: bytes.ratio(1, 2)?,
            saturating_float_to_int: bytes.ratio(3, 4)?,
            sign_extension: bytes.ratio(3, 4)?,
            custom_page_sizes: bytes.ratio(1, 6)?,
            wide_arithmetic: bytes.ratio(1, 4)?,
            simd,
            threads: peer.threads && bytes.ratio(1, 3)?,
            gc: reference_types && peer.gc && bytes.ratio(1, 2)?,
            exceptions: peer.exceptions && bytes.ratio(1, 3)?,
        })
    }
}

fn relaxed(bytes: &mut Unstructured<'_>) -> Result<Relaxed> {
    let relaxed = bytes.choose(&[Relaxed::None, Relaxed::Deterministic, Relaxed::Fused])?;
    // Without the instruction, nobody rounds once.
    if *relaxed == Relaxed::Fused && !std::arch::is_x86_feature_detected!("fma") {
        return Ok(Relaxed::None);
    }
    Ok(*relaxed)
}

/// A module of everything that the proposals have.
fn anything(bytes: &mut Unstructured<'_>, proposals: &Proposals) -> Result<Vec<u8>> {
    let config = config(bytes, proposals)?;
    let fuel = bytes.int_in_range(100..=3000)?;
    let mut module = Module::new(config, bytes)?;
    module
        .ensure_termination(fuel)
        .map_err(|_| arbitrary::Error::IncorrectFormat)?;
    Ok(module.to_bytes())
}

/// What such modules look like.
fn config(bytes: &mut Unstructured<'_>, proposals: &Proposals) -> Result<Config> {
    let imports = bytes.ratio(2, 3)?;
    Ok(Config {
        available_imports: Some(host::everything(proposals)),
        max_imports: if imports { 8 } else { 0 },
        multi_value_enabled: proposals.multi_value,
        reference_types_enabled: proposals.reference_types,
        bulk_memory_enabled: proposals.bulk_memory,
        tail_call_enabled: proposals.tail_call,
        memory64_enabled: proposals.memory64,
        extended_const_enabled: proposals.extended_const,
        saturating_float_to_int_enabled: proposals.saturating_float_to_int,
        sign_extension_ops_enabled: proposals.sign_extension,
        custom_page_sizes_enabled: proposals.custom_page_sizes,
        wide_arithmetic_enabled: proposals.wide_arithmetic,
        simd_enabled: proposals.simd,
        threads_enabled: proposals.threads,
        max_memories: if proposals.multi_memory { 4 } else { 1 },
        max_tables: if proposals.reference_types { 4 } else { 1 },
        // A module whose accesses are all made safe gets further than one that traps at its first.
        disallow_traps: bytes.ratio(1, 3)?,
        memory_offset_choices: MemoryOffsetChoices(70, 25, 5),
        min_funcs: 1,
        max_funcs: *bytes.choose(&[3, 8, 20])?,
        max_instructions: *bytes.choose(&[30, 100, 300, 800])?,
        max_nesting_depth: 12,
        max_types: 20,
        max_type_size: 200,
        max_globals: 12,
        max_data_segments: 6,
        max_element_segments: 6,
        max_elements: 20,
        max_exports: 20,
        max_memory32_bytes: 1 << 20,
        max_memory64_bytes: 1 << 20,
        max_table_elements: 1000,
        export_everything: true,
        // `rewrite` does, and more of them.
        canonicalize_nans: false,
        // `vectors` makes them.
        relaxed_simd_enabled: false,
        // Not supported here.
        compact_imports_enabled: false,
        exceptions_enabled: proposals.exceptions,
        gc_enabled: proposals.gc,
        ..Config::default()
    })
}
