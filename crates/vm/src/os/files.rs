//! Files: who can change them.

use rustix::fs::{FileType, Mode};
use rustix::io;
use std::fs::File;

/// Whether nobody but this process's user (and the superuser, who can do anything anyway) can change
/// the file: it is a regular file of ours or the superuser's, which neither its group nor others may
/// write. Access control lists show in the group's bits.
///
/// # Errors
///
/// When the file cannot be asked.
pub(crate) fn only_we_can_write(file: &File) -> io::Result<bool> {
    let stat = rustix::fs::fstat(file)?;
    let is_regular = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
    let is_ours = stat.st_uid == rustix::process::geteuid().as_raw() || stat.st_uid == 0;
    let others_write = Mode::from_raw_mode(stat.st_mode).intersects(Mode::WGRP | Mode::WOTH);
    Ok(is_regular && is_ours && !others_write)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_others_may_write_is_not_ours_alone() {
        let directory = std::env::temp_dir();
        let path = directory.join(format!("sarsen-files-test-{}", std::process::id()));
        let file = File::create_new(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        for (mode, expected) in [(0o600, true), (0o755, true), (0o664, false), (0o606, false)] {
            rustix::fs::fchmod(&file, Mode::from_raw_mode(mode)).unwrap();
            assert_eq!(only_we_can_write(&file), Ok(expected), "{mode:o}");
        }
        let directory = File::open(directory).unwrap();
        assert_eq!(
            only_we_can_write(&directory),
            Ok(false),
            "a directory is no file"
        );
    }
}
