//! The program `linkup-broker`: see [`linkup_broker::cli`].

fn main() -> std::process::ExitCode {
    linkup_broker::cli::cli(std::env::args_os().skip(1))
}
