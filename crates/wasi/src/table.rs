//! The descriptor table: from the guest's small integers to [`Descriptor`]s. A new descriptor gets the
//! lowest free number, as in POSIX; there are never more than a limit.

use crate::abi::Fd;
use crate::descriptor::Descriptor;
use crate::errno::Errno;

/// A guest's open descriptors.
pub(crate) struct DescriptorTable {
    slots: Vec<Option<Descriptor>>,
    /// No slot below this is free.
    first_free: usize,
    max_open: usize,
}

impl DescriptorTable {
    /// A table with `descriptors` at 0, 1, 2, …, even if they are more than `max_open`.
    pub(crate) fn new(descriptors: Vec<Descriptor>, max_open: usize) -> DescriptorTable {
        let slots: Vec<_> = descriptors.into_iter().map(Some).collect();
        DescriptorTable {
            first_free: slots.len(),
            slots,
            max_open,
        }
    }

    pub(crate) fn get(&self, fd: Fd) -> Result<&Descriptor, Errno> {
        self.slots
            .get(fd as usize)
            .and_then(Option::as_ref)
            .ok_or(Errno::Badf)
    }

    pub(crate) fn get_mut(&mut self, fd: Fd) -> Result<&mut Descriptor, Errno> {
        self.slots
            .get_mut(fd as usize)
            .and_then(Option::as_mut)
            .ok_or(Errno::Badf)
    }

    /// Fails if no descriptor can be added.
    pub(crate) fn check_room(&self) -> Result<(), Errno> {
        if self.first_free < self.max_open {
            Ok(())
        } else {
            Err(Errno::Mfile)
        }
    }

    /// Adds `descriptor` at the lowest free number.
    pub(crate) fn insert(&mut self, descriptor: Descriptor) -> Result<Fd, Errno> {
        self.check_room()?;
        let fd = self.first_free;
        match self.slots.get_mut(fd) {
            Some(slot) => *slot = Some(descriptor),
            None => self.slots.push(Some(descriptor)),
        }
        let taken = self.slots[fd..]
            .iter()
            .take_while(|slot| slot.is_some())
            .count();
        self.first_free = fd + taken;
        Ok(fd as Fd)
    }

    /// Closes `fd`.
    pub(crate) fn remove(&mut self, fd: Fd) -> Result<Descriptor, Errno> {
        let slot = self.slots.get_mut(fd as usize).ok_or(Errno::Badf)?;
        let descriptor = slot.take().ok_or(Errno::Badf)?;
        self.first_free = self.first_free.min(fd as usize);
        Ok(descriptor)
    }

    /// Makes `to` what `from` was, and closes what `to` was. Both must be open.
    pub(crate) fn renumber(&mut self, from: Fd, to: Fd) -> Result<(), Errno> {
        self.get(to)?;
        self.get(from)?;
        if from != to {
            let descriptor = self.remove(from)?;
            *self.get_mut(to)? = descriptor;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::descriptor::Kind;
    use crate::flags::Rights;
    use crate::stdio::Source;

    /// A descriptor that is told from others by its rights.
    fn descriptor(rights: Rights) -> Descriptor {
        Descriptor::leaf(Kind::Source(Source::Null), rights)
    }

    fn table(open: usize) -> DescriptorTable {
        let descriptors = (0..open).map(|_| descriptor(Rights::FD_READ)).collect();
        DescriptorTable::new(descriptors, 8)
    }

    #[test]
    fn a_new_descriptor_gets_the_lowest_free_number() {
        let mut table = table(5);
        table.remove(3).unwrap();
        table.remove(1).unwrap();
        let numbers: Vec<Fd> = (0..3)
            .map(|_| table.insert(descriptor(Rights::FD_READ)).unwrap())
            .collect();
        assert_eq!(numbers, [1, 3, 5]);
    }

    #[test]
    fn the_limit_holds_after_closing_and_opening() {
        let mut table = table(8);
        assert_eq!(table.insert(descriptor(Rights::FD_READ)), Err(Errno::Mfile));
        table.remove(7).unwrap();
        assert_eq!(table.insert(descriptor(Rights::FD_READ)), Ok(7));
        assert_eq!(table.check_room(), Err(Errno::Mfile));
    }

    #[test]
    fn closed_and_unknown_descriptors_are_bad() {
        let mut table = table(2);
        table.remove(0).unwrap();
        assert_eq!(table.remove(0).err(), Some(Errno::Badf));
        assert_eq!(table.get(0).err(), Some(Errno::Badf));
        assert_eq!(table.get(u32::MAX).err(), Some(Errno::Badf));
        assert_eq!(table.renumber(1, 0), Err(Errno::Badf));
        assert_eq!(table.renumber(0, 1), Err(Errno::Badf));
    }

    #[test]
    fn renumbering_moves_and_frees_the_old_number() {
        let mut table = table(3);
        table.get_mut(2).unwrap().rights = Rights::FD_WRITE;
        table.renumber(2, 0).unwrap();
        assert_eq!(table.get(0).unwrap().rights, Rights::FD_WRITE);
        assert_eq!(table.get(2).err(), Some(Errno::Badf));
        table.renumber(0, 0).unwrap();
        assert_eq!(table.insert(descriptor(Rights::FD_READ)), Ok(2));
    }
}
