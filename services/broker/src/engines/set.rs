use std::{collections::BTreeMap, sync::Arc};

use super::{Engine, Failure};

/// The engines of this process, by name.
#[derive(Clone)]
pub struct EngineSet {
    engines: BTreeMap<&'static str, Arc<dyn Engine>>,
    default: &'static str,
}

impl EngineSet {
    /// A set whose first engine is the one for tasks that name none.
    pub fn new(default: Arc<dyn Engine>) -> Self {
        let name = default.name();
        EngineSet { engines: BTreeMap::from([(name, default)]), default: name }
    }

    /// Adds an engine.
    pub fn with(mut self, engine: Arc<dyn Engine>) -> Self {
        self.engines.insert(engine.name(), engine);
        self
    }

    /// The engine that a task names, or the default one. A name that is not configured fails the task: another engine
    /// would give it something that it did not ask for.
    pub fn choose(&self, name: Option<&str>) -> Result<Arc<dyn Engine>, Failure> {
        let name = name.unwrap_or(self.default);
        self.engines.get(name).cloned().ok_or_else(|| {
            let known: Vec<&str> = self.names().collect();
            Failure::permanent(
                "unknown_engine",
                format!("no engine of the name asked for is configured here; there are: {}", known.join(", ")),
            )
        })
    }

    /// The names of all engines.
    pub fn names(&self) -> impl Iterator<Item = &'static str> + '_ {
        self.engines.keys().copied()
    }
}
