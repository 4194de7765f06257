//! What programs rely on when they read, write and open files.

use super::*;

#[test]
fn reads_and_writes_move_the_offset_and_positioned_ones_do_not() {
    let mut guest = Guest::new();
    let fd = guest.open("file", CREATE).unwrap();
    assert_eq!(guest.write(fd, b"hello world"), Ok(11));
    assert_eq!(guest.pwrite(fd, b"J", 0), Ok(1));
    assert_eq!(guest.pread(fd, 5, 0).unwrap(), b"Jello");
    assert_eq!(guest.seek(fd, 0, 1), Ok(11));
    assert_eq!(guest.seek(fd, -5, 2), Ok(6));
    assert_eq!(guest.read(fd, 100).unwrap(), b"world");
    assert_eq!(guest.read(fd, 100).unwrap(), b"");
    guest
        .call(|ctx, memory| fd_tell(ctx, memory, fd, GuestPtr(0)))
        .unwrap();
    assert_eq!(guest.get::<u64>(0), 11);
}

#[test]
fn seeking_before_the_start_fails_and_leaves_the_offset() {
    let mut guest = Guest::new();
    let fd = guest.open("file", CREATE).unwrap();
    guest.write(fd, b"abc").unwrap();
    for (offset, whence) in [(-1, 0), (-4, 1), (-4, 2), (i64::MIN, 1), (0, 3)] {
        assert_eq!(guest.seek(fd, offset, whence), Err(Errno::Inval));
    }
    assert_eq!(guest.seek(fd, 0, 1), Ok(3));
}

#[test]
fn append_mode_writes_at_the_end_and_can_be_switched() {
    let mut guest = Guest::new();
    guest.host_file("file", "abc");
    let append = OpenHow {
        fd_flags: FdFlags::APPEND,
        ..READ_WRITE
    };
    let fd = guest.open("file", append).unwrap();
    assert_eq!(fdstat(&mut guest, fd).1, FdFlags::APPEND.bits());
    guest.write(fd, b"d").unwrap();
    guest
        .call(|ctx, _| fd_fdstat_set_flags(ctx, fd, FdFlags::empty()))
        .unwrap();
    guest.seek(fd, 0, 0).unwrap();
    guest.write(fd, b"A").unwrap();
    guest
        .call(|ctx, _| fd_fdstat_set_flags(ctx, fd, FdFlags::APPEND))
        .unwrap();
    guest.write(fd, b"e").unwrap();
    assert_eq!(
        std::fs::read_to_string(guest.host("file")).unwrap(),
        "Abcde"
    );
}

#[test]
fn truncating_and_appending_at_once_work_together() {
    let mut guest = Guest::new();
    guest.host_file("file", "abc");
    let open = OpenFlags::CREAT.with(OpenFlags::TRUNC);
    let how = OpenHow {
        fd_flags: FdFlags::APPEND,
        open,
        ..READ_WRITE
    };
    let fd = guest.open("file", how).unwrap();
    guest.write(fd, b"x").unwrap();
    assert_eq!(std::fs::read_to_string(guest.host("file")).unwrap(), "x");
}

#[test]
fn synchronous_flags_are_told_and_cannot_be_changed() {
    let mut guest = Guest::new();
    let how = OpenHow {
        fd_flags: FdFlags::SYNC,
        ..CREATE
    };
    let fd = guest.open("file", how).unwrap();
    let flags = FdFlags::decode(u64::from(fdstat(&mut guest, fd).1)).unwrap();
    assert!(flags.contains(FdFlags::SYNC));
    let set =
        |guest: &mut Guest, fd, flags| guest.call(|ctx, _| fd_fdstat_set_flags(ctx, fd, flags));
    assert_eq!(set(&mut guest, fd, flags.with(FdFlags::NONBLOCK)), Ok(()));
    let plain = guest.open("file", READ_WRITE).unwrap();
    assert_eq!(set(&mut guest, plain, FdFlags::DSYNC), Err(Errno::Inval));
}

#[test]
fn opening_for_reading_gives_no_writing_even_when_it_creates() {
    let mut guest = Guest::new();
    let how = OpenHow {
        rights: Rights::FD_READ,
        ..CREATE
    };
    let fd = guest.open("file", how).unwrap();
    assert_eq!(guest.write(fd, b"x"), Err(Errno::Badf));
    assert_eq!(guest.read(fd, 1), Ok(vec![]));
    let how = OpenHow {
        rights: Rights::FD_WRITE,
        ..READ
    };
    let fd = guest.open("file", how).unwrap();
    assert_eq!(guest.read(fd, 1), Err(Errno::Badf));
    assert_eq!(guest.pread(fd, 1, 0), Err(Errno::Badf));
}

#[test]
fn c_libraries_learn_the_open_mode_from_the_rights() {
    let mut guest = Guest::new();
    let both = Rights::FD_READ.with(Rights::FD_WRITE);
    for rights in [Rights::FD_READ, Rights::FD_WRITE, both] {
        let fd = guest.open("file", OpenHow { rights, ..CREATE }).unwrap();
        let (filetype, _, told) = fdstat(&mut guest, fd);
        assert_eq!(filetype, 4);
        assert_eq!(Rights::decode(told).unwrap().and(both), rights);
    }
}

#[test]
fn exclusive_creation_fails_if_there_is_one() {
    let mut guest = Guest::new();
    let how = OpenHow {
        open: OpenFlags::CREAT.with(OpenFlags::EXCL),
        ..READ_WRITE
    };
    assert!(guest.open("file", how).is_ok());
    assert_eq!(guest.open("file", how), Err(Errno::Exist));
    guest.host_link("link", "nowhere");
    assert_eq!(guest.open("link", how), Err(Errno::Exist));
    assert_eq!(guest.open("none", READ), Err(Errno::Noent));
}

#[test]
fn the_size_can_be_set_and_space_allocated() {
    let mut guest = Guest::new();
    let fd = guest.open("file", CREATE).unwrap();
    guest.write(fd, b"abcdef").unwrap();
    guest
        .call(|ctx, _| fd_filestat_set_size(ctx, fd, 3))
        .unwrap();
    guest
        .call(|ctx, _| fd_filestat_set_size(ctx, fd, 5))
        .unwrap();
    assert_eq!(guest.pread(fd, 10, 0).unwrap(), b"abc\0\0");
    guest.call(|ctx, _| fd_allocate(ctx, fd, 0, 8)).unwrap();
    assert_eq!(guest.pread(fd, 10, 0).unwrap(), b"abc\0\0\0\0\0");
}

#[test]
fn absurd_sizes_and_offsets_are_errors() {
    let mut guest = Guest::new();
    let fd = guest.open("file", CREATE).unwrap();
    let max = u64::MAX;
    for (offset, len) in [(0, max), (max, 1), (max, max), (0, 0), (1 << 62, 1 << 62)] {
        assert!(
            guest
                .call(|ctx, _| fd_allocate(ctx, fd, offset, len))
                .is_err()
        );
    }
    assert!(
        guest
            .call(|ctx, _| fd_filestat_set_size(ctx, fd, max))
            .is_err()
    );
    assert_eq!(guest.pread(fd, 1, max), Err(Errno::Inval));
    assert_eq!(guest.pwrite(fd, b"x", max), Err(Errno::Inval));
    assert!(
        guest
            .call(|ctx, _| fd_advise(ctx, fd, max, max, 0))
            .is_err()
    );
    assert_eq!(
        guest.call(|ctx, _| fd_advise(ctx, fd, 0, 0, 6)),
        Err(Errno::Inval)
    );
    assert_eq!(guest.call(|ctx, _| fd_advise(ctx, fd, 0, 0, 3)), Ok(()));
    assert_eq!(guest.call(fd_and(fd_sync, fd)), Ok(()));
    assert_eq!(guest.call(fd_and(fd_datasync, ROOT)), Ok(()));
}

fn fd_and(
    function: fn(&mut crate::WasiCtx, u32) -> crate::errno::Outcome,
    fd: u32,
) -> impl FnOnce(&mut crate::WasiCtx, &mut GuestMemory<'_>) -> crate::errno::Outcome {
    move |ctx, _| function(ctx, fd)
}

#[test]
fn reads_scatter_over_buffers_in_any_order() {
    let mut guest = Guest::new();
    guest.host_file("file", "abcdef");
    let fd = guest.open("file", READ).unwrap();
    let at = |offset: u32| DATA + offset;
    let iovecs = [at(16), 2, at(0), 0, at(0), 2, at(8), 8];
    guest.put(16384, &iovecs.map(u32::to_le_bytes).concat());
    let iovecs = GuestIovecs {
        start: GuestPtr(16384),
        count: 4,
    };
    guest
        .call(|ctx, memory| fd_read(ctx, memory, fd, iovecs, GuestPtr(0)))
        .unwrap();
    assert_eq!(guest.get::<u32>(0), 6);
    assert_eq!(guest.bytes(at(16), 2), b"ab");
    assert_eq!(guest.bytes(at(0), 2), b"cd");
    assert_eq!(guest.bytes(at(8), 2), b"ef");
}

#[test]
fn a_bad_place_for_the_new_descriptor_opens_nothing() {
    let mut guest = Guest::new();
    let result = guest.path_call("file", |ctx, memory, path| {
        path_open(ctx, memory, ROOT, path, CREATE, GuestPtr(u32::MAX))
    });
    assert_eq!(result, Err(Errno::Fault));
    assert!(!guest.host("file").exists());
    assert_eq!(guest.open("file", CREATE), Ok(ROOT + 1));
}

#[test]
fn too_many_open_files_are_an_error_and_closing_helps() {
    let configure = |builder: &mut crate::WasiCtxBuilder| {
        builder.max_open_descriptors(6);
    };
    let mut guest = Guest::with(configure, DirPerms::all(), FilePerms::all());
    assert_eq!(guest.open("one", CREATE), Ok(4));
    assert_eq!(guest.open("two", CREATE), Ok(5));
    assert_eq!(guest.open("three", CREATE), Err(Errno::Mfile));
    assert!(!guest.host("three").exists());
    guest.call(|ctx, _| fd_close(ctx, 4)).unwrap();
    assert_eq!(guest.open("three", CREATE), Ok(4));
}

#[test]
fn renumbering_over_an_open_file_closes_it() {
    let mut guest = Guest::new();
    guest.host_file("one", "1");
    guest.host_file("two", "2");
    let one = guest.open("one", READ).unwrap();
    let two = guest.open("two", READ).unwrap();
    guest.call(|ctx, _| fd_renumber(ctx, two, one)).unwrap();
    assert_eq!(guest.read(one, 1).unwrap(), b"2");
    assert_eq!(guest.read(two, 1), Err(Errno::Badf));
}
