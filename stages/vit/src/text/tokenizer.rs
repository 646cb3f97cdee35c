//! CLIP's tokenizer: a text becomes byte-level BPE ids between a start and an end.
//!
//! ```text
//! clean ─▶ lower case ─▶ pieces: contractions, letters, single digits, other symbols ─▶ bytes as characters ─▶ BPE
//! ids = [start, pieces …, end], at most 77; a longer text is cut and its last id is the end
//! vocabulary = 256 bytes + 256 bytes that end a word + 48,894 merges + start (49406) + end (49407)
//! ```
//!
//! The merges are those that every CLIP model has; `merges.txt.gz` is the used part of openai/CLIP's
//! `bpe_simple_vocab_16e6.txt.gz` (MIT, © 2021 `OpenAI`; see `tests/golden/zero_shot/data.py`).
//!
//! Source: openai/CLIP `simple_tokenizer.py`, `mlfoundations/open_clip` `tokenizer.py`.

use std::io::Read;

use flate2::read::GzDecoder;
use tokenizers::Model;
use tokenizers::models::bpe::{BPE, Merges, Vocab};
use tokenizers::utils::SysRegex;

use super::clean::clean;
use crate::error::VitError;

const MERGES: &[u8] = include_bytes!("merges.txt.gz");

/// Mark of a byte or merge that ends a word.
const WORD_END: &str = "</w>";
/// What a text itself may say to mean the start and the end.
const SPECIAL: [&str; 2] = ["<start_of_text>", "<end_of_text>"];
const START: u32 = 49406;
const END: u32 = 49407;

/// Ids that the tokenizer knows: 0 to 49407.
pub const VOCABULARY: usize = END as usize + 1;

/// Words shorter than this in a cache of so many.
const CACHED_WORDS: usize = 10_000;

/// The tokenizer of every CLIP model.
pub struct Tokenizer {
    bpe: BPE,
    pieces: SysRegex,
    /// The character that stands for each byte.
    characters: [char; 256],
    context: usize,
}

impl Tokenizer {
    /// For texts of at most `context` ids, start and end included.
    pub fn new(context: usize) -> Result<Self, VitError> {
        let broken = |what: &str, why: &dyn std::fmt::Display| VitError::Tokenizer(format!("{what}: {why}"));
        if context < 2 {
            return Err(VitError::Tokenizer(format!("a context of {context} has no room for start and end")));
        }
        let mut text = String::new();
        GzDecoder::new(MERGES).read_to_string(&mut text).map_err(|error| broken("merges", &error))?;
        let merges: Merges =
            text.lines().filter_map(|line| line.split_once(' ')).map(|(a, b)| (a.to_owned(), b.to_owned())).collect();
        let characters = characters();
        let mut bytes: Vec<char> = characters.to_vec();
        // Printable bytes stand for themselves and come first, in their order; the others follow in theirs.
        bytes.sort_by_key(|c| *c as u32);
        let words = bytes.iter().map(char::to_string);
        let ends = bytes.iter().map(|c| format!("{c}{WORD_END}"));
        let merged = merges.iter().map(|(a, b)| format!("{a}{b}"));
        let vocabulary: Vocab = words.chain(ends).chain(merged).zip(0..).collect();
        if vocabulary.len() + SPECIAL.len() != VOCABULARY {
            return Err(broken("merges", &format!("{} words instead of {VOCABULARY}", vocabulary.len())));
        }
        let bpe = BPE::builder()
            .vocab_and_merges(vocabulary, merges)
            .end_of_word_suffix(WORD_END.to_owned())
            .cache_capacity(CACHED_WORDS)
            .build()
            .map_err(|error| broken("merges", &error))?;
        let [start, end] = SPECIAL;
        let pattern = format!(r"(?i){start}|{end}|'s|'t|'re|'ve|'m|'ll|'d|[\p{{L}}]+|[\p{{N}}]|[^\s\p{{L}}\p{{N}}]+");
        let pieces = SysRegex::new(&pattern).map_err(|error| broken("pattern", &error))?;
        Ok(Tokenizer { bpe, pieces, characters, context })
    }

    /// Ids of a text, start and end included.
    pub fn ids(&self, text: &str) -> Result<Vec<u32>, VitError> {
        let text = clean(text).to_lowercase();
        let mut ids = vec![START];
        for (from, to) in self.pieces.find_iter(&text) {
            let piece = &text[from..to];
            if let Some(which) = SPECIAL.iter().position(|special| *special == piece) {
                ids.push(START + which as u32);
            } else {
                let word: String = piece.bytes().map(|byte| self.characters[usize::from(byte)]).collect();
                let tokens = self.bpe.tokenize(&word).map_err(|error| VitError::Tokenizer(error.to_string()))?;
                ids.extend(tokens.iter().map(|token| token.id));
            }
            if ids.len() > self.context {
                break;
            }
        }
        ids.truncate(self.context - 1);
        ids.push(END);
        Ok(ids)
    }
}

/// Printable bytes as themselves, the others as the characters from 256.
fn characters() -> [char; 256] {
    let mut next = 256_u32;
    std::array::from_fn(|byte| {
        let byte = byte as u8;
        if matches!(byte, b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF) {
            return char::from(byte);
        }
        next += 1;
        char::from_u32(next - 1).unwrap_or(char::REPLACEMENT_CHARACTER)
    })
}
