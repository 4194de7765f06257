//! The ELF file around an image: writing one from sections, and finding the sections of one.
//!
//! It is a shared object without dynamic section. A section's address equals its offset in the file,
//! so that tools find symbols with no more arithmetic, and text is the only executable segment.

use super::error::ImageError;
use super::section::Section;
use crate::module::IMAGE_PAGE_SIZE;
use core::ops::Range;
use object::elf::{
    self, FileHeader64, Ident, ProgramHeader64, SectionHeader64, Sym64, SymbolInfo, SymbolOther,
};
use object::pod::{bytes_of, bytes_of_slice};
use object::read::elf::{FileHeader as _, SectionHeader as _};
use object::{LittleEndian, U16, U32, U64};

const LE: LittleEndian = LittleEndian;

/// What tells an image from other ELF files at a glance: bytes of the header that mean nothing to
/// other programs.
const MARK: [u8; 7] = *b"sarsen\0";

/// Whether `bytes` begin as an image does; the first sixteen are enough.
pub fn begins_as_image(bytes: &[u8]) -> bool {
    bytes.starts_with(&elf::ELFMAG) && bytes.get(9..16) == Some(&MARK)
}

/// Where tables begin: at multiples of this, in bytes.
const TABLE_ALIGNMENT: u64 = 8;

/// What a section is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum SectionKind {
    /// A table, which only we read.
    Table,
    /// Machine code.
    Text,
    /// Page-aligned data.
    Data,
}

/// A section to write.
#[derive(Clone, Debug)]
pub(super) struct NewSection<'a> {
    /// Its name.
    pub(super) name: &'a str,
    /// What it is for.
    pub(super) kind: SectionKind,
    /// Its bytes.
    pub(super) bytes: &'a [u8],
}

/// A symbol to write.
#[derive(Clone, Debug)]
pub(super) struct NewSymbol {
    /// Where its name is in the string table.
    pub(super) name: u32,
    /// The text offsets that it names.
    pub(super) range: Range<u32>,
}

/// Writes an ELF file with these sections in this order, then symbols and their names.
pub(super) fn write_elf(
    arch: &str,
    sections: &[NewSection<'_>],
    symbols: &[NewSymbol],
    strings: &[u8],
) -> Vec<u8> {
    let headers = size_of::<FileHeader64<LittleEndian>>()
        + size_of::<ProgramHeader64<LittleEndian>>() * PROGRAM_HEADERS;
    let payload: usize = sections.iter().map(|s| s.bytes.len()).sum();
    let mut writer = ElfWriter {
        out: Vec::with_capacity(payload + strings.len() + symbols.len() * 24 + 16384),
        names: vec![0],
        headers: vec![no_section()],
        segments: Vec::new(),
        text: (0, 0),
    };
    writer.out.resize(headers, 0);
    for section in sections {
        writer.section(section);
    }
    writer.symbols(symbols);
    writer.raw(
        Section::Strings.name(),
        elf::SHT_STRTAB,
        strings,
        Links::default(),
    );
    writer.finish(arch)
}

/// Text and data.
const PROGRAM_HEADERS: usize = 2;

/// What only symbol tables say in their section header.
#[derive(Default)]
struct Links {
    link: u32,
    info: u32,
    entry_size: u64,
}

struct ElfWriter {
    out: Vec<u8>,
    names: Vec<u8>,
    headers: Vec<SectionHeader64<LittleEndian>>,
    segments: Vec<ProgramHeader64<LittleEndian>>,
    /// The number of the text section, and its address.
    text: (u16, u64),
}

impl ElfWriter {
    /// Pads the file; gives the offset where the next section begins.
    fn align(&mut self, alignment: u64) -> u64 {
        let offset = (self.out.len() as u64).next_multiple_of(alignment);
        self.out.resize(offset as usize, 0);
        offset
    }

    fn add_name(&mut self, name: &str) -> u32 {
        let at = self.names.len() as u32;
        self.names.extend_from_slice(name.as_bytes());
        self.names.push(0);
        at
    }

    fn section(&mut self, section: &NewSection<'_>) {
        match section.kind {
            SectionKind::Table => {
                self.raw(
                    section.name,
                    elf::SHT_PROGBITS,
                    section.bytes,
                    Links::default(),
                );
            }
            SectionKind::Text => {
                let number = self.headers.len() as u16;
                let flags = elf::SHF_ALLOC | elf::SHF_EXECINSTR;
                let address = self.mapped(section, flags, elf::PF_R | elf::PF_X);
                self.text = (number, address);
            }
            SectionKind::Data => {
                self.mapped(section, elf::SHF_ALLOC, elf::PF_R);
            }
        }
    }

    /// Writes a section that nobody maps by itself.
    fn raw(&mut self, name: &str, ty: elf::SectionType, bytes: &[u8], links: Links) {
        let offset = self.align(TABLE_ALIGNMENT);
        let sh_name = self.add_name(name);
        self.out.extend_from_slice(bytes);
        self.headers.push(SectionHeader64 {
            sh_name: U32::new(LE, sh_name),
            sh_type: U32::new(LE, ty),
            sh_flags: U64::default(),
            sh_addr: U64::default(),
            sh_offset: U64::new(LE, offset),
            sh_size: U64::new(LE, bytes.len() as u64),
            sh_link: U32::new(LE, links.link),
            sh_info: U32::new(LE, links.info),
            sh_addralign: U64::new(LE, TABLE_ALIGNMENT),
            sh_entsize: U64::new(LE, links.entry_size),
        });
    }

    /// Writes a section that is mapped, on pages of its own; gives its address.
    fn mapped(
        &mut self,
        section: &NewSection<'_>,
        flags: elf::SectionFlags,
        segment_flags: elf::ProgramFlags,
    ) -> u64 {
        let offset = self.align(IMAGE_PAGE_SIZE);
        let sh_name = self.add_name(section.name);
        let size = section.bytes.len() as u64;
        self.out.extend_from_slice(section.bytes);
        self.align(IMAGE_PAGE_SIZE);
        self.headers.push(SectionHeader64 {
            sh_name: U32::new(LE, sh_name),
            sh_type: U32::new(LE, elf::SHT_PROGBITS),
            sh_flags: U64::new(LE, flags),
            sh_addr: U64::new(LE, offset),
            sh_offset: U64::new(LE, offset),
            sh_size: U64::new(LE, size),
            sh_link: U32::default(),
            sh_info: U32::default(),
            sh_addralign: U64::new(LE, IMAGE_PAGE_SIZE),
            sh_entsize: U64::default(),
        });
        self.segments.push(ProgramHeader64 {
            p_type: U32::new(LE, elf::PT_LOAD),
            p_flags: U32::new(LE, segment_flags),
            p_offset: U64::new(LE, offset),
            p_vaddr: U64::new(LE, offset),
            p_paddr: U64::new(LE, offset),
            p_filesz: U64::new(LE, size),
            p_memsz: U64::new(LE, size),
            p_align: U64::new(LE, IMAGE_PAGE_SIZE),
        });
        offset
    }

    /// Writes the symbol table. The section after it has the names.
    fn symbols(&mut self, symbols: &[NewSymbol]) {
        let (section, address) = self.text;
        // The first symbol is undefined, by definition.
        let mut table = vec![Sym64::<LittleEndian>::default()];
        table.extend(symbols.iter().map(|symbol| Sym64 {
            st_name: U32::new(LE, symbol.name),
            st_info: SymbolInfo::new(elf::STB_LOCAL, elf::STT_FUNC),
            st_other: SymbolOther(0),
            st_shndx: U16::new(LE, elf::SymbolSection(section)),
            st_value: U64::new(LE, address + u64::from(symbol.range.start)),
            st_size: U64::new(LE, u64::from(symbol.range.end - symbol.range.start)),
        }));
        let links = Links {
            link: self.headers.len() as u32 + 1,
            // Where the symbols that are not local would begin.
            info: table.len() as u32,
            entry_size: size_of::<Sym64<LittleEndian>>() as u64,
        };
        self.raw(".symtab", elf::SHT_SYMTAB, bytes_of_slice(&table), links);
    }

    fn finish(mut self, arch: &str) -> Vec<u8> {
        let names_number = self.headers.len() as u16;
        // The last section holds the names of all, its own included.
        let own_name = ".shstrtab";
        let mut names = self.names.clone();
        names.extend_from_slice(own_name.as_bytes());
        names.push(0);
        self.raw(own_name, elf::SHT_STRTAB, &names, Links::default());
        let section_headers = self.align(TABLE_ALIGNMENT);
        self.out.extend_from_slice(bytes_of_slice(&self.headers));
        let header = self.file_header(arch, section_headers, names_number);
        let at = size_of::<FileHeader64<LittleEndian>>();
        self.out[..at].copy_from_slice(bytes_of(&header));
        let segments = bytes_of_slice(&self.segments);
        self.out[at..at + segments.len()].copy_from_slice(segments);
        self.out
    }

    fn file_header(
        &self,
        arch: &str,
        section_headers: u64,
        names_number: u16,
    ) -> FileHeader64<LittleEndian> {
        let machine = match arch {
            "x86_64" => elf::EM_X86_64,
            "aarch64" => elf::EM_AARCH64,
            _ => elf::EM_NONE,
        };
        FileHeader64 {
            e_ident: Ident {
                magic: elf::ELFMAG,
                class: elf::ELFCLASS64,
                data: elf::ELFDATA2LSB,
                version: elf::FileVersion(1),
                os_abi: elf::ELFOSABI_NONE,
                abi_version: 0,
                padding: MARK,
            },
            e_type: U16::new(LE, elf::ET_DYN),
            e_machine: U16::new(LE, machine),
            e_version: U32::new(LE, 1),
            e_entry: U64::default(),
            e_phoff: U64::new(LE, size_of::<FileHeader64<LittleEndian>>() as u64),
            e_shoff: U64::new(LE, section_headers),
            e_flags: U32::default(),
            e_ehsize: U16::new(LE, size_of::<FileHeader64<LittleEndian>>() as u16),
            e_phentsize: U16::new(LE, size_of::<ProgramHeader64<LittleEndian>>() as u16),
            e_phnum: U16::new(LE, self.segments.len() as u16),
            e_shentsize: U16::new(LE, size_of::<SectionHeader64<LittleEndian>>() as u16),
            e_shnum: U16::new(LE, self.headers.len() as u16),
            e_shstrndx: U16::new(LE, elf::SymbolSection(names_number)),
        }
    }
}

/// The section header that every file begins with.
fn no_section() -> SectionHeader64<LittleEndian> {
    SectionHeader64 {
        sh_name: U32::default(),
        sh_type: U32::new(LE, elf::SHT_NULL),
        sh_flags: U64::default(),
        sh_addr: U64::default(),
        sh_offset: U64::default(),
        sh_size: U64::default(),
        sh_link: U32::default(),
        sh_info: U32::default(),
        sh_addralign: U64::default(),
        sh_entsize: U64::default(),
    }
}

/// The sections of an ELF file: names and ranges of bytes, all of them inside.
pub(super) fn read_elf(bytes: &[u8]) -> Result<Vec<(&str, Range<usize>)>, ImageError> {
    let not_ours = |_| ImageError::NotAnImage;
    let header = FileHeader64::<LittleEndian>::parse(bytes).map_err(not_ours)?;
    let sections = header.sections(LE, bytes).map_err(not_ours)?;
    let mut found = Vec::new();
    for section in sections.iter() {
        let name = sections.section_name(LE, section).map_err(not_ours)?;
        let Ok(name) = core::str::from_utf8(name) else {
            continue;
        };
        let Some((offset, size)) = section.file_range(LE) else {
            continue;
        };
        let end = offset
            .checked_add(size)
            .filter(|&end| end <= bytes.len() as u64);
        let end = end.ok_or_else(|| ImageError::SectionDamaged(name.to_owned()))?;
        found.push((name, offset as usize..end as usize));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file() -> Vec<u8> {
        let section = |name, kind, bytes| NewSection { name, kind, bytes };
        let sections = [
            section(".first", SectionKind::Table, &[1, 2, 3][..]),
            section(".text", SectionKind::Text, &[0xc3; 100][..]),
            section(".data", SectionKind::Data, &[7; 5000][..]),
            section(".empty", SectionKind::Table, &[][..]),
        ];
        let symbols = [NewSymbol {
            name: 1,
            range: 16..100,
        }];
        write_elf("x86_64", &sections, &symbols, b"\0main\0")
    }

    #[test]
    fn sections_are_found_again_and_mapped_ones_are_page_aligned() {
        let file = file();
        let sections = read_elf(&file).unwrap();
        let names: Vec<_> = sections.iter().map(|s| s.0).collect();
        assert_eq!(
            names,
            [
                "",
                ".first",
                ".text",
                ".data",
                ".empty",
                ".symtab",
                ".strtab",
                ".shstrtab"
            ]
        );
        let bytes = |i: usize| &file[sections[i].1.clone()];
        assert_eq!(bytes(1), [1, 2, 3]);
        assert_eq!(bytes(2), [0xc3; 100]);
        assert_eq!(bytes(3), [7; 5000]);
        assert_eq!(bytes(4), [0; 0]);
        assert_eq!(bytes(6), b"\0main\0");
        for i in [2, 3] {
            assert!(sections[i].1.start.is_multiple_of(IMAGE_PAGE_SIZE as usize));
        }
    }

    #[test]
    fn a_symbol_names_its_code() {
        use object::read::elf::Sym as _;
        let file = file();
        let header = FileHeader64::<LittleEndian>::parse(&*file).unwrap();
        let sections = header.sections(LE, &*file).unwrap();
        let symbols = sections.symbols(LE, &*file, elf::SHT_SYMTAB).unwrap();
        let (_, symbol) = symbols.enumerate().nth(1).unwrap();
        assert_eq!(symbol.name(LE, symbols.strings()), Ok(&b"main"[..]));
        let text = sections.section(object::SectionIndex(2)).unwrap();
        assert_eq!(symbol.st_value(LE), text.sh_addr(LE) + 16);
        assert_eq!(symbol.st_size(LE), 84);
    }

    #[test]
    fn what_is_no_elf_file_is_no_image() {
        for bytes in [
            &b""[..],
            b"\0asm\x01\0\0\0",
            &[0x7f, b'E', b'L', b'F'],
            &[0; 4096],
        ] {
            assert_eq!(read_elf(bytes).unwrap_err(), ImageError::NotAnImage);
        }
    }
}
