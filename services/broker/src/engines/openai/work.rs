use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use serde_json::{Map, Value, json};

use super::{
    chat::{Answer, Chat},
    condense::{condense, language},
    draft::Draft,
    json::{lenient_object, share, string, strings},
    prompts::prompt,
};
use crate::engines::{Failure, Job, Material, Output, Sink, TaskKind, Usage, local, text::detect_language};

/// One job under way.
pub(super) struct Work<'a> {
    chat: &'a Chat,
    job: Arc<Job>,
    sink: &'a dyn Sink,
}

const MOST_TAGS: usize = 10;
/// About how long an answer gets; only the progress bar depends on it.
const USUAL_BYTES: usize = 4_000;

impl<'a> Work<'a> {
    pub(super) fn new(chat: &'a Chat, job: Job, sink: &'a dyn Sink) -> Self {
        Work { chat, job: Arc::new(job), sink }
    }

    pub(super) async fn run(&self) -> Result<Output, Failure> {
        if self.job.bytes() == 0 {
            return Err(Failure::permanent("invalid_input", "there is no text to work on"));
        }
        let (fields, usage) = match self.job.kind {
            TaskKind::ContentGeneration | TaskKind::ContentOptimization => self.write().await?,
            TaskKind::ContentFusion => self.fuse().await?,
            TaskKind::SemanticAnalysis => self.analyse().await?,
            TaskKind::NodeEnhancement => {
                let (materials, condensed) = self.materials().await?;
                let (mut fields, usage) = self.describe(&materials).await?;
                mark(&mut fields, condensed);
                (fields, usage)
            }
            TaskKind::BatchProcessing => self.batch().await?,
        };
        self.sink.progress(100, "done");
        let mut output = Output::new(fields, "openai", true, usage);
        let model = self.job.model.clone().unwrap_or_else(|| self.chat.options().model.clone());
        output.data.insert("model".to_owned(), json!(model));
        Ok(output)
    }

    /// A text with a title, streamed as it comes.
    async fn write(&self) -> Result<(Map<String, Value>, Usage), Failure> {
        let (materials, condensed) = self.materials().await?;
        let prompt = prompt(&self.job, self.job.kind, &materials, language(&materials));
        let mut draft = Draft::new(self.sink);
        let written = AtomicUsize::new(0);
        let answer = self.chat.ask(&prompt, |piece| {
            draft.push(piece);
            let bytes = written.fetch_add(piece.len(), Ordering::Relaxed) + piece.len();
            // Nobody knows how long it gets: the bar nears its end ever more slowly.
            let percent = 10 + 85 * bytes / (bytes + USUAL_BYTES);
            self.sink.progress(u8::try_from(percent).unwrap_or(95), "writing");
        });
        let usage = answer.await?.usage;
        let (title, text) = draft.finish();
        if text.trim().is_empty() {
            return Err(Failure::transient("engine_error", "the provider answered nothing").with_usage(usage));
        }
        let mut fields = Map::new();
        fields.insert("title".to_owned(), json!(if title.is_empty() { own_title(&materials, &text) } else { title }));
        fields.insert("text".to_owned(), json!(text));
        mark(&mut fields, condensed);
        Ok((fields, usage))
    }

    /// A text out of many, with the sentences of the nodes that it rests on.
    async fn fuse(&self) -> Result<(Map<String, Value>, Usage), Failure> {
        let (mut fields, usage) = self.write().await?;
        let text = string(fields.get("text"));
        let job = Arc::clone(&self.job);
        let sources = blocking(move || local::sources_of(&job.materials, &text)).await?;
        fields.insert("sources".to_owned(), json!(sources));
        Ok((fields, usage))
    }

    async fn analyse(&self) -> Result<(Map<String, Value>, Usage), Failure> {
        let (materials, condensed) = self.materials().await?;
        let detected = language(&materials);
        let (found, usage) = self.object(self.job.kind, &materials).await?;
        let told = string(found.get("language"));
        let is_code = (2..=3).contains(&told.len()) && told.bytes().all(|byte| byte.is_ascii_lowercase());
        let mut fields = Map::new();
        fields.insert("tags".to_owned(), json!(strings(found.get("tags"), MOST_TAGS)));
        fields.insert("semantic_types".to_owned(), json!(strings(found.get("semantic_types"), MOST_TAGS)));
        fields.insert("language".to_owned(), json!(if is_code { told } else { detected.to_owned() }));
        fields.insert("confidence".to_owned(), json!(share(found.get("confidence")).unwrap_or(0.5)));
        mark(&mut fields, condensed);
        Ok((fields, usage))
    }

    /// Title, tags and summary.
    async fn describe(&self, materials: &[Material]) -> Result<(Map<String, Value>, Usage), Failure> {
        let (found, usage) = self.object(TaskKind::NodeEnhancement, materials).await?;
        let summary = string(found.get("summary"));
        let title = string(found.get("title"));
        let mut tags: Vec<String> = materials.iter().flat_map(|material| material.tags.clone()).collect();
        tags.extend(strings(found.get("tags"), MOST_TAGS));
        let tags = strings(Some(&json!(tags)), MOST_TAGS);
        let mut fields = Map::new();
        fields.insert("title".to_owned(), json!(if title.is_empty() { own_title(materials, &summary) } else { title }));
        fields.insert("tags".to_owned(), json!(tags));
        fields.insert("summary".to_owned(), json!(summary));
        Ok((fields, usage))
    }

    async fn batch(&self) -> Result<(Map<String, Value>, Usage), Failure> {
        let count = self.job.materials.len();
        let mut items = Vec::with_capacity(count);
        let mut usage = Usage::default();
        for (index, material) in self.job.materials.iter().enumerate() {
            let percent = u8::try_from(100 * index / count.max(1)).unwrap_or(99).min(99);
            self.sink.progress(percent, "working through the batch");
            let one = self.job.about(vec![material.clone()]);
            let limit = self.chat.options().max_input_bytes;
            let (materials, condensed) = blocking(move || condense(&one, limit)).await?;
            let (mut item, used) = self.describe(&materials).await.map_err(|failure| {
                let before = failure.usage.unwrap_or_default();
                failure.with_usage(usage.plus(before))
            })?;
            usage = usage.plus(used);
            item.insert("index".to_owned(), json!(index));
            item.insert("node_id".to_owned(), json!(material.node_id));
            item.insert("language".to_owned(), json!(detect_language(&material.text).code));
            mark(&mut item, condensed);
            items.push(Value::Object(item));
        }
        let mut fields = Map::new();
        fields.insert("items".to_owned(), json!(items));
        Ok((fields, usage))
    }

    async fn object(&self, kind: TaskKind, materials: &[Material]) -> Result<(Map<String, Value>, Usage), Failure> {
        let prompt = prompt(&self.job, kind, materials, language(materials));
        let Answer { text, usage } = self.chat.ask(&prompt, |_| {}).await?;
        match lenient_object(&text) {
            Some(found) => Ok((found, usage)),
            None => {
                Err(Failure::transient("engine_error", "the provider's answer is not a JSON object").with_usage(usage))
            }
        }
    }

    async fn materials(&self) -> Result<(Vec<Material>, bool), Failure> {
        self.sink.progress(5, "reading");
        let job = Arc::clone(&self.job);
        let limit = self.chat.options().max_input_bytes;
        if job.bytes() <= limit {
            return Ok((job.materials.clone(), false));
        }
        blocking(move || condense(&job, limit)).await
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Failure> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|_| Failure::permanent("engine_panicked", "the engine failed on this input"))
}

/// Says when the model has not seen everything.
fn mark(fields: &mut Map<String, Value>, condensed: bool) {
    if condensed {
        fields.insert("condensed".to_owned(), json!(true));
    }
}

/// A title when the model gave none: that of the only text, or the first words.
fn own_title(materials: &[Material], text: &str) -> String {
    match materials {
        [only] if !only.title.trim().is_empty() => only.title.trim().to_owned(),
        _ => text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default().chars().take(60).collect(),
    }
}
