//! The `sarsen` command. What it does is in the library of this crate.

fn main() -> std::process::ExitCode {
    sarsen_cli::main()
}
