//! Compiles a module and writes the image: `compile input.wasm [output]`. For measuring and for
//! looking at code with `objdump -d`.

use sarsen_compile::Compiler;
use std::time::Instant;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let input = args.next().ok_or("usage: compile INPUT [OUTPUT]")?;
    let wasm = std::fs::read(&input)?;
    let compiler = Compiler::new(Default::default(), Default::default())?;
    let start = Instant::now();
    compiler.validate(&wasm)?;
    let validated = start.elapsed();
    let start = Instant::now();
    let image = compiler.compile(&wasm)?;
    let compiled = start.elapsed();
    let kib = image.len() >> 10;
    println!("{input}: validated in {validated:?}, compiled in {compiled:?}, image {kib} KiB");
    if let Some(output) = args.next() {
        std::fs::write(output, image)?;
    }
    Ok(())
}
