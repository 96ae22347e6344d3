# Short names for what one does often; `just` lists them. None of it is needed: each is one or two cargo commands.

_default:
    @just --list

# What CI runs.
ci:
    .ci/run

# Formats everything.
fmt:
    cargo fmt

# Warnings are errors, as in CI.
lint:
    cargo clippy --all-targets --locked -- -D warnings

# All tests, or those whose names contain the words given.
test *words:
    cargo test --locked {{words}}

# Licenses, bans, sources and advisories of what we depend on; needs cargo-deny.
deny:
    cargo deny check
