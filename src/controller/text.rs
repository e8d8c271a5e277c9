//! Texts of any length (an index's, a kubelet's) that fit the fields of a status.
//!
//! Invariants: a text that fits stays as it is; cutting one twice is cutting it once.

/// A text of at most so many characters; one that was cut says so.
pub fn shortened(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some(_) => text.chars().take(most.saturating_sub(2)).chain(" …".chars()).collect(),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_cut_says_so_and_what_fits_stays() {
        assert_eq!(shortened("üü", 2), "üü");
        assert_eq!(shortened("üüüü", 3), "ü …");
        assert_eq!(shortened(&shortened("üüüü", 3), 3), "ü …");
    }
}
