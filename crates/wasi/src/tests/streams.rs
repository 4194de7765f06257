//! What programs rely on when they use their standard streams.

use super::*;

#[test]
fn input_bytes_and_captured_output_are_the_guests_streams() {
    let capture = CapturedOutput::new(100);
    let mut guest = piped(Input::bytes("abc"), Output::captured(&capture));
    assert_eq!(guest.read(0, 2).unwrap(), b"ab");
    assert_eq!(guest.read(0, 2).unwrap(), b"c");
    assert_eq!(guest.read(0, 2).unwrap(), b"");
    assert_eq!(guest.write(1, b"out"), Ok(3));
    assert_eq!(guest.write(2, b"err"), Ok(3));
    assert_eq!(capture.contents(), b"out");
    assert_eq!(guest.write(0, b"x"), Err(Errno::Badf));
    assert_eq!(guest.read(1, 1), Err(Errno::Badf));
}

#[test]
fn streams_cannot_be_sought_and_are_not_taken_for_terminals() {
    let null = std::fs::File::open("/dev/null").unwrap();
    let mut guest = piped(Input::file(null), Output::null());
    for fd in [0, 1] {
        assert_eq!(guest.seek(fd, 0, 0), Err(Errno::Spipe));
        assert_eq!(guest.seek(fd, 0, 1), Err(Errno::Spipe));
        assert_ne!(fdstat(&mut guest, fd).0, 2);
    }
    assert_eq!(guest.pwrite(1, b"x", 0), Err(Errno::Spipe));
    assert_eq!(guest.pread(0, 1, 0), Err(Errno::Spipe));
    assert_eq!(
        guest.call(|ctx, _| fd_filestat_set_size(ctx, 1, 0)),
        Err(Errno::Perm)
    );
}

#[test]
fn a_file_as_output_can_only_be_added_to() {
    let mut guest = Guest::new();
    guest.host_file("log", "before ");
    let log = std::fs::OpenOptions::new()
        .append(true)
        .open(guest.host("log"))
        .unwrap();
    let mut other = piped(Input::null(), Output::file(log));
    assert_eq!(other.write(1, b"after"), Ok(5));
    assert_eq!(other.seek(1, 0, 0), Err(Errno::Spipe));
    assert_eq!(guest.read_file("log").unwrap(), "before after");
}

#[test]
fn a_file_as_input_can_be_sought() {
    let guest = Guest::new();
    guest.host_file("in", "abc");
    let file = std::fs::File::open(guest.host("in")).unwrap();
    let mut other = piped(Input::file(file), Output::null());
    assert_eq!(other.seek(0, 1, 0), Ok(1));
    assert_eq!(other.read(0, 9).unwrap(), b"bc");
    assert_eq!(fdstat(&mut other, 0).0, 4);
}

#[test]
fn writing_into_a_closed_pipe_is_an_error() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let file = std::fs::File::from(std::os::fd::OwnedFd::from(writer));
    let mut guest = piped(Input::null(), Output::file(file));
    assert_eq!(guest.write(1, b"x"), Err(Errno::Pipe));
    assert_eq!(guest.write(1, b"x"), Err(Errno::Pipe));
}

#[test]
fn a_nonblocking_pipe_without_data_answers_again() {
    let (reader, _writer) = std::io::pipe().unwrap();
    let file = std::fs::File::from(std::os::fd::OwnedFd::from(reader));
    let mut guest = piped(Input::file(file), Output::null());
    guest
        .call(|ctx, _| fd_fdstat_set_flags(ctx, 0, FdFlags::NONBLOCK))
        .unwrap();
    assert_eq!(fdstat(&mut guest, 0).1, FdFlags::NONBLOCK.bits());
    assert_eq!(guest.read(0, 1), Err(Errno::Again));
}

#[test]
fn a_pipe_that_another_process_made_nonblocking_still_blocks() {
    let (reader, mut writer) = std::io::pipe().unwrap();
    rustix::io::ioctl_fionbio(&reader, true).unwrap();
    let file = std::fs::File::from(std::os::fd::OwnedFd::from(reader));
    let mut guest = piped(Input::file(file), Output::null());
    let writer = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(20));
        std::io::Write::write_all(&mut writer, b"late").unwrap();
    });
    assert_eq!(guest.read(0, 10).unwrap(), b"late");
    writer.join().unwrap();
}

#[test]
fn sockets_there_are_none() {
    let mut guest = Guest::new();
    assert_eq!(
        guest.call(|ctx, _| crate::sock::not_a_socket(ctx, 0)),
        Err(Errno::Notsock)
    );
    assert_eq!(
        guest.call(|ctx, _| crate::sock::not_a_socket(ctx, 77)),
        Err(Errno::Badf)
    );
}
