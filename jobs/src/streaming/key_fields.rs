//! Parts of a key, as the options of Hadoop's `KeyFieldBasedPartitioner` and `KeyFieldBasedComparator`
//! name them: `-k POS1[,POS2]` with `POS = FIELD[.CHAR][nr]`, both counted from 1.

use memchr::memmem;

/// One `-k`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct KeyField {
    /// The field and the character of it that the part begins with.
    begin: (usize, usize),
    /// The field and the character of it that the part ends with; character 0 is the field's last.
    /// `None` is the end of the key.
    end: Option<(usize, usize)>,
    /// Whether it is compared as a decimal number.
    pub(super) numeric: bool,
    /// Whether larger comes first.
    pub(super) reverse: bool,
}

impl KeyField {
    /// The first `fields` fields.
    pub(super) fn first(fields: usize) -> Self {
        Self { begin: (1, 1), end: Some((fields, 0)), numeric: false, reverse: false }
    }

    /// The parts that options name; `-n` and `-r` alone are for all that have none of their own, or for
    /// the whole key.
    ///
    /// # Errors
    ///
    /// If they are not such options.
    pub(super) fn parse_all(options: &str) -> Result<Vec<Self>, String> {
        let wrong = |what: &str| format!("{what:?} is no key field (-k FIELD[.CHAR][nr][,FIELD[.CHAR][nr]], -n, -r)");
        let mut fields = Vec::new();
        let (mut numeric, mut reverse) = (false, false);
        let mut words = options.split_ascii_whitespace();
        while let Some(word) = words.next() {
            if let Some(spec) = word.strip_prefix("-k") {
                let spec = if spec.is_empty() { words.next().unwrap_or_default() } else { spec };
                fields.push(Self::parse(spec).ok_or_else(|| wrong(word))?);
                continue;
            }
            let flags = word.strip_prefix('-').filter(|flags| !flags.is_empty()).ok_or_else(|| wrong(word))?;
            for flag in flags.chars() {
                match flag {
                    'n' => numeric = true,
                    'r' => reverse = true,
                    _ => return Err(wrong(word)),
                }
            }
        }
        for field in fields.iter_mut().filter(|field: &&mut Self| !field.numeric && !field.reverse) {
            (field.numeric, field.reverse) = (numeric, reverse);
        }
        if fields.is_empty() && (numeric || reverse) {
            fields.push(Self { begin: (1, 1), end: None, numeric, reverse });
        }
        Ok(fields)
    }

    fn parse(text: &str) -> Option<Self> {
        let (begin, end) = text.split_once(',').map_or((text, None), |(begin, end)| (begin, Some(end)));
        let mut flags = (false, false);
        let mut position = |text: &str, char: usize| -> Option<(usize, usize)> {
            let place = text.trim_end_matches(['n', 'r']);
            let given = &text[place.len()..];
            flags = (flags.0 || given.contains('n'), flags.1 || given.contains('r'));
            let (field, char) = match place.split_once('.') {
                Some((field, char)) => (field.parse().ok()?, char.parse().ok()?),
                None => (place.parse().ok()?, char),
            };
            (field > 0).then_some((field, char))
        };
        let begin = position(begin, 1).filter(|begin| begin.1 > 0)?;
        let end = match end {
            Some(end) => Some(position(end, 0)?),
            None => None,
        };
        Some(Self { begin, end, numeric: flags.0, reverse: flags.1 })
    }

    /// The part of a key; `None` if the key ends before it.
    pub(super) fn of<'k>(&self, key: &'k [u8], separator: &[u8]) -> Option<&'k [u8]> {
        let (field, char) = self.begin;
        let start = field_at(key, separator, field)?.0 + char - 1;
        if start >= key.len() {
            return None;
        }
        let end = match self.end {
            None => key.len(),
            Some((field, char)) => match field_at(key, separator, field) {
                None => key.len(),
                Some((_, end)) if char == 0 => end,
                Some((begin, _)) => (begin + char).min(key.len()),
            },
        };
        Some(&key[start..end.max(start)])
    }
}

/// Where a field begins and ends.
fn field_at(key: &[u8], separator: &[u8], field: usize) -> Option<(usize, usize)> {
    let mut begin = 0;
    for _ in 1..field {
        begin += find(&key[begin..], separator)? + separator.len();
    }
    Some((begin, find(&key[begin..], separator).map_or(key.len(), |length| begin + length)))
}

/// The first place of a separator.
#[inline]
pub(super) fn find(bytes: &[u8], separator: &[u8]) -> Option<usize> {
    match *separator {
        [byte] => memchr::memchr(byte, bytes),
        _ => memmem::find(bytes, separator),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_named_by_fields_and_characters() {
        let check = |options: &str, key: &str, expect: &[Option<&str>]| {
            let fields = KeyField::parse_all(options).expect(options);
            let parts: Vec<_> = fields.iter().map(|field| field.of(key.as_bytes(), b".")).collect();
            let expect: Vec<_> = expect.iter().map(|part| part.map(str::as_bytes)).collect();
            assert_eq!(parts, expect, "{options} of {key}");
        };
        check("-k1,1", "ab.cd.ef", &[Some("ab")]);
        check("-k 1,2", "ab.cd.ef", &[Some("ab.cd")]);
        check("-k2", "ab.cd.ef", &[Some("cd.ef")]);
        check("-k2,2 -k1,1", "ab.cd.ef", &[Some("cd"), Some("ab")]);
        check("-k2.2,2", "ab.cd.ef", &[Some("d")]);
        check("-k1.2,2.1", "ab.cd.ef", &[Some("b.c")]);
        check("-k2,9", "ab.cd.ef", &[Some("cd.ef")]);
        check("-k4,4", "ab.cd.ef", &[None]);
        check("-k3,3", "ab.cd.", &[None]);
        check("-k2,1", "ab.cd", &[Some("")]);
        check("-nr", "ab.cd", &[Some("ab.cd")]);
        check("", "ab.cd", &[]);
    }

    #[test]
    fn flags_stand_behind_positions_or_alone() {
        let flags = |options: &str| -> Vec<(bool, bool)> {
            KeyField::parse_all(options).expect(options).iter().map(|field| (field.numeric, field.reverse)).collect()
        };
        assert_eq!(flags("-k2,2nr -k1,1"), [(true, true), (false, false)]);
        assert_eq!(flags("-k2n,2r"), [(true, true)]);
        assert_eq!(flags("-r -k1 -k2n"), [(false, true), (true, false)]);
        for bad in ["-k", "-kx", "-k0", "-k1.0", "-k1,0", "-k1x", "-x", "k1", "-", "-k1,2,3"] {
            assert!(KeyField::parse_all(bad).is_err(), "{bad}");
        }
    }
}
