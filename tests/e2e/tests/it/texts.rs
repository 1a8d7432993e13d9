//! Texts for tasks and for the demo.

use std::fmt::Write;

/// Markdown as it stands in many a repository.
pub const ENGLISH: &str = "\
# Harbour Light

Harbour Light keeps the logbook of a small harbour. Boats announce themselves by radio, and the harbour master writes \
down when each of them arrives and leaves. The program replaces the paper book that was used until 2019.

## Berths

Every berth has a length, a depth and a shore power socket. A boat is given the shortest berth that it fits into, so \
that long berths stay free for long boats. When the tide is lower than the draught of a boat, the berth is shown in red.

## Tides

The tide tables come from the hydrographic office and are loaded once a year. Between two entries of the table the \
height of the water is interpolated with a cosine. Wind is not taken into account, although it can change the level by half a metre.

## Fees

Fees are paid per metre and night. Boats that stay longer than a week pay two thirds of the fee from the eighth night on. \
The harbour association decides on the fees each spring, and the program keeps the old ones for old bills.
";

/// A description of a system in Chinese.
pub const CHINESE: &str = "\
# 图书馆管理平台

图书馆管理平台为中小型图书馆提供借阅、检索和统计服务。读者可以通过网页查询馆藏，也可以在自助终端上完成借书和还书。平台采用微服务架构，各个服务可以独立部署。

## 借阅服务

借阅服务负责记录每一次借书和还书。普通读者最多可以借十本书，期限为三十天。逾期未还的图书会自动产生提醒，并通知管理员处理。

## 检索服务

检索服务为馆藏建立全文索引。读者输入关键词以后，系统按照相关程度返回结果。索引每天夜里更新一次，新书上架以后可以立即手动更新。

## 统计服务

统计服务汇总借阅数据，生成月度报告。报告显示最受欢迎的图书和各个时段的客流量。管理员根据报告调整采购计划和开放时间。
";

/// Markdown of at least so many bytes, the same each time, of many sections whose sentences all differ.
pub fn long_markdown(bytes: usize) -> String {
    const SUBJECTS: [&str; 12] = [
        "The scheduler",
        "A replica",
        "The gateway",
        "Every client",
        "The archive",
        "A worker",
        "The index",
        "The planner",
        "An operator",
        "The ledger",
        "The cache",
        "A reader",
    ];
    const VERBS: [&str; 10] = [
        "stores", "forwards", "compares", "rejects", "measures", "repeats", "collects", "orders", "splits", "confirms",
    ];
    const OBJECTS: [&str; 14] = [
        "the measurements",
        "old entries",
        "each request",
        "a batch of letters",
        "the weather reports",
        "signed receipts",
        "open invoices",
        "the harbour plans",
        "long messages",
        "the morning trains",
        "broken parcels",
        "new accounts",
        "the library cards",
        "quiet sensors",
    ];
    const ENDINGS: [&str; 9] = [
        "before the night shift begins",
        "when the network is slow",
        "without asking twice",
        "after every restart",
        "as long as the disk has room",
        "in the order of arrival",
        "unless a person objects",
        "for the yearly report",
        "although nobody asked for it",
    ];
    let mut random = 88_172_645_463_325_252_u64;
    let mut pick = |words: &[&'static str]| {
        // xorshift64 (Marsaglia 2003): the same text on every machine.
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        words[(random % words.len() as u64) as usize]
    };
    let mut text = String::with_capacity(bytes + 20_000);
    let mut section = 0;
    while text.len() < bytes {
        section += 1;
        let _ = writeln!(text, "## Part {section}: {} and {}\n", pick(&SUBJECTS), pick(&OBJECTS));
        for sentence in 0..90 {
            let (subject, verb, object, ending) = (pick(&SUBJECTS), pick(&VERBS), pick(&OBJECTS), pick(&ENDINGS));
            let _ = write!(text, "{subject} {verb} {object} number {} {ending}. ", section * 100 + sentence);
            if sentence % 6 == 5 {
                text.push_str("\n\n");
            }
        }
        text.push('\n');
    }
    text
}

/// Enough text that a task is not done in a moment.
pub fn long_node(number: usize) -> String {
    let all = long_markdown(24_000 * (number + 1));
    let start = all.len() - 24_000;
    all.chars().skip(start).collect()
}
