//! The system calls that are file operations, and where in their arguments the file is.

use nix::libc;

/// In which folder a path begins that is not absolute.
#[derive(Debug, Clone, Copy)]
pub(super) enum Place {
    /// The current one.
    Current,
    /// The one that this argument is open on, or the current one.
    Folder(usize),
}

/// Where a call's file is among its arguments, which count from 0.
#[derive(Debug, Clone, Copy)]
pub(super) enum Subject {
    /// An argument is open on it.
    File(usize),
    /// An argument is its path.
    Path(Place, usize),
}

/// What a call may need on a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Space {
    /// Nothing.
    None,
    /// Room, always.
    Always,
    /// Room if it makes the file: the argument with the flags of `open`.
    IfMade(usize),
}

/// A file operation.
#[derive(Debug)]
pub(super) struct FileCall {
    number: libc::c_long,
    /// As the manual calls it.
    pub(super) name: &'static str,
    /// Its files, the one that is changed or read first.
    pub(super) subjects: &'static [Subject],
    space: Space,
    /// Whether the third argument is how much it is to transfer, of which less is no error.
    pub(super) is_transfer: bool,
}

impl FileCall {
    /// Whether a full disk can make it fail, given its second to fourth arguments.
    pub(super) fn takes_space(&self, second: u64, third: u64, fourth: u64) -> bool {
        let makes = |argument: usize| [0, second, third, fourth][argument] & libc::O_CREAT as u64 != 0;
        match self.space {
            Space::None => false,
            Space::Always => true,
            Space::IfMade(argument) => makes(argument),
        }
    }
}

/// The file operation of this number.
pub(super) fn file_call(number: u64) -> Option<&'static FileCall> {
    CALLS.iter().find(|call| call.number.cast_unsigned() == number)
}

const fn call(number: libc::c_long, name: &'static str, subjects: &'static [Subject], space: Space) -> FileCall {
    FileCall { number, name, subjects, space, is_transfer: false }
}

const fn transfer(number: libc::c_long, name: &'static str, space: Space) -> FileCall {
    FileCall { number, name, subjects: FILE, space, is_transfer: true }
}

const FILE: &[Subject] = &[Subject::File(0)];
const PATH: &[Subject] = &[Subject::Path(Place::Current, 0)];
const PATH_AT: &[Subject] = &[Subject::Path(Place::Folder(0), 1)];
const TWO_PATHS: &[Subject] = &[Subject::Path(Place::Current, 0), Subject::Path(Place::Current, 1)];
const TWO_PATHS_AT: &[Subject] = &[Subject::Path(Place::Folder(0), 1), Subject::Path(Place::Folder(2), 3)];

/// `close` is none of them: Rust's standard library gives nobody its result, and what must be on disk
/// is synced before. `fadvise64` only advises.
const CALLS: &[FileCall] = &[
    transfer(libc::SYS_read, "read", Space::None),
    transfer(libc::SYS_pread64, "pread", Space::None),
    transfer(libc::SYS_readv, "readv", Space::None),
    transfer(libc::SYS_preadv, "preadv", Space::None),
    transfer(libc::SYS_write, "write", Space::Always),
    transfer(libc::SYS_pwrite64, "pwrite", Space::Always),
    transfer(libc::SYS_writev, "writev", Space::Always),
    transfer(libc::SYS_pwritev, "pwritev", Space::Always),
    call(libc::SYS_copy_file_range, "copy_file_range", &[Subject::File(0), Subject::File(2)], Space::Always),
    call(libc::SYS_sendfile, "sendfile", &[Subject::File(1), Subject::File(0)], Space::None),
    call(libc::SYS_mmap, "mmap", &[Subject::File(4)], Space::None),
    call(libc::SYS_fsync, "fsync", FILE, Space::Always),
    call(libc::SYS_fdatasync, "fdatasync", FILE, Space::Always),
    call(libc::SYS_ftruncate, "ftruncate", FILE, Space::Always),
    call(libc::SYS_fallocate, "fallocate", FILE, Space::Always),
    call(libc::SYS_lseek, "lseek", FILE, Space::None),
    call(libc::SYS_flock, "flock", FILE, Space::None),
    call(libc::SYS_fstat, "fstat", FILE, Space::None),
    call(libc::SYS_fchmod, "fchmod", FILE, Space::None),
    call(libc::SYS_getdents64, "getdents64", FILE, Space::None),
    call(libc::SYS_open, "open", PATH, Space::IfMade(1)),
    call(libc::SYS_openat, "openat", PATH_AT, Space::IfMade(2)),
    call(libc::SYS_stat, "stat", PATH, Space::None),
    call(libc::SYS_lstat, "lstat", PATH, Space::None),
    call(libc::SYS_newfstatat, "newfstatat", PATH_AT, Space::None),
    call(libc::SYS_statx, "statx", PATH_AT, Space::None),
    call(libc::SYS_access, "access", PATH, Space::None),
    call(libc::SYS_readlink, "readlink", PATH, Space::None),
    call(libc::SYS_readlinkat, "readlinkat", PATH_AT, Space::None),
    call(libc::SYS_statfs, "statfs", PATH, Space::None),
    call(libc::SYS_truncate, "truncate", PATH, Space::Always),
    call(libc::SYS_chmod, "chmod", PATH, Space::None),
    call(libc::SYS_mkdir, "mkdir", PATH, Space::Always),
    call(libc::SYS_mkdirat, "mkdirat", PATH_AT, Space::Always),
    call(libc::SYS_rmdir, "rmdir", PATH, Space::None),
    call(libc::SYS_unlink, "unlink", PATH, Space::None),
    call(libc::SYS_unlinkat, "unlinkat", PATH_AT, Space::None),
    call(libc::SYS_rename, "rename", TWO_PATHS, Space::Always),
    call(libc::SYS_renameat, "renameat", TWO_PATHS_AT, Space::Always),
    call(libc::SYS_renameat2, "renameat2", TWO_PATHS_AT, Space::Always),
    call(libc::SYS_link, "link", TWO_PATHS, Space::Always),
    call(libc::SYS_linkat, "linkat", TWO_PATHS_AT, Space::Always),
];
