//! The types of WASI preview 1 as they lie in a guest's memory, and what `wasi_unstable` (the snapshot
//! before it) lays out differently. Each drawing gives byte offsets; all values are little-endian.
//!
//! Decoding takes any bit pattern: an unknown enumerator or flag is [`Errno::Inval`].

use crate::errno::Errno;
use crate::flags::{EventRwFlags, FdFlags, Rights, SubclockFlags};
use crate::memory::{GuestMemory, GuestPtr, GuestValue};

/// Which snapshot of WASI a function was imported from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Snapshot {
    /// `wasi_unstable`
    Unstable,
    /// `wasi_snapshot_preview1`
    Preview1,
}

/// Index of an entry in the descriptor table.
pub(crate) type Fd = u32;

/// What kind of file a descriptor or path names.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum FileType {
    Unknown = 0,
    BlockDevice = 1,
    CharacterDevice = 2,
    Directory = 3,
    RegularFile = 4,
    SocketStream = 6,
    SymbolicLink = 7,
}

impl From<rustix::fs::FileType> for FileType {
    fn from(file_type: rustix::fs::FileType) -> FileType {
        match file_type {
            rustix::fs::FileType::RegularFile => FileType::RegularFile,
            rustix::fs::FileType::Directory => FileType::Directory,
            rustix::fs::FileType::Symlink => FileType::SymbolicLink,
            rustix::fs::FileType::Socket => FileType::SocketStream,
            rustix::fs::FileType::CharacterDevice => FileType::CharacterDevice,
            rustix::fs::FileType::BlockDevice => FileType::BlockDevice,
            _ => FileType::Unknown,
        }
    }
}

/// A clock that a guest may read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ClockId {
    Realtime,
    Monotonic,
    ProcessCpuTime,
    ThreadCpuTime,
}

impl ClockId {
    pub(crate) fn decode(id: u32) -> Result<ClockId, Errno> {
        Ok(match id {
            0 => ClockId::Realtime,
            1 => ClockId::Monotonic,
            2 => ClockId::ProcessCpuTime,
            3 => ClockId::ThreadCpuTime,
            _ => return Err(Errno::Inval),
        })
    }
}

/// What the offset of `fd_seek` counts from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Whence {
    Set,
    Current,
    End,
}

impl Whence {
    /// The snapshots number the three differently.
    pub(crate) fn decode(snapshot: Snapshot, whence: u32) -> Result<Whence, Errno> {
        Ok(match (snapshot, whence) {
            (Snapshot::Preview1, 0) | (Snapshot::Unstable, 2) => Whence::Set,
            (Snapshot::Preview1, 1) | (Snapshot::Unstable, 0) => Whence::Current,
            (Snapshot::Preview1, 2) | (Snapshot::Unstable, 1) => Whence::End,
            _ => return Err(Errno::Inval),
        })
    }
}

/// `fdstat`: what `fd_fdstat_get` answers.
///
/// ```text
///  0 filetype:u8   2 flags:u16   8 rights base:u64   16 rights inheriting:u64   24 end
/// ```
#[derive(Clone, Copy, Debug)]
pub(crate) struct FdStat {
    pub(crate) filetype: FileType,
    pub(crate) flags: FdFlags,
    pub(crate) rights: Rights,
    pub(crate) inheriting: Rights,
}

impl FdStat {
    pub(crate) const BYTES: u32 = 24;

    pub(crate) fn write(&self, memory: &mut GuestMemory<'_>, ptr: GuestPtr) -> Result<(), Errno> {
        let mut bytes = [0; FdStat::BYTES as usize];
        bytes[0] = self.filetype as u8;
        self.flags.bits().store(&mut bytes[2..]);
        self.rights.bits().store(&mut bytes[8..]);
        self.inheriting.bits().store(&mut bytes[16..]);
        memory.write(ptr, bytes)
    }
}

/// `filestat`: what `fd_filestat_get` and `path_filestat_get` answer. Times are in nanoseconds since
/// 1970.
///
/// ```text
/// preview 1:  0 dev:u64   8 ino:u64   16 filetype:u8   24 nlink:u64   32 size:u64
///            40 atim:u64  48 mtim:u64  56 ctim:u64     64 end
/// unstable:   0 dev:u64   8 ino:u64   16 filetype:u8   20 nlink:u32   24 size:u64
///            32 atim:u64  40 mtim:u64  48 ctim:u64     56 end
/// ```
#[derive(Clone, Copy, Debug)]
pub(crate) struct FileStat {
    pub(crate) dev: u64,
    pub(crate) ino: u64,
    pub(crate) filetype: FileType,
    pub(crate) nlink: u64,
    pub(crate) size: u64,
    pub(crate) atim: u64,
    pub(crate) mtim: u64,
    pub(crate) ctim: u64,
}

impl FileStat {
    /// What is said of a stream that is no file.
    pub(crate) fn of_stream() -> FileStat {
        let filetype = FileType::Unknown;
        FileStat {
            dev: 0,
            ino: 0,
            filetype,
            nlink: 0,
            size: 0,
            atim: 0,
            mtim: 0,
            ctim: 0,
        }
    }

    pub(crate) fn write(
        &self,
        snapshot: Snapshot,
        memory: &mut GuestMemory<'_>,
        ptr: GuestPtr,
    ) -> Result<(), Errno> {
        let mut bytes = [0; 64];
        self.dev.store(&mut bytes);
        self.ino.store(&mut bytes[8..]);
        bytes[16] = self.filetype as u8;
        let times_and_size = [self.size, self.atim, self.mtim, self.ctim];
        let tail = match snapshot {
            Snapshot::Preview1 => {
                self.nlink.store(&mut bytes[24..]);
                32
            }
            Snapshot::Unstable => {
                u32::try_from(self.nlink)
                    .unwrap_or(u32::MAX)
                    .store(&mut bytes[20..]);
                24
            }
        };
        for (index, value) in times_and_size.into_iter().enumerate() {
            value.store(&mut bytes[tail + 8 * index..]);
        }
        match snapshot {
            Snapshot::Preview1 => memory.write(ptr, bytes),
            Snapshot::Unstable => {
                let mut short = [0; 56];
                short.copy_from_slice(&bytes[..56]);
                memory.write(ptr, short)
            }
        }
    }
}

/// `dirent`: what precedes each name in the buffer of `fd_readdir`.
///
/// ```text
///  0 next:u64 (cookie of the entry after this)   8 ino:u64   16 namlen:u32   20 type:u8   24 end
/// ```
#[derive(Clone, Copy, Debug)]
pub(crate) struct DirEntry {
    pub(crate) next: u64,
    pub(crate) ino: u64,
    pub(crate) name_len: u32,
    pub(crate) filetype: FileType,
}

impl DirEntry {
    pub(crate) fn to_bytes(self) -> [u8; 24] {
        let mut bytes = [0; 24];
        self.next.store(&mut bytes);
        self.ino.store(&mut bytes[8..]);
        self.name_len.store(&mut bytes[16..]);
        bytes[20] = self.filetype as u8;
        bytes
    }
}

/// What a subscription of `poll_oneoff` waits for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Awaited {
    /// The clock reaches `timeout_ns`, which counts from now unless `absolute`.
    Clock {
        id: ClockId,
        timeout_ns: u64,
        absolute: bool,
    },
    /// The descriptor can be read without blocking.
    Read(Fd),
    /// The descriptor can be written without blocking.
    Write(Fd),
    /// Something that does not exist, which this error is the answer to.
    Invalid(Errno),
}

/// `subscription`: one element of what `poll_oneoff` waits for.
///
/// ```text
/// preview 1:  0 userdata:u64   8 tag:u8
///      clock  16 id:u32   24 timeout:u64   32 precision:u64   40 flags:u16
///      fd     16 fd:u32                                            48 end
/// unstable:   0 userdata:u64   8 tag:u8
///      clock  16 identifier:u64   24 id:u32   32 timeout:u64   40 precision:u64   48 flags:u16
///      fd     16 fd:u32                                            56 end
/// ```
#[derive(Clone, Copy, Debug)]
pub(crate) struct Subscription {
    pub(crate) userdata: u64,
    /// The tag, which the event repeats.
    pub(crate) event_type: u8,
    pub(crate) awaited: Awaited,
}

impl Subscription {
    /// Reads element `index` of the array at `array`.
    pub(crate) fn read(
        snapshot: Snapshot,
        memory: &GuestMemory<'_>,
        array: GuestPtr,
        index: u32,
    ) -> Result<Subscription, Errno> {
        match snapshot {
            Snapshot::Preview1 => {
                let bytes: [u8; 48] = memory.read(array.element::<[u8; 48]>(index)?)?;
                Ok(Subscription::decode(&bytes, &bytes[16..]))
            }
            Snapshot::Unstable => {
                let bytes: [u8; 56] = memory.read(array.element::<[u8; 56]>(index)?)?;
                Ok(Subscription::decode(&bytes, &bytes[24..]))
            }
        }
    }

    /// `clock` begins at the clock's id; the two layouts agree from there on.
    fn decode(bytes: &[u8], clock: &[u8]) -> Subscription {
        let fd = u32::load(&bytes[16..]);
        let awaited = match bytes[8] {
            0 => Subscription::decode_clock(clock).unwrap_or_else(Awaited::Invalid),
            1 => Awaited::Read(fd),
            2 => Awaited::Write(fd),
            _ => Awaited::Invalid(Errno::Inval),
        };
        Subscription {
            userdata: u64::load(bytes),
            event_type: bytes[8],
            awaited,
        }
    }

    fn decode_clock(clock: &[u8]) -> Result<Awaited, Errno> {
        let flags = SubclockFlags::decode(u64::from(u16::load(&clock[24..])))?;
        Ok(Awaited::Clock {
            id: ClockId::decode(u32::load(clock))?,
            timeout_ns: u64::load(&clock[8..]),
            absolute: flags.contains(SubclockFlags::ABSTIME),
        })
    }
}

/// `event`: one element of what `poll_oneoff` answers.
///
/// ```text
///  0 userdata:u64   8 error:u16   10 type:u8   16 nbytes:u64   24 flags:u16   32 end
/// ```
#[derive(Clone, Copy, Debug)]
pub(crate) struct Event {
    pub(crate) userdata: u64,
    pub(crate) error: Option<Errno>,
    pub(crate) event_type: u8,
    /// Bytes that can be read or written; meaningless for clocks.
    pub(crate) available_bytes: u64,
    pub(crate) flags: EventRwFlags,
}

impl Event {
    pub(crate) const BYTES: u32 = 32;

    pub(crate) fn write(
        &self,
        memory: &mut GuestMemory<'_>,
        array: GuestPtr,
        index: u32,
    ) -> Result<(), Errno> {
        let mut bytes = [0; Event::BYTES as usize];
        self.userdata.store(&mut bytes);
        self.error
            .map_or(0, |errno| errno as u16)
            .store(&mut bytes[8..]);
        bytes[10] = self.event_type;
        self.available_bytes.store(&mut bytes[16..]);
        self.flags.bits().store(&mut bytes[24..]);
        memory.write(array.element::<[u8; Event::BYTES as usize]>(index)?, bytes)
    }
}

impl<const N: usize> GuestValue for [u8; N] {
    const BYTES: u32 = N as u32;

    fn load(bytes: &[u8]) -> [u8; N] {
        let mut value = [0; N];
        value.copy_from_slice(&bytes[..N]);
        value
    }

    fn store(&self, bytes: &mut [u8]) {
        bytes[..N].copy_from_slice(self);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_snapshots_number_whence_differently() {
        assert_eq!(Whence::decode(Snapshot::Preview1, 0), Ok(Whence::Set));
        assert_eq!(Whence::decode(Snapshot::Unstable, 0), Ok(Whence::Current));
        assert_eq!(Whence::decode(Snapshot::Unstable, 2), Ok(Whence::Set));
        assert_eq!(Whence::decode(Snapshot::Preview1, 3), Err(Errno::Inval));
    }

    #[test]
    fn the_snapshots_lay_filestat_out_differently() {
        let filetype = FileType::RegularFile;
        let stat = FileStat {
            dev: 1,
            ino: 2,
            filetype,
            nlink: 3,
            size: 4,
            atim: 5,
            mtim: 6,
            ctim: 7,
        };
        let mut bytes = [0xff; 80];
        stat.write(
            Snapshot::Preview1,
            &mut GuestMemory::new(&mut bytes),
            GuestPtr(8),
        )
        .unwrap();
        assert_eq!(
            (bytes[8 + 16], bytes[8 + 24], bytes[8 + 32], bytes[8 + 56]),
            (4, 3, 4, 7)
        );
        assert_eq!(
            (bytes[7], bytes[8 + 17], bytes[8 + 63], bytes[8 + 64]),
            (0xff, 0, 0, 0xff)
        );
        stat.write(
            Snapshot::Unstable,
            &mut GuestMemory::new(&mut bytes),
            GuestPtr(0),
        )
        .unwrap();
        assert_eq!((bytes[16], bytes[20], bytes[24], bytes[48]), (4, 3, 4, 7));
        assert_eq!(
            (bytes[55], bytes[56]),
            (0, 6),
            "the byte after it is as it was"
        );
    }

    #[test]
    fn a_filestat_at_the_end_of_memory_needs_only_its_own_size() {
        let mut bytes = [0; 56];
        let mut memory = GuestMemory::new(&mut bytes);
        let stat = FileStat::of_stream();
        assert_eq!(
            stat.write(Snapshot::Unstable, &mut memory, GuestPtr(0)),
            Ok(())
        );
        assert_eq!(
            stat.write(Snapshot::Preview1, &mut memory, GuestPtr(0)),
            Err(Errno::Fault)
        );
    }

    #[test]
    fn a_subscription_of_either_snapshot_is_read_from_its_own_layout() {
        for (snapshot, clock) in [(Snapshot::Preview1, 16), (Snapshot::Unstable, 24)] {
            let mut bytes = [0; 56];
            7u64.store(&mut bytes);
            1u32.store(&mut bytes[clock..]);
            99u64.store(&mut bytes[clock + 8..]);
            1u16.store(&mut bytes[clock + 24..]);
            let memory = GuestMemory::new(&mut bytes);
            let sub = Subscription::read(snapshot, &memory, GuestPtr(0), 0).unwrap();
            assert_eq!(sub.userdata, 7);
            let Awaited::Clock {
                id: ClockId::Monotonic,
                timeout_ns: 99,
                absolute: true,
            } = sub.awaited
            else {
                panic!("{snapshot:?}: {:?}", sub.awaited);
            };
        }
    }

    #[test]
    fn an_unknown_kind_of_subscription_is_an_event_with_an_error() {
        let mut bytes = [9; 48];
        let memory = GuestMemory::new(&mut bytes);
        let sub = Subscription::read(Snapshot::Preview1, &memory, GuestPtr(0), 0).unwrap();
        assert!(matches!(sub.awaited, Awaited::Invalid(Errno::Inval)));
    }
}
