//! Texts from a seed: words of made-up syllables, some frequent and most rare as in a language, in sentences and
//! paragraphs.
//!
//! Invariant: the same seed gives the same texts on every machine.

use rand_core::{RngCore as _, SeedableRng as _};
use rand_pcg::Pcg32;

const SYLLABLES: [&str; 32] = [
    "ba", "ren", "to", "mi", "la", "kor", "su", "ve", "nal", "di", "pre", "gon", "sha", "te", "ul", "for", "ki", "mo",
    "ster", "an", "re", "qui", "zo", "ber", "li", "cha", "pol", "en", "dra", "fi", "hu", "wes",
];
/// Different words.
const VOCABULARY: u32 = 40_000;

/// A source of texts.
pub struct Words(Pcg32);

impl Words {
    pub fn new(seed: u64) -> Self {
        Self(Pcg32::seed_from_u64(seed))
    }

    /// A number from `least` to `most`.
    pub fn number(&mut self, least: u32, most: u32) -> u32 {
        let span = most.saturating_sub(least).saturating_add(1).max(1);
        least.saturating_add(self.0.next_u32() % span)
    }

    /// A word: the n-th most frequent one about once in n words.
    pub fn word(&mut self) -> String {
        let share = f64::from(self.0.next_u32()) / f64::from(u32::MAX);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let rank = f64::from(VOCABULARY).powf(share) as u32;
        // Frequent words are short.
        let mut rest = rank;
        let mut word = String::new();
        loop {
            word.push_str(SYLLABLES[(rest % 32) as usize]);
            rest /= 32;
            if rest == 0 {
                return word;
            }
        }
    }

    pub fn sentence(&mut self) -> String {
        let count = self.number(6, 22);
        let mut sentence = (0..count).map(|_| self.word()).collect::<Vec<_>>().join(" ");
        if let Some(first) = sentence.get_mut(0..1) {
            first.make_ascii_uppercase();
        }
        sentence.push('.');
        sentence
    }

    /// Paragraphs of about `bytes` in all.
    pub fn text(&mut self, bytes: usize) -> String {
        let mut text = String::with_capacity(bytes.saturating_add(256));
        while text.len() < bytes {
            for _ in 0..self.number(2, 7) {
                text.push_str(&self.sentence());
                text.push(' ');
            }
            text.push_str("\n\n");
        }
        text.trim_end().to_owned()
    }

    /// A question of a few words.
    pub fn query(&mut self) -> String {
        (0..self.number(3, 9)).map(|_| self.word()).collect::<Vec<_>>().join(" ")
    }
}
