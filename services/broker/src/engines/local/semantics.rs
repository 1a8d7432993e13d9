use super::corpus::Corpus;
use crate::engines::text::{BlockKind, Document, is_han};

/// The kinds of text found, each with how strongly it showed (0 to 1), strongest first.
pub(super) struct Types {
    found: Vec<(&'static str, f32)>,
}

impl Types {
    pub(super) fn names(&self) -> Vec<&'static str> {
        self.found.iter().map(|(name, _)| *name).collect()
    }

    pub(super) fn evidence(&self) -> f32 {
        self.found.first().map_or(0.0, |(_, share)| share.min(1.0))
    }
}

/// What a kind of text must reach, as a share of its sentences (or, for code, list and data, of its bytes or blocks).
const RULES: &[(&str, f32)] = &[
    ("definition", 0.12),
    ("instruction", 0.2),
    ("question", 0.12),
    ("argument", 0.22),
    ("narrative", 0.3),
    ("reference", 0.2),
    ("code", 0.2),
    ("list", 0.4),
    ("data", 0.25),
];

/// Finds the kinds of text by rules that count:
///
/// | kind | counts |
/// |---|---|
/// | definition | sentences of the form "X is a ...", "is defined as", "refers to", "是一种", "指的是" |
/// | instruction | sentences that begin with an imperative verb, "you should", "请", "首先", and items of numbered lists |
/// | question | sentences that end with a question mark |
/// | argument | sentences with connectives of reason and contrast: "because", "therefore", "however", "因此", "然而" |
/// | narrative | sentences of time and persons in the past: "then he", "yesterday", "was", "said", "那天", "说道" |
/// | reference | sentences with links, DOIs, numbered citations or years in brackets |
/// | code | bytes in code blocks |
/// | list | blocks that are list items |
/// | data | blocks that are tables, and sentences a quarter of whose words are numbers |
///
/// A kind is reported when its share reaches its threshold; a text that shows none is a `statement`.
pub(super) fn semantic_types(corpus: &Corpus<'_>) -> Types {
    let mut counts = Counts::default();
    for document in &corpus.documents {
        counts.add(document);
    }
    let shares = counts.shares();
    let mut found: Vec<(&'static str, f32)> = RULES
        .iter()
        .zip(shares)
        .filter(|((_, threshold), share)| share >= threshold)
        .map(|((name, _), share)| (*name, share))
        .collect();
    // A stable sort: equals stay in the order of the rules.
    found.sort_by(|a, b| b.1.total_cmp(&a.1));
    if found.is_empty() {
        found.push(("statement", 0.5));
    }
    Types { found }
}

#[derive(Default)]
struct Counts {
    sentences: f32,
    definition: f32,
    instruction: f32,
    question: f32,
    argument: f32,
    narrative: f32,
    reference: f32,
    data: f32,
    bytes: f32,
    code_bytes: f32,
    blocks: f32,
    list_items: f32,
    tables: f32,
}

impl Counts {
    fn add(&mut self, document: &Document<'_>) {
        for block in &document.blocks {
            let size = block.range.len() as f32;
            self.bytes += size;
            self.blocks += 1.0;
            match block.kind {
                BlockKind::Code => self.code_bytes += size,
                BlockKind::Table => self.tables += 1.0,
                BlockKind::ListItem { .. } => self.list_items += 1.0,
                _ => {}
            }
        }
        for sentence in &document.sentences {
            let ordered = document.blocks[sentence.block].kind == BlockKind::ListItem { ordered: true };
            let lower = sentence.text.to_lowercase();
            let has = |words: &[&str]| contains_any(&lower, words);
            let one = |holds: bool| f32::from(u8::from(holds));
            self.sentences += 1.0;
            self.definition += one(has(DEFINITION));
            self.instruction += one(ordered || instructs(&lower));
            self.question += one(lower.trim_end_matches(['"', '”', '’', ')', '）', '*', '_']).ends_with(['?', '？']));
            self.argument += one(has(ARGUMENT));
            self.narrative += one(has(NARRATIVE));
            self.reference += one(refers(&lower));
            self.data += one(is_numeric(&lower));
        }
    }

    /// In the order of [`RULES`].
    fn shares(&self) -> [f32; 9] {
        let of = |count: f32, all: f32| if all > 0.0 { count / all } else { 0.0 };
        let sentences = |count: f32| of(count, self.sentences);
        [
            sentences(self.definition),
            sentences(self.instruction),
            sentences(self.question),
            sentences(self.argument),
            sentences(self.narrative),
            sentences(self.reference),
            of(self.code_bytes, self.bytes),
            of(self.list_items, self.blocks),
            sentences(self.data).max(of(self.tables, self.blocks) * 1.5).min(1.0),
        ]
    }
}

const DEFINITION: &[&str] = &[
    " is a ",
    " is an ",
    " are a kind of ",
    " is the study of ",
    " is defined as ",
    " are defined as ",
    " refers to ",
    " is called ",
    " are called ",
    " is known as ",
    " stands for ",
    " means that ",
    " denotes ",
    "是一种",
    "是一个",
    "是指",
    "指的是",
    "称为",
    "叫做",
    "定义为",
    "的定义",
];

const ARGUMENT: &[&str] = &[
    "because",
    "therefore",
    "however",
    "thus ",
    "hence",
    "although",
    "nevertheless",
    "consequently",
    "should ",
    "in contrast",
    "on the other hand",
    "it follows",
    "argue",
    "evidence",
    "unless",
    "despite",
    "因为",
    "所以",
    "因此",
    "然而",
    "但是",
    "尽管",
    "虽然",
    "应当",
    "应该",
    "可见",
    "并不意味",
    "证据",
    "不过",
    "相反",
];

const NARRATIVE: &[&str] = &[
    " was ",
    " were ",
    " had ",
    " said",
    " told ",
    " went ",
    " came ",
    " asked",
    " saw ",
    " felt ",
    " walked",
    " looked ",
    "yesterday",
    "last year",
    "that night",
    "那天",
    "那年",
    "当时",
    "有一天",
    "说道",
    "说：",
    "他说",
    "她说",
    "我说",
    "后来",
    "小时候",
    "走到",
    "回到家",
];

const INSTRUCTION_CHINESE: &[&str] =
    &["请", "首先", "然后", "接着", "最后", "务必", "不要", "点击", "运行", "打开", "输入", "选择", "安装"];

const IMPERATIVES: &[&str] = &[
    "add",
    "apply",
    "avoid",
    "begin",
    "build",
    "call",
    "change",
    "check",
    "choose",
    "clean",
    "click",
    "close",
    "combine",
    "configure",
    "connect",
    "copy",
    "create",
    "cut",
    "delete",
    "do",
    "don't",
    "download",
    "drain",
    "ensure",
    "enter",
    "fill",
    "fix",
    "follow",
    "give",
    "go",
    "heat",
    "hold",
    "install",
    "keep",
    "leave",
    "let",
    "make",
    "measure",
    "mix",
    "move",
    "never",
    "note",
    "open",
    "place",
    "pour",
    "press",
    "pull",
    "push",
    "put",
    "read",
    "remove",
    "repeat",
    "replace",
    "restart",
    "run",
    "save",
    "select",
    "send",
    "set",
    "start",
    "stir",
    "stop",
    "store",
    "take",
    "test",
    "try",
    "turn",
    "type",
    "update",
    "use",
    "verify",
    "wait",
    "wash",
    "wear",
    "write",
    "first,",
    "then",
    "finally,",
    "next,",
];

fn instructs(lower: &str) -> bool {
    if lower.contains(is_han) {
        return INSTRUCTION_CHINESE.iter().any(|word| lower.starts_with(word)) || lower.contains("请先");
    }
    let first = lower.trim_start_matches(['*', '_', '"', '“', '(']).split_whitespace().next().unwrap_or_default();
    IMPERATIVES.contains(&first) || contains_any(lower, &["you should ", "you must ", "make sure ", "you need to "])
}

fn refers(lower: &str) -> bool {
    let cited = lower.match_indices('[').any(|(at, _)| {
        let inside = lower[at + 1..].split(']').next().unwrap_or_default();
        !inside.is_empty()
            && inside.len() <= 6
            && inside.bytes().all(|b| b.is_ascii_digit() || matches!(b, b',' | b' ' | b'-'))
    });
    let dated = lower.match_indices(['(', '（']).any(|(at, open)| {
        let inside = &lower[at + open.len()..];
        let year = inside.split([')', '）']).next().unwrap_or_default();
        year.len() <= 40
            && year
                .rsplit([' ', ',', '，'])
                .next()
                .is_some_and(|y| y.len() == 4 && y.bytes().all(|b| b.is_ascii_digit()))
    });
    cited || dated || contains_any(lower, &["http://", "https://", "doi:", "doi.org", " et al", "isbn", "rfc "])
}

fn is_numeric(lower: &str) -> bool {
    let words: Vec<&str> = lower.split(|c: char| c.is_whitespace() || matches!(c, '，' | '、' | '；')).collect();
    let numbers = words
        .iter()
        .filter(|word| word.chars().filter(char::is_ascii_digit).count() * 2 >= word.chars().count().max(1));
    words.len() >= 4 && numbers.count() * 4 >= words.len()
}

fn contains_any(text: &str, words: &[&str]) -> bool {
    words.iter().any(|word| text.contains(word))
}
