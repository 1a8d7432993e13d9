//! What the demo shows while it works: bars on a terminal, now and then a line elsewhere. All of it goes to standard error, so
//! that standard output has the result alone.

use std::{
    io::{self, IsTerminal},
    sync::Mutex,
    time::Duration,
};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

/// The work that is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Nodes that exist.
    Nodes,
    /// Connections that exist.
    Connections,
    /// Sections whose analysis is finished.
    Analysis,
    /// The fusion, in percent.
    Fusion,
}

const STAGES: [(Stage, &str); 4] = [
    (Stage::Nodes, "nodes"),
    (Stage::Connections, "connections"),
    (Stage::Analysis, "analysis"),
    (Stage::Fusion, "fusion"),
];

/// Shows progress.
#[derive(Debug)]
pub struct Progress {
    shown: Shown,
}

#[derive(Debug)]
enum Shown {
    Bars {
        all: MultiProgress,
        bars: Vec<ProgressBar>,
    },
    /// For each stage: how much there is, and how many tenths of it were said.
    Lines(Mutex<[(u64, u64); STAGES.len()]>),
}

impl Progress {
    /// Bars on a terminal, lines elsewhere.
    pub fn new() -> Self {
        if !io::stderr().is_terminal() {
            return Progress { shown: Shown::Lines(Mutex::default()) };
        }
        let all = MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(15));
        let style = ProgressStyle::with_template("{prefix:>12} [{bar:32}] {pos}/{len} {elapsed_precise}")
            .unwrap_or_else(|_| ProgressStyle::default_bar())
            .progress_chars("=> ");
        let bar = |(_, name): &(Stage, &'static str)| {
            let bar = all.add(ProgressBar::new(0).with_style(style.clone()).with_prefix(*name));
            bar.enable_steady_tick(Duration::from_millis(250));
            bar
        };
        let bars = STAGES.iter().map(bar).collect();
        Progress { shown: Shown::Bars { all, bars } }
    }

    /// Says something.
    pub fn say(&self, words: &str) {
        match &self.shown {
            // Nothing can be done for somebody who closed standard error.
            Shown::Bars { all, .. } => drop(all.println(words)),
            Shown::Lines(_) => say(words),
        }
    }

    /// How much there is to do.
    pub fn expect(&self, stage: Stage, total: u64) {
        match &self.shown {
            Shown::Bars { bars, .. } => bars[stage as usize].set_length(total),
            Shown::Lines(lines) => {
                lines.lock().unwrap_or_else(|poisoned| poisoned.into_inner())[stage as usize] = (total, 0);
            }
        }
    }

    /// How much is done.
    pub fn set(&self, stage: Stage, done: u64) {
        match &self.shown {
            Shown::Bars { bars, .. } => bars[stage as usize].set_position(done),
            Shown::Lines(lines) => {
                let mut lines = lines.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
                let (total, said) = &mut lines[stage as usize];
                let tenths = (done * 10).checked_div(*total).unwrap_or_default().min(10);
                if tenths > *said {
                    *said = tenths;
                    let (total, name) = (*total, STAGES[stage as usize].1);
                    match stage {
                        Stage::Fusion => say(&format!("{name}: {done} %")),
                        _ => say(&format!("{name}: {done} of {total}")),
                    }
                }
            }
        }
    }

    /// Nothing more is shown.
    pub fn finish(&self) {
        if let Shown::Bars { bars, .. } = &self.shown {
            bars.iter().for_each(ProgressBar::abandon);
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.finish();
    }
}

fn say(words: &str) {
    use io::Write;
    // Nothing can be done for somebody who closed standard error.
    let _ = writeln!(io::stderr(), "{words}");
}
