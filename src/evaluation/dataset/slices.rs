//! Further metadata of queries: `query-id⇥name⇥value`, a line a value. A header is not needed.

use std::collections::BTreeMap;
use std::path::Path;

use super::queries::Query;
use super::{DatasetError, MAX_LINES, Problem, check_id, refused};
use crate::evaluation::lines::{Lines, short};

/// Adds the values to the queries; gives the digest of the file. `named_in`: where the queries stand.
pub fn read(file: &Path, queries: &mut BTreeMap<String, Query>, named_in: &Path) -> Result<[u8; 32], DatasetError> {
    let mut lines = Lines::open(file)?;
    let mut count = 0_usize;
    let mut first = true;
    while let Some((line, text)) = lines.next_line()? {
        let refused = refused(file, line);
        let columns: Vec<&str> = text.split('\t').collect();
        let [query, name, value] = columns.as_slice() else {
            return Err(refused(Problem::SliceColumns(columns.len())));
        };
        if std::mem::take(&mut first) && query.eq_ignore_ascii_case("query-id") {
            continue;
        }
        for (what, field) in [("query id", query), ("name of the slice", name), ("value of the slice", value)] {
            check_id(what, field).map_err(&refused)?;
        }
        count = count.saturating_add(1);
        if count > MAX_LINES {
            return Err(refused(Problem::TooMany));
        }
        let Some(of_query) = queries.get_mut(*query) else {
            let queries = named_in.display().to_string();
            return Err(refused(Problem::UnknownQuery { query: short(query), queries }));
        };
        if let Some(there) = of_query.metadata.insert((*name).to_owned(), (*value).to_owned()) {
            let (query, name, there) = (short(query), short(name), short(&there));
            return Err(refused(Problem::DuplicateSlice { query, name, there }));
        }
    }
    if count == 0 {
        return Err(DatasetError::Empty { file: file.to_owned(), wanted: "`query-id⇥name⇥value` a line" });
    }
    Ok(lines.digest())
}
