//! The chart, rendered by Helm without a cluster.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use join_e2e::components::Components;
use join_e2e::helm::{self, RELEASE};
use join_e2e::lab::command;
use join_e2e::operator::NAMESPACE;
use libtest_mimic::Failed;
use serde_json::Value;

/// Helm, with a home of its own.
pub struct Helm {
    program: PathBuf,
    home: tempfile::TempDir,
}

impl Helm {
    pub fn new() -> Result<Self, Failed> {
        Ok(Self { program: Components::helm()?.join("helm"), home: tempfile::tempdir()? })
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        helm::at_home(&mut command, self.home.path());
        // There is no cluster, whatever the user's own environment says.
        command.env("KUBECONFIG", "/nonexistent");
        command
    }

    /// Renders the chart. A refusal by the chart is an error with Helm's words.
    pub fn text(&self, values: &Value, namespace: &str, arguments: &[&str]) -> Result<String, Failed> {
        let file = self.home.path().join("values.yaml");
        fs::write(&file, values.to_string())?;
        let mut render = self.command();
        render.args(["template", RELEASE]).arg(helm::chart()).args(["--namespace", namespace]);
        render.arg("--values").arg(file).args(arguments);
        Ok(command::run(&mut render)?.stdout)
    }

    /// The objects that the chart makes of some values.
    pub fn objects(&self, values: &Value) -> Result<Vec<Value>, Failed> {
        parse(&self.text(values, NAMESPACE, &[])?)
    }

    /// What the chart says when it refuses values.
    pub fn refusal(&self, values: &Value, namespace: &str) -> Result<String, Failed> {
        match self.text(values, namespace, &[]) {
            Ok(_) => Err(format!("accepted: {values}").into()),
            Err(failure) => Ok(failure.message().unwrap_or_default().to_owned()),
        }
    }

    /// Helm's own opinion of the chart.
    pub fn lint(&self, values: &Value) -> Result<String, Failed> {
        let file = self.home.path().join("values.yaml");
        fs::write(&file, values.to_string())?;
        let mut lint = self.command();
        lint.args(["lint", "--strict", "--namespace", NAMESPACE, "--values"]).arg(file).arg(helm::chart());
        Ok(command::run(&mut lint)?.stdout)
    }
}

/// The documents of a YAML text that are not empty.
pub fn parse(text: &str) -> Result<Vec<Value>, Failed> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(text)?;
    Ok(documents.into_iter().filter(|document| !document.is_null()).collect())
}

/// The objects of a kind.
pub fn of_kind<'a>(objects: &'a [Value], kind: &'a str) -> impl Iterator<Item = &'a Value> {
    objects.iter().filter(move |object| object["kind"] == kind)
}

/// The texts of a list.
pub fn texts(value: &Value) -> Vec<&str> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

/// A file of this suite.
pub fn file(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/chart").join(path)
}

/// Values with which the chart renders everything that it can, as `values/<name>.yaml` has them.
pub fn values(name: &str) -> Result<Value, Failed> {
    Ok(serde_saphyr::from_str(&fs::read_to_string(file(&format!("values/{name}.yaml")))?)?)
}

/// Compares a text with a golden file, or writes it with UPDATE set.
pub fn assert_golden(name: &str, found: &str) -> Result<(), Failed> {
    let path = file(&format!("golden/{name}"));
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&path, found)?;
    }
    let golden = fs::read_to_string(&path)?;
    if found == golden {
        return Ok(());
    }
    let new = tempfile::NamedTempFile::new()?;
    fs::write(new.path(), found)?;
    let difference = Command::new("diff").arg("--unified=1").arg(&path).arg(new.path()).output()?;
    let difference = String::from_utf8_lossy(&difference.stdout).into_owned();
    Err(format!(
        "not as in {}:\n{difference}\nIf that is meant: UPDATE=1 cargo test -p join-e2e --test chart",
        path.display()
    )
    .into())
}
