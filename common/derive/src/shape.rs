//! What a type that derives `Key` looks like, checked: everything that cannot be a key is refused
//! here, with the place in the user's code.

use syn::spanned::Spanned as _;
use syn::{Data, DeriveInput, Error, Fields, GenericParam, Ident, Lifetime, LitStr, Member, Path, Result, Type};

/// A type that can be a key.
pub(crate) struct Shape<'i> {
    /// Its name.
    pub(crate) name: &'i Ident,
    /// The lifetime of what it lends, if it lends.
    pub(crate) lifetime: Option<&'i Lifetime>,
    /// The crate that holds `key` and `datum`.
    pub(crate) root: Path,
    /// Its members.
    pub(crate) body: Body<'i>,
}

/// Where the members are.
pub(crate) enum Body<'i> {
    /// In the type itself.
    Struct(Vec<Field<'i>>),
    /// In its variants, in order.
    Enum(Vec<(&'i Ident, Vec<Field<'i>>)>),
}

/// A member: its name or index, and its type.
pub(crate) struct Field<'i> {
    /// `host` or `0`.
    pub(crate) member: Member,
    /// As written.
    pub(crate) ty: &'i Type,
}

impl<'i> Shape<'i> {
    /// Reads the shape off a parsed type.
    ///
    /// # Errors
    ///
    /// If it is none that can be a key.
    pub(crate) fn of(input: &'i DeriveInput) -> Result<Self> {
        let body = match &input.data {
            Data::Struct(data) => Body::Struct(fields_of(&data.fields)),
            Data::Enum(data) => {
                if data.variants.is_empty() {
                    return Err(Error::new(input.ident.span(), "an enum without variants has no keys"));
                }
                let valued = data.variants.iter().find_map(|variant| variant.discriminant.as_ref());
                if let Some((_, value)) = valued {
                    let message = "a key's variants are numbered by position: remove the explicit discriminant";
                    return Err(Error::new(value.span(), message));
                }
                Body::Enum(data.variants.iter().map(|variant| (&variant.ident, fields_of(&variant.fields))).collect())
            }
            Data::Union(data) => return Err(Error::new(data.union_token.span(), "a union cannot be a key")),
        };
        Ok(Self { name: &input.ident, lifetime: lifetime_of(input)?, root: root_of(input)?, body })
    }
}

fn fields_of(fields: &Fields) -> Vec<Field<'_>> {
    fields.members().zip(fields).map(|(member, field)| Field { member, ty: &field.ty }).collect()
}

/// The one lifetime parameter, if there is one.
fn lifetime_of(input: &DeriveInput) -> Result<Option<&Lifetime>> {
    let mut found = None;
    for param in &input.generics.params {
        match param {
            GenericParam::Lifetime(param) if found.is_none() => found = Some(&param.lifetime),
            GenericParam::Lifetime(param) => {
                return Err(Error::new(param.span(), "a key lends with one lifetime at most"));
            }
            GenericParam::Type(param) => {
                return Err(Error::new(param.span(), "a derived key has no type parameters: name the types"));
            }
            GenericParam::Const(param) => {
                return Err(Error::new(param.span(), "a derived key has no const parameters"));
            }
        }
    }
    Ok(found)
}

/// The crate named by `#[key(crate = "…")]`.
fn root_of(input: &DeriveInput) -> Result<Path> {
    let mut root = syn::parse_str("::gristmill")?;
    for attribute in input.attrs.iter().filter(|attribute| attribute.path().is_ident("key")) {
        attribute.parse_nested_meta(|meta| {
            if !meta.path.is_ident("crate") {
                return Err(meta.error("unknown option (known: crate = \"path\")"));
            }
            root = meta.value()?.parse::<LitStr>()?.parse()?;
            Ok(())
        })?;
    }
    Ok(root)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(text: &str) -> String {
        let input: DeriveInput = syn::parse_str(text).expect("a type");
        Shape::of(&input).err().map(|error| error.to_string()).unwrap_or_default()
    }

    #[test]
    fn types_that_cannot_be_keys_are_refused() {
        for (text, message) in [
            ("enum Never {}", "without variants"),
            ("enum Code { Ok = 200, Gone = 410 }", "explicit discriminant"),
            ("union Bits { a: u32, b: f32 }", "a union"),
            ("struct Two<'a, 'b> { a: &'a str, b: &'b str }", "one lifetime"),
            ("struct Of<T> { a: T }", "type parameters"),
            ("struct Of<const N: usize> { a: [u8; N] }", "const parameters"),
            ("#[key(crates = \"x\")] struct Named { a: u8 }", "unknown option"),
            ("#[key(crate = \"a b\")] struct Named { a: u8 }", "unexpected token"),
        ] {
            assert!(refusal(text).contains(message), "{text}: {:?}", refusal(text));
        }
    }

    #[test]
    fn keys_have_their_shape() {
        for text in ["struct Unit;", "struct Tuple(u8, u8);", "enum E<'a> { A, B(&'a str), C { d: u8 } }"] {
            assert_eq!(refusal(text), "", "{text}");
        }
    }
}
