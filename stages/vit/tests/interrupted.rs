//! Passes under conditions that break careless kernels: more threads than cores, small stacks, and a signal every
//! millisecond whose handler runs on an alternate stack and uses the registers that kernels use.
//!
//! On a machine with tiles this shows that a thread's tile configuration survives switches and signals; on any other
//! it shows the same of vector registers.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::atomic::{AtomicU64, Ordering};

use vit::cpu::{CpuVit, Kernel};
use vit::weights::expected;
use vit::{Encoder, Params, Pixels, Request, Site, VitConfig};

static SIGNALS: AtomicU64 = AtomicU64::new(0);

extern "C" fn on_alarm(_: libc::c_int) {
    // Vector arithmetic in the handler: what it leaves in registers must not reach the interrupted pass.
    let mut values = [0.0f32; 64];
    for (i, v) in values.iter_mut().enumerate() {
        *v = (i as f32).mul_add(1.5, 2.0);
    }
    if values.iter().sum::<f32>() > 0.0 {
        SIGNALS.fetch_add(1, Ordering::Relaxed);
    }
}

/// A signal to this process every millisecond until dropped.
struct Alarm;

impl Alarm {
    fn start() -> Self {
        // SAFETY: the handler touches its own stack and an atomic; the structures are fully written.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = on_alarm as *const () as usize;
            action.sa_flags = libc::SA_ONSTACK | libc::SA_RESTART;
            assert_eq!(libc::sigaction(libc::SIGALRM, &raw const action, std::ptr::null_mut()), 0);
        }
        Self::set(1000);
        Alarm
    }

    fn set(micros: i64) {
        let every = libc::timeval { tv_sec: 0, tv_usec: micros };
        let timer = libc::itimerval { it_interval: every, it_value: every };
        // SAFETY: as above.
        unsafe { assert_eq!(libc::setitimer(libc::ITIMER_REAL, &raw const timer, std::ptr::null_mut()), 0) };
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        Self::set(0);
    }
}

fn config() -> VitConfig {
    let mut config = vit::zoo::find("dinov2_vits14_reg4").unwrap().config;
    config.depth = 2;
    config
}

fn params(config: &VitConfig) -> Params {
    let mut state = 1u64;
    let mut params = Params::default();
    for (name, shape) in expected(config) {
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            0.05 * ((state >> 40) as f32 / (1u64 << 23) as f32 - 1.0)
        };
        let data = (0..shape.iter().product()).map(|_| next()).collect();
        params.insert(name, shape, data);
    }
    params
}

/// Breaks when a pass depends on what another thread or a signal handler leaves in registers, or overflows a small
/// stack.
#[test]
fn passes_survive_signals_many_threads_and_small_stacks() {
    let config = config();
    let params = params(&config);
    let data = (0..3 * 70 * 84).map(|i| (i % 97) as f32 / 48.0 - 1.0).collect();
    let pixels = Pixels { height: 70, width: 84, data };
    let want = Request { full: [Site::Final, Site::ClsAttention(1)].into(), ..Request::default() };
    let mut encoders = vec![CpuVit::f32(&config, &params, None).unwrap()];
    let kernels = Kernel::ALL.into_iter().filter(|kernel| kernel.refusal().is_none());
    encoders.extend(kernels.map(|kernel| CpuVit::bf16(&config, &params, Some(kernel)).unwrap()));
    for encoder in &encoders {
        let quiet = encoder.encode(&[&pixels], &want).unwrap();
        let before = SIGNALS.load(Ordering::Relaxed);
        let alarm = Alarm::start();
        std::thread::scope(|scope| {
            for _ in 0..16 {
                let passes = || {
                    for _ in 0..4 {
                        assert_eq!(encoder.encode(&[&pixels], &want).unwrap(), quiet, "bit for bit");
                    }
                };
                std::thread::Builder::new().stack_size(256 << 10).spawn_scoped(scope, passes).unwrap();
            }
        });
        drop(alarm);
        assert!(SIGNALS.load(Ordering::Relaxed) > before, "no signal came");
    }
}
