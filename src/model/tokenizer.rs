//! `tokenizer.json`: the parts of it that a BERT model's tokenizer has, and an error for all others.

use super::json::{Json, parse};
use super::wordpiece::WordPiece;
use crate::base::error::{Error, Result};
use std::collections::HashMap;

/// Tokens that stand as they are, at most.
const ADDED_MAX: usize = 1000;
/// Special tokens around a text, at most.
const SPECIALS_MAX: usize = 16;
/// Bytes of a piece, at most.
const PIECE_BYTES_MAX: usize = 1 << 10;

/// Reads a tokenizer whose ids are below `vocab`. What the file says about truncation and padding is left alone: the
/// model's own length counts, and nothing is padded.
pub(super) fn read(file: &str, bytes: &[u8], vocab: usize) -> Result<WordPiece> {
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
    model.only(&[
        "type",
        "unk_token",
        "continuing_subword_prefix",
        "max_input_chars_per_word",
        "vocab",
    ])?;
    model.get("type")?.one_of(&["WordPiece"])?;
    let mark = model.get("continuing_subword_prefix")?.text()?;
    let mut tokenizer = WordPiece {
        begin: HashMap::new(),
        inside: HashMap::new(),
        longest: 0,
        unknown: 0,
        word_chars_max: model.get("max_input_chars_per_word")?.number(1..=10_000)?,
        clean: false,
        spread_chinese: false,
        strip_accents: false,
        lower: false,
        added: Vec::new(),
        before: Vec::new(),
        behind: Vec::new(),
    };
    for (piece, id) in model.get("vocab")?.members()? {
        let number = crate::base::limits::word(id.number(0..=vocab - 1)?);
        if piece.len() > PIECE_BYTES_MAX {
            return Err(id.wrong(format!("longer than {PIECE_BYTES_MAX} bytes")));
        }
        tokenizer.longest = tokenizer.longest.max(piece.len());
        tokenizer.begin.insert(piece.into(), number);
        if let Some(rest) = piece.strip_prefix(mark) {
            tokenizer.inside.insert(rest.into(), number);
        }
    }
    let unknown = model.get("unk_token")?;
    let found = tokenizer.begin.get(unknown.text()?);
    tokenizer.unknown = *found.ok_or_else(|| unknown.wrong("not in the vocabulary"))?;
    read_normalizer(&json.get("normalizer")?, &mut tokenizer)?;
    json.get("pre_tokenizer")?.only(&["type"])?;
    json.get("pre_tokenizer")?.get("type")?.one_of(&["BertPreTokenizer"])?;
    if let Some(added) = json.find("added_tokens") {
        read_added(&added, vocab, &mut tokenizer)?;
    }
    if let Some(processor) = json.find("post_processor") {
        read_processor(&processor, vocab, &mut tokenizer)?;
    }
    Ok(tokenizer)
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

fn read_added(json: &Json<'_>, vocab: usize, to: &mut WordPiece) -> Result<()> {
    for item in json.items(ADDED_MAX)? {
        item.only(&["id", "content", "special", "single_word", "lstrip", "rstrip", "normalized"])?;
        for name in ["single_word", "lstrip", "rstrip", "normalized"] {
            let flag = item.get(name)?;
            if flag.truth()? {
                return Err(flag.wrong("only false is supported"));
            }
        }
        let content = item.get("content")?;
        let text = content.text()?;
        if !text.starts_with(|c: char| c.is_ascii_punctuation()) {
            return Err(
                content.wrong("only tokens that begin with an ASCII punctuation are supported")
            );
        }
        let id = item.get("id")?.number(0..=vocab - 1)?;
        to.added.push((text.into(), crate::base::limits::word(id)));
    }
    to.added.sort_by_key(|(content, _)| std::cmp::Reverse(content.len()));
    Ok(())
}

fn read_processor(json: &Json<'_>, vocab: usize, to: &mut WordPiece) -> Result<()> {
    let id = |json: &Json<'_>| json.number(0..=vocab - 1).map(crate::base::limits::word);
    if json.get("type")?.one_of(&["TemplateProcessing", "BertProcessing"])? == "BertProcessing" {
        json.only(&["type", "sep", "cls"])?;
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
