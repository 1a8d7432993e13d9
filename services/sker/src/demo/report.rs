//! What the demo prints at the end.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use serde_json::{Value, json};
use sker_client::http::Platform;
use sker_types::Uuid;

use super::{
    feed::{self, Fed},
    sections::Section,
};
use crate::{
    exit::Failure,
    output::{Output, line, printable},
    platform_status::{self, ServiceRow},
};

/// The most tags that are printed.
const MOST_TAGS: usize = 40;
/// The most failed tasks that are printed.
const MOST_FAILURES: usize = 5;

/// All of it, before it is printed.
pub struct Report {
    file: String,
    sections: usize,
    analyses: usize,
    title: String,
    text: String,
    /// The sections that the text came from: number, title, excerpt.
    sources: Vec<(usize, String, String)>,
    /// Tags with the number of sections that have them, most first.
    tags: Vec<(String, usize)>,
    failures: Vec<String>,
    services: Vec<ServiceRow>,
    starting: Duration,
    submitting: Duration,
    working: Duration,
}

impl Report {
    /// Reads the results through the gateway.
    pub async fn read(
        platform: &Platform,
        file: &str,
        sections: &[Section<'_>],
        fed: &Fed,
        starting: Duration,
    ) -> Result<Self, Failure> {
        let fusion = platform.get(&format!("/api/v1/ai-tasks/{}", fed.fusion)).await?;
        let tasks = feed::all_tasks(platform, fed.project).await?;
        let mut services = platform_status::read(async |path: &str| Ok(platform.get(path).await?)).await?;
        platform_status::ask(&mut services).await?;
        let analyses: Vec<&Value> = tasks.iter().filter(|task| task["type"] == "semantic_analysis").collect();
        let text = |field: &str| fusion["output_data"][field].as_str().unwrap_or_default().to_owned();
        Ok(Report {
            file: file.to_owned(),
            sections: sections.len(),
            analyses: analyses.len(),
            title: text("title"),
            text: text("text"),
            sources: sources(&fusion, &fed.nodes, sections),
            tags: tags(&analyses),
            failures: tasks.iter().filter_map(failure).collect(),
            services,
            starting,
            submitting: fed.submitting,
            working: fed.working,
        })
    }

    /// Prints it. An error says that tasks failed.
    pub fn print(&self, output: Output) -> Result<(), Failure> {
        if output.is_json() {
            output.json(&self.to_json())?;
        } else {
            self.print_text(output)?;
        }
        match self.failures.len() {
            0 => Ok(()),
            count => Err(anyhow::anyhow!("{count} of {} tasks failed", self.analyses + 1).into()),
        }
    }

    fn print_text(&self, output: Output) -> std::io::Result<()> {
        output.heading(&match self.title.is_empty() {
            true => "Fused text".to_owned(),
            false => format!("Fused text: {}", printable(&self.title)),
        })?;
        line(printable(&self.text).trim())?;
        output.heading(&format!("It came from {} of {} sections", self.sources.len(), self.sections))?;
        for (number, title, excerpt) in &self.sources {
            line(&format!("  {number:>4}  {}", printable(title)))?;
            let excerpt = excerpt.split_whitespace().collect::<Vec<_>>().join(" ");
            if !excerpt.is_empty() {
                line(&format!("        {}", printable(&shorten(&excerpt, 160))))?;
            }
        }
        output.heading(&format!("Tags ({})", self.tags.len()))?;
        let tag = |(tag, count): &(String, usize)| match count {
            1 => printable(tag),
            count => format!("{} ({count})", printable(tag)),
        };
        let mut tags: Vec<String> = self.tags.iter().take(MOST_TAGS).map(tag).collect();
        if self.tags.len() > MOST_TAGS {
            tags.push(format!("and {} more", self.tags.len() - MOST_TAGS));
        }
        line(&format!("  {}", tags.join(", ")))?;
        if !self.failures.is_empty() {
            output.heading(&format!("Failed tasks ({})", self.failures.len()))?;
            for failure in self.failures.iter().take(MOST_FAILURES) {
                line(&format!("  {}", printable(failure)))?;
            }
        }
        output.heading("Services")?;
        platform_status::print(output, &self.services)?;
        output.heading("Time")?;
        let tasks = self.analyses + 1;
        let rate = tasks as f64 / self.working.as_secs_f64().max(0.001);
        line(&format!(
            "  platform ready in {}, all submitted after {}, {tasks} tasks finished after {} ({rate:.0} tasks/s)",
            seconds(self.starting),
            seconds(self.submitting),
            seconds(self.working),
        ))
    }

    fn to_json(&self) -> Value {
        let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let source = |(number, title, excerpt): &(usize, String, String)| json!({ "section": number, "title": title, "excerpt": excerpt });
        let service = |row: &ServiceRow| json!({ "instance": row.instance, "health": row.health });
        json!({
            "file": self.file,
            "sections": self.sections,
            "fusion": {
                "title": self.title,
                "text": self.text,
                "sources": self.sources.iter().map(source).collect::<Vec<_>>(),
            },
            "tags": self.tags.iter().map(|(tag, count)| json!({ "tag": tag, "sections": count })).collect::<Vec<_>>(),
            "failures": self.failures,
            "services": self.services.iter().map(service).collect::<Vec<_>>(),
            "ready_ms": millis(self.starting),
            "submitted_ms": millis(self.submitting),
            "finished_ms": millis(self.working),
        })
    }
}

fn sources(fusion: &Value, nodes: &[Uuid], sections: &[Section<'_>]) -> Vec<(usize, String, String)> {
    let positions: HashMap<String, usize> =
        nodes.iter().enumerate().map(|(position, id)| (id.to_string(), position)).collect();
    let named = fusion["output_data"]["sources"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut seen = HashSet::new();
    let mut sources: Vec<(usize, String, String)> = named
        .iter()
        .filter_map(|source| {
            let position = *positions.get(source["node_id"].as_str()?)?;
            let excerpt = source["excerpt"].as_str().unwrap_or_default().to_owned();
            seen.insert(position).then(|| (position + 1, sections[position].title.clone(), excerpt))
        })
        .collect();
    sources.sort_by_key(|(number, ..)| *number);
    sources
}

fn tags(analyses: &[&Value]) -> Vec<(String, usize)> {
    let mut counts: HashMap<&str, usize> = HashMap::new();
    for task in analyses {
        let tags = task["output_data"]["tags"].as_array().map(Vec::as_slice).unwrap_or_default();
        let tags: HashSet<&str> = tags.iter().filter_map(Value::as_str).collect();
        tags.into_iter().for_each(|tag| *counts.entry(tag).or_default() += 1);
    }
    let mut tags: Vec<(String, usize)> = counts.into_iter().map(|(tag, count)| (tag.to_owned(), count)).collect();
    tags.sort_by(|(a, a_count), (b, b_count)| b_count.cmp(a_count).then_with(|| a.cmp(b)));
    tags
}

fn failure(task: &Value) -> Option<String> {
    let status = task["status"].as_str().filter(|status| matches!(*status, "failed" | "cancelled"))?;
    let text = |pointer: &str| task.pointer(pointer).and_then(Value::as_str).unwrap_or("unknown");
    Some(format!("{} {status}: {} ({})", text("/type"), text("/error/message"), text("/error/code")))
}

fn shorten(text: &str, length: usize) -> String {
    match text.char_indices().nth(length) {
        Some((end, _)) => format!("{}…", text[..end].trim_end()),
        None => text.to_owned(),
    }
}

fn seconds(duration: Duration) -> String {
    format!("{:.2} s", duration.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_counted_by_section_and_the_frequent_come_first() {
        let one = json!({ "output_data": { "tags": ["b", "a", "a"] } });
        let other = json!({ "output_data": { "tags": ["a", "c"] } });
        let failed = json!({ "output_data": null });
        let tags = tags(&[&one, &other, &failed]);
        assert_eq!(tags, [("a".into(), 2), ("b".into(), 1), ("c".into(), 1)]);
    }

    #[test]
    fn sources_are_named_by_their_sections_in_order() {
        let nodes = [sker_types::new_id(), sker_types::new_id()];
        let sections = [Section { title: "one".into(), text: "1" }, Section { title: "two".into(), text: "2" }];
        let named = |node: Uuid| json!({ "node_id": node, "excerpt": "x" });
        let fusion = json!({ "output_data": { "sources": [named(nodes[1]), named(nodes[0]), named(nodes[1]), named(Uuid::nil())] } });
        let sources = sources(&fusion, &nodes, &sections);
        assert_eq!(sources, [(1, "one".into(), "x".into()), (2, "two".into(), "x".into())]);
    }

    #[test]
    fn a_failed_task_says_why() {
        let task = json!({ "type": "content_fusion", "status": "failed", "error": { "code": "timeout", "message": "too slow" } });
        assert_eq!(failure(&task).unwrap(), "content_fusion failed: too slow (timeout)");
        assert_eq!(failure(&json!({ "status": "completed" })), None);
    }
}
