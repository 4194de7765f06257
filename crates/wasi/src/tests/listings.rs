//! What programs rely on when they list directories.

use super::*;

#[test]
fn any_buffer_size_lists_every_entry_once() {
    let mut guest = Guest::new();
    let mut expected: Vec<String> = (0..300).map(|n| format!("file-{n}")).collect();
    for name in &expected {
        guest.host_file(name, "");
    }
    expected.extend([".".to_owned(), "..".to_owned()]);
    expected.sort();
    for len in [40, 100, 4096, 65536] {
        assert_eq!(guest.list(ROOT, len), expected, "buffer of {len}");
    }
}

#[test]
fn the_last_entry_is_cut_and_the_buffer_filled() {
    let mut guest = Guest::new();
    guest.host_file("a-long-name", "");
    assert_eq!(guest.readdir(ROOT, 0, 0).unwrap().len(), 0);
    for len in [1, 23, 24, 25, 60] {
        assert_eq!(guest.readdir(ROOT, len, 0).unwrap().len(), len as usize);
    }
}

#[test]
fn entries_tell_their_types_and_the_parent_keeps_its_inode_secret() {
    let mut guest = Guest::new();
    guest.host_file("file", "");
    std::fs::create_dir(guest.host("dir")).unwrap();
    guest.host_link("link", "file");
    let bytes = guest.readdir(ROOT, 4096, 0).unwrap();
    let mut rest = &bytes[..];
    let mut types = std::collections::BTreeMap::new();
    let mut inodes = std::collections::BTreeMap::new();
    while !rest.is_empty() {
        let len = rest[16] as usize;
        let name = String::from_utf8(rest[24..24 + len].to_vec()).unwrap();
        types.insert(name.clone(), rest[20]);
        inodes.insert(name, rest[8..16].to_vec());
        rest = &rest[24 + len..];
    }
    let expected = [(".", 3), ("..", 3), ("dir", 3), ("file", 4), ("link", 7)];
    assert_eq!(
        types,
        expected
            .map(|(name, filetype)| (name.to_owned(), filetype))
            .into()
    );
    assert_eq!(inodes["."], inodes[".."]);
}

#[test]
fn listing_again_from_the_start_sees_what_changed() {
    let mut guest = Guest::new();
    assert_eq!(guest.list(ROOT, 4096), [".", ".."]);
    guest.host_file("new", "");
    assert_eq!(guest.list(ROOT, 4096), [".", "..", "new"]);
}

/// The name and the next cookie of the first entry of a listing.
fn first(bytes: &[u8]) -> (String, u64) {
    let len = bytes[16] as usize;
    let name = String::from_utf8(bytes[24..24 + len].to_vec()).unwrap();
    (name, u64::from_le_bytes(bytes[..8].try_into().unwrap()))
}

/// A guest with so many files in its directory.
fn with_files(count: u32) -> Guest {
    let guest = Guest::new();
    for name in 0..count {
        guest.host_file(&format!("file-{name}"), "");
    }
    guest
}

#[test]
fn a_listing_can_be_resumed_at_any_entry_and_its_cookies_fit_in_a_long_of_32_bits() {
    let mut guest = with_files(300);
    let mut entries = Vec::new();
    let mut cookie = 0;
    loop {
        let bytes = guest.readdir(ROOT, 100, cookie).unwrap();
        if bytes.is_empty() {
            break;
        }
        let (name, next) = first(&bytes);
        entries.push((cookie, name));
        cookie = next;
    }
    assert_eq!(entries.len(), 302);
    assert!(cookie < 1 << 31);
    for (cookie, name) in entries.iter().rev() {
        assert_eq!(first(&guest.readdir(ROOT, 100, *cookie).unwrap()).0, *name);
    }
}

#[test]
fn removing_what_was_listed_while_listing_skips_nothing() {
    let mut guest = with_files(500);
    let mut cookie = 0;
    loop {
        let bytes = guest.readdir(ROOT, 50, cookie).unwrap();
        if bytes.is_empty() {
            break;
        }
        let (name, next) = first(&bytes);
        cookie = next;
        if name.starts_with("file-") {
            std::fs::remove_file(guest.host(&name)).unwrap();
        }
    }
    assert_eq!(guest.list(ROOT, 4096), [".", ".."]);
}

#[test]
fn an_absurd_cookie_is_the_end_and_an_absurd_buffer_an_error() {
    let mut guest = Guest::new();
    for cookie in [1 << 40, i64::MAX as u64, u64::MAX] {
        let listed = guest.readdir(ROOT, 4096, cookie);
        assert_eq!(listed, Ok(vec![]), "{cookie}");
    }
    let buffer = GuestRange::new(GuestPtr(DATA), u32::MAX);
    let listed =
        guest.call(|ctx, memory| crate::dir::fd_readdir(ctx, memory, ROOT, buffer, 0, GuestPtr(0)));
    assert_eq!(listed, Err(Errno::Fault));
}
