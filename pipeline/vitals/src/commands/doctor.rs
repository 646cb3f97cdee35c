//! `vitals doctor`: what this machine can do, what a run would use of it, and why not more.

use std::fs;

use vit::cpu::Kernel;
use vit::executor::DeviceChoice;

use super::{columns, say};
use crate::failure::Failure;
use crate::progress::bytes;

/// Prints it.
pub fn doctor() -> Result<(), Failure> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let mut rows = vec![
        row("vitals", env!("CARGO_PKG_VERSION")),
        row("processor", &processor()),
        row("threads", &cores.to_string()),
        row("memory", &memory()),
        row("huge pages", &huge_pages()),
        row("vectors", &vectors()),
    ];
    for kernel in Kernel::ALL {
        let verdict = match kernel.refusal() {
            None if kernel == Kernel::best() => "yes, used".to_owned(),
            None => "yes".to_owned(),
            Some(why) => format!("no: {why}"),
        };
        rows.push(row(&format!("cpu:{kernel}"), &verdict));
    }
    let f32_by = if Kernel::best() == Kernel::Amx { "three bf16 products on tiles" } else { "vectors" };
    rows.push(row("f32 on the CPU", f32_by));
    rows.push(row("bf16 on the CPU", &format!("cpu:{}", Kernel::best())));
    rows.push(row("GPU", &gpu()));
    say(&columns(&rows))
}

fn row(what: &str, is: &str) -> Vec<String> {
    vec![what.to_owned(), is.to_owned()]
}

/// The value of the first line of a file of `key: value` lines that has the key.
fn value_in(file: &str, key: &str) -> Option<String> {
    let text = fs::read_to_string(file).ok()?;
    let line = text.lines().find(|line| line.starts_with(key))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

fn processor() -> String {
    value_in("/proc/cpuinfo", "model name").unwrap_or_else(|| std::env::consts::ARCH.to_owned())
}

fn memory() -> String {
    let of = |key: &str| {
        let kib: Option<f64> = value_in("/proc/meminfo", key).and_then(|v| v.strip_suffix(" kB")?.parse().ok());
        kib.map_or_else(|| "unknown".to_owned(), |kib| bytes(kib * 1024.0))
    };
    format!("{} free of {}", of("MemAvailable"), of("MemTotal"))
}

/// `always`, `madvise` or `never`; the encoder asks, so both of the first will do.
fn huge_pages() -> String {
    let text = fs::read_to_string("/sys/kernel/mm/transparent_hugepage/enabled").unwrap_or_default();
    match text.split_once('[').and_then(|(_, rest)| rest.split_once(']')) {
        Some(("never", _)) => "never: weights will miss the TLB; write madvise into \
                               /sys/kernel/mm/transparent_hugepage/enabled"
            .to_owned(),
        Some((mode, _)) => mode.to_owned(),
        None => "unknown".to_owned(),
    }
}

#[cfg(target_arch = "x86_64")]
fn vectors() -> String {
    let found = [
        ("avx2", std::arch::is_x86_feature_detected!("avx2")),
        ("fma", std::arch::is_x86_feature_detected!("fma")),
        ("avx512f", std::arch::is_x86_feature_detected!("avx512f")),
        ("avx512vl", std::arch::is_x86_feature_detected!("avx512vl")),
        ("avx512bw", std::arch::is_x86_feature_detected!("avx512bw")),
        ("avx512dq", std::arch::is_x86_feature_detected!("avx512dq")),
        ("avx512_bf16", std::arch::is_x86_feature_detected!("avx512bf16")),
    ];
    let listed = |there: bool| -> Vec<&str> { found.iter().filter(|(_, f)| *f == there).map(|(n, _)| *n).collect() };
    match (listed(true), listed(false)) {
        (all, none) if none.is_empty() => all.join(" "),
        (none, all) if none.is_empty() => format!("portable; the processor has no {}", all.join(", ")),
        (some, missing) => format!("{}; the processor has no {}", some.join(" "), missing.join(", ")),
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn vectors() -> String {
    "portable".to_owned()
}

fn gpu() -> String {
    match DeviceChoice::Cuda(0).resolve() {
        Ok(_) => "cuda:0, used by --device auto".to_owned(),
        Err(e) => format!("none: {e}"),
    }
}
