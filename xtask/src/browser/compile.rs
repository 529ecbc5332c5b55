//! Has Chromium compile WGSL, and believes it only after it has refused what must be refused.
//!
//! Each shader goes through `createShaderModule` and, where that takes it, through
//! `createComputePipelineAsync` with the entry point `main`, on a device with default limits and
//! no features but those that the file asks for (`pages/compile.js` has the two directives).

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use super::server::Site;
use super::visit::visit;

/// A pipeline that takes longer than this hangs the compiler.
const QUIET: Duration = Duration::from_secs(180);

/// Shaders that show whether the browser looks at all: name, text, and the line it must refuse.
const SELF_TEST: &[(&str, &str, Option<u64>)] = &[
    ("self-test/right", include_str!("../../pages/self-test/right.wgsl"), None),
    ("self-test/wrong_type", include_str!("../../pages/self-test/wrong_type.wgsl"), Some(6)),
    (
        "self-test/barrier_in_divergent_flow",
        include_str!("../../pages/self-test/barrier_in_divergent_flow.wgsl"),
        Some(11),
    ),
    (
        "self-test/workgroup_too_large",
        include_str!("../../pages/self-test/workgroup_too_large.wgsl"),
        Some(0), // the module is right; the pipeline has no line to point at
    ),
];

/// One shader and what the browser has said about it.
#[derive(Debug)]
pub struct Case {
    name: String,
    code: String,
    verdict: Verdict,
}

#[derive(Debug, Default)]
struct Verdict {
    /// Line and text; line 0 where the browser names none.
    errors: Vec<(u64, String)>,
    /// Warnings and remarks, which may explain an error.
    notes: Vec<(u64, String)>,
    /// The feature that the adapter lacks.
    skipped: Option<String>,
    is_complete: bool,
}

/// What became of a directory of shaders that all compiled.
#[derive(Debug, Default)]
pub struct Outcome {
    pub compiled_count: usize,
    /// Shaders that this browser's adapter could not be asked about.
    pub skipped: Vec<String>,
}

/// Compiles every `*.wgsl` of a directory, in the order of the names.
///
/// # Errors
/// There are none, one is refused (all that are, are printed with line numbers), the self-test
/// shows that the browser refuses too little or too much, or there is no browser.
pub fn compile_directory(directory: &Path) -> Result<Outcome> {
    let shaders = read_directory(directory)?;
    let shader_count = shaders.len();
    let tests = SELF_TEST.iter().map(|&(name, code, _)| (name.to_owned(), code.to_owned()));
    let mut cases: Vec<Case> = tests.chain(shaders).map(Case::new).collect();
    if let Some(reason) = compile(&mut cases)? {
        let names = cases[SELF_TEST.len()..].iter();
        let skipped = names.map(|case| format!("{}: {reason}", case.name)).collect();
        return Ok(Outcome { compiled_count: 0, skipped });
    }
    for (case, (.., refused_line)) in cases.iter().zip(SELF_TEST) {
        case.check_self_test(*refused_line)?;
    }
    let mut outcome = Outcome::default();
    let mut refused_count = 0;
    for case in &cases[SELF_TEST.len()..] {
        if let Some(feature) = &case.verdict.skipped {
            outcome.skipped.push(format!("{}: no {feature}", case.name));
        } else if case.verdict.errors.is_empty() {
            outcome.compiled_count += 1;
        } else {
            refused_count += 1;
        }
        eprint!("{}", case.describe());
    }
    eprintln!("{} of {shader_count} shaders compile", outcome.compiled_count);
    if refused_count > 0 {
        bail!("{refused_count} of {shader_count} shaders are refused by the browser");
    }
    Ok(outcome)
}

fn read_directory(directory: &Path) -> Result<Vec<(String, String)>> {
    let entries =
        directory.read_dir().with_context(|| format!("cannot read {}", directory.display()))?;
    let mut shaders = BTreeMap::new();
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "wgsl") {
            let code = std::fs::read_to_string(&path)
                .with_context(|| format!("cannot read {}", path.display()))?;
            let name = path.file_stem().expect("it has an extension").to_string_lossy();
            shaders.insert(name.into_owned(), code);
        }
    }
    if shaders.is_empty() {
        bail!("{}: no .wgsl files", directory.display());
    }
    Ok(shaders.into_iter().collect())
}

/// Has the browser compile the cases and writes the verdicts into them. The reason, if the browser
/// has no WebGPU.
fn compile(cases: &mut [Case]) -> Result<Option<String>> {
    let mut site = Site::new()
        .with_file("/compile.html", include_str!("../../pages/compile.html"))
        .with_file("/compile.js", include_str!("../../pages/compile.js"))
        .with_file("/cases.txt", cases.len().to_string());
    for (index, case) in cases.iter().enumerate() {
        site = site.with_file(format!("/cases/{index}.wgsl"), case.code.as_str());
    }
    let mut current = "before the first shader".to_owned();
    let mut problem = None;
    let result = visit(site, "compile.html", QUIET, |line| {
        let fields: Vec<String> = line.split('\t').map(unescape).collect();
        let fields: Vec<&str> = fields.iter().map(String::as_str).collect();
        if let ["adapter", parts @ ..] = &fields[..] {
            let parts: Vec<&str> = parts.iter().copied().filter(|part| !part.is_empty()).collect();
            eprintln!("WebGPU adapter: {}", parts.join(", "));
        } else if let Some(case) = find(cases, &fields) {
            current.clone_from(&case.name);
            problem = problem.take().or_else(|| case.hear(&fields));
        } else {
            problem = Some(format!("the page said {line:?}"));
        }
    });
    match (result.with_context(|| current.clone())?.as_str(), problem) {
        (_, Some(problem)) => bail!("{problem}"),
        ("complete", None) => {}
        (reason, None) => return Ok(Some(reason.to_owned())),
    }
    if let Some(case) = cases.iter().find(|case| !case.verdict.is_complete) {
        bail!("{}: the page finished without a word about it", case.name);
    }
    Ok(None)
}

fn find<'a>(cases: &'a mut [Case], fields: &[&str]) -> Option<&'a mut Case> {
    cases.get_mut(fields.get(1)?.parse::<usize>().ok()?)
}

fn unescape(field: &str) -> String {
    let mut text = String::with_capacity(field.len());
    let mut rest = field.chars();
    while let Some(c) = rest.next() {
        match c {
            '\\' => text.extend(rest.next().map(|c| match c {
                't' => '\t',
                'n' => '\n',
                other => other,
            })),
            other => text.push(other),
        }
    }
    text
}

impl Case {
    fn new((name, code): (String, String)) -> Self {
        Self { name, code, verdict: Verdict::default() }
    }

    /// Takes in one fact; the problem, if it is none that is known.
    fn hear(&mut self, fields: &[&str]) -> Option<String> {
        match fields {
            ["begin", _] => {}
            ["end", _] => self.verdict.is_complete = true,
            ["skip", _, feature] => {
                self.verdict.skipped = Some((*feature).to_owned());
                self.verdict.is_complete = true;
            }
            ["message", _, "error", line, _, text] => {
                self.verdict.errors.push((line.parse().unwrap_or(0), (*text).to_owned()));
            }
            ["message", _, kind, line, _, text] => {
                self.verdict.notes.push((line.parse().unwrap_or(0), format!("{kind}: {text}")));
            }
            ["pipeline", _, text] => {
                self.verdict.errors.push((0, format!("no pipeline: {text}")));
            }
            other => return Some(format!("the page said {other:?}")),
        }
        None
    }

    fn check_self_test(&self, refused_line: Option<u64>) -> Result<()> {
        let errors = &self.verdict.errors;
        match refused_line {
            None if errors.is_empty() => Ok(()),
            None => bail!("{}: refused, though it is right\n{}", self.name, self.describe()),
            Some(_) if errors.is_empty() => {
                bail!("{}: compiled, though it is wrong: this browser proves nothing", self.name)
            }
            Some(line) if errors.iter().any(|(found, _)| *found == line) => Ok(()),
            Some(line) => {
                bail!("{}: not refused in line {line}\n{}", self.name, self.describe())
            }
        }
    }

    /// Everything the browser said, each with its line and the text of the line below it.
    fn describe(&self) -> String {
        let mut text = String::new();
        for (line, message) in self.verdict.errors.iter().chain(&self.verdict.notes) {
            text.push_str(&format!("{}:{line}: {message}\n", self.name));
            let index = usize::try_from(*line).unwrap_or(0).checked_sub(1);
            if let Some(source) = index.and_then(|index| self.code.lines().nth(index)) {
                text.push_str(&format!("    {}\n", source.trim()));
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn case() -> Case {
        Case::new(("norm/rms_norm".to_owned(), "fn main() {\n    let x: f32 = 1u;\n}".to_owned()))
    }

    #[test]
    fn an_error_is_shown_with_its_line() {
        let mut case = case();
        let line = "message\t0\terror\t2\t18\tcannot assign\\n'u32' to 'f32'";
        let fields: Vec<String> = line.split('\t').map(unescape).collect();
        let fields: Vec<&str> = fields.iter().map(String::as_str).collect();
        assert_eq!(case.hear(&fields), None);
        let expected = "norm/rms_norm:2: cannot assign\n'u32' to 'f32'\n    let x: f32 = 1u;\n";
        assert_eq!(case.describe(), expected);
        assert!(case.check_self_test(Some(2)).is_ok());
        assert!(case.check_self_test(Some(3)).is_err());
        assert!(case.check_self_test(None).is_err());
    }

    #[test]
    fn a_wrong_shader_that_compiles_fails_the_self_test() {
        let mut case = case();
        assert_eq!(case.hear(&["end", "0"]), None);
        assert!(case.check_self_test(Some(2)).unwrap_err().to_string().contains("proves nothing"));
        assert!(case.check_self_test(None).is_ok());
    }

    #[test]
    fn a_word_that_nobody_knows_is_a_problem() {
        assert!(case().hear(&["began", "0"]).unwrap().contains("began"));
    }
}
