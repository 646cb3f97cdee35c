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
    /// Items of the step, and how many of them the plan gave the current shard.
    total: u64,
    planned: u64,
    /// Items of finished shards, and of the current one.
    finished: u64,
    in_shard: u64,
    /// Of all these, items that earlier attempts had done: they cost this run no time.
    before: u64,
    skipped: u64,
    reused: bool,
}

/// A terminal line is redrawn this often, a JSON line printed this often.
const REDRAW: Duration = Duration::from_millis(200);
const JSON_EVERY: Duration = Duration::from_secs(10);

impl State {
    fn new(now: Instant) -> Self {
        Self {
            title: String::new(),
            step_started: now,
            last_shown: now,
            total: 0,
            planned: 0,
            finished: 0,
            in_shard: 0,
            before: 0,
            skipped: 0,
            reused: false,
        }
    }

    /// What an event changes.
    fn note(&mut self, event: &Event<'_>, now: Instant) {
        match event {
            Event::Step { number, steps, title, missing, items, .. } => {
                let title = format!("[{number}/{steps}] {title}");
                *self = Self { title, total: *items, reused: *missing == 0, ..Self::new(now) };
            }
            Event::Shard { items, .. } => (self.in_shard, self.planned) = (0, *items),
            Event::Total { items } => {
                self.total = self.total.saturating_sub(self.planned) + items;
                self.planned = *items;
            }
            Event::Resumed { done } => {
                self.before += done;
                self.in_shard = *done;
            }
            Event::Items { done } => self.in_shard = *done,
            Event::ShardDone { items, skipped, .. } => {
                self.finished += items;
                self.in_shard = 0;
                self.skipped += skipped;
            }
            Event::StepDone => {}
        }
    }

    /// Items done, and items that this run does in a second.
    fn pace(&self, secs: f64) -> (u64, f64) {
        let done = self.finished + self.in_shard;
        (done, done.saturating_sub(self.before) as f64 / secs.max(1e-9))
    }

    /// A line for people; the last one of a step says how long it took.
    fn line(&self, secs: f64, last: bool) -> String {
        let (done, rate) = self.pace(secs);
        let left = self.total.saturating_sub(done) as f64 / rate.max(1e-9);
        let tail = if last { format!("in {}", time(secs)) } else { format!("{rate:.1}/s, {} left", time(left)) };
        let skipped = if self.skipped > 0 { format!(", {} skipped", self.skipped) } else { String::new() };
        format!("{}  {done}/{} {tail}{skipped}", self.title, self.total)
    }

    /// The same for programs.
    fn json(&self, secs: f64, last: bool) -> String {
        let (done, rate) = self.pace(secs);
        serde_json::json!({
            "event": if last { "step_done" } else { "progress" },
            "step": self.title, "done": done, "total": self.total, "skipped": self.skipped,
            "per_sec": (rate * 100.0).round() / 100.0, "secs": (secs * 100.0).round() / 100.0,
        })
        .to_string()
    }

    /// That the current shard goes on from a kept state.
    fn resumed(&self, from: u64, terminal: bool) -> String {
        if terminal {
            return format!("{}  goes on from step {from}", self.title);
        }
        serde_json::json!({"event": "resumed", "step": self.title, "from": from, "total": self.total}).to_string()
    }
}

impl Reporter {
    /// For this process's stderr.
    pub fn new() -> Self {
        Self { terminal: stderr().is_terminal(), state: Mutex::new(State::new(Instant::now())) }
    }

    fn show(&self, s: &mut State, last: bool) {
        s.last_shown = Instant::now();
        let secs = s.step_started.elapsed().as_secs_f64();
        let mut err = stderr().lock();
        // A closed stderr is no reason to stop a run.
        let _ = if self.terminal {
            let end = if last { "\n" } else { "" };
            write!(err, "\r\x1b[2K{}{end}", s.line(secs, last)).and_then(|()| err.flush())
        } else {
            writeln!(err, "{}", s.json(secs, last))
        };
    }
}

impl Progress for Reporter {
    fn event(&self, event: &Event<'_>) {
        let mut s = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        s.note(event, Instant::now());
        match event {
            Event::Step { .. } if s.reused && self.terminal => {
                let _ = writeln!(stderr(), "{}  already there", s.title);
            }
            Event::Resumed { done } => {
                let clear = if self.terminal { "\r\x1b[2K" } else { "" };
                let _ = writeln!(stderr(), "{clear}{}", s.resumed(*done, self.terminal));
            }
            Event::Items { .. } => {
                let every = if self.terminal { REDRAW } else { JSON_EVERY };
                if s.last_shown.elapsed() >= every {
                    self.show(&mut s, false);
                }
            }
            Event::StepDone if !s.reused => self.show(&mut s, true),
            _ => {}
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
    use super::*;

    fn after(events: &[Event<'_>]) -> State {
        let mut state = State::new(Instant::now());
        let step = Event::Step { number: 2, steps: 3, title: "train_head", shards: 1, missing: 1, items: 468 };
        state.note(&step, Instant::now());
        state.note(&Event::Shard { index: 0, items: 468 }, Instant::now());
        for event in events {
            state.note(event, Instant::now());
        }
        state
    }

    /// 600 steps are from before and 100 of this run, in 10 s. Breaks when what an earlier run did is counted as fast work
    /// of this one, so that 1,300 steps seem to take 19 s instead of 130.
    #[test]
    fn a_resumed_training_is_as_fast_as_it_is_now() {
        let state = after(&[Event::Total { items: 2000 }, Event::Resumed { done: 600 }, Event::Items { done: 700 }]);
        assert_eq!(state.line(10.0, false), "[2/3] train_head  700/2000 10.0/s, 2 min 10 s left");
        let json: serde_json::Value = serde_json::from_str(&state.json(10.0, false)).unwrap_or_default();
        assert_eq!((&json["per_sec"], &json["done"]), (&10.0.into(), &700.into()));
        assert_eq!(state.resumed(600, true), "[2/3] train_head  goes on from step 600");
        let json: serde_json::Value = serde_json::from_str(&state.resumed(600, false)).unwrap_or_default();
        assert_eq!((&json["event"], &json["from"], &json["total"]), (&"resumed".into(), &600.into(), &2000.into()));
    }

    /// Breaks when a step that was planned with 468 items ends at 211 of 468.
    #[test]
    fn what_a_shard_finds_replaces_what_was_planned() {
        let done = Event::ShardDone { index: 0, items: 211, skipped: 0, rows: 9 };
        let state = after(&[Event::Total { items: 211 }, Event::Items { done: 211 }, done]);
        assert_eq!(state.line(2.0, true), "[2/3] train_head  211/211 in 2.0 s");
    }

    #[test]
    fn numbers_read_as_people_write_them() {
        assert_eq!([time(0.04), time(59.0), time(250.0), time(7500.0)], ["0.0 s", "59 s", "4 min 10 s", "2 h 5 min"]);
        assert_eq!([bytes(0.0), bytes(999.0), bytes(12_340_000.0)], ["0 B", "999 B", "12.3 MB"]);
    }
}
