//! `tokenizer.json`: what the tokenizers of BERT, RoBERTa and XLM-R have, and an error for all else.

use super::added::{Added, Token};
use super::bpe::{self, Bpe};
use super::json::{Json, parse};
use super::normal::Normal;
use super::pieces::Pieces;
use super::unigram::Unigram;
use super::wordpiece::WordPiece;
use crate::base::error::{Error, Result};
use crate::base::limits::word;
use std::collections::HashMap;

/// Tokens that stand as they are, at most.
const ADDED_MAX: usize = 1000;
/// Special tokens around a text, at most.
const SPECIALS_MAX: usize = 16;
/// Bytes of a piece, at most; those of WordPiece and Unigram are searched for byte by byte.
const PIECE_BYTES_MAX: usize = 256;
/// Bytes of a token of BPE, at most.
const TOKEN_BYTES_MAX: usize = 1 << 10;
/// Characters of a word of WordPiece, at most.
const WORD_CHARS_MAX: usize = 1000;
/// Merges, at most.
const MERGES_MAX: usize = 1 << 20;

/// How a text becomes tokens.
#[derive(Debug)]
pub(super) struct Tokenizer {
    rules: Rules,
    /// Added tokens that are looked for in texts as they are.
    raw: Added,
    /// Those that are looked for behind the normaliser.
    normal: Added,
    /// What stands before and behind every text.
    before: Vec<u32>,
    behind: Vec<u32>,
}

#[derive(Debug)]
enum Rules {
    WordPiece(WordPiece),
    Bpe(Normal, Bpe),
    Unigram(Normal, Unigram),
}

impl Rules {
    fn normalise(&self, text: &str) -> String {
        match self {
            Self::WordPiece(rules) => rules.normalise(text),
            Self::Bpe(normal, _) | Self::Unigram(normal, _) => normal.apply(text),
        }
    }

    fn split(&self, text: &str, most: usize, (tokens, word): (&mut Vec<u32>, &mut String)) {
        match self {
            Self::WordPiece(rules) => rules.split(text, most, (tokens, word)),
            Self::Bpe(normal, rules) if normal.is_empty() => rules.split(text, most, tokens),
            _ => self.split_normal(&self.normalise(text), most, tokens),
        }
    }

    fn split_normal(&self, text: &str, most: usize, tokens: &mut Vec<u32>) {
        match self {
            Self::WordPiece(rules) => rules.split_normal(text, most, tokens),
            Self::Bpe(_, rules) => rules.split(text, most, tokens),
            Self::Unigram(_, rules) => rules.split(text, most, tokens),
        }
    }
}

impl Tokenizer {
    /// Tokens that every text has.
    pub(super) fn specials(&self) -> usize {
        self.before.len() + self.behind.len()
    }

    /// A text's tokens, cut to `most` in all, which leaves room for the special ones. They replace what is in `tokens`;
    /// `word` is memory to work with. WordPiece needs no other.
    pub(super) fn tokens_into(
        &self,
        text: &str,
        most: usize,
        (tokens, word): (&mut Vec<u32>, &mut String),
    ) {
        tokens.clear();
        tokens.extend(&self.before);
        let most = most - self.behind.len();
        each(&self.raw, text, most, tokens, |plain, tokens| {
            if self.normal.is_empty() {
                return self.rules.split(plain, most, (tokens, word));
            }
            let plain = self.rules.normalise(plain);
            each(&self.normal, &plain, most, tokens, |plain, tokens| {
                self.rules.split_normal(plain, most, tokens);
            });
        });
        tokens.truncate(most);
        tokens.extend(&self.behind);
    }
}

/// Added tokens as they are, what is between them by `plain`, until there are `most`.
fn each(
    added: &Added,
    text: &str,
    most: usize,
    tokens: &mut Vec<u32>,
    mut plain: impl FnMut(&str, &mut Vec<u32>),
) {
    let mut rest = text;
    while !rest.is_empty() && tokens.len() < most {
        let (before, found) = added.split(rest);
        plain(before, tokens);
        let Some((id, behind)) = found else { return };
        tokens.push(id);
        rest = behind;
    }
}

/// Reads a tokenizer whose ids are below `vocab`. What the file says about truncation and padding is left alone: the
/// model's own length counts, and nothing is padded.
pub(super) fn read(file: &str, bytes: &[u8], vocab: usize) -> Result<Tokenizer> {
    let value = parse(file, bytes)?;
    let json = Json::new(file, &value);
    json.only(&[
        "version",
        "truncation",
        "padding",
        "added_tokens",
        "normalizer",
        "pre_tokenizer",
        "post_processor",
        "decoder",
        "model",
    ])?;
    let model = json.get("model")?;
    let normal = || Normal::read(json.find("normalizer").as_ref());
    let rules = match model.get("type")?.one_of(&["WordPiece", "BPE", "Unigram"])? {
        "WordPiece" => Rules::WordPiece(read_wordpiece(&json, &model, vocab)?),
        "BPE" => Rules::Bpe(normal()?, read_bpe(&json, &model, vocab)?),
        _ => Rules::Unigram(normal()?, read_unigram(&json, &model, vocab)?),
    };
    let (before, behind) = (Vec::new(), Vec::new());
    let (raw, normal) = (Added::default(), Added::default());
    let mut tokenizer = Tokenizer { rules, raw, normal, before, behind };
    if let Some(added) = json.find("added_tokens") {
        read_added(&added, vocab, &mut tokenizer)?;
    }
    if let Some(processor) = json.find("post_processor") {
        read_processor(&processor, vocab, &mut tokenizer)?;
    }
    Ok(tokenizer)
}

/// The pieces of a vocabulary that is an object, and their ids.
fn vocabulary<'a>(model: &Json<'a>, vocab: usize, bytes_max: usize) -> Result<Vec<(&'a str, u32)>> {
    let piece = |(piece, id): (&'a str, Json<'a>)| {
        let number = word(id.number(0..=vocab - 1)?);
        if piece.len() > bytes_max {
            return Err(id.wrong(format!("longer than {bytes_max} bytes")));
        }
        Ok((piece, number))
    };
    model.get("vocab")?.members()?.map(piece).collect()
}

fn read_wordpiece(json: &Json<'_>, model: &Json<'_>, vocab: usize) -> Result<WordPiece> {
    model.only(&[
        "type",
        "unk_token",
        "continuing_subword_prefix",
        "max_input_chars_per_word",
        "vocab",
    ])?;
    let mark = model.get("continuing_subword_prefix")?.text()?;
    let pieces = vocabulary(model, vocab, PIECE_BYTES_MAX)?;
    let inside =
        pieces.iter().filter_map(|&(piece, id)| Some((piece.strip_prefix(mark)?.into(), id)));
    let inside = Pieces::new(inside.collect());
    let begin = Pieces::new(pieces.into_iter().map(|(piece, id)| (piece.into(), id)).collect());
    let unknown = model.get("unk_token")?;
    let found = begin.get(unknown.text()?).ok_or_else(|| unknown.wrong("not in the vocabulary"))?;
    let pre = json.get("pre_tokenizer")?;
    pre.only(&["type"])?;
    pre.get("type")?.one_of(&["BertPreTokenizer"])?;
    let mut tokenizer = WordPiece {
        begin,
        inside,
        unknown: found,
        word_chars_max: model.get("max_input_chars_per_word")?.number(1..=WORD_CHARS_MAX)?,
        clean: false,
        spread_chinese: false,
        strip_accents: false,
        lower: false,
    };
    read_normalizer(&json.get("normalizer")?, &mut tokenizer)?;
    Ok(tokenizer)
}

/// Byte-level BPE. Every byte has a token, so nothing is unknown, and what the file says of that is idle.
fn read_bpe(json: &Json<'_>, model: &Json<'_>, vocab: usize) -> Result<Bpe> {
    const IDLE: &[&str] = &["unk_token", "fuse_unk", "byte_fallback"];
    const EMPTY: &[&str] = &["continuing_subword_prefix", "end_of_word_suffix"];
    model
        .only(&[IDLE, EMPTY, &["type", "dropout", "ignore_merges", "vocab", "merges"]].concat())?;
    for name in EMPTY {
        model.find(name).map_or(Ok(""), |text| text.one_of(&[""]))?;
    }
    if let Some(dropout) = model.find("dropout") {
        return Err(dropout.wrong("only null is supported"));
    }
    if let Some(ignore) = model.find("ignore_merges")
        && ignore.truth()?
    {
        return Err(ignore.wrong("only false is supported"));
    }
    let pre = json.get("pre_tokenizer")?;
    pre.only(&["type", "add_prefix_space", "trim_offsets", "use_regex"])?;
    pre.get("type")?.one_of(&["ByteLevel"])?;
    if let Some(regex) = pre.find("use_regex")
        && !regex.truth()?
    {
        return Err(regex.wrong("only true is supported"));
    }
    let ids: HashMap<&str, u32> = vocabulary(model, vocab, TOKEN_BYTES_MAX)?.into_iter().collect();
    let mut bytes = Box::new([0; 256]);
    for (id, c) in bytes.iter_mut().zip(bpe::characters()) {
        let found = ids.get(&*c.encode_utf8(&mut [0; 4]));
        *id = *found.ok_or_else(|| model.wrong(format!("vocab: no token for the byte {c:?}")))?;
    }
    let mut merges = HashMap::new();
    for (rank, merge) in model.get("merges")?.items(MERGES_MAX)?.into_iter().enumerate() {
        let (left, right) = pair(&merge)?;
        let id =
            |text: &str| ids.get(text).copied().ok_or_else(|| merge.wrong("not in the vocabulary"));
        merges.insert((id(left)?, id(right)?), (word(rank), id(&format!("{left}{right}"))?));
    }
    Ok(Bpe { bytes, merges, space_before: pre.get("add_prefix_space")?.truth()? })
}

/// A merge: two texts, or one with a space between them.
fn pair<'a>(json: &Json<'a>) -> Result<(&'a str, &'a str)> {
    let split = |text: &'a str| text.split_once(' ').filter(|(_, right)| !right.contains(' '));
    let found = match json.text() {
        Ok(text) => split(text),
        Err(_) => match &json.items(2)?[..] {
            [left, right] => Some((left.text()?, right.text()?)),
            _ => None,
        },
    };
    found.ok_or_else(|| json.wrong("not a pair of texts"))
}

fn read_unigram(json: &Json<'_>, model: &Json<'_>, vocab: usize) -> Result<Unigram> {
    model.only(&["type", "unk_id", "vocab", "byte_fallback"])?;
    if let Some(bytes) = model.find("byte_fallback")
        && bytes.truth()?
    {
        return Err(bytes.wrong("only false is supported"));
    }
    let mut pieces = Vec::new();
    let mut lowest = f64::INFINITY;
    for (id, item) in model.get("vocab")?.items(vocab)?.into_iter().enumerate() {
        let pair = item.items(2)?;
        let [piece, score] = &pair[..] else {
            return Err(item.wrong("a text and a score are expected"));
        };
        let (text, value) = (piece.text()?, score.real()?);
        if text.len() > PIECE_BYTES_MAX || value.abs() > 1e6 {
            let what = format!("at most {PIECE_BYTES_MAX} bytes with a score within 1e6 are taken");
            return Err(item.wrong(what));
        }
        lowest = lowest.min(value);
        pieces.push((text.into(), (word(id), value)));
    }
    let unknown = model.get("unk_id")?;
    if pieces.is_empty() {
        return Err(model.wrong("vocab: empty"));
    }
    let unknown = word(unknown.number(0..=pieces.len() - 1)?);
    let pre = json.get("pre_tokenizer")?;
    let metaspace = |pre: &Json<'_>| {
        pre.only(&["type", "replacement", "add_prefix_space", "prepend_scheme", "split"])?;
        pre.get("type")?.one_of(&["Metaspace"])?;
        pre.get("replacement")?.one_of(&["▁"])?;
        if let Some(split) = pre.find("split")
            && !split.truth()?
        {
            return Err(split.wrong("only true is supported"));
        }
        match pre.find("prepend_scheme") {
            Some(scheme) => Ok(scheme.one_of(&["always", "never"])? == "always"),
            None => pre.get("add_prefix_space")?.truth(),
        }
    };
    let sequence = pre.get("type")?.text()? == "Sequence";
    let space_before = if sequence {
        pre.only(&["type", "pretokenizers"])?;
        match &pre.get("pretokenizers")?.items(2)?[..] {
            [spaces, marks] => {
                spaces.only(&["type"])?;
                spaces.get("type")?.one_of(&["WhitespaceSplit"])?;
                metaspace(marks)?
            }
            _ => return Err(pre.wrong("WhitespaceSplit, then Metaspace, is expected")),
        }
    } else {
        metaspace(&pre)?
    };
    let pieces = Pieces::new(pieces);
    Ok(Unigram { pieces, unknown, lowest, drop_spaces: sequence, space_before })
}

fn read_normalizer(json: &Json<'_>, to: &mut WordPiece) -> Result<()> {
    json.only(&["type", "clean_text", "handle_chinese_chars", "strip_accents", "lowercase"])?;
    json.get("type")?.one_of(&["BertNormalizer"])?;
    to.clean = json.get("clean_text")?.truth()?;
    to.spread_chinese = json.get("handle_chinese_chars")?.truth()?;
    to.lower = json.get("lowercase")?.truth()?;
    // Unsaid, it goes with the case.
    to.strip_accents = json.find("strip_accents").map_or(Ok(to.lower), |strip| strip.truth())?;
    Ok(())
}

fn read_added(json: &Json<'_>, vocab: usize, to: &mut Tokenizer) -> Result<()> {
    let (mut raw, mut normal) = (Vec::new(), Vec::new());
    for item in json.items(ADDED_MAX)? {
        item.only(&["id", "content", "special", "single_word", "lstrip", "rstrip", "normalized"])?;
        let single = item.get("single_word")?;
        if single.truth()? {
            return Err(single.wrong("only false is supported"));
        }
        let content = item.get("content")?;
        let normalized = item.get("normalized")?.truth()?;
        let text: Box<str> = match normalized {
            true => to.rules.normalise(content.text()?).into(),
            false => content.text()?.into(),
        };
        if !text.starts_with(|c: char| c.is_ascii_punctuation()) || text.len() > TOKEN_BYTES_MAX {
            return Err(content.wrong(format!(
                "only tokens that begin with an ASCII punctuation, of {TOKEN_BYTES_MAX} bytes at most, are supported"
            )));
        }
        let (left, right) = (item.get("lstrip")?.truth()?, item.get("rstrip")?.truth()?);
        let id = word(item.get("id")?.number(0..=vocab - 1)?);
        let list = if normalized { &mut normal } else { &mut raw };
        list.push(Token { content: text, id, left, right });
    }
    (to.raw, to.normal) = (Added::new(raw), Added::new(normal));
    Ok(())
}

fn read_processor(json: &Json<'_>, vocab: usize, to: &mut Tokenizer) -> Result<()> {
    let id = |json: &Json<'_>| json.number(0..=vocab - 1).map(word);
    let known = ["TemplateProcessing", "BertProcessing", "RobertaProcessing"];
    if json.get("type")?.one_of(&known)? != "TemplateProcessing" {
        // The other two are about places in the text.
        json.only(&["type", "sep", "cls", "trim_offsets", "add_prefix_space"])?;
        for (name, list) in [("cls", &mut to.before), ("sep", &mut to.behind)] {
            match &json.get(name)?.items(2)?[..] {
                [_, number] => list.push(id(number)?),
                _ => return Err(json.get(name)?.wrong("a text and an id are expected")),
            }
        }
        return Ok(());
    }
    json.only(&["type", "single", "pair", "special_tokens"])?;
    let single = json.get("single")?;
    let mut texts = 0;
    for item in single.items(1 + SPECIALS_MAX)? {
        item.only(&["SpecialToken", "Sequence"])?;
        if let Some(sequence) = item.find("Sequence") {
            sequence.get("id")?.one_of(&["A"])?;
            sequence.get("type_id")?.number(0..=0)?;
            texts += 1;
            continue;
        }
        let special = item.get("SpecialToken")?;
        special.get("type_id")?.number(0..=0)?;
        let named = json.get("special_tokens")?.get(special.get("id")?.text()?)?;
        let list = if texts == 0 { &mut to.before } else { &mut to.behind };
        for number in named.get("ids")?.items(SPECIALS_MAX)? {
            list.push(id(&number)?);
        }
    }
    if texts != 1 || to.specials() > SPECIALS_MAX {
        let what =
            format!("one text with at most {SPECIALS_MAX} special tokens around it is expected");
        return Err(Error::source("tokenizer.json", format!("post_processor.single: {what}")));
    }
    Ok(())
}
