//! Rows divided among folders by the values of some of their columns, as Hive names them: `country=DE/year=2026`. The
//! columns are in the names of the folders and not in their rows, as all that read such folders expect.

use gristmill_common::formats::row::{BadRow, Items, Open, Value};
use gristmill_common::formats::schema::{Kind, Schema};
use gristmill_common::formats::text::write_plain;
use gristmill_common::output_name::{MAX_COMPONENTS, OutputName};
use gristmill_common::prelude::*;

/// What stands for no value, and for empty text, which no folder can be named by.
const NO_VALUE: &str = "__HIVE_DEFAULT_PARTITION__";

/// Bytes that are written as `%` and two digits, besides control characters: those that Hive writes so.
const ESCAPED: &[u8] = b"\"#%'*/:=?\\{[]^";

/// Which columns name the folder of a row.
#[derive(Debug)]
pub(crate) struct Folders {
    /// What stands before the value of each, as `country=`, in the order of the folders.
    names: Vec<String>,
    /// For each column of a row: its place among those, if it is one.
    places: Vec<Option<usize>>,
}

impl Folders {
    /// Divides rows of these columns by the values of `by`; `None` if that is none. Also gives the columns that are
    /// left.
    ///
    /// # Errors
    ///
    /// If there is no such column, none would be left, or folders cannot be named by it.
    pub(crate) fn of(by: &[String], schema: Schema) -> std::result::Result<(Option<Self>, Schema), OptionError> {
        if by.is_empty() {
            return Ok((None, schema));
        }
        let refused = |reason: String| OptionError::new(format!("--partition-by: {reason}"));
        if by.len() > MAX_COMPONENTS {
            return Err(refused(format!("folders lie at most {MAX_COMPONENTS} deep")));
        }
        let mut names = Vec::new();
        for (index, name) in by.iter().enumerate() {
            let Some(place) = schema.place(name) else {
                let names: Vec<&str> = schema.names().collect();
                return Err(refused(format!("there is no column {name:?} (there are {})", names.join(", "))));
            };
            if by[..index].contains(name) {
                return Err(refused(format!("{name:?} is there twice")));
            }
            if matches!(schema.columns[place].kind, Kind::List(_) | Kind::Struct(_) | Kind::Map(..)) {
                return Err(refused(format!("{name:?} has no single value in a row")));
            }
            let mut folder = String::new();
            escape(name, &mut folder);
            folder.push('=');
            if let Err(error) = folder.parse::<OutputName>() {
                return Err(refused(error.to_string()));
            }
            names.push(folder);
        }
        let places = schema.names().map(|name| by.iter().position(|other| other == name)).collect();
        let left = schema.columns.into_iter().filter(|column| !by.contains(&column.name)).collect();
        let left = Schema::new(left).map_err(|_| refused("no column would be left in the rows".to_owned()))?;
        Ok((Some(Self { names, places }), left))
    }

    /// The folder of a row, into `folder`, and what is left of the row, into `rest`.
    ///
    /// # Errors
    ///
    /// If it is no row.
    pub(crate) fn divide(
        &self,
        row: &[u8],
        folder: &mut FolderName,
        rest: &mut Vec<u8>,
    ) -> std::result::Result<(), BadRow> {
        let mut items = Items::of_row(row)?;
        rest.clear();
        let open = Open::row(rest);
        folder.begin(self.names.len());
        for place in &self.places {
            let Some(value) = items.next_value()? else { break };
            match place {
                Some(place) => folder.take(*place, &self.names[*place], &value),
                None => value.encode(rest),
            }
        }
        open.end(rest);
        folder.join();
        Ok(())
    }
}

/// The name of a row's folder, in memory that is used again.
#[derive(Debug, Default)]
pub(crate) struct FolderName {
    components: Vec<String>,
    text: Vec<u8>,
    name: String,
}

impl FolderName {
    /// As it was named last.
    pub(crate) fn as_str(&self) -> &str {
        &self.name
    }

    fn begin(&mut self, components: usize) {
        self.components.resize_with(components, String::new);
        self.components.iter_mut().for_each(String::clear);
    }

    fn take(&mut self, place: usize, name: &str, value: &Value<'_>) {
        let component = &mut self.components[place];
        component.push_str(name);
        self.text.clear();
        if !value.is_null() {
            write_plain(value, &mut self.text);
        }
        match &*String::from_utf8_lossy(&self.text) {
            "" => component.push_str(NO_VALUE),
            text => escape(text, component),
        }
    }

    fn join(&mut self) {
        self.name.clear();
        for (index, component) in self.components.iter().enumerate() {
            if index > 0 {
                self.name.push('/');
            }
            self.name.push_str(component);
        }
    }
}

/// Appends text as Hive writes it in the name of a folder.
fn escape(text: &str, out: &mut String) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    for character in text.chars() {
        if !character.is_control() && !character.is_ascii() || character.is_ascii() && is_plain(character as u8) {
            out.push(character);
            continue;
        }
        let mut bytes = [0; 4];
        for byte in character.encode_utf8(&mut bytes).bytes() {
            out.push('%');
            out.push(DIGITS[usize::from(byte >> 4)] as char);
            out.push(DIGITS[usize::from(byte & 15)] as char);
        }
    }
}

fn is_plain(byte: u8) -> bool {
    !byte.is_ascii_control() && !ESCAPED.contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema(columns: &[(&str, Kind)]) -> Schema {
        let columns =
            columns.iter().map(|(name, kind)| gristmill_common::formats::schema::Column::nullable(*name, kind.clone()));
        Schema::new(columns.collect()).expect("columns")
    }

    #[test]
    fn rows_lose_what_names_their_folder() {
        let all = schema(&[("a", Kind::Int(64)), ("b", Kind::String), ("c", Kind::String)]);
        let (folders, left) = Folders::of(&["c".to_owned(), "a".to_owned()], all).expect("columns");
        let folders = folders.expect("some");
        assert_eq!(left.names().collect::<Vec<_>>(), ["b"]);
        let check = |values: [Value<'_>; 3], folder: &str| {
            let (mut row, mut expect) = (Vec::new(), Vec::new());
            let open = Open::row(&mut row);
            values.iter().for_each(|value| value.encode(&mut row));
            open.end(&mut row);
            let open = Open::row(&mut expect);
            values[1].encode(&mut expect);
            open.end(&mut expect);
            let (mut name, mut rest) = (FolderName::default(), b"before".to_vec());
            folders.divide(&row, &mut name, &mut rest).expect("a row");
            assert_eq!((name.as_str(), &rest), (folder, &expect));
            name.as_str().parse::<OutputName>().expect("it can be a name");
        };
        check([Value::Int(-5), Value::Text("x"), Value::Text("DE")], "c=DE/a=-5");
        let none = "__HIVE_DEFAULT_PARTITION__";
        check([Value::Null, Value::Null, Value::Text("")], &format!("c={none}/a={none}"));
        check([Value::Int(1), Value::Null, Value::Text("a/b=é %\n\u{85}")], "c=a%2Fb%3Dé %25%0A%C2%85/a=1");
        check([Value::Int(1), Value::Null, Value::Text("..")], "c=../a=1");
    }

    #[test]
    fn columns_that_cannot_name_folders_are_refused() {
        let list = Kind::List(Box::new(gristmill_common::formats::schema::Column::nullable("element", Kind::String)));
        let all = schema(&[("a", Kind::Int(64)), ("b", list), ("_c", Kind::String)]);
        let refused = |by: &[&str]| {
            let by: Vec<String> = by.iter().map(|name| (*name).to_owned()).collect();
            Folders::of(&by, all.clone()).expect_err("refused").message
        };
        assert_eq!(refused(&["x"]), "--partition-by: there is no column \"x\" (there are a, b, _c)");
        assert_eq!(refused(&["a", "a"]), "--partition-by: \"a\" is there twice");
        assert_eq!(refused(&["b"]), "--partition-by: \"b\" has no single value in a row");
        assert!(refused(&["_c"]).starts_with("--partition-by: \"_c=\" cannot be the name of an output"));
        let one = schema(&[("a", Kind::String)]);
        let error = Folders::of(&["a".to_owned()], one).expect_err("nothing is left").message;
        assert_eq!(error, "--partition-by: no column would be left in the rows");
    }
}
