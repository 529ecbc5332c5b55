//! Fetching the files of a model from the hub.

use super::Name;
use super::blob::Blobs;
use crate::cli::interrupt;
use crate::cli::terminal::Terminal;
use blt_wgpu::{Error, Result};
use hf_hub::api::sync::{ApiBuilder, ApiError};
use hf_hub::{Cache, Repo, RepoType};
use std::path::{Path, PathBuf};

/// Files of a model beside its weights, in either layout.
const TEXTS: [&str; 6] = [
    "config.json",
    "generation_config.json",
    "model.safetensors.index.json",
    "params.json",
    "train_args.json",
    "entropy_model/params.json",
];

/// Weights of the original layout, where there is no safetensors file.
const TORCH_FILE: &str = "consolidated.pth";

/// Weights of its entropy model; the first that is there.
const ENTROPY_WEIGHTS: [&str; 3] = [
    "entropy_model/model.safetensors",
    "entropy_model/consolidated.pth",
    "entropy_model/consolidated_with_rope.pth",
];

/// See [`super::fetch`].
pub fn fetch(name: &Name, terminal: &Terminal) -> anyhow::Result<PathBuf> {
    let repo = Repo::with_revision(name.model.clone(), RepoType::Model, name.revision.clone());
    let cache = Cache::new(cache_directory(name)?);
    let kept = snapshot(&cache, &repo);
    if let Some(directory) = kept.clone().filter(|directory| is_whole(directory)) {
        return Ok(directory);
    }
    if is_offline() {
        let problem = match kept {
            Some(_) => "only some of its files are in the cache, and HF_HUB_OFFLINE is set",
            None => "it is not in the cache, and HF_HUB_OFFLINE is set",
        };
        let hint = format!("the cache is {}; unset HF_HUB_OFFLINE to fetch it", {
            cache.path().display()
        });
        return Err(Error::model(&name.model, problem).with_hint(hint).into());
    }
    let mut builder = ApiBuilder::from_cache(cache.clone())
        .with_user_agent("blt-wgpu", env!("CARGO_PKG_VERSION"));
    if let Some(endpoint) = variable("HF_ENDPOINT") {
        builder = builder.with_endpoint(endpoint.trim_end_matches('/').to_owned());
    }
    let token = token();
    if token.is_some() {
        builder = builder.with_token(token.clone());
    }
    let failed = |problem: ApiError| Error::from(Failure { name, file: None, problem });
    let api = builder.build().map_err(failed)?;
    let listed = api.repo(repo.clone()).info().map_err(failed)?;
    let files: Vec<_> = listed.siblings.into_iter().map(|file| file.rfilename).collect();
    let wanted = wanted(&files);
    if !wanted.iter().any(|file| is_weights(file)) {
        let problem = "the hub lists no weights for it that could be read";
        return Err(Error::model(&name.model, problem).into());
    }
    // All files are those of one commit, whatever the branch does meanwhile.
    let kept = cache.repo(repo);
    let blobs = Blobs::new(name, &api, token, kept, &listed.sha)?;
    let commit = Repo::with_revision(name.model.clone(), RepoType::Model, listed.sha.clone());
    let hub = api.repo(commit);
    for file in &wanted {
        interrupt::check()?;
        blobs.fetch(file, &hub.url(file), terminal)?;
        blobs.keep(&listed.sha)?;
    }
    Ok(blobs.snapshot().to_path_buf())
}

/// The files to fetch of those there are.
fn wanted(files: &[String]) -> Vec<&str> {
    let is_there = |name: &str| files.iter().any(|file| file == name);
    let is_shard = |name: &str| {
        let plain = !name.contains(['/', '\\']);
        plain && name.starts_with("model") && name.ends_with(".safetensors")
    };
    let mut wanted: Vec<&str> = TEXTS.into_iter().filter(|name| is_there(name)).collect();
    let shards: Vec<&str> =
        files.iter().map(String::as_str).filter(|name| is_shard(name)).collect();
    match shards.is_empty() {
        true => wanted.extend(Some(TORCH_FILE).filter(|name| is_there(name))),
        false if is_there("model.safetensors") => wanted.push("model.safetensors"),
        false => wanted.extend(shards),
    }
    wanted.extend(ENTROPY_WEIGHTS.into_iter().find(|name| is_there(name)));
    wanted
}

fn is_weights(file: &str) -> bool {
    file.ends_with(".safetensors") || file.ends_with(".pth")
}

/// The directory of the files that are kept of a model.
fn snapshot(cache: &Cache, repo: &Repo) -> Option<PathBuf> {
    let repo = cache.repo(repo.clone());
    let file = repo.get("config.json").or_else(|| repo.get("params.json"))?;
    Some(file.parent()?.to_path_buf())
}

/// Whether everything that a directory needs is in it. Whether it is right, opening it will show.
fn is_whole(directory: &Path) -> bool {
    let has = |name: &str| directory.join(name).exists();
    if has("entropy_model/params.json") && !ENTROPY_WEIGHTS.iter().any(|name| has(name)) {
        return false;
    }
    if has("model.safetensors") || has(TORCH_FILE) {
        // In the original layout there is an entropy model beside, unless the hub has none.
        let config = std::fs::read_to_string(directory.join("config.json")).unwrap_or_default();
        let is_hugging_face = config.contains("\"model_type\"");
        return is_hugging_face || has("entropy_model/params.json") || is_offline();
    }
    let index = std::fs::read(directory.join("model.safetensors.index.json"));
    let index: Option<serde_json::Value> =
        index.ok().and_then(|text| serde_json::from_slice(&text).ok());
    let shards = index.as_ref().and_then(|index| index["weight_map"].as_object());
    shards.is_some_and(|map| map.values().all(|file| file.as_str().is_some_and(has)))
}

pub(super) const TRY_AGAIN: &str = "do it again: what has come stays, and only the rest is fetched";

/// What the hub said, or did not.
pub(super) struct Failure<'a> {
    pub name: &'a Name,
    /// The file that was asked for; `None`: the list of all.
    pub file: Option<&'a str>,
    pub problem: ApiError,
}

impl From<Failure<'_>> for Error {
    fn from(failure: Failure) -> Self {
        let Failure { name: Name { model, revision }, file, problem } = failure;
        let subject = match file {
            Some(file) => format!("{model}: {file}"),
            None => model.clone(),
        };
        let status = match &problem {
            ApiError::RequestError(error) => match **error {
                ureq::Error::StatusCode(status) => Some(status),
                _ => None,
            },
            _ => None,
        };
        match status {
            Some(404) if file.is_some() => {
                Self::model(subject, format!("the hub lists it and does not have it ({revision})"))
                    .with_hint("fetch another revision: owner/model@revision")
            }
            Some(404) => Self::model(
                subject,
                format!("there is no such directory, and the hub has no such thing ({revision})"),
            )
            .with_hint("check the name; a model directory is given by its path"),
            Some(401) => Self::model(
                subject,
                "the hub does not say whether it exists, or wants to know who asks (401)",
            )
            .with_hint(format!(
                "check the name; if the model is gated, accept its licence at \
                 https://huggingface.co/{model} and set HF_TOKEN"
            )),
            Some(403) => Self::model(subject, "the hub does not give it to this token (403)")
                .with_hint(format!(
                    "accept the licence at https://huggingface.co/{model} with the account of the \
                     token"
                )),
            Some(status) => Self::model(subject, format!("the hub answered with status {status}"))
                .with_hint(TRY_AGAIN),
            None => Self::model(subject, format!("it could not be fetched: {problem}"))
                .with_hint(TRY_AGAIN),
        }
    }
}

/// Where files of the hub are kept.
fn cache_directory(name: &Name) -> Result<PathBuf> {
    if let Some(path) = variable("HF_HUB_CACHE") {
        return Ok(path.into());
    }
    home().map(|home| home.join("hub")).ok_or_else(|| {
        Error::model(&name.model, "there is no home directory to keep files of the hub in")
            .with_hint("set HF_HOME to a directory")
    })
}

/// Where programs of the hub keep what is theirs.
fn home() -> Option<PathBuf> {
    if let Some(path) = variable("HF_HOME") {
        return Some(path.into());
    }
    let caches = variable("XDG_CACHE_HOME").map(PathBuf::from);
    let caches = caches.or_else(|| Some(std::env::home_dir()?.join(".cache")));
    Some(caches?.join("huggingface"))
}

/// The token, from where programs of the hub look for it.
fn token() -> Option<String> {
    let from_file = || {
        let path = variable("HF_TOKEN_PATH").map(PathBuf::from);
        std::fs::read_to_string(path.or_else(|| Some(home()?.join("token")))?).ok()
    };
    let token = variable("HF_TOKEN").or_else(from_file)?.trim().to_owned();
    (!token.is_empty()).then_some(token)
}

fn is_offline() -> bool {
    let value = variable("HF_HUB_OFFLINE").unwrap_or_default().to_lowercase();
    ["1", "true", "yes", "on"].contains(&&*value)
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(files: &[&str]) -> Vec<String> {
        let files: Vec<_> = files.iter().map(ToString::to_string).collect();
        wanted(&files).into_iter().map(str::to_owned).collect()
    }

    #[test]
    fn what_is_fetched_of_each_layout() {
        let release = [
            ".gitattributes",
            "LICENSE",
            "README.md",
            "config.json",
            "model.safetensors",
            "train_args.json",
            "entropy_model/consolidated.pth",
            "entropy_model/params.json",
            "entropy_model/consolidated_with_rope.pth",
        ];
        let expected = [
            "config.json",
            "train_args.json",
            "entropy_model/params.json",
            "model.safetensors",
            "entropy_model/consolidated.pth",
        ];
        assert_eq!(chosen(&release), expected);
        let shards = [
            "config.json",
            "model-00001-of-00002.safetensors",
            "model-00002-of-00002.safetensors",
            "model.safetensors.index.json",
            "tokenizer.json",
            "../model-x.safetensors",
        ];
        let expected = [
            "config.json",
            "model.safetensors.index.json",
            "model-00001-of-00002.safetensors",
            "model-00002-of-00002.safetensors",
        ];
        assert_eq!(chosen(&shards), expected);
        let bundle = ["params.json", "consolidated.pth", "../../x.pth"];
        assert_eq!(chosen(&bundle), ["params.json", "consolidated.pth"]);
    }
}
