//! The whole platform from outside, on built binaries. Everything is in `tests/`; build the programs first
//! (`cargo build -p sker`), or say where they are in `SKER_BIN_DIR`.
