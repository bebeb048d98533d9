//! The measured figures, as a table on standard output and as JSON in a file.

use std::fs;
use std::io;
use std::path::Path;

use serde_json::{Map, Value, json};

/// A measured figure.
pub(crate) struct Figure {
    name: String,
    value: f64,
    unit: &'static str,
    /// Upper bound on the value.
    target: Option<f64>,
    /// Values to compare with.
    references: Vec<(&'static str, f64)>,
}

impl Figure {
    pub(crate) fn new(name: &str, value: f64, unit: &'static str) -> Self {
        Self { name: name.to_owned(), value, unit, target: None, references: Vec::new() }
    }

    pub(crate) fn target(mut self, target: f64) -> Self {
        self.target = Some(target);
        self
    }

    pub(crate) fn reference(mut self, name: &'static str, value: f64) -> Self {
        self.references.push((name, value));
        self
    }

    fn is_met(&self) -> Option<bool> {
        self.target.map(|target| self.value < target)
    }

    fn row(&self) -> String {
        let target = self.target.map(|target| format!("< {target:.3}"));
        let verdict = match self.is_met() {
            Some(true) => "met",
            Some(false) => "MISSED",
            None => "",
        };
        let references = self.references.iter();
        let references: Vec<String> =
            references.map(|(name, value)| format!("{name}: {value:.3}")).collect();
        let (name, value, unit) = (&self.name, self.value, self.unit);
        let row = format!(
            "{name:<66} {value:>9.3} {unit:<4} {:<9} {verdict:<7} {}",
            target.unwrap_or_default(),
            references.join(", ")
        );
        row.trim_end().to_owned()
    }

    fn json(&self) -> Value {
        let references = self.references.iter();
        let references: Map<String, Value> =
            references.map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
        json!({
            "name": self.name,
            "value": self.value,
            "unit": self.unit,
            "target": self.target,
            "met": self.is_met(),
            "references": references,
        })
    }
}

/// All figures of a bench.
#[derive(Default)]
pub(crate) struct Summary(Vec<Figure>);

impl Summary {
    pub(crate) fn add(&mut self, figure: Figure) {
        self.0.push(figure);
    }

    pub(crate) fn print(&self) {
        println!();
        for figure in &self.0 {
            println!("{}", figure.row());
        }
    }

    /// Writes the figures to the file, after those of other benches; figures of the same name are
    /// replaced.
    pub(crate) fn write(&self, path: &Path) -> io::Result<()> {
        let mut figures: Vec<Value> = match fs::read(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            text => serde_json::from_slice(&text?)?,
        };
        figures.retain(|old| self.0.iter().all(|figure| old["name"] != *figure.name));
        figures.extend(self.0.iter().map(Figure::json));
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory)?;
        }
        fs::write(path, serde_json::to_string_pretty(&figures)? + "\n")
    }
}
