//! What is said when a fatal signal ends the process: which job, task and record the thread that
//! received it had in hand. The process still dies of the signal; panics are none of its business.
//!
//! The handler runs on the thread that faulted (a thread that calls `abort` signals itself), on the
//! alternate stack that std gives each of its threads, so that a stack overflow is reported too. It
//! calls only `write`, `sigaction` and `raise`, allocates nothing and takes no lock.

use std::cell::Cell;
use std::io;
use std::ptr;

use crate::positions::RecordPosition;

/// The signals that are reported, with their names.
const SIGNALS: [(libc::c_int, &str); 5] = [
    (libc::SIGSEGV, "SIGSEGV"),
    (libc::SIGBUS, "SIGBUS"),
    (libc::SIGABRT, "SIGABRT"),
    (libc::SIGILL, "SIGILL"),
    (libc::SIGFPE, "SIGFPE"),
];

/// The longest report; what is longer is cut. It lies on the alternate stack, which is small.
const REPORT_BYTES: usize = 1024;

/// What a thread works on, rendered before anything can go wrong.
#[derive(Debug, Clone, Copy)]
pub struct InHand<'a> {
    /// Such as `job word-count, task m-3`.
    pub task: &'a str,
    /// The objects of the task's pieces, as people know them.
    pub objects: &'a [String],
    /// Follows the record.
    pub position: &'a RecordPosition,
}

thread_local! {
    // Initialised by a constant and without a destructor, so that reading it is a plain load, which
    // a signal handler may do.
    static IN_HAND: Cell<*const InHand<'static>> = const { Cell::new(ptr::null()) };
    /// The bytes of the last allocation that this thread was refused.
    static REFUSED: Cell<u64> = const { Cell::new(0) };
}

/// Says that an allocation of this thread failed. If it aborts, that is taken for the reason: nearly
/// no code goes on without memory, and what does so hardly aborts later.
///
/// Allocates nothing, so that allocators may call it.
#[cold]
pub fn note_refused_allocation(bytes: usize) {
    REFUSED.set(bytes as u64);
}

/// Reports fatal signals from now on, in all threads.
///
/// # Errors
///
/// If the system refuses a handler.
pub fn install() -> io::Result<()> {
    for (signal, _) in SIGNALS {
        set_action(signal, on_fatal as extern "C" fn(libc::c_int) as libc::sighandler_t)?;
    }
    Ok(())
}

/// Runs `work`; a fatal signal in this thread meanwhile is reported with `in_hand`.
pub fn with_in_hand<R>(in_hand: &InHand<'_>, work: impl FnOnce() -> R) -> R {
    /// Puts the outer description back, on a panic too.
    struct Restore(*const InHand<'static>);

    impl Drop for Restore {
        fn drop(&mut self) {
            IN_HAND.set(self.0);
        }
    }

    let _restore = Restore(IN_HAND.replace(ptr::from_ref(in_hand).cast()));
    work()
}

fn set_action(signal: libc::c_int, handler: libc::sighandler_t) -> io::Result<()> {
    // SAFETY: an all-zero `sigaction` is a valid value: no flags and an empty mask.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = handler;
    action.sa_flags = libc::SA_ONSTACK;
    // SAFETY: `action` is initialised; the handler is `SIG_DFL` or a function of the one argument
    // that is passed without `SA_SIGINFO`, and does only what is async-signal-safe.
    match unsafe { libc::sigaction(signal, &raw const action, ptr::null_mut()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

extern "C" fn on_fatal(signal: libc::c_int) {
    let name = SIGNALS.iter().find(|(number, _)| *number == signal).map_or("signal", |(_, name)| name);
    let in_hand = IN_HAND.get();
    let refused = if signal == libc::SIGABRT { REFUSED.get() } else { 0 };
    let mut report = Report { text: [0; REPORT_BYTES], len: 0 };
    report.push("gristmill: ");
    if refused > 0 {
        report.push("out of memory (");
        report.push_number(refused);
        report.push(" bytes refused), ");
    }
    report.push(name);
    if !in_hand.is_null() {
        // SAFETY: the pointer was set by `with_in_hand` of this very thread from a reference that
        // outlives its call, and is put back before that call ends.
        let in_hand = unsafe { &*in_hand };
        report.push_in_hand(in_hand);
        in_hand.position.mark_fault(signal.unsigned_abs(), refused);
    }
    report.push("\n");
    // SAFETY: `text` holds `len` initialised bytes. A failed write cannot be helped here.
    unsafe { libc::write(libc::STDERR_FILENO, report.text.as_ptr().cast(), report.len) };
    // The signal is blocked while its handler runs: raised again with the default action, it ends
    // the process as soon as this function returns.
    let _ = set_action(signal, libc::SIG_DFL);
    // SAFETY: `raise` is async-signal-safe.
    unsafe { libc::raise(signal) };
}

/// Text of a fixed length at most.
struct Report {
    text: [u8; REPORT_BYTES],
    len: usize,
}

impl Report {
    fn push(&mut self, text: &str) {
        // The last byte is kept for the newline.
        let room = if text == "\n" { REPORT_BYTES } else { REPORT_BYTES - 1 };
        for byte in text.bytes() {
            if self.len < room {
                self.text[self.len] = byte;
                self.len += 1;
            }
        }
    }

    fn push_number(&mut self, mut number: u64) {
        let mut digits = [0; 20];
        let mut first = digits.len();
        loop {
            first -= 1;
            digits[first] = b'0' + (number % 10) as u8;
            number /= 10;
            if number == 0 {
                break;
            }
        }
        self.push(std::str::from_utf8(&digits[first..]).unwrap_or("?"));
    }

    fn push_in_hand(&mut self, in_hand: &InHand<'_>) {
        self.push(" in ");
        self.push(in_hand.task);
        let Some((piece, offset)) = in_hand.position.get() else { return };
        let object = usize::try_from(piece).ok().and_then(|piece| in_hand.objects.get(piece));
        if let Some(object) = object {
            self.push(", at ");
            self.push(object);
            self.push(":");
            self.push_number(offset);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;
    use std::process::{Command, Output};

    use super::*;

    /// Set in the child process of a test: how it is to die.
    const DEATH: &str = "GRISTMILL_TEST_DEATH";

    /// Not a test of its own: what the child process does.
    #[test]
    fn die_in_hand() {
        let Ok(death) = std::env::var(DEATH) else { return };
        install().expect("handlers");
        let position = RecordPosition::new();
        position.enter_piece(1, 7);
        let objects = ["/data/a.txt".to_owned(), "/data/b.txt".to_owned()];
        let in_hand = InHand { task: "job word-count, task m-3", objects: &objects, position: &position };
        match death.as_str() {
            "idle" => with_in_hand(&in_hand, || ()),
            _ => with_in_hand(&in_hand, || {
                position.offset().store(1204, std::sync::atomic::Ordering::Relaxed);
                match death.as_str() {
                    "overflow" => assert!(overflow(&[0; 1024]) > 0),
                    "panic" => panic!("on purpose"),
                    "memory" => {
                        note_refused_allocation(77);
                        std::process::abort()
                    }
                    _ => std::process::abort(),
                }
            }),
        }
        std::process::abort();
    }

    #[expect(unconditional_recursion, reason = "overflows the stack")]
    fn overflow(deep: &[u8; 1024]) -> usize {
        let mut deeper = *deep;
        deeper[0] = deeper[0].wrapping_add(1);
        overflow(std::hint::black_box(&deeper)) + usize::from(deeper[3])
    }

    fn child(death: &str) -> Output {
        Command::new(std::env::current_exe().expect("this test"))
            .args(["--exact", "fatal::tests::die_in_hand", "--nocapture", "--test-threads", "1"])
            .env(DEATH, death)
            .output()
            .expect("the child ran")
    }

    #[track_caller]
    fn check(death: &str, signal: Option<i32>, line: &str) {
        let output = child(death);
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.signal(), signal, "{stderr}");
        assert_eq!(stderr.lines().filter(|l| l.starts_with("gristmill: ")).collect::<String>(), line, "{stderr}");
    }

    #[test]
    fn a_fatal_signal_names_the_record_in_hand() {
        check("abort", Some(libc::SIGABRT), "gristmill: SIGABRT in job word-count, task m-3, at /data/b.txt:1204");
        check("overflow", Some(libc::SIGSEGV), "gristmill: SIGSEGV in job word-count, task m-3, at /data/b.txt:1204");
    }

    #[test]
    fn an_abort_for_want_of_memory_says_so() {
        let line =
            "gristmill: out of memory (77 bytes refused), SIGABRT in job word-count, task m-3, at /data/b.txt:1204";
        check("memory", Some(libc::SIGABRT), line);
    }

    #[test]
    fn a_thread_with_nothing_in_hand_names_the_signal_alone() {
        check("idle", Some(libc::SIGABRT), "gristmill: SIGABRT");
    }

    #[test]
    fn a_panic_stays_a_panic() {
        check("panic", None, "");
        assert_eq!(child("panic").status.code(), Some(101));
    }

    #[test]
    fn reports_are_cut_to_their_bound() {
        let mut report = Report { text: [0; REPORT_BYTES], len: 0 };
        report.push_number(u64::MAX);
        report.push_number(0);
        assert_eq!(&report.text[..report.len], b"184467440737095516150");
        report.push(&"x".repeat(2 * REPORT_BYTES));
        report.push("\n");
        assert_eq!((report.len, report.text[REPORT_BYTES - 1]), (REPORT_BYTES, b'\n'));
    }
}
