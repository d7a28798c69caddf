//! Tells the pool's sources that they are compiled for the model.

fn main() {
    println!("cargo::rustc-check-cfg=cfg(pool_model)");
    println!("cargo::rustc-cfg=pool_model");
    println!("cargo::rerun-if-changed=build.rs");
}
