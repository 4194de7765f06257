//! What programs rely on when they name files by paths.

use super::*;

type OnPath =
    fn(&mut crate::WasiCtx, &mut GuestMemory<'_>, u32, GuestRange) -> crate::errno::Outcome;

#[test]
fn paths_of_every_bad_kind_are_errors() {
    let mut guest = Guest::new();
    assert_eq!(guest.open("", READ), Err(Errno::Noent));
    assert_eq!(guest.open("a\0b", READ), Err(Errno::Inval));
    assert_eq!(
        guest.open(&"a".repeat(300), CREATE),
        Err(Errno::Nametoolong)
    );
    assert_eq!(
        guest.open(&"a/".repeat(2100), CREATE),
        Err(Errno::Nametoolong)
    );
    let how = READ;
    let raw = |guest: &mut Guest, range| {
        guest.call(|ctx, memory| path_open(ctx, memory, ROOT, range, how, GuestPtr(0)))
    };
    let not_text = guest.put(1024, b"\xff\xfe");
    assert_eq!(raw(&mut guest, not_text), Err(Errno::Ilseq));
    let huge = GuestRange::new(GuestPtr(0), u32::MAX);
    assert_eq!(raw(&mut guest, huge), Err(Errno::Nametoolong));
    let outside = GuestRange::new(GuestPtr(u32::MAX), 100);
    assert_eq!(raw(&mut guest, outside), Err(Errno::Fault));
}

#[test]
fn a_directory_opens_as_one_whether_asked_for_or_not() {
    let mut guest = Guest::new();
    std::fs::create_dir(guest.host("dir")).unwrap();
    guest.host_file("dir/file", "x");
    guest.host_link("link", "dir");
    let directory = OpenHow {
        open: OpenFlags::DIRECTORY,
        ..READ
    };
    for (path, how) in [
        ("dir", READ),
        ("dir", directory),
        ("dir/", READ),
        ("link", directory),
        ("link/", READ),
    ] {
        let fd = guest.open(path, how).unwrap();
        assert_eq!(fdstat(&mut guest, fd).0, 3, "{path}");
        assert!(guest.open_at(fd, "file", READ).is_ok());
    }
    assert_eq!(guest.open("dir/file", directory), Err(Errno::Notdir));
    assert_eq!(guest.open("dir/file/", READ), Err(Errno::Notdir));
    assert_eq!(guest.open("dir", READ_WRITE), Err(Errno::Isdir));
    let create = OpenHow {
        open: OpenFlags::DIRECTORY.with(OpenFlags::CREAT),
        ..READ
    };
    assert_eq!(guest.open("new", create), Err(Errno::Inval));
}

#[test]
fn a_link_is_followed_only_if_asked() {
    let mut guest = Guest::new();
    guest.host_file("file", "x");
    guest.host_link("link", "file");
    assert_eq!(guest.stat("link", FOLLOW), Ok(4));
    assert_eq!(guest.stat("link", NO_FOLLOW), Ok(7));
    assert!(guest.open("link", READ).is_ok());
    assert_eq!(
        guest.open(
            "link",
            OpenHow {
                lookup: NO_FOLLOW,
                ..READ
            }
        ),
        Err(Errno::Loop)
    );
}

#[test]
fn a_stat_says_what_the_host_says() {
    use std::os::unix::fs::MetadataExt;
    let mut guest = Guest::new();
    guest.host_file("file", "hello");
    let metadata = std::fs::metadata(guest.host("file")).unwrap();
    let mtime = metadata.mtime() as u64 * 1_000_000_000 + metadata.mtime_nsec() as u64;
    assert_eq!(guest.stat("file", FOLLOW), Ok(4));
    let by_path: Vec<u64> = [0, 8, 24, 32, 48].map(|at| guest.get(at)).into();
    assert_eq!(by_path, [metadata.dev(), metadata.ino(), 1, 5, mtime]);
    let fd = guest.open("file", READ).unwrap();
    let snapshot = Snapshot::Preview1;
    guest
        .call(|ctx, memory| fd_filestat_get(ctx, memory, snapshot, fd, GuestPtr(0)))
        .unwrap();
    let by_fd: Vec<u64> = [0, 8, 24, 32, 48].map(|at| guest.get(at)).into();
    assert_eq!(by_fd, by_path);
}

#[test]
fn times_are_set_through_paths_and_descriptors() {
    let mut guest = Guest::new();
    guest.host_file("file", "x");
    guest.host_link("link", "file");
    let times = |atim: u64, mtim: u64, flags| NewTimes {
        atim: atim * 1_000_000_000,
        mtim: mtim * 1_000_000_000,
        flags,
    };
    let both = FstFlags::ATIM.with(FstFlags::MTIM);
    let set = |guest: &mut Guest, path, lookup, times| {
        guest.path_call(path, |ctx, memory, path| {
            path_filestat_set_times(ctx, memory, ROOT, lookup, path, times)
        })
    };
    let seen = |guest: &Guest, path| {
        use std::os::unix::fs::MetadataExt;
        let metadata = std::fs::symlink_metadata(guest.host(path)).unwrap();
        (metadata.atime(), metadata.mtime())
    };
    assert_eq!(set(&mut guest, "link", FOLLOW, times(5, 6, both)), Ok(()));
    assert_eq!(seen(&guest, "file"), (5, 6));
    assert_eq!(
        set(&mut guest, "link", NO_FOLLOW, times(7, 8, both)),
        Ok(())
    );
    assert_eq!(seen(&guest, "link"), (7, 8));
    assert_eq!(seen(&guest, "file"), (5, 6));
    let fd = guest.open("file", READ).unwrap();
    let some = times(1, 9, FstFlags::MTIM);
    guest
        .call(|ctx, _| fd_filestat_set_times(ctx, fd, some))
        .unwrap();
    assert_eq!(seen(&guest, "file"), (5, 9));
    guest
        .call(|ctx, _| fd_filestat_set_times(ctx, ROOT, times(3, 4, both)))
        .unwrap();
    assert_eq!(seen(&guest, "").1, 4);
    let contradiction = times(0, 0, FstFlags::ATIM.with(FstFlags::ATIM_NOW));
    assert_eq!(
        set(&mut guest, "file", FOLLOW, contradiction),
        Err(Errno::Inval)
    );
}

#[test]
fn directories_and_files_are_removed_each_by_its_own_function() {
    let mut guest = Guest::new();
    guest.host_file("file", "x");
    let mut on = |path: &str, function: OnPath| {
        guest.path_call(path, |ctx, memory, path| function(ctx, memory, ROOT, path))
    };
    assert_eq!(on("dir/", path_create_directory), Ok(()));
    assert_eq!(on("dir", path_create_directory), Err(Errno::Exist));
    assert_eq!(on("dir/sub", path_create_directory), Ok(()));
    assert_eq!(on("dir", path_remove_directory), Err(Errno::Notempty));
    assert_eq!(on("dir", path_unlink_file), Err(Errno::Isdir));
    assert_eq!(on("file", path_remove_directory), Err(Errno::Notdir));
    assert_eq!(on("file/", path_unlink_file), Err(Errno::Notdir));
    assert_eq!(on("dir/sub/", path_remove_directory), Ok(()));
    assert_eq!(on("dir", path_remove_directory), Ok(()));
    assert_eq!(on("file", path_unlink_file), Ok(()));
    assert_eq!(on("file", path_unlink_file), Err(Errno::Noent));
}

#[test]
fn links_and_renames_work_inside() {
    let mut guest = Guest::new();
    guest.host_file("file", "x");
    std::fs::create_dir(guest.host("dir")).unwrap();
    let dir = guest.open("dir", READ).unwrap();
    guest
        .paths_call(("file", "hard"), |ctx, memory, old, new| {
            path_link(ctx, memory, ROOT, NO_FOLLOW, old, dir, new)
        })
        .unwrap();
    guest
        .paths_call(("file", "moved"), |ctx, memory, old, new| {
            path_rename(ctx, memory, ROOT, old, dir, new)
        })
        .unwrap();
    guest
        .paths_call(("moved", "soft"), |ctx, memory, target, path| {
            path_symlink(ctx, memory, target, dir, path)
        })
        .unwrap();
    assert_eq!(guest.read_file("dir/soft").unwrap(), "x");
    assert_eq!(guest.read_file("dir/hard").unwrap(), "x");
    assert_eq!(guest.stat("file", FOLLOW), Err(Errno::Noent));
    let short = GuestRange::new(GuestPtr(DATA), 3);
    guest
        .path_call("soft", |ctx, memory, path| {
            path_readlink(ctx, memory, dir, path, short, GuestPtr(0))
        })
        .unwrap();
    assert_eq!(guest.bytes(DATA, guest.get(0)), b"mov");
}

#[test]
fn a_file_is_no_directory_to_start_from() {
    let mut guest = Guest::new();
    let fd = guest.open("file", CREATE).unwrap();
    assert_eq!(guest.open_at(fd, "x", READ), Err(Errno::Notdir));
    assert_eq!(guest.open_at(0, "x", READ), Err(Errno::Notdir));
    assert_eq!(guest.open_at(99, "x", READ), Err(Errno::Badf));
    assert_eq!(guest.readdir(fd, 10, 0), Err(Errno::Notdir));
    assert_eq!(guest.read(ROOT, 1), Err(Errno::Badf));
    assert_eq!(guest.seek(ROOT, 0, 0), Err(Errno::Badf));
}

#[test]
fn the_preopened_directory_tells_its_name() {
    let mut guest = Guest::new();
    guest
        .call(|ctx, memory| fd_prestat_get(ctx, memory, ROOT, GuestPtr(0)))
        .unwrap();
    assert_eq!((guest.get::<u32>(0), guest.get::<u32>(4)), (0, 1));
    let name = |guest: &mut Guest, fd, len| {
        let buffer = GuestRange::new(GuestPtr(DATA), len);
        guest.call(|ctx, memory| fd_prestat_dir_name(ctx, memory, fd, buffer))
    };
    assert_eq!(name(&mut guest, ROOT, 0), Err(Errno::Nametoolong));
    assert_eq!(name(&mut guest, ROOT, 1), Ok(()));
    assert_eq!(guest.bytes(DATA, 1), b"/");
    for fd in [0, 4, u32::MAX] {
        let prestat = guest.call(|ctx, memory| fd_prestat_get(ctx, memory, fd, GuestPtr(0)));
        assert_eq!(prestat, Err(Errno::Badf));
    }
}
