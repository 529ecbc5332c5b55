//! Models by their name on the Hugging Face hub: `facebook/blt-1b`, or `facebook/blt-1b@revision`.
//!
//! Files are kept where other programs of the hub keep theirs, and used from there without asking
//! again. `HF_HUB_CACHE` or `HF_HOME` say where; `HF_TOKEN`, `HF_TOKEN_PATH` or the file that
//! `hf auth login` writes, who asks; `HF_ENDPOINT`, whom; `HF_HUB_OFFLINE=1`, nobody.

#[cfg(feature = "hub")]
mod blob;
#[cfg(feature = "hub")]
mod download;

use super::terminal::Terminal;
use std::path::{Path, PathBuf};

/// A model on the hub.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    /// `owner/model`.
    pub model: String,
    /// A branch, tag or commit.
    pub revision: String,
}

impl Name {
    /// The name that a path is, if it may be one: two parts, of letters, digits, `-`, `_` and `.`,
    /// and perhaps a revision behind an `@`.
    pub fn of(path: &Path) -> Option<Self> {
        let text = path.to_str()?;
        let (model, revision) = text.split_once('@').unwrap_or((text, "main"));
        let (owner, name) = model.split_once('/')?;
        let is_plain = |part: &str| {
            let known = |it: char| it.is_ascii_alphanumeric() || matches!(it, '-' | '_' | '.');
            !part.is_empty() && !part.starts_with('.') && part.chars().all(known)
        };
        let is_name = is_plain(owner) && is_plain(name) && is_plain(revision);
        is_name.then(|| Self { model: model.to_owned(), revision: revision.to_owned() })
    }
}

/// The directory of a model, its files fetched where they are not there yet.
///
/// # Errors
/// The hub has no such model, wants a licence to be accepted, or does not answer to the end.
#[cfg(feature = "hub")]
pub fn fetch(name: &Name, terminal: &Terminal) -> anyhow::Result<PathBuf> {
    download::fetch(name, terminal)
}

/// Without the feature `hub` there is nothing to fetch with.
///
/// # Errors
/// Always.
#[cfg(not(feature = "hub"))]
pub fn fetch(name: &Name, _: &Terminal) -> anyhow::Result<PathBuf> {
    let problem = "there is no such directory, and this program was built without the hub";
    let error = blt_wgpu::Error::model(&name.model, problem);
    Err(error.with_hint("build it with `--features hub`, or download the model yourself").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_paths() {
        let name = |text: &str| Name::of(Path::new(text));
        let main = Name { model: "facebook/blt-1b".into(), revision: "main".into() };
        assert_eq!(name("facebook/blt-1b"), Some(main));
        assert_eq!(name("a/b@v1.0").unwrap().revision, "v1.0");
        for path in ["model", "./model", "../a/b", "/a/b", "a/b/c", "a/", "/b", "a/b@", "a b/c", ""]
        {
            assert_eq!(name(path), None, "{path}");
        }
    }
}
