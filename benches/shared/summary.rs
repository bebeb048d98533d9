//! The figures side by side: a table for people, JSON for machines.

use std::fmt::Write;
use std::fs;
use std::io;
use std::path::Path;

/// Something measured.
pub(crate) struct Figure {
    name: String,
    value: f64,
    unit: &'static str,
    /// It should be less than this.
    target: Option<f64>,
    /// What somebody else needs for the same.
    references: Vec<(&'static str, f64)>,
}

impl Figure {
    pub(crate) fn new(name: &str, value: f64, unit: &'static str) -> Self {
        Self {
            name: name.to_owned(),
            value,
            unit,
            target: None,
            references: Vec::new(),
        }
    }

    pub(crate) fn target(mut self, target: f64) -> Self {
        self.target = Some(target);
        self
    }

    pub(crate) fn reference(mut self, what: &'static str, value: f64) -> Self {
        self.references.push((what, value));
        self
    }

    fn is_met(&self) -> Option<bool> {
        self.target.map(|target| self.value < target)
    }

    fn row(&self) -> String {
        let target = self
            .target
            .map_or_else(String::new, |target| format!("< {target}"));
        let verdict = match self.is_met() {
            Some(true) => "met",
            Some(false) => "MISSED",
            None => "",
        };
        let references: Vec<String> = self
            .references
            .iter()
            .map(|(what, value)| format!("{what}: {value:.3}"))
            .collect();
        let (name, value, unit) = (&self.name, self.value, self.unit);
        let row = format!(
            "{name:<57} {value:>9.3} {unit:<4} {target:<6} {verdict:<7} {}",
            references.join(", ")
        );
        row.trim_end().to_owned()
    }

    fn json(&self) -> String {
        let or_null = |value: Option<String>| value.unwrap_or_else(|| "null".to_owned());
        let references: Vec<String> = self
            .references
            .iter()
            .map(|(what, value)| format!("{}: {value:.4}", quoted(what)))
            .collect();
        format!(
            "{{\"name\": {}, \"value\": {:.4}, \"unit\": {}, \"target\": {}, \"met\": {}, \"references\": {{{}}}}}",
            quoted(&self.name),
            self.value,
            quoted(self.unit),
            or_null(self.target.map(|target| target.to_string())),
            or_null(self.is_met().map(|met| met.to_string())),
            references.join(", ")
        )
    }
}

/// Everything measured.
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
        println!();
        println!(
            "References of the Python script and node_exporter were measured elsewhere, once."
        );
    }

    /// Adds them to those that other benches left there; those of the same name are replaced.
    pub(crate) fn write(&self, path: &Path) -> io::Result<()> {
        let before = match fs::read_to_string(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            read => read?,
        };
        let head = |figure: &Figure| format!("{{\"name\": {},", quoted(&figure.name));
        let heads: Vec<String> = self.0.iter().map(head).collect();
        let is_other =
            |line: &&str| line.starts_with('{') && !heads.iter().any(|head| line.starts_with(head));
        // One figure a line, as below.
        let lines = before.lines().map(|line| line.trim().trim_end_matches(','));
        let figures: Vec<String> = lines
            .filter(is_other)
            .map(str::to_owned)
            .chain(self.0.iter().map(Figure::json))
            .collect();
        fs::write(path, format!("[\n  {}\n]\n", figures.join(",\n  ")))
    }
}

/// A JSON string.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => _ = write!(quoted, "\\u{:04x}", u32::from(c)),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}
