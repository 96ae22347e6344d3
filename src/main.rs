//! Parse, run, exit code.

fn main() -> std::process::ExitCode {
    deployctl::cli::main()
}
