//! What is known of one query: graded documents, and nuggets of an answer.

use std::collections::{BTreeSet, HashMap};

use foldhash::fast::RandomState;

/// Most nuggets of a query.
pub const MAX_NUGGETS: usize = 1000;

/// The judgments of one query.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Judgments {
    /// Hashed, as every document of every list is looked up here.
    grades: HashMap<Box<str>, i32, RandomState>,
    nuggets: Vec<Nugget>,
}

/// A piece of an answer, and the documents that hold it.
#[derive(Clone, Debug, PartialEq)]
pub struct Nugget {
    pub id: String,
    /// Whether the task cannot be done without it.
    pub required: bool,
    /// Above 0.
    pub weight: f64,
    pub documents: BTreeSet<String>,
}

impl Judgments {
    /// Adds a judgment; gives back the earlier grade if the document was judged before.
    pub fn insert(&mut self, document: impl Into<Box<str>>, grade: i32) -> Option<i32> {
        self.grades.insert(document.into(), grade)
    }

    /// Adds a nugget; `false`: one of that id is there, or there are [`MAX_NUGGETS`].
    pub fn add_nugget(&mut self, nugget: Nugget) -> bool {
        let taken = self.nuggets.len() < MAX_NUGGETS && self.nuggets.iter().all(|other| other.id != nugget.id);
        if taken {
            self.nuggets.push(nugget);
        }
        taken
    }

    /// Nuggets of the answer, in the order of the file.
    pub fn nuggets(&self) -> &[Nugget] {
        &self.nuggets
    }

    /// Judged documents.
    pub fn len(&self) -> usize {
        self.grades.len()
    }

    /// Whether nothing is judged.
    pub fn is_empty(&self) -> bool {
        self.grades.is_empty()
    }

    /// Documents of grade 1 and above.
    pub fn relevant(&self) -> usize {
        self.relevant_from(1)
    }

    /// Documents of this grade and above.
    pub fn relevant_from(&self, level: u32) -> usize {
        self.grades.values().filter(|grade| u32::try_from(**grade).is_ok_and(|grade| grade >= level)).count()
    }

    /// Grade of a document as it was written; `None`: no line names it.
    pub fn grade(&self, document: &str) -> Option<i32> {
        self.grades.get(document).copied()
    }

    /// Whether a judgment or a nugget names the document.
    pub fn names(&self, document: &str) -> bool {
        self.grades.contains_key(document) || self.nuggets.iter().any(|nugget| nugget.documents.contains(document))
    }

    /// Whether somebody judged the document; a negative grade says that it was in the pool and nobody did.
    pub fn knows(&self, document: &str) -> bool {
        self.judged_grade(document).is_some()
    }

    /// Whether a document was judged and found not relevant.
    pub fn has_rejected(&self) -> bool {
        self.grades.values().any(|grade| *grade == 0)
    }

    /// Judged documents, in no order; those with a negative grade are not.
    pub fn documents(&self) -> impl Iterator<Item = &str> {
        self.grades.iter().filter(|(_, grade)| **grade >= 0).map(|(document, _)| &**document)
    }

    pub(super) fn judged_grade(&self, document: &str) -> Option<u32> {
        self.grades.get(document).and_then(|grade| u32::try_from(*grade).ok())
    }

    /// Grades of the judged documents, highest first.
    pub(super) fn sorted_grades(&self) -> Vec<u32> {
        let mut grades: Vec<u32> = self.grades.values().filter_map(|grade| u32::try_from(*grade).ok()).collect();
        grades.sort_unstable_by(|a, b| b.cmp(a));
        grades
    }
}
