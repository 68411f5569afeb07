//! Prints the CustomResourceDefinition: `cargo run -p join-crds --example crd | kubectl apply -f -`.

fn main() -> Result<(), join_crds::generate::Error> {
    print!("{}", join_crds::generate::crd_yaml()?);
    Ok(())
}
