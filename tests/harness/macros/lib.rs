//! `#[harness::test]`, for tests whose names begin with a slug.

use proc_macro::TokenStream;
use quote::quote;
use syn::{Ident, ItemFn, LitStr, Token, parse::Parser, parse_macro_input, punctuated::Punctuated};

/// Registers a test of a chapter, which `harness::main` runs.
///
/// An `async` test runs on a tokio runtime. The arguments are `needs = "buf"`, what the test needs
/// beside Rust: it is ignored then, and `.ci/run` runs it; `exclusive`, for a test that nothing may
/// run beside; `current_thread`, for one whose tasks have to
/// share its thread; and `paused`, for one whose time is tokio's and does not pass by itself, on one
/// thread too.
#[proc_macro_attribute]
pub fn test(arguments: TokenStream, function: TokenStream) -> TokenStream {
    let mut needs = quote!(::core::option::Option::None);
    let mut is_exclusive = false;
    let mut runtime = None;
    let parser = Punctuated::<Argument, Token![,]>::parse_terminated;
    let arguments = match parser.parse(arguments) {
        Ok(arguments) => arguments,
        Err(error) => return error.into_compile_error().into(),
    };
    for Argument { name, value } in arguments {
        match (name.to_string().as_str(), value) {
            ("needs", Some(value)) => needs = quote!(::core::option::Option::Some(#value)),
            ("exclusive", None) => is_exclusive = true,
            ("current_thread", None) if runtime.is_none() => runtime = Some(quote!(CurrentThread)),
            ("paused", None) if runtime.is_none() => runtime = Some(quote!(Paused)),
            _ => {
                let message = "the arguments are `needs = \"…\"`, `exclusive`, and one of \
                               `current_thread` and `paused`";
                return syn::Error::new(name.span(), message)
                    .into_compile_error()
                    .into();
            }
        }
    }
    let runtime = runtime.unwrap_or_else(|| quote!(MultiThread));
    let function = parse_macro_input!(function as ItemFn);
    let name = &function.sig.ident;
    let run = if function.sig.asyncness.is_some() {
        quote!(|| ::harness::test::block_on(::harness::test::Flavor::#runtime, #name()))
    } else {
        quote!(|| ::harness::test::Outcome::into_result(#name()))
    };
    quote! {
        #function

        ::harness::test::inventory::submit! {
            ::harness::test::Test {
                module: ::core::module_path!(),
                name: ::core::stringify!(#name),
                needs: #needs,
                is_exclusive: #is_exclusive,
                run: #run,
            }
        }
    }
    .into()
}

struct Argument {
    name: Ident,
    value: Option<LitStr>,
}

impl syn::parse::Parse for Argument {
    fn parse(input: syn::parse::ParseStream<'_>) -> syn::Result<Self> {
        let name = input.parse()?;
        let value = if input.parse::<Option<Token![=]>>()?.is_some() {
            Some(input.parse()?)
        } else {
            None
        };
        Ok(Self { name, value })
    }
}
