//! The `capcast` binary: parse, dispatch, exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    capcast::cli::main()
}
