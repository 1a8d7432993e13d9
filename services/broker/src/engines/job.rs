/// The six types of AI tasks (CONTRACT.md, "AI tasks").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TaskKind {
    /// A draft from material and an instruction: `{text, title}`.
    ContentGeneration,
    /// The same text, tidied: `{text, title}`.
    ContentOptimization,
    /// `{tags, semantic_types, language, confidence}`.
    SemanticAnalysis,
    /// One text out of many nodes: `{text, title, sources}`.
    ContentFusion,
    /// One item per input or node: `{items}`.
    BatchProcessing,
    /// `{title, tags, summary}`.
    NodeEnhancement,
}

impl TaskKind {
    /// All of them.
    pub const ALL: [TaskKind; 6] = [
        TaskKind::ContentGeneration,
        TaskKind::ContentOptimization,
        TaskKind::SemanticAnalysis,
        TaskKind::ContentFusion,
        TaskKind::BatchProcessing,
        TaskKind::NodeEnhancement,
    ];

    /// Its name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            TaskKind::ContentGeneration => "content_generation",
            TaskKind::ContentOptimization => "content_optimization",
            TaskKind::SemanticAnalysis => "semantic_analysis",
            TaskKind::ContentFusion => "content_fusion",
            TaskKind::BatchProcessing => "batch_processing",
            TaskKind::NodeEnhancement => "node_enhancement",
        }
    }

    /// By its name on the wire.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

/// What an engine is asked to do.
#[derive(Clone, Debug)]
pub struct Job {
    /// The type of the task.
    pub kind: TaskKind,
    /// The texts to work on: the nodes in the order asked for, then the inputs.
    pub materials: Vec<Material>,
    /// What the user wants done with them.
    pub instruction: String,
    /// Background that is not itself to be worked on.
    pub context: String,
    /// The model that the task asks for.
    pub model: Option<String>,
}

impl Job {
    /// The same request about other materials.
    pub fn about(&self, materials: Vec<Material>) -> Job {
        Job {
            kind: self.kind,
            materials,
            instruction: self.instruction.clone(),
            context: self.context.clone(),
            model: self.model.clone(),
        }
    }

    /// How much text there is to work on.
    pub fn bytes(&self) -> usize {
        self.materials.iter().map(|material| material.text.len()).sum()
    }
}

/// One text to work on.
#[derive(Clone, Debug, Default)]
pub struct Material {
    /// The node it comes from; none for a text given in the task itself.
    pub node_id: Option<String>,
    /// The node's title; may be empty.
    pub title: String,
    /// The text, Markdown as a rule.
    pub text: String,
    /// The node's tags.
    pub tags: Vec<String>,
}

impl Material {
    /// A text given in the task itself.
    pub fn input(text: impl Into<String>) -> Self {
        Material { text: text.into(), ..Material::default() }
    }
}
