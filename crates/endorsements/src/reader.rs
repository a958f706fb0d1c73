//! A directory that another process fills, read and never written: for whoever appraises beside a cache.
//!
//! Each object is read when it is asked for and checked as of now, so that what was fetched a moment ago counts and what expired does not. The
//! numbers that never go back are read with it. Nothing is made, removed or kept in memory.

use std::path::PathBuf;

use jiff::Timestamp;

use crate::{
    check::{Anchors, check_before_store},
    object::ObjectId,
    store::{Received, StoreError, not_older, read_object, recorded},
};

/// Endorsements of a directory, for reading alone.
#[derive(Debug, Clone)]
pub struct Reader {
    directory: PathBuf,
    anchors: Anchors,
}

impl Reader {
    /// Endorsements of this directory, which need not exist yet, under these roots.
    pub const fn new(directory: PathBuf, anchors: Anchors) -> Reader {
        Reader { directory, anchors }
    }

    /// An object, checked as of now.
    ///
    /// # Errors
    /// [`StoreError::Absent`]; else why it cannot be used now.
    pub fn get(&self, id: &ObjectId, now: Timestamp) -> Result<Received, StoreError> {
        // The floor first: a writer in between can only make the object newer.
        let floor = recorded(&self.directory)?.of(id);
        let received = read_object(&self.directory, id)?;
        let others = |other: &ObjectId| read_object(&self.directory, other).ok();
        let checked = check_before_store(id, &received, others, &self.anchors, now)
            .map_err(|source| StoreError::Refused { object: id.clone(), source })?;
        not_older(id, &checked, floor)?;
        Ok(received)
    }
}
