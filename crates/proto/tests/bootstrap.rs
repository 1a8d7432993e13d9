//! Regenerates the committed code from `proto/` with protox and compares, so that builds need no protoc.
//!
//! `SKER_PROTO_WRITE=1 cargo test -p sker-proto` writes what it generated.

use std::{fs, path::Path};

use prost::Message as _;

const FILES: [&str; 4] = [
    "sker/registry/v1/registry.proto",
    "sker/store/v1/access.proto",
    "sker/store/v1/node.proto",
    "sker/store/v1/task.proto",
];

#[test]
fn generated_code_matches_the_proto_files() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let descriptors = protox::compile(FILES, [root.join("../../proto")]).expect("the proto files compile");
    let generated = tempfile::tempdir().expect("a temporary directory");
    tonic_prost_build::configure()
        .out_dir(generated.path())
        .build_client(true)
        .build_server(true)
        .compile_fds(descriptors.clone())
        .expect("code is generated");
    fs::write(generated.path().join("descriptor.bin"), descriptors.encode_to_vec()).expect("descriptor written");

    let committed = root.join("src/gen");
    let mut differing = Vec::new();
    for entry in fs::read_dir(generated.path()).expect("generated files") {
        let entry = entry.expect("an entry");
        let fresh = fs::read(entry.path()).expect("a generated file");
        let target = committed.join(entry.file_name());
        if fs::read(&target).ok().as_ref() != Some(&fresh) {
            if std::env::var_os("SKER_PROTO_WRITE").is_some() {
                fs::write(&target, fresh).expect("written");
            } else {
                differing.push(entry.file_name());
            }
        }
    }
    assert!(
        differing.is_empty(),
        "{differing:?} differ from proto/; run `SKER_PROTO_WRITE=1 cargo test --workspace --test bootstrap`"
    );
}
