//! What is known of one query: graded documents, and nuggets of an answer.

use std::collections::BTreeSet;
use std::hash::BuildHasher as _;

use foldhash::fast::RandomState;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

/// Most nuggets of a query.
pub const MAX_NUGGETS: usize = 1000;

/// The judgments of one query.
#[derive(Clone, Debug, Default)]
pub struct Judgments {
    /// Ids of the documents one after the other: a file may have ten million judgments, and a string for each would take
    /// longer than reading them.
    ids: String,
    /// Hashed, as every document of every list is looked up here.
    grades: HashTable<Grade>,
    hasher: RandomState,
    nuggets: Vec<Nugget>,
}

/// The grade of a document, and where its id lies.
#[derive(Clone, Copy, Debug)]
struct Grade {
    start: usize,
    length: u32,
    grade: i32,
}

impl Grade {
    fn document(self, ids: &str) -> &str {
        ids.get(self.start..self.start.saturating_add(self.length as usize)).unwrap_or_default()
    }
}

impl PartialEq for Judgments {
    fn eq(&self, other: &Self) -> bool {
        let same = |(document, grade)| other.grade(document) == Some(grade);
        self.len() == other.len() && self.graded().all(same) && self.nuggets == other.nuggets
    }
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
    pub fn insert(&mut self, document: &str, grade: i32) -> Option<i32> {
        let Self { ids, grades, hasher, .. } = self;
        let same = |other: &Grade| other.document(ids) == document;
        match grades.entry(hasher.hash_one(document), same, |other| hasher.hash_one(other.document(ids))) {
            Entry::Occupied(mut there) => Some(std::mem::replace(&mut there.get_mut().grade, grade)),
            Entry::Vacant(free) => {
                let (start, length) = (ids.len(), u32::try_from(document.len()).unwrap_or(u32::MAX));
                free.insert(Grade { start, length, grade });
                ids.push_str(document);
                None
            }
        }
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
        self.judged_grades().filter(|grade| *grade >= level).count()
    }

    /// Grade of a document as it was written; `None`: no line names it.
    pub fn grade(&self, document: &str) -> Option<i32> {
        let same = |other: &Grade| other.document(&self.ids) == document;
        self.grades.find(self.hasher.hash_one(document), same).map(|found| found.grade)
    }

    /// Whether a judgment or a nugget names the document.
    pub fn names(&self, document: &str) -> bool {
        self.grade(document).is_some() || self.nuggets.iter().any(|nugget| nugget.documents.contains(document))
    }

    /// The documents that a judgment or a nugget names, in no order; one may come several times.
    pub fn named(&self) -> impl Iterator<Item = &str> {
        let of_nuggets = self.nuggets.iter().flat_map(|nugget| nugget.documents.iter().map(String::as_str));
        self.graded().map(|(document, _)| document).chain(of_nuggets)
    }

    /// Whether somebody judged the document; a negative grade says that it was in the pool and nobody did.
    pub fn knows(&self, document: &str) -> bool {
        self.judged_grade(document).is_some()
    }

    /// Whether a document was judged and found not relevant.
    pub fn has_rejected(&self) -> bool {
        self.judged_grades().any(|grade| grade == 0)
    }

    /// Judged documents, in no order; those with a negative grade are not.
    pub fn documents(&self) -> impl Iterator<Item = &str> {
        self.graded().filter(|(_, grade)| *grade >= 0).map(|(document, _)| document)
    }

    fn graded(&self) -> impl Iterator<Item = (&str, i32)> {
        self.grades.iter().map(|grade| (grade.document(&self.ids), grade.grade))
    }

    fn judged_grades(&self) -> impl Iterator<Item = u32> {
        self.grades.iter().filter_map(|grade| u32::try_from(grade.grade).ok())
    }

    pub(super) fn judged_grade(&self, document: &str) -> Option<u32> {
        self.grade(document).and_then(|grade| u32::try_from(grade).ok())
    }

    /// Grades of the judged documents, highest first.
    pub(super) fn sorted_grades(&self) -> Vec<u32> {
        let mut grades: Vec<u32> = self.judged_grades().collect();
        grades.sort_unstable_by(|a, b| b.cmp(a));
        grades
    }
}
