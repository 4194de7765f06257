//! What the user is told of an exception that the program did not catch.

use crate::arguments;
use sarsen::{AsContextMut, Error, ExnRef, Extern, Instance, Rooted, Store, Tag, ThrownException};

/// How many fields are shown.
const MAX_FIELDS: usize = 16;

/// Adds to the error of an uncaught exception which one it is: its tag, by the name under which `instance`
/// exports it or that a module gives it, and its fields.
pub(crate) fn explain<T>(error: Error, store: &mut Store<T>, instance: Option<&Instance>) -> Error {
    if !error.is::<ThrownException>() {
        return error;
    }
    let Some(exception) = store.take_pending_exception() else {
        return error;
    };
    match describe(store, instance, exception) {
        Ok(description) => error.context(description),
        Err(_) => error,
    }
}

fn describe<T>(
    store: &mut Store<T>,
    instance: Option<&Instance>,
    exception: Rooted<ExnRef>,
) -> sarsen::Result<String> {
    let tag = exception.tag(&mut *store)?;
    let exported = instance.and_then(|instance| name_of(store, instance, &tag));
    let name = exported.or_else(|| tag.name(&*store));
    let mut fields = Vec::new();
    for field in exception.fields(&mut *store)?.take(MAX_FIELDS) {
        fields.push(arguments::shown(&*store, &field)?);
    }
    let ty = tag.ty(&*store);
    if ty.ty().params().len() > MAX_FIELDS {
        fields.push("…".to_owned());
    }
    let what = match name {
        Some(name) => format!("`{}`", name.escape_debug()),
        None => ty.to_string(),
    };
    Ok(match fields.is_empty() {
        true => format!("the program threw {what}, and did not catch it"),
        false => format!(
            "the program threw {what} with {}, and did not catch it",
            fields.join(", ")
        ),
    })
}

/// The name under which an instance exports a tag.
fn name_of<T>(store: &mut Store<T>, instance: &Instance, tag: &Tag) -> Option<String> {
    let exports: Vec<(String, Extern)> = instance
        .exports(store.as_context_mut())
        .map(|export| (export.name().to_owned(), export.into_extern()))
        .collect();
    exports.into_iter().find_map(|(name, item)| {
        let found = item.into_tag()?;
        Tag::eq(&found, tag, &*store).then_some(name)
    })
}
