//! Tests that no path leads a guest out of its preopened directory, in which way ever it tries, and
//! that what a preopened directory forbids stays forbidden.

use super::guest::{CREATE, FOLLOW, Guest, NO_FOLLOW, READ, READ_WRITE, ROOT};
use crate::descriptor::{DirPerms, FilePerms};
use crate::errno::Errno;
use crate::fd::fd_filestat_set_times;
use crate::file::{fd_allocate, fd_filestat_set_size};
use crate::flags::{FdFlags, FstFlags, OpenFlags, Rights};
use crate::memory::{GuestPtr, GuestRange};
use crate::path::*;

/// A guest beside whose directory lie a file `secret`, and a directory `other` with a file in it.
fn guest() -> Guest {
    let guest = Guest::new();
    std::fs::write(guest.outside("secret"), "secret").unwrap();
    std::fs::create_dir(guest.outside("other")).unwrap();
    std::fs::write(guest.outside("other/file"), "secret").unwrap();
    std::fs::create_dir(guest.host("dir")).unwrap();
    guest.host_file("file", "mine");
    guest
}

/// Tries every function that takes one path on `path`, which leads outside.
fn assert_unreachable(guest: &mut Guest, path: &str) {
    let directory = OpenHow {
        open: OpenFlags::DIRECTORY,
        ..READ
    };
    for how in [READ, READ_WRITE, directory] {
        assert_eq!(guest.open(path, how), Err(Errno::Perm), "open {path}");
    }
    // No file can be created at a path that ends in a slash, which the kernel may say first, in one way or
    // another.
    let create = guest.open(path, CREATE);
    assert!(
        matches!(create, Err(Errno::Perm | Errno::Isdir | Errno::Inval)),
        "create {path}: {create:?}"
    );
    assert_eq!(guest.stat(path, FOLLOW), Err(Errno::Perm), "stat {path}");
    let now = NewTimes {
        atim: 0,
        mtim: 0,
        flags: FstFlags::ATIM_NOW,
    };
    let set_times = guest.path_call(path, |ctx, memory, path| {
        path_filestat_set_times(ctx, memory, ROOT, FOLLOW, path, now)
    });
    assert_eq!(set_times, Err(Errno::Perm), "set times {path}");
}

/// As [`assert_unreachable`], for functions that act on the last component itself.
fn assert_entry_unreachable(guest: &mut Guest, path: &str) {
    assert_unreachable(guest, path);
    assert_eq!(
        guest.stat(path, NO_FOLLOW),
        Err(Errno::Perm),
        "lstat {path}"
    );
    type OnPath = fn(
        &mut crate::WasiCtx,
        &mut crate::memory::GuestMemory<'_>,
        u32,
        GuestRange,
    ) -> crate::errno::Outcome;
    let functions: [(&str, OnPath); 3] = [
        ("create directory", path_create_directory),
        ("remove directory", path_remove_directory),
        ("unlink", path_unlink_file),
    ];
    for (name, function) in functions {
        let result = guest.path_call(path, |ctx, memory, path| function(ctx, memory, ROOT, path));
        assert_eq!(result, Err(Errno::Perm), "{name} {path}");
    }
    for (old, new) in [("file", path), (path, "new")] {
        assert_eq!(
            rename(guest, old, new),
            Err(Errno::Perm),
            "rename {old} {new}"
        );
        assert_eq!(link(guest, old, new), Err(Errno::Perm), "link {old} {new}");
    }
    assert_eq!(
        symlink(guest, "file", path),
        Err(Errno::Perm),
        "symlink {path}"
    );
    assert_eq!(readlink(guest, path), Err(Errno::Perm), "readlink {path}");
}

fn rename(guest: &mut Guest, old: &str, new: &str) -> Result<(), Errno> {
    guest.paths_call((old, new), |ctx, memory, old, new| {
        path_rename(ctx, memory, ROOT, old, ROOT, new)
    })
}

fn link(guest: &mut Guest, old: &str, new: &str) -> Result<(), Errno> {
    guest.paths_call((old, new), |ctx, memory, old, new| {
        path_link(ctx, memory, ROOT, NO_FOLLOW, old, ROOT, new)
    })
}

fn symlink(guest: &mut Guest, target: &str, path: &str) -> Result<(), Errno> {
    guest.paths_call((target, path), |ctx, memory, target, path| {
        path_symlink(ctx, memory, target, ROOT, path)
    })
}

fn readlink(guest: &mut Guest, path: &str) -> Result<String, Errno> {
    let target = GuestRange::new(GuestPtr(32768), 4096);
    guest.path_call(path, |ctx, memory, path| {
        path_readlink(ctx, memory, ROOT, path, target, GuestPtr(0))
    })?;
    Ok(String::from_utf8(guest.bytes(32768, guest.get(0)).to_vec()).unwrap())
}

#[test]
fn parent_components_do_not_lead_out() {
    let mut guest = guest();
    for path in [
        "../secret",
        "dir/../../secret",
        "./../secret",
        "..",
        "../",
        "dir/../..",
        "../inside",
    ] {
        assert_unreachable(&mut guest, path);
    }
    assert_entry_unreachable(&mut guest, "../secret");
    assert_entry_unreachable(&mut guest, "../other/new");
    assert_eq!(
        std::fs::read_to_string(guest.outside("secret")).unwrap(),
        "secret"
    );
}

#[test]
fn parent_components_inside_work() {
    let mut guest = guest();
    assert_eq!(guest.read_file("dir/../file").unwrap(), "mine");
    assert_eq!(guest.read_file("./dir/.././file").unwrap(), "mine");
}

#[test]
fn absolute_paths_are_refused_even_those_inside() {
    let mut guest = guest();
    let inside = guest.host("file").to_str().unwrap().to_owned();
    let outside = guest.outside("secret").to_str().unwrap().to_owned();
    for path in ["/", "/etc/passwd", "//etc/passwd", "/file", &inside] {
        assert_unreachable(&mut guest, path);
    }
    assert_entry_unreachable(&mut guest, &outside);
}

#[test]
fn symbolic_links_to_the_outside_are_not_followed() {
    let mut guest = guest();
    guest.host_link("relative", "../secret");
    guest.host_link("absolute", guest.outside("secret"));
    guest.host_link("root", "/");
    guest.host_link("parent", "..");
    guest.host_link("other", "../other");
    for path in [
        "relative", "absolute", "root", "root/", "parent", "parent/", "other", "other/.",
    ] {
        assert_unreachable(&mut guest, path);
    }
    for path in [
        "other/file",
        "parent/secret",
        "root/etc/passwd",
        "parent/inside/file",
    ] {
        assert_entry_unreachable(&mut guest, path);
    }
}

#[test]
fn chains_of_symbolic_links_do_not_lead_out() {
    let mut guest = guest();
    guest.host_link("dir/up", "..");
    guest.host_link("one", "dir/up/two");
    guest.host_link("two", "dir/up/../secret");
    guest.host_link("three", "dir/up/dir/up/four");
    guest.host_link("four", "dir/../file");
    assert_unreachable(&mut guest, "one");
    assert_unreachable(&mut guest, "dir/up/two");
    assert_eq!(guest.read_file("three").unwrap(), "mine");
}

#[test]
fn a_circle_of_symbolic_links_ends() {
    let mut guest = guest();
    guest.host_link("one", "two");
    guest.host_link("two", "one");
    assert_eq!(guest.open("one", READ), Err(Errno::Loop));
    assert_eq!(guest.stat("one", NO_FOLLOW), Ok(7));
}

#[test]
fn a_link_out_can_be_looked_at_and_removed_but_an_absolute_target_stays_unknown() {
    let mut guest = guest();
    guest.host_link("relative", "../secret");
    guest.host_link("absolute", guest.outside("secret"));
    assert_eq!(readlink(&mut guest, "relative").unwrap(), "../secret");
    assert_eq!(readlink(&mut guest, "absolute"), Err(Errno::Perm));
    assert_eq!(guest.stat("absolute", NO_FOLLOW), Ok(7));
    for path in ["relative", "absolute"] {
        let unlink = guest.path_call(path, |ctx, memory, path| {
            path_unlink_file(ctx, memory, ROOT, path)
        });
        assert_eq!(unlink, Ok(()));
    }
    assert!(guest.outside("secret").exists());
}

#[test]
fn a_guests_own_links_do_not_lead_out() {
    let mut guest = guest();
    assert_eq!(
        symlink(&mut guest, "/etc/passwd", "passwd"),
        Err(Errno::Perm)
    );
    assert_eq!(symlink(&mut guest, "../secret", "up"), Ok(()));
    assert_unreachable(&mut guest, "up");
    assert_eq!(link(&mut guest, "up", "hard"), Ok(()));
    assert_unreachable(&mut guest, "hard");
    let follow = guest.paths_call(("up", "hard2"), |ctx, memory, old, new| {
        path_link(ctx, memory, ROOT, FOLLOW, old, ROOT, new)
    });
    assert_eq!(follow, Err(Errno::Inval));
}

#[test]
fn renaming_a_directory_does_not_turn_its_links_into_a_way_out() {
    let mut guest = guest();
    std::fs::create_dir(guest.host("dir/sub")).unwrap();
    assert_eq!(symlink(&mut guest, "../../file", "dir/sub/link"), Ok(()));
    assert_eq!(guest.read_file("dir/sub/link").unwrap(), "mine");
    assert_eq!(rename(&mut guest, "dir/sub", "sub"), Ok(()));
    assert_unreachable(&mut guest, "sub/link");
}

#[test]
fn a_directory_opened_by_the_guest_is_a_sandbox_of_its_own() {
    let mut guest = guest();
    let dir = guest
        .open(
            "dir",
            OpenHow {
                open: OpenFlags::DIRECTORY,
                ..READ
            },
        )
        .unwrap();
    assert_eq!(guest.open_at(dir, "../file", READ), Err(Errno::Perm));
    assert!(guest.open_at(dir, "new", CREATE).is_ok());
    assert!(guest.host("dir/new").exists());
}

#[test]
fn truncating_through_a_link_out_truncates_nothing() {
    let mut guest = guest();
    guest.host_link("link", "../secret");
    let truncate = OpenHow {
        open: OpenFlags::TRUNC,
        ..READ_WRITE
    };
    assert_eq!(guest.open("link", truncate), Err(Errno::Perm));
    let append = OpenHow {
        fd_flags: FdFlags::APPEND,
        ..CREATE
    };
    assert_eq!(guest.open("link", append), Err(Errno::Perm));
    assert_eq!(
        std::fs::read_to_string(guest.outside("secret")).unwrap(),
        "secret"
    );
}

#[test]
fn creating_through_a_dangling_link_out_creates_nothing() {
    let mut guest = guest();
    guest.host_link("link", "../created");
    assert_eq!(guest.open("link", CREATE), Err(Errno::Perm));
    assert!(!guest.outside("created").exists());
}

#[test]
fn a_read_only_directory_cannot_be_changed() {
    let mut guest = Guest::with(|_| {}, DirPerms::READ, FilePerms::READ);
    guest.host_file("file", "mine");
    assert_eq!(guest.read_file("file").unwrap(), "mine");
    let truncate = OpenHow {
        open: OpenFlags::TRUNC,
        ..READ
    };
    for (path, how) in [("file", READ_WRITE), ("new", CREATE), ("file", truncate)] {
        assert_eq!(guest.open(path, how), Err(Errno::Perm));
    }
    assert_eq!(rename(&mut guest, "file", "new"), Err(Errno::Perm));
    assert_eq!(link(&mut guest, "file", "new"), Err(Errno::Perm));
    assert_eq!(symlink(&mut guest, "file", "new"), Err(Errno::Perm));
    let fd = guest.open("file", READ).unwrap();
    assert_eq!(guest.write(fd, b"x"), Err(Errno::Badf));
    assert_eq!(
        guest.call(|ctx, _| fd_filestat_set_size(ctx, fd, 0)),
        Err(Errno::Perm)
    );
    assert_eq!(
        guest.call(|ctx, _| fd_allocate(ctx, fd, 0, 100)),
        Err(Errno::Perm)
    );
    let now = NewTimes {
        atim: 0,
        mtim: 0,
        flags: FstFlags::ATIM_NOW,
    };
    for fd in [fd, ROOT] {
        assert_eq!(
            guest.call(|ctx, _| fd_filestat_set_times(ctx, fd, now)),
            Err(Errno::Perm)
        );
    }
}

#[test]
fn a_read_only_directory_stays_so_below() {
    let mut guest = Guest::with(|_| {}, DirPerms::READ, FilePerms::READ);
    std::fs::create_dir(guest.host("dir")).unwrap();
    let dir = guest.open("dir", READ).unwrap();
    assert_eq!(guest.open_at(dir, "new", CREATE), Err(Errno::Perm));
    let all = Rights::FD_READ.with(Rights::FD_WRITE);
    let rights =
        guest.call(|ctx, _| crate::fd::fd_fdstat_set_rights(ctx, dir, all, Rights::empty()));
    assert_eq!(rights, Err(Errno::Perm));
}

#[test]
fn an_unwritable_file_in_a_changeable_directory_can_be_replaced_not_written() {
    let mut guest = Guest::with(|_| {}, DirPerms::all(), FilePerms::READ);
    guest.host_file("file", "mine");
    assert_eq!(guest.open("file", READ_WRITE), Err(Errno::Perm));
    let truncate = OpenHow {
        open: OpenFlags::TRUNC,
        ..READ
    };
    assert_eq!(guest.open("file", truncate), Err(Errno::Perm));
    assert_eq!(rename(&mut guest, "file", "new"), Ok(()));
}
