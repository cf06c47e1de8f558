//! What tasks write, put together and listed to be compared: the main output first, then the named ones.

use gristmill_common::reference::Written;

/// Puts what another task wrote behind what the tasks before it wrote, each output by itself.
pub(super) fn append(all: &mut Written, more: Written) {
    all.part.extend(more.part);
    for (name, bytes) in more.named {
        all.named.entry(name).or_default().extend(bytes);
    }
}

/// The same without what every part begins with.
pub(super) fn without_header(mut written: Written, header: &[u8]) -> Written {
    for part in [&mut written.part].into_iter().chain(written.named.values_mut()) {
        if part.starts_with(header) {
            part.drain(..header.len());
        }
    }
    written
}

/// All of it: the part, then each named output behind a line that names it.
pub(super) fn listed(written: &Written) -> Vec<u8> {
    let mut all = written.part.clone();
    for (name, bytes) in &written.named {
        all.extend_from_slice(format!("[{name}]\n").as_bytes());
        all.extend_from_slice(bytes);
    }
    all
}
