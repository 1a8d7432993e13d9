//! What is known of the work from the events on the project's channel.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use serde_json::Value;
use sker_types::{ChannelEvent, Uuid, event_type};
use tokio::sync::Notify;

use super::progress::{Progress, Stage};

/// How far a task is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// Nothing is known yet, or it waits.
    Waiting,
    /// A broker works on it.
    Running,
    /// It is done.
    Completed,
    /// It failed or was cancelled.
    Failed,
}

impl State {
    fn is_final(self) -> bool {
        self >= State::Completed
    }

    /// The state that a task's `status` stands for.
    pub fn of_status(status: &str) -> State {
        match status {
            "processing" => State::Running,
            "completed" => State::Completed,
            "failed" | "cancelled" => State::Failed,
            _ => State::Waiting,
        }
    }
}

/// Counts what the events say, and shows it.
pub struct Tracker<'progress> {
    progress: &'progress Progress,
    known: Mutex<Known>,
    changed: Notify,
}

#[derive(Default)]
struct Known {
    /// Tasks of which an event was seen or that were submitted. Events may come before the answer of the submission.
    tasks: HashMap<Uuid, Task>,
    nodes: u64,
    connections: u64,
    /// Submitted analyses, and those of them that are finished.
    analyses: u64,
    analyses_finished: u64,
    fusion: Option<Uuid>,
    /// Events were lost: what is counted is too low.
    reset: bool,
    /// Grows with everything that is learnt.
    news: u64,
}

#[derive(Clone, Copy)]
struct Task {
    state: State,
    submitted: bool,
}

impl<'progress> Tracker<'progress> {
    /// Nothing is known yet.
    pub fn new(progress: &'progress Progress) -> Self {
        Tracker { progress, known: Mutex::default(), changed: Notify::new() }
    }

    /// An event came.
    pub fn event(&self, event: &ChannelEvent) {
        let mut known = self.known();
        match event.kind.as_str() {
            event_type::NODE_CREATED => {
                known.nodes += 1;
                self.progress.set(Stage::Nodes, known.nodes);
            }
            event_type::CONNECTION_CREATED => {
                known.connections += 1;
                self.progress.set(Stage::Connections, known.connections);
            }
            event_type::TASK_STARTED | event_type::TASK_RESTARTED => self.task(&mut known, event, State::Running),
            event_type::TASK_PROGRESS => {
                self.task(&mut known, event, State::Running);
                if let (Some(fusion), Some(progress)) = (known.fusion, event.data["progress"].as_u64())
                    && task_id(event) == Some(fusion)
                {
                    self.progress.set(Stage::Fusion, progress);
                }
            }
            event_type::TASK_COMPLETED => self.task(&mut known, event, State::Completed),
            event_type::TASK_FAILED | event_type::TASK_CANCELLED => self.task(&mut known, event, State::Failed),
            _ => return,
        }
        known.news += 1;
        self.changed.notify_one();
    }

    /// Events were lost for good.
    pub fn reset(&self) {
        self.known().reset = true;
        self.changed.notify_one();
    }

    /// Whether events were lost since this was last asked.
    pub fn take_reset(&self) -> bool {
        std::mem::take(&mut self.known().reset)
    }

    /// An analysis was submitted.
    pub fn submitted_analysis(&self, id: Uuid) {
        let mut known = self.known();
        known.analyses += 1;
        self.submitted(&mut known, id);
    }

    /// The fusion was submitted.
    pub fn submitted_fusion(&self, id: Uuid) {
        let mut known = self.known();
        known.fusion = Some(id);
        self.submitted(&mut known, id);
    }

    /// What the store says of a task.
    pub fn read(&self, id: Uuid, state: State) {
        let mut known = self.known();
        self.learn(&mut known, id, state);
        self.changed.notify_one();
    }

    /// Waits until something new is known.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    /// A number that differs from an earlier one when something was learnt since.
    pub fn news(&self) -> u64 {
        self.known().news
    }

    /// Whether all that was submitted is finished.
    pub fn is_finished(&self) -> bool {
        let known = self.known();
        let fused = known.fusion.and_then(|id| known.tasks.get(&id)).is_some_and(|task| task.state.is_final());
        fused && known.analyses_finished == known.analyses
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn task(&self, known: &mut Known, event: &ChannelEvent, state: State) {
        if let Some(id) = task_id(event) {
            self.learn(known, id, state);
        }
    }

    fn learn(&self, known: &mut Known, id: Uuid, state: State) {
        let task = known.tasks.entry(id).or_insert(Task { state: State::Waiting, submitted: false });
        // What is final stays so: what the store said may be older than an event that came since, and the other way round.
        if task.state.is_final() || task.state == state {
            return;
        }
        task.state = state;
        known.news += 1;
        if task.submitted && state.is_final() {
            self.finished(known, id);
        }
    }

    fn submitted(&self, known: &mut Known, id: Uuid) {
        let task = known.tasks.entry(id).or_insert(Task { state: State::Waiting, submitted: false });
        task.submitted = true;
        let state = task.state;
        known.news += 1;
        if state.is_final() {
            self.finished(known, id);
        }
        self.changed.notify_one();
    }

    fn finished(&self, known: &mut Known, id: Uuid) {
        if known.fusion == Some(id) {
            self.progress.set(Stage::Fusion, 100);
        } else {
            known.analyses_finished += 1;
            self.progress.set(Stage::Analysis, known.analyses_finished);
        }
    }
}

fn task_id(event: &ChannelEvent) -> Option<Uuid> {
    let id = |field: &str| event.data.get(field).and_then(Value::as_str).and_then(sker_types::parse_id);
    id("task_id").or_else(|| id("id"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn event(kind: &str, task: Uuid) -> ChannelEvent {
        ChannelEvent {
            kind: kind.to_owned(),
            id: sker_types::new_id(),
            seq: 1,
            channel: "project:x".to_owned(),
            time: sker_types::now(),
            data: json!({ "task_id": task }),
        }
    }

    #[test]
    fn events_that_outrun_the_answer_to_the_submission_count() {
        let progress = Progress::new();
        let tracker = Tracker::new(&progress);
        let (analysis, fusion) = (sker_types::new_id(), sker_types::new_id());
        tracker.event(&event("ai_task.completed", analysis));
        tracker.submitted_analysis(analysis);
        tracker.submitted_fusion(fusion);
        assert!(!tracker.is_finished());
        tracker.event(&event("ai_task.completed", fusion));
        assert!(tracker.is_finished());
        assert_eq!(tracker.known().analyses_finished, 1);
    }

    #[test]
    fn nothing_is_counted_twice_and_a_late_event_changes_nothing() {
        let progress = Progress::new();
        let tracker = Tracker::new(&progress);
        let (analysis, fusion) = (sker_types::new_id(), sker_types::new_id());
        tracker.submitted_analysis(analysis);
        tracker.submitted_fusion(fusion);
        for kind in ["ai_task.started", "ai_task.failed", "ai_task.failed", "ai_task.started", "ai_task.completed"] {
            tracker.event(&event(kind, analysis));
        }
        tracker.read(analysis, State::Completed);
        assert_eq!(tracker.known().analyses_finished, 1);
        assert!(!tracker.is_finished());
        tracker.read(fusion, State::of_status("completed"));
        assert!(tracker.is_finished());
    }
}
