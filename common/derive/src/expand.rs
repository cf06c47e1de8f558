//! The code that the derive writes: `Datum` for types that lend, and `Key`.

use proc_macro2::{Ident, TokenStream};
use quote::{format_ident, quote};
use syn::{Path, Type};

use crate::logical::datum_of;
use crate::shape::{Body, Field, Shape};

/// One struct or variant: how it is named in a pattern, and its members.
struct Case {
    /// `Self` cannot be used: its lifetime is `'static`.
    path: TokenStream,
    /// `host: member_0, at: member_1`.
    bindings: TokenStream,
    /// The members in order: what each is bound to, and as which datum it is encoded.
    members: Vec<(Ident, Type)>,
}

/// Whether something follows what is encoded.
#[derive(Clone, Copy)]
enum Place {
    Last,
    Part,
}

/// Writes the implementations.
pub(crate) fn key_impls(shape: &Shape<'_>) -> TokenStream {
    let (name, root) = (shape.name, &shape.root);
    let arguments = |lifetime: TokenStream| shape.lifetime.map(|_| quote!(<#lifetime>));
    let (static_arguments, any_arguments) = (arguments(quote!('static)), arguments(quote!('_)));
    let key_arguments = arguments(quote!('__key));
    let datum = shape.lifetime.map(|_| {
        quote! {
            #[automatically_derived]
            impl #root::datum::Datum for #name #static_arguments {
                type Ref<'__key> = #name #key_arguments;
            }
        }
    });
    let encode = encode_body(shape, Place::Last);
    let encode_part = encode_body(shape, Place::Part);
    let decode = decode_body(shape, Place::Last);
    let decode_part = decode_body(shape, Place::Part);
    let as_encoded = as_encoded(shape, any_arguments.as_ref());
    let members = members(shape);
    quote! {
        #datum

        #[automatically_derived]
        impl #root::key::Key for #name #static_arguments {
            #members

            #[inline]
            fn encode(__key: &#name #any_arguments, __out: &mut ::std::vec::Vec<u8>) {
                let _ = &__out;
                #encode
            }

            #[inline]
            fn encode_part(__key: &#name #any_arguments, __out: &mut ::std::vec::Vec<u8>) {
                let _ = &__out;
                #encode_part
            }

            #as_encoded

            #[inline]
            fn decode<'__key>(
                __bytes: &'__key [u8],
                __arena: &'__key #root::key::KeyArena,
            ) -> ::core::result::Result<#name #key_arguments, #root::key::KeyError> {
                let _ = __arena;
                let mut __rest = __bytes;
                let __input = &mut __rest;
                #decode
            }

            #[inline]
            fn decode_part<'__key>(
                __input: &mut &'__key [u8],
                __arena: &'__key #root::key::KeyArena,
            ) -> ::core::result::Result<#name #key_arguments, #root::key::KeyError> {
                let _ = (&__input, __arena);
                #decode_part
            }
        }
    }
}

impl Case {
    fn new(shape: &Shape<'_>, variant: Option<&Ident>, fields: &[Field<'_>]) -> Self {
        let name = shape.name;
        let bound: Vec<Ident> = (0..fields.len()).map(|index| format_ident!("__member_{index}")).collect();
        let places = fields.iter().map(|field| &field.member);
        let members = fields.iter().zip(&bound).map(|(field, name)| {
            let ty = match shape.lifetime {
                Some(lent) => datum_of(field.ty, lent, &shape.root),
                None => field.ty.clone(),
            };
            (name.clone(), ty)
        });
        Self {
            path: variant.map_or_else(|| quote!(#name), |variant| quote!(#name::#variant)),
            bindings: quote!(#(#places: #bound),*),
            members: members.collect(),
        }
    }

    fn encode(&self, root: &Path, place: Place) -> TokenStream {
        let last = self.members.len().saturating_sub(1);
        let steps = self.members.iter().enumerate().map(|(index, (name, ty))| match place {
            Place::Last if index == last => quote!(<#ty as #root::key::Key>::encode(#name, __out);),
            Place::Last | Place::Part => quote!(<#ty as #root::key::Key>::encode_part(#name, __out);),
        });
        quote!(#(#steps)*)
    }

    fn decode(&self, root: &Path, place: Place) -> TokenStream {
        let (path, bindings) = (&self.path, &self.bindings);
        let last = self.members.len().saturating_sub(1);
        let steps = self.members.iter().enumerate().map(|(index, (name, ty))| match place {
            Place::Last if index == last => {
                quote!(let #name = <#ty as #root::key::Key>::decode(*__input, __arena)?;)
            }
            Place::Last | Place::Part => {
                quote!(let #name = <#ty as #root::key::Key>::decode_part(__input, __arena)?;)
            }
        });
        let end = match place {
            Place::Last if self.members.is_empty() => quote! {
                if !__input.is_empty() {
                    return ::core::result::Result::Err(#root::key::key_error::<Self>("bytes are left over"));
                }
            },
            Place::Last | Place::Part => quote!(),
        };
        quote!({ #(#steps)* #end ::core::result::Result::Ok(#path { #bindings }) })
    }
}

fn encode_body(shape: &Shape<'_>, place: Place) -> TokenStream {
    let root = &shape.root;
    match &shape.body {
        Body::Struct(fields) => {
            let case = Case::new(shape, None, fields);
            let (path, bindings, steps) = (&case.path, &case.bindings, case.encode(root, place));
            quote!(let #path { #bindings } = __key; #steps)
        }
        Body::Enum(variants) => {
            let arms = variants.iter().zip(0_u32..).map(|((variant, fields), number)| {
                let case = Case::new(shape, Some(variant), fields);
                let (path, bindings, steps) = (&case.path, &case.bindings, case.encode(root, place));
                quote! {
                    #path { #bindings } => {
                        <u32 as #root::key::Key>::encode_part(&#number, __out);
                        #steps
                    }
                }
            });
            quote!(match __key { #(#arms)* })
        }
    }
}

fn decode_body(shape: &Shape<'_>, place: Place) -> TokenStream {
    let root = &shape.root;
    match &shape.body {
        Body::Struct(fields) => Case::new(shape, None, fields).decode(root, place),
        Body::Enum(variants) => {
            let arms = variants.iter().zip(0_u32..).map(|((variant, fields), number)| {
                let steps = Case::new(shape, Some(variant), fields).decode(root, place);
                quote!(#number => #steps)
            });
            quote! {
                match <u32 as #root::key::Key>::decode_part(__input, __arena)? {
                    #(#arms)*
                    _ => ::core::result::Result::Err(#root::key::key_error::<Self>("no variant has this number")),
                }
            }
        }
    }
}

/// A struct can be grouped by its leading members.
fn members(shape: &Shape<'_>) -> Option<TokenStream> {
    let Body::Struct(fields) = &shape.body else { return None };
    let root = &shape.root;
    let case = Case::new(shape, None, fields);
    let count = case.members.len();
    let steps = case.members.iter().enumerate().map(|(index, (_, ty))| {
        quote! {
            if #index < __members {
                #root::key::pass::<#ty>(__input)?;
            }
        }
    });
    Some(quote! {
        const MEMBERS: usize = #count;

        fn pass_members(
            __input: &mut &[u8],
            __members: usize,
        ) -> ::core::result::Result<(), #root::key::KeyError> {
            let _ = (&__input, __members);
            #(#steps)*
            ::core::result::Result::Ok(())
        }
    })
}

/// A struct of one member is encoded as that member, which may already lie in memory so.
fn as_encoded(shape: &Shape<'_>, any_arguments: Option<&TokenStream>) -> Option<TokenStream> {
    let Body::Struct(fields) = &shape.body else { return None };
    let (name, root) = (shape.name, &shape.root);
    let case = Case::new(shape, None, fields);
    let [(member, ty)] = case.members.as_slice() else { return None };
    let (path, bindings) = (&case.path, &case.bindings);
    Some(quote! {
        #[inline]
        fn as_encoded<'__key>(__key: &'__key #name #any_arguments) -> ::core::option::Option<&'__key [u8]> {
            let #path { #bindings } = __key;
            <#ty as #root::key::Key>::as_encoded(#member)
        }
    })
}
