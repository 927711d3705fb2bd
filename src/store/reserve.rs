//! The reserve: a file that holds room on the disk, to be given up when there is no other.
//!
//! What a node must save to go on (a promise, a commit index, a new epoch) is little beside what clients write. So when the
//! disk takes no more, the file goes, and with the room that it held the node goes on, without its clients' writes. The
//! file comes back when there is room for half as much again: otherwise the node would soon be without room once more.
//!
//! *Caveat*: under a limit on the size of each file the reserve is of no use, since it is a file of its own.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use log::warn;
use rand::{Rng, SeedableRng};
use rand_pcg::Pcg64Mcg;
use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::retry_on_intr;

/// What the log of writes may grow by until it is folded, and the database with it.
const BYTES: u64 = 8 << 20;
const CHUNK: usize = 1 << 16;

/// The file.
#[derive(Debug)]
pub(super) struct Reserve {
    path: PathBuf,
    is_held: bool,
}

impl Reserve {
    /// The reserve that is there, or a new one, if there is room for it. Without any room beside it, it is given up.
    pub(super) fn open(dir: &Path) -> Self {
        let path = dir.join("reserve");
        let is_held = fs::metadata(&path).is_ok_and(|file| file.len() == BYTES);
        let mut reserve = Self { path, is_held };
        if is_held && reserve.refusal(0).is_some() {
            reserve.spend();
        } else {
            reserve.make();
        }
        reserve
    }

    pub(super) const fn is_held(&self) -> bool {
        self.is_held
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Gives it up. `false` if there was none.
    pub(super) fn spend(&mut self) -> bool {
        std::mem::take(&mut self.is_held) && fs::remove_file(&self.path).is_ok()
    }

    /// Makes it anew, if there is none; `false` if that cannot be, most likely for want of room.
    pub(super) fn make(&mut self) -> bool {
        if let Err(error) = self.write() {
            _ = fs::remove_file(&self.path);
            if !is_want_of_room(&error) {
                warn!("{}: {error}", self.path.display());
            }
            return false;
        }
        self.is_held = true;
        true
    }

    fn write(&self) -> io::Result<()> {
        if self.is_held {
            return Ok(());
        }
        const WANTED: u64 = BYTES + BYTES / 2;
        let mut file = File::create(&self.path)?;
        let allocated = retry_on_intr(|| fallocate(&file, FallocateFlags::empty(), 0, WANTED));
        match allocated.map_err(io::Error::from) {
            Err(error) if error.kind() == ErrorKind::Unsupported => {
                // Not zeros: there are file systems on which those take no room.
                let mut chunk = vec![0; CHUNK];
                Pcg64Mcg::seed_from_u64(0).fill_bytes(&mut chunk);
                (0..WANTED / CHUNK as u64).try_for_each(|_| file.write_all(&chunk))?;
            }
            allocated => allocated?,
        }
        file.set_len(BYTES)
    }

    /// Why the disk takes no more of a file that is so long; `None` if it does take more, and something else was wrong.
    pub(super) fn refusal(&self, length: u64) -> Option<io::Error> {
        let path = self.path.with_extension("probe");
        let probed = File::create(&path).and_then(|file| file.write_all_at(&[1; CHUNK], length));
        _ = fs::remove_file(&path);
        probed.err().filter(is_want_of_room)
    }
}

/// Whether an error means that a disk, a quota or a limit is exhausted, and nothing is broken.
pub(super) fn is_want_of_room(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge)
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    #[test]
    fn it_is_made_spent_and_made_again() {
        let dir = TempDir::new().unwrap();
        let length = || fs::metadata(dir.path().join("reserve")).map(|file| file.len()).ok();
        let mut reserve = Reserve::open(dir.path());
        assert!(reserve.is_held());
        assert_eq!(length(), Some(BYTES));
        assert!(reserve.spend());
        assert_eq!((length(), reserve.is_held()), (None, false));
        assert!(!reserve.spend(), "it is gone");
        // One that was half made is no reserve.
        fs::write(dir.path().join("reserve"), "x").unwrap();
        assert!(Reserve::open(dir.path()).is_held());
        assert_eq!(length(), Some(BYTES));
    }

    #[test]
    fn a_disk_that_takes_more_refuses_nothing() {
        let dir = TempDir::new().unwrap();
        let reserve = Reserve::open(dir.path());
        assert!(reserve.refusal(1 << 30).is_none());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "the probe is gone");
    }

    #[test]
    fn only_want_of_room_is_want_of_room() {
        // As Linux numbers them.
        for (number, is_one) in [(28, true), (122, true), (27, true), (5, false), (13, false)] {
            let error = io::Error::from_raw_os_error(number);
            assert_eq!(is_want_of_room(&error), is_one, "{error}");
        }
    }
}
