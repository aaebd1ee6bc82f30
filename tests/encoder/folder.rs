//! The files of a model as a folder on disk, for the examples that read one.

use std::collections::BTreeMap;
use std::path::PathBuf;

/// A folder that is gone when the test is over.
pub(crate) struct Folder(pub(crate) PathBuf);

impl Folder {
    /// `name` tells it from those of other tests.
    pub(crate) fn new(name: &str, files: &BTreeMap<String, Vec<u8>>) -> Self {
        let folder = std::env::temp_dir().join(format!("pelton-{}-{name}", std::process::id()));
        for (name, bytes) in files {
            let path = folder.join(name);
            std::fs::create_dir_all(path.parent().expect("in the folder")).expect("it can be made");
            std::fs::write(path, bytes).expect("temporary files can be written");
        }
        Self(folder)
    }

    pub(crate) fn arg(&self) -> &str {
        self.0.to_str().expect("temporary folders have plain names")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
