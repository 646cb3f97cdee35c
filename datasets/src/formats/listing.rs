//! Lists the files of a folder, and reads them: the source behind every dataset of loose files.
//!
//! A file is an image by the extension of its name; whether it can be decoded is found out later, and one that cannot is
//! skipped with a reason and a count rather than silently left out. Hidden files and the sidecars that operating systems
//! and archives leave behind are nobody's images, whatever their extension, and are passed over.

use std::fs;
use std::path::{Path, PathBuf};

use crate::source::{Manifest, Raw, ReadError, Source};
use crate::spec::DatasetError;

/// Files that are never images, by name.
const SIDECARS: [&str; 8] =
    ["Thumbs.db", "desktop.ini", "README", "README.md", "README.txt", "LICENSE", "LICENSE.txt", "ORIGIN.md"];
/// Extensions of images, those that no decoder here reads among them: their files must be counted as skipped.
const IMAGES: [&str; 13] =
    ["jpg", "jpeg", "jpe", "jfif", "png", "webp", "bmp", "gif", "tif", "tiff", "heic", "heif", "avif"];
/// Folders inside folders: deeper ones are an error, since leaving them out would go unseen.
const MAX_DEPTH: usize = 16;

/// A file below a folder.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Listed {
    /// Path below the folder, with `/`.
    pub name: String,
    /// Size.
    pub bytes: u64,
}

/// Whether a file's name is that of an image.
pub fn is_image(name: &str) -> bool {
    let extension = Path::new(name).extension().and_then(|e| e.to_str()).unwrap_or_default();
    IMAGES.iter().any(|known| extension.eq_ignore_ascii_case(known))
}

/// Every file below `folder` at any depth, bytewise sorted by name. `prefix` is put before the names. A link to a folder
/// that it lies in leads in circles and is passed over.
pub fn files_below(folder: &Path, prefix: &str) -> Result<Vec<Listed>, DatasetError> {
    let mut files = Vec::new();
    descend(folder, prefix, &mut Vec::new(), &mut files)?;
    files.sort_unstable();
    Ok(files)
}

/// `open` holds the real paths of the folders on the way to this one.
fn descend(folder: &Path, prefix: &str, open: &mut Vec<PathBuf>, files: &mut Vec<Listed>) -> Result<(), DatasetError> {
    let children = children(folder)?;
    let real = folder.canonicalize().map_err(DatasetError::io(folder))?;
    if open.iter().any(|above| above.starts_with(&real)) {
        return Ok(());
    }
    if open.len() > MAX_DEPTH {
        let what = format!("lies more than {MAX_DEPTH} folders deep; name a root nearer to the images");
        return Err(DatasetError::malformed(folder, what));
    }
    open.push(real);
    for (name, path) in children {
        // Follows links: subsets of ImageNet are often folders of links. A dangling one is an item that cannot be read.
        let metadata = fs::metadata(&path).ok();
        let name = if prefix.is_empty() { name } else { format!("{prefix}/{name}") };
        match metadata {
            Some(metadata) if metadata.is_dir() => descend(&path, &name, open, files)?,
            Some(metadata) if !metadata.is_file() => {}
            metadata => files.push(Listed { name, bytes: metadata.map_or(0, |metadata| metadata.len()) }),
        }
    }
    open.pop();
    Ok(())
}

/// Names of the folders directly below `folder`, bytewise sorted.
pub fn folders_in(folder: &Path) -> Result<Vec<String>, DatasetError> {
    let folders = children(folder)?.into_iter().filter(|(_, path)| path.is_dir());
    let mut names: Vec<String> = folders.map(|(name, _)| name).collect();
    names.sort_unstable();
    Ok(names)
}

/// Names of the files directly below `folder` that `keep` wants, bytewise sorted.
pub fn files_in(folder: &Path, keep: impl Fn(&str) -> bool) -> Result<Vec<String>, DatasetError> {
    let files = children(folder)?.into_iter().filter(|(name, path)| keep(name) && path.is_file());
    let mut names: Vec<String> = files.map(|(name, _)| name).collect();
    names.sort_unstable();
    Ok(names)
}

fn children(folder: &Path) -> Result<Vec<(String, PathBuf)>, DatasetError> {
    if !folder.is_dir() {
        return Err(DatasetError::missing(folder, "a folder"));
    }
    let mut children = Vec::new();
    for entry in fs::read_dir(folder).map_err(DatasetError::io(folder))? {
        let entry = entry.map_err(DatasetError::io(folder))?;
        let name = entry.file_name().into_string().map_err(|name| {
            DatasetError::malformed(folder, format!("the name {} is not UTF-8; rename the file", name.display()))
        })?;
        if !name.starts_with('.') && !SIDECARS.contains(&name.as_str()) {
            children.push((name, entry.path()));
        }
    }
    Ok(children)
}

/// A dataset whose items are files: an entry's name is its path below the root.
pub struct LooseFiles {
    root: PathBuf,
    manifest: Manifest,
}

impl LooseFiles {
    /// The manifest's names are read below `root`.
    pub fn new(root: &Path, manifest: Manifest) -> Self {
        Self { root: root.to_owned(), manifest }
    }
}

impl Source for LooseFiles {
    fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    fn read(&self, index: usize) -> Result<Raw, ReadError> {
        let len = self.manifest.entries.len();
        let entry = self.manifest.entries.get(index).ok_or(ReadError::OutOfRange { index, len })?;
        let path = self.root.join(&entry.name);
        match fs::read(&path) {
            Ok(bytes) => Ok(Raw::Encoded(bytes)),
            Err(source) => Err(ReadError::Io { path, source }),
        }
    }
}
