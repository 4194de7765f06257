//! [`soak`]: the command that compares for as long as it is told to.

use crate::{
    Bench, Case, Counts, Loading, Peer, Random, Settings, damaged_image, damaged_module,
    on_two_threads,
};
use std::process::ExitCode;
use std::time::{Duration, Instant};

const USAGE: &str = "\
usage: soak [--seconds N] [--seed S] [--modules N] [--objects] [--keep-going]
       soak FILE
       soak --write S [--objects]

The first runs the cases of seeds S, S+1, ...; a difference prints its seed and writes its module to
`difference-SEED.wasm`. The second runs one module under several settings. The third writes the module
of a seed to `case-SEED.wasm` and prints how it is run. With `--objects`, seeds make programs of
collected objects alone; runtimes that have none refuse these.";

/// Compares Sarsen with another runtime, as the process's arguments say, and stops at the first
/// difference unless they say otherwise. `--help` tells what they are.
pub fn soak<P: Peer>() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match Options::parse(&arguments) {
        Ok(options) if options.help => {
            println!("{USAGE}");
            ExitCode::SUCCESS
        }
        Ok(
            options @ Options {
                write: Some(seed), ..
            },
        ) => write_case::<P>(&options, seed),
        Ok(Options {
            file: Some(file), ..
        }) => run_file::<P>(&file),
        Ok(options) => run_seeds::<P>(&options),
        Err(message) => {
            eprintln!("soak: {message}\n{USAGE}");
            ExitCode::from(2)
        }
    }
}

struct Options {
    seconds: u64,
    seed: u64,
    modules: u64,
    objects: bool,
    keep_going: bool,
    help: bool,
    write: Option<u64>,
    file: Option<String>,
}

impl Options {
    fn parse(arguments: &[String]) -> Result<Options, String> {
        let mut options = Options {
            seconds: u64::MAX,
            seed: 0,
            modules: u64::MAX,
            objects: false,
            keep_going: false,
            help: false,
            write: None,
            file: None,
        };
        let mut arguments = arguments.iter();
        while let Some(argument) = arguments.next() {
            let mut number = || {
                let value = arguments.next().and_then(|value| value.parse().ok());
                value.ok_or_else(|| format!("`{argument}` needs a number"))
            };
            match argument.as_str() {
                "--seconds" => options.seconds = number()?,
                "--seed" => options.seed = number()?,
                "--modules" => options.modules = number()?,
                "--write" => options.write = Some(number()?),
                "--objects" => options.objects = true,
                "--keep-going" => options.keep_going = true,
                "--help" => options.help = true,
                other if other.starts_with('-') => return Err(format!("unknown option `{other}`")),
                file => options.file = Some(file.to_owned()),
            }
        }
        Ok(options)
    }

    /// The case of a seed.
    fn case<P: Peer>(&self, seed: u64) -> Option<Case> {
        if self.objects {
            Case::of_objects(seed)
        } else {
            Case::from_seed(seed, P::ABILITIES)
        }
    }
}

fn run_seeds<P: Peer>(options: &Options) -> ExitCode {
    let start = Instant::now();
    let mut bench = Bench::<P>::default();
    let mut counts = Counts::default();
    let mut told = Instant::now();
    let mut differences = 0;
    let mut seed = options.seed;
    while start.elapsed().as_secs() < options.seconds && counts.modules < options.modules {
        if told.elapsed() > Duration::from_secs(10) {
            // A crash leaves no other trace of where it was.
            println!("seed {seed}: {counts:?}");
            told = Instant::now();
        }
        if let Some(case) = options.case::<P>(seed) {
            match bench.run(&case) {
                Ok(more) => counts += more,
                Err(difference) => {
                    println!("seed {seed}: {difference}\n  {case:?}");
                    save(&format!("difference-{seed}.wasm"), &case.module);
                    differences += 1;
                    if !options.keep_going {
                        break;
                    }
                }
            }
            if seed.is_multiple_of(8) {
                damaged_module(&case, &mut Random::new(seed));
            } else if seed % 8 == 1 {
                damaged_image(&case, &mut Random::new(seed));
            }
        }
        if !options.objects
            && seed % 32 == 2
            && let Err(difference) = on_two_threads(seed)
        {
            println!("seed {seed}, on two threads: {difference}");
            differences += 1;
        }
        seed = seed.wrapping_add(1);
    }
    let seconds = start.elapsed().as_secs();
    println!("{differences} differences in {seconds} s, up to seed {seed}: {counts:?}");
    ExitCode::from(u8::from(differences > 0))
}

fn save(file: &str, module: &[u8]) {
    if let Err(error) = std::fs::write(file, module) {
        println!("  cannot write `{file}`: {error}");
    }
}

fn write_case<P: Peer>(options: &Options, seed: u64) -> ExitCode {
    let Some(case) = options.case::<P>(seed) else {
        eprintln!("soak: seed {seed} makes no module");
        return ExitCode::FAILURE;
    };
    println!("{case:?}");
    save(&format!("case-{seed}.wasm"), &case.module);
    ExitCode::SUCCESS
}

fn run_file<P: Peer>(file: &str) -> ExitCode {
    let module = match std::fs::read(file) {
        Ok(module) => module,
        Err(error) => {
            eprintln!("soak: cannot read `{file}`: {error}");
            return ExitCode::from(2);
        }
    };
    let mut bench = Bench::<P>::default();
    for settings in Settings::samples() {
        for arguments in 0..20 {
            let case = Case {
                module: module.clone(),
                settings,
                loading: Loading::Direct,
                arguments,
            };
            match bench.run(&case) {
                Ok(counts) if counts.refused > 0 => println!("refused by the other runtime"),
                Ok(_) => {}
                Err(difference) => {
                    println!("{difference}\n  {case:?}");
                    return ExitCode::FAILURE;
                }
            }
        }
    }
    println!("no difference");
    ExitCode::SUCCESS
}
