//! Paths that users write and archives hold: below the place that they are joined to, or refused.
//!
//! Invariant: what is returned is made of names only, so that joined to a directory it stays below it; links are
//! checked where a path is walked.

use std::path::{Component, Path, PathBuf};

/// A relative path without `..`; `.` and an empty path are the place itself.
pub fn below(path: &str) -> Option<PathBuf> {
    let names = Path::new(path).components().filter_map(|part| match part {
        Component::Normal(name) => Some(Some(name)),
        Component::CurDir => None,
        Component::ParentDir | Component::RootDir | Component::Prefix(_) => Some(None),
    });
    names.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_stays_below_or_is_refused() {
        for (path, names) in [("", ""), (".", ""), ("./a", "a"), ("a/./b/", "a/b"), ("a..b/..c", "a..b/..c")] {
            assert_eq!(below(path).as_deref(), Some(Path::new(names)), "{path}");
        }
        for path in ["/", "/a", "..", "a/..", "a/../b", "./../a"] {
            assert_eq!(below(path), None, "{path}");
        }
    }
}
