//! A member's type as the key traits know it. Decided by how the type is written: a derive sees no
//! more than that.

use syn::visit::{self, Visit};
use syn::visit_mut::{self, VisitMut};
use syn::{GenericArgument, Lifetime, Path, PathArguments, Type, parse_quote};

/// The datum whose borrowed form, in the lifetime `lent`, is the type `ty`: `str` for `&'a str`,
/// `Maybe<str>` for `Option<&'a str>`, `Pair<str, u64>` for `(&'a str, u64)`, `Host<'static>` for
/// `Host<'a>`, and the type itself where nothing is lent.
pub(crate) fn datum_of(ty: &Type, lent: &Lifetime, root: &Path) -> Type {
    if !mentions(ty, lent) {
        return ty.clone();
    }
    match ty {
        Type::Reference(reference) => return static_form(&reference.elem, lent),
        Type::Paren(inner) => return datum_of(&inner.elem, lent, root),
        Type::Group(inner) => return datum_of(&inner.elem, lent, root),
        Type::Tuple(tuple) if matches!(tuple.elems.len(), 2 | 3) => {
            let members = tuple.elems.iter().map(|member| datum_of(member, lent, root));
            return match tuple.elems.len() {
                2 => parse_quote!(#root::datum::Pair<#(#members),*>),
                _ => parse_quote!(#root::datum::Triple<#(#members),*>),
            };
        }
        Type::Path(path) => {
            if let Some(inner) = option_member(&path.path) {
                let inner = datum_of(inner, lent, root);
                return parse_quote!(#root::datum::Maybe<#inner>);
            }
        }
        _ => {}
    }
    static_form(ty, lent)
}

/// The `X` of `Option<X>`, however the path is written.
fn option_member(path: &Path) -> Option<&Type> {
    let last = path.segments.last().filter(|segment| segment.ident == "Option")?;
    match &last.arguments {
        PathArguments::AngleBracketed(arguments) => match arguments.args.first()? {
            GenericArgument::Type(inner) => Some(inner),
            _ => None,
        },
        PathArguments::None | PathArguments::Parenthesized(_) => None,
    }
}

fn mentions(ty: &Type, lent: &Lifetime) -> bool {
    struct Search<'l>(&'l Lifetime, bool);

    impl<'ast> Visit<'ast> for Search<'_> {
        fn visit_lifetime(&mut self, lifetime: &'ast Lifetime) {
            self.1 |= lifetime.ident == self.0.ident;
            visit::visit_lifetime(self, lifetime);
        }
    }

    let mut search = Search(lent, false);
    search.visit_type(ty);
    search.1
}

/// The type with `'static` for what it lends.
fn static_form(ty: &Type, lent: &Lifetime) -> Type {
    struct Replace<'l>(&'l Lifetime);

    impl VisitMut for Replace<'_> {
        fn visit_lifetime_mut(&mut self, lifetime: &mut Lifetime) {
            if lifetime.ident == self.0.ident {
                *lifetime = Lifetime::new("'static", lifetime.span());
            }
            visit_mut::visit_lifetime_mut(self, lifetime);
        }
    }

    let mut ty = ty.clone();
    Replace(lent).visit_type_mut(&mut ty);
    ty
}

#[cfg(test)]
mod tests {
    use super::*;
    use quote::ToTokens as _;

    fn check(written: &str, expect: &str) {
        let ty: Type = syn::parse_str(written).expect(written);
        let root: Path = syn::parse_str("g").expect("a path");
        let datum = datum_of(&ty, &Lifetime::new("'a", proc_macro2::Span::call_site()), &root);
        let expect: Type = syn::parse_str(expect).expect(expect);
        assert_eq!(datum.to_token_stream().to_string(), expect.to_token_stream().to_string(), "{written}");
    }

    #[test]
    fn members_become_the_data_that_they_lend() {
        for (written, expect) in [
            ("u64", "u64"),
            ("&'a str", "str"),
            ("&'a [u8]", "[u8]"),
            ("(&'a str)", "str"),
            ("Option<u8>", "Option<u8>"),
            ("::std::option::Option<&'a str>", "g::datum::Maybe<str>"),
            ("Option<Option<&'a str>>", "g::datum::Maybe<g::datum::Maybe<str> >"),
            ("(u8, u16)", "(u8, u16)"),
            ("(&'a str, u64)", "g::datum::Pair<str, u64>"),
            ("(&'a str, u64, Option<&'a [u8]>)", "g::datum::Triple<str, u64, g::datum::Maybe<[u8]> >"),
            ("Host<'a>", "Host<'static>"),
            ("Option<Host<'a>>", "g::datum::Maybe<Host<'static> >"),
        ] {
            check(written, expect);
        }
    }
}
