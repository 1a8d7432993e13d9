//! Reading text: Markdown blocks, sentences, language and words.
//!
//! Everything here is deterministic and works on ranges of the source, so that what an engine quotes is verbatim.

mod blocks;
mod document;
mod language;
mod lexicon;
mod sentences;
mod words;

pub use blocks::{Block, BlockKind, blocks};
pub use document::{Document, Sentence};
pub use language::{Language, detect_language, is_han};
pub use lexicon::{Lexicon, begins_loosely, is_noun_like, lexicon, warm_up};
pub use sentences::{MAX_SENTENCE_BYTES, sentences};
pub use words::{Word, estimate_tokens, words};
