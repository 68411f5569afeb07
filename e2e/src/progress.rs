//! What is going on, for a person who waits: a spinner with elapsed time on a terminal, plain lines elsewhere.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// A step that takes a while. Says that it began, and with [`Step::done`] that it ended and how long it took.
///
/// Dropped without [`Step::done`] it is shown as not finished, so that an early return by `?` cannot look like success.
pub struct Step {
    what: String,
    began: Instant,
    bar: ProgressBar,
    finished: bool,
}

impl Step {
    /// Begins a step; `what` completes the sentence "now …", for example "building etcd 3.7.3".
    pub fn begin(what: impl Into<String>) -> Self {
        let what = what.into();
        let bar = ProgressBar::new_spinner();
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} {elapsed}") {
            bar.set_style(style);
        }
        bar.set_message(what.clone());
        bar.enable_steady_tick(Duration::from_millis(100));
        if bar.is_hidden() {
            eprintln!("   {what} …");
        }
        Self { what, began: Instant::now(), bar, finished: false }
    }

    /// The step succeeded.
    pub fn done(mut self) {
        self.finish("✓");
    }

    fn finish(&mut self, mark: &str) {
        self.finished = true;
        self.bar.finish_and_clear();
        eprintln!("{mark}  {} ({:.1} s)", self.what, self.began.elapsed().as_secs_f64());
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        if !self.finished {
            self.finish("✗");
        }
    }
}
