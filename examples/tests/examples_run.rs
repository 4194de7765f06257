//! Every example runs, and comes to the end that it asserts.

macro_rules! examples {
    ($($name:ident = $path:literal;)*) => {$(
        #[path = $path]
        mod $name;

        #[test]
        fn $name() {
            $name::main().unwrap();
        }
    )*};
}

examples! {
    hello = "../embedding/hello.rs";
    host_functions = "../embedding/host_functions.rs";
    untrusted = "../embedding/untrusted.rs";
    wasi = "../embedding/wasi.rs";
    precompiled = "../embedding/precompiled.rs";
    generator = "../embedding/generator.rs";
    actors = "../embedding/actors.rs";
    effects = "../embedding/effects.rs";
    asynchronous = "../embedding/asynchronous.rs";
}
