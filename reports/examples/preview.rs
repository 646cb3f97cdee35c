//! Temporary preview.
#[path = "../tests/made_up/mod.rs"]
mod made_up;
fn main() {
    let out = std::path::PathBuf::from(std::env::args().nth(1).unwrap_or_default());
    let study = made_up::study(&out.join("store"));
    let w = reports::write(&study, &out.join("report"));
    eprintln!("{w:?}");
}
