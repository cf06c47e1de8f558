//! Columns of text, as wide as their widest cell. Knows nothing of what it shows.

use std::fmt;

/// A header and rows of as many cells.
#[derive(Debug, Clone)]
pub(crate) struct Table<const N: usize> {
    header: [&'static str; N],
    rows: Vec<[String; N]>,
}

impl<const N: usize> Table<N> {
    /// A table without rows.
    pub(crate) fn new(header: [&'static str; N]) -> Self {
        Self { header, rows: vec![] }
    }

    /// Adds a row.
    pub(crate) fn row(&mut self, cells: [String; N]) {
        self.rows.push(cells);
    }
}

impl<const N: usize> fmt::Display for Table<N> {
    /// Left-aligned columns two spaces apart; no line ends in a space.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let header = self.header.map(str::to_owned);
        let lines: Vec<&[String; N]> = std::iter::once(&header).chain(&self.rows).collect();
        let width = |column: usize| lines.iter().map(|cells| cells[column].chars().count()).max().unwrap_or(0);
        let widths: [usize; N] = std::array::from_fn(width);
        for (index, cells) in lines.iter().enumerate() {
            let line: String = cells.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}  ")).collect();
            if index > 0 {
                writeln!(f)?;
            }
            f.write_str(line.trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = Table::new(["JOB", "STATE"]);
        table.row(["j-1".into(), "running".into()]);
        table.row(["j-12345".into(), String::new()]);
        assert_eq!(table.to_string(), "JOB      STATE\nj-1      running\nj-12345");
    }
}
