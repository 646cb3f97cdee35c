//! Progress: one line with rate and remaining time on a terminal, JSON lines elsewhere.

use std::io::{IsTerminal as _, Write as _, stderr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use engine::{Event, Progress};

/// Shows events on stderr.
pub struct Reporter {
    terminal: bool,
    state: Mutex<State>,
}

struct State {
    title: String,
    step_started: Instant,
    last_shown: Instant,
    total: u64,
    finished: u64,
    in_shard: u64,
    skipped: u64,
    reused: bool,
}

/// A terminal line is redrawn this often, a JSON line printed this often.
const REDRAW: Duration = Duration::from_millis(200);
const JSON_EVERY: Duration = Duration::from_secs(10);

impl Reporter {
    /// For this process's stderr.
    pub fn new() -> Self {
        let now = Instant::now();
        let state = State {
            title: String::new(),
            step_started: now,
            last_shown: now,
            total: 0,
            finished: 0,
            in_shard: 0,
            skipped: 0,
            reused: false,
        };
        Self { terminal: stderr().is_terminal(), state: Mutex::new(state) }
    }

    fn show(&self, s: &mut State, last: bool) {
        s.last_shown = Instant::now();
        let secs = s.step_started.elapsed().as_secs_f64();
        let done = s.finished + s.in_shard;
        let rate = done as f64 / secs.max(1e-9);
        let mut err = stderr().lock();
        // A closed stderr is no reason to stop a run.
        let _ = if self.terminal {
            let left = (s.total.saturating_sub(done)) as f64 / rate.max(1e-9);
            let tail = if last { format!("in {}", time(secs)) } else { format!("{rate:.1}/s, {} left", time(left)) };
            let skipped = if s.skipped > 0 { format!(", {} skipped", s.skipped) } else { String::new() };
            write!(err, "\r\x1b[2K{}  {done}/{} {tail}{skipped}{}", s.title, s.total, if last { "\n" } else { "" })
                .and_then(|()| err.flush())
        } else {
            let line = serde_json::json!({
                "event": if last { "step_done" } else { "progress" },
                "step": s.title, "done": done, "total": s.total, "skipped": s.skipped,
                "per_sec": (rate * 100.0).round() / 100.0, "secs": (secs * 100.0).round() / 100.0,
            });
            writeln!(err, "{line}")
        };
    }
}

impl Progress for Reporter {
    fn event(&self, event: &Event<'_>) {
        let mut s = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::Step { number, steps, title, missing, items, .. } => {
                s.title = format!("[{number}/{steps}] {title}");
                s.step_started = Instant::now();
                s.last_shown = s.step_started;
                (s.total, s.finished, s.in_shard, s.skipped) = (*items, 0, 0, 0);
                s.reused = *missing == 0;
                if s.reused && self.terminal {
                    let _ = writeln!(stderr(), "{}  already there", s.title);
                }
            }
            Event::Shard { .. } => s.in_shard = 0,
            Event::Items { done } => {
                s.in_shard = *done;
                let every = if self.terminal { REDRAW } else { JSON_EVERY };
                if s.last_shown.elapsed() >= every {
                    self.show(&mut s, false);
                }
            }
            Event::ShardDone { items, skipped, .. } => {
                s.finished += items;
                s.in_shard = 0;
                s.skipped += skipped;
            }
            Event::StepDone => {
                if !s.reused {
                    self.show(&mut s, true);
                }
            }
        }
    }
}

/// Shows a download on a terminal; silent elsewhere. Called with bytes done and bytes in all.
pub fn download() -> impl Fn(u64, u64) {
    let started = Instant::now();
    let shown = Mutex::new(started);
    move |done, total| {
        let mut last = shown.lock().unwrap_or_else(PoisonError::into_inner);
        if !stderr().is_terminal() || (last.elapsed() < REDRAW && done < total) {
            return;
        }
        *last = Instant::now();
        let rate = done as f64 / started.elapsed().as_secs_f64().max(1e-9);
        let left = time(total.saturating_sub(done) as f64 / rate.max(1.0));
        let (done_text, total_text) = (bytes(done as f64), bytes(total as f64));
        let end = if done >= total { "\n" } else { "" };
        let line = format!("fetching weights  {done_text} of {total_text}, {}/s, {left} left", bytes(rate));
        let _ = write!(stderr(), "\r\x1b[2K{line}{end}");
    }
}

/// Seconds as `3.2 s`, `4 min 10 s` or `2 h 5 min`.
pub fn time(secs: f64) -> String {
    let whole = secs.max(0.0).round() as u64;
    match whole {
        0..=9 => format!("{secs:.1} s"),
        10..=59 => format!("{whole} s"),
        60..=3599 => format!("{} min {} s", whole / 60, whole % 60),
        _ => format!("{} h {} min", whole / 3600, whole % 3600 / 60),
    }
}

/// Bytes as `12.3 MB`.
pub fn bytes(n: f64) -> String {
    let units = ["B", "kB", "MB", "GB", "TB", "PB"];
    let step = (n.max(1.0).log10() / 3.0).floor().clamp(0.0, 5.0) as usize;
    let value = n / 1000f64.powi(step as i32);
    if step == 0 { format!("{value:.0} B") } else { format!("{value:.1} {}", units[step]) }
}

#[cfg(test)]
mod tests {
    use super::{bytes, time};

    #[test]
    fn numbers_read_as_people_write_them() {
        assert_eq!([time(0.04), time(59.0), time(250.0), time(7500.0)], ["0.0 s", "59 s", "4 min 10 s", "2 h 5 min"]);
        assert_eq!([bytes(0.0), bytes(999.0), bytes(12_340_000.0)], ["0 B", "999 B", "12.3 MB"]);
    }
}
