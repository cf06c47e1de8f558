//! Compiles the protos with protox, so that nobody needs `protoc`. Does nothing without the feature
//! `wire`.

#[cfg(feature = "wire")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    const FILES: [&str; 8] = ["types", "control", "jobs", "files", "members", "shuffle", "executor", "journal"];
    let protos = FILES.map(|name| format!("proto/gristmill/v1/{name}.proto"));
    for proto in &protos {
        println!("cargo::rerun-if-changed={proto}");
    }
    let descriptors = protox::compile(&protos, ["proto"])?;
    // `Bytes` fields hand segment frames on without copying them.
    tonic_prost_build::configure().bytes(".gristmill.v1.FetchFrame").compile_fds(descriptors)?;
    Ok(())
}

#[cfg(not(feature = "wire"))]
fn main() {}
