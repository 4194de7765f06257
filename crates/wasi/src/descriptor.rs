//! What stands behind a file descriptor of the guest: a [`Descriptor`], and the rights that decide
//! which functions may touch it.
//!
//! Rights serve two ends: they answer `fd_fdstat_get`, from which guests learn whether a descriptor
//! can be read, written or sought; and they enforce what the embedder allowed for a preopened
//! directory, in one place ([`Descriptor::require`]). What a guest asks for in `path_open` narrows
//! only reading and writing, as other hosts do: programs are careless with the rest.

use crate::dir::OpenDir;
use crate::errno::Errno;
use crate::file::OpenFile;
use crate::flags::{FdFlags, Rights};
use crate::stdio::{Sink, Source};

/// An open descriptor.
pub(crate) struct Descriptor {
    pub(crate) kind: Kind,
    pub(crate) rights: Rights,
    /// The most that descriptors opened through this one may have.
    pub(crate) inheriting: Rights,
}

/// What a descriptor refers to.
pub(crate) enum Kind {
    File(OpenFile),
    Dir(OpenDir),
    /// An embedder's input that is no file.
    Source(Source),
    /// An embedder's output that is no file.
    Sink(Sink),
}

/// Rights on a file that was opened for reading and writing.
pub(crate) const FILE_RIGHTS: Rights = STREAM_RIGHTS
    .with(Rights::FD_READ)
    .with(Rights::FD_WRITE)
    .with(Rights::FD_SEEK)
    .with(Rights::FD_TELL)
    .with(Rights::FD_SYNC)
    .with(Rights::FD_DATASYNC)
    .with(Rights::FD_ADVISE)
    .with(Rights::FD_ALLOCATE)
    .with(Rights::FD_FILESTAT_SET_SIZE)
    .with(Rights::FD_FILESTAT_SET_TIMES);

/// Rights on every stream, whether it can be read or written.
pub(crate) const STREAM_RIGHTS: Rights = Rights::FD_FDSTAT_SET_FLAGS
    .with(Rights::FD_FILESTAT_GET)
    .with(Rights::POLL_FD_READWRITE);

/// Rights on a directory that only look.
const DIR_READ_RIGHTS: Rights = Rights::PATH_OPEN
    .with(Rights::FD_READDIR)
    .with(Rights::PATH_READLINK)
    .with(Rights::PATH_FILESTAT_GET)
    .with(Rights::FD_FILESTAT_GET)
    .with(Rights::FD_FDSTAT_SET_FLAGS)
    .with(Rights::FD_SYNC)
    .with(Rights::FD_DATASYNC);

/// Rights on a directory that change what is in it.
const DIR_MUTATE_RIGHTS: Rights = Rights::PATH_CREATE_DIRECTORY
    .with(Rights::PATH_CREATE_FILE)
    .with(Rights::PATH_LINK_SOURCE)
    .with(Rights::PATH_LINK_TARGET)
    .with(Rights::PATH_RENAME_SOURCE)
    .with(Rights::PATH_RENAME_TARGET)
    .with(Rights::PATH_SYMLINK)
    .with(Rights::PATH_REMOVE_DIRECTORY)
    .with(Rights::PATH_UNLINK_FILE)
    .with(Rights::PATH_FILESTAT_SET_TIMES)
    .with(Rights::FD_FILESTAT_SET_TIMES);

/// Rights of files that change them.
const FILE_WRITE_RIGHTS: Rights = Rights::FD_WRITE
    .with(Rights::FD_ALLOCATE)
    .with(Rights::FD_FILESTAT_SET_SIZE)
    .with(Rights::FD_FILESTAT_SET_TIMES);

/// What a guest may do with the entries of a preopened directory and of those below it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DirPerms(u8);

impl DirPerms {
    /// List entries, look at their metadata, follow and read links.
    pub const READ: DirPerms = DirPerms(1);
    /// Create, rename, link and remove entries and set their times.
    pub const MUTATE: DirPerms = DirPerms(2);

    /// Both.
    pub const fn all() -> DirPerms {
        DirPerms(3)
    }

    const fn contains(self, perms: DirPerms) -> bool {
        self.0 & perms.0 == perms.0
    }
}

impl std::ops::BitOr for DirPerms {
    type Output = DirPerms;

    fn bitor(self, perms: DirPerms) -> DirPerms {
        DirPerms(self.0 | perms.0)
    }
}

/// What a guest may do with the files in a preopened directory and in those below it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FilePerms(u8);

impl FilePerms {
    /// Read contents.
    pub const READ: FilePerms = FilePerms(1);
    /// Change contents, size and times.
    pub const WRITE: FilePerms = FilePerms(2);

    /// Both.
    pub const fn all() -> FilePerms {
        FilePerms(3)
    }

    const fn contains(self, perms: FilePerms) -> bool {
        self.0 & perms.0 == perms.0
    }
}

impl std::ops::BitOr for FilePerms {
    type Output = FilePerms;

    fn bitor(self, perms: FilePerms) -> FilePerms {
        FilePerms(self.0 | perms.0)
    }
}

/// Rights on a preopened directory, and those that what is opened through it inherits.
pub(crate) fn preopen_rights(dir_perms: DirPerms, file_perms: FilePerms) -> (Rights, Rights) {
    let mut dir = Rights::empty();
    if dir_perms.contains(DirPerms::READ) {
        dir = dir.with(DIR_READ_RIGHTS);
    }
    if dir_perms.contains(DirPerms::MUTATE) {
        dir = dir.with(DIR_MUTATE_RIGHTS);
    }
    let mut file = FILE_RIGHTS
        .without(FILE_WRITE_RIGHTS)
        .without(Rights::FD_READ);
    if file_perms.contains(FilePerms::READ) {
        file = file.with(Rights::FD_READ);
    }
    if file_perms.contains(FilePerms::WRITE) {
        file = file.with(FILE_WRITE_RIGHTS);
        dir = dir.with(Rights::PATH_FILESTAT_SET_SIZE);
    }
    (dir, dir.with(file))
}

impl Descriptor {
    /// A descriptor through which nothing can be opened.
    pub(crate) fn leaf(kind: Kind, rights: Rights) -> Descriptor {
        Descriptor {
            kind,
            rights,
            inheriting: Rights::empty(),
        }
    }

    /// Fails unless the descriptor has all of `rights`, with the error that a program expects: one
    /// that was not opened for reading is a bad descriptor, one that cannot seek is a pipe.
    pub(crate) fn require(&self, rights: Rights) -> Result<(), Errno> {
        let missing = rights.without(self.rights);
        if missing == Rights::empty() {
            Ok(())
        } else if missing.intersects(Rights::FD_READ.with(Rights::FD_WRITE)) {
            Err(Errno::Badf)
        } else if missing.intersects(Rights::FD_SEEK.with(Rights::FD_TELL)) {
            Err(Errno::Spipe)
        } else {
            Err(Errno::Perm)
        }
    }

    /// The file behind the descriptor, if it has `rights`.
    pub(crate) fn file(&mut self, rights: Rights) -> Result<&mut OpenFile, Errno> {
        if let Kind::Dir(_) = self.kind {
            return Err(Errno::Badf);
        }
        self.require(rights)?;
        match &mut self.kind {
            Kind::File(file) => Ok(file),
            _ => Err(Errno::Inval),
        }
    }

    /// The directory behind the descriptor, if it has `rights`.
    pub(crate) fn dir(&self, rights: Rights) -> Result<&OpenDir, Errno> {
        match &self.kind {
            Kind::Dir(dir) => self.require(rights).map(|()| dir),
            _ => Err(Errno::Notdir),
        }
    }

    /// As [`Descriptor::dir`], to change it.
    pub(crate) fn dir_mut(&mut self, rights: Rights) -> Result<&mut OpenDir, Errno> {
        self.dir(rights)?;
        match &mut self.kind {
            Kind::Dir(dir) => Ok(dir),
            _ => Err(Errno::Notdir),
        }
    }

    /// The flags that the guest may see and set.
    pub(crate) fn flags(&self) -> Result<FdFlags, Errno> {
        match &self.kind {
            Kind::File(file) => file.flags(),
            Kind::Dir(_) | Kind::Source(_) | Kind::Sink(_) => Ok(FdFlags::empty()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn null_input(rights: Rights) -> Descriptor {
        Descriptor::leaf(Kind::Source(Source::Null), rights)
    }

    #[test]
    fn a_missing_right_gives_the_error_that_programs_expect() {
        let descriptor = null_input(STREAM_RIGHTS.with(Rights::FD_READ));
        assert_eq!(descriptor.require(Rights::FD_READ), Ok(()));
        assert_eq!(
            descriptor.require(Rights::FD_WRITE.with(Rights::FD_SEEK)),
            Err(Errno::Badf)
        );
        assert_eq!(
            descriptor.require(Rights::FD_READ.with(Rights::FD_SEEK)),
            Err(Errno::Spipe)
        );
        assert_eq!(descriptor.require(Rights::FD_ALLOCATE), Err(Errno::Perm));
    }

    #[test]
    fn a_read_only_preopen_gives_no_right_to_change_anything() {
        let (dir, inheriting) = preopen_rights(DirPerms::READ, FilePerms::READ);
        let change = DIR_MUTATE_RIGHTS
            .with(FILE_WRITE_RIGHTS)
            .with(Rights::PATH_FILESTAT_SET_SIZE);
        assert!(!dir.with(inheriting).intersects(change));
        assert!(inheriting.contains(Rights::FD_READ.with(Rights::PATH_OPEN)));
    }

    #[test]
    fn a_full_preopen_gives_every_right() {
        let (dir, inheriting) = preopen_rights(DirPerms::all(), FilePerms::all());
        let change_size = Rights::PATH_FILESTAT_SET_SIZE;
        assert_eq!(
            dir,
            DIR_READ_RIGHTS.with(DIR_MUTATE_RIGHTS).with(change_size)
        );
        assert_eq!(inheriting, dir.with(FILE_RIGHTS));
    }

    #[test]
    fn files_and_directories_are_not_taken_for_each_other() {
        let mut descriptor = null_input(FILE_RIGHTS);
        assert_eq!(
            descriptor.dir(Rights::FD_READDIR).err(),
            Some(Errno::Notdir)
        );
        assert_eq!(descriptor.file(Rights::FD_SYNC).err(), Some(Errno::Inval));
    }
}
