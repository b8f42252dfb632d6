//! What was measured, as tables.

use std::{collections::BTreeMap, time::Duration};

use crate::{common::quantile, machine::OTHERS, tenants::Taken, traffic::Answers};

/// The three stretches of a component.
pub struct Row {
    pub name: &'static str,
    /// Whether a scenario takes it; otherwise A wrote one that names it.
    pub is_taken: bool,
    /// Of what A asks, where all is well.
    pub status: u16,
    /// Of each stretch.
    pub time: Duration,
    /// The share of the processors that other processes had meanwhile.
    pub others: f64,
    /// What B was answered.
    pub silent: Answers,
    pub sound: Answers,
    pub hostile: Answers,
    /// What A was answered.
    pub of_sound: Answers,
    pub of_hostile: Answers,
    /// By A's components while they were hostile.
    pub taken: Taken,
}

/// All of them.
#[derive(Default)]
pub struct Report {
    rows: Vec<Row>,
    refused: usize,
}

impl Row {
    fn print(&self) {
        let of = |answers: &Answers| {
            format!("{:.1} / {:.1}", millis(at(&answers.times, 0.5)), millis(at(&answers.times, 0.99)))
        };
        let rate = |answers: &Answers| answers.times.len() as f64 / self.time.as_secs_f64();
        let list = |counts: Vec<String>| counts.join(", ");
        println!(
            "| {}{} | {} | {} | {} | {:.2} | {:.0} → {:.0} | {} | {}; {:.2} s | {:.0} % |",
            self.name,
            if self.is_taken { "" } else { " (written)" },
            of(&self.silent),
            of(&self.sound),
            of(&self.hostile),
            self.moved(),
            rate(&self.of_sound),
            rate(&self.of_hostile),
            list(self.of_hostile.statuses.iter().map(|(status, count)| format!("{status}: {count}")).collect()),
            list(self.taken.calls.iter().map(|(outcome, count)| format!("{count} {outcome}")).collect()),
            self.taken.seconds,
            100.0 * self.others,
        );
    }

    /// B's 99 % with the hostile component to that with the sound one.
    fn moved(&self) -> f64 {
        ratio(at(&self.hostile.times, 0.99), at(&self.sound.times, 0.99))
    }

    /// Whether what was measured may be the work of others.
    pub fn is_disturbed(&self) -> bool {
        self.others > OTHERS
    }

    /// Requests of B that were not answered by all stages.
    fn neighbour_failed(&self) -> usize {
        [&self.silent, &self.sound, &self.hostile].map(|answers| answers.without(200) + answers.degraded).iter().sum()
    }

    /// Requests of A that were not answered as they should be: of a scenario that is refused
    /// it is told that it is.
    fn villain_failed(&self) -> usize {
        let of_hostile = if self.is_taken { self.status } else { 422 };
        self.of_sound.without(self.status) + self.of_hostile.without(of_hostile)
    }

    /// Components of a kind have names that begin alike.
    fn kind(&self) -> &'static str {
        self.name.split('-').next().unwrap_or_default()
    }
}

impl Report {
    /// Takes and prints one; None is one that was not admitted.
    pub fn add(&mut self, row: Option<Row>) {
        let Some(row) = row else {
            self.refused += 1;
            return;
        };
        if self.rows.is_empty() {
            println!(
                "| component | B p50 / p99 ms, A silent | sound | hostile | p99 hostile to sound | A req/s sound → hostile | \
                 A's answers | its calls, processor time | others |\n|---|---|---|---|---|---|---|---|---|"
            );
        }
        row.print();
        self.rows.push(row);
    }

    /// Requests, of both.
    pub fn failed(&self) -> usize {
        self.rows.iter().map(|row| row.neighbour_failed() + row.villain_failed()).sum()
    }

    /// All together, but for what others disturbed.
    pub fn print(&self) {
        let sum = |count: fn(&Row) -> usize| self.rows.iter().map(count).sum::<usize>();
        println!("\n{} uploads were not admitted", self.refused);
        println!("B: {} requests not answered by all stages", sum(Row::neighbour_failed));
        println!("A: {} requests not answered as they should be", sum(Row::villain_failed));
        println!("A: {} slates that its sound components had no part in", sum(|row| row.of_sound.degraded));
        let quiet: Vec<&Row> = self.rows.iter().filter(|row| !row.is_disturbed()).collect();
        println!("{} components disturbed by other processes and left out", self.rows.len() - quiet.len());
        if quiet.is_empty() {
            return;
        }
        kinds(&quiet);
        let (taken, written): (Vec<&Row>, Vec<&Row>) = quiet.iter().partition(|row| row.is_taken);
        for (what, rows) in [("that requests run", &taken), ("that no scenario takes", &written)] {
            if !rows.is_empty() {
                println!("\n{} components {what}, B in all stretches together, ms:\n", rows.len());
                together(rows);
            }
        }
        spread(&quiet);
    }
}

fn kinds(rows: &[&Row]) {
    let mut kinds: BTreeMap<&str, Vec<&Row>> = BTreeMap::new();
    rows.iter().for_each(|row| kinds.entry(row.kind()).or_default().push(row));
    println!(
        "\n| kind | components | B p99 ms, A silent | sound | hostile | hostile to sound |\n|---|---|---|---|---|---|"
    );
    for (kind, rows) in kinds {
        let of = |answers: fn(&Row) -> &Answers| at(&times(&rows, answers), 0.99);
        let (silent, sound, hostile) = (of(|row| &row.silent), of(|row| &row.sound), of(|row| &row.hostile));
        println!(
            "| {kind} | {} | {:.1} | {:.1} | {:.1} | {:.2} |",
            rows.len(),
            millis(silent),
            millis(sound),
            millis(hostile),
            ratio(hostile, sound),
        );
    }
}

/// How far apart single components are, and how far they would be if all were sound.
fn spread(rows: &[&Row]) {
    let mut moved: Vec<(f64, &str)> = rows.iter().map(|row| (row.moved(), row.name)).collect();
    moved.sort_by(|one, other| one.0.total_cmp(&other.0));
    let p99 = |row: &Row| at(&row.sound.times, 0.99);
    let mut chance: Vec<f64> = rows.windows(2).map(|two| ratio(p99(two[1]), p99(two[0]))).collect();
    chance.sort_by(f64::total_cmp);
    let of = |sorted: &[f64], share: f64| {
        sorted.get(((sorted.len().max(1) - 1) as f64 * share).round() as usize).copied().unwrap_or(1.0)
    };
    let ratios: Vec<f64> = moved.iter().map(|(ratio, _)| *ratio).collect();
    println!("\np99 of single components, hostile to sound, and of one sound stretch to the one before:\n");
    println!("| | 5 % | 50 % | 95 % | most |\n|---|---|---|---|---|");
    for (what, ratios) in [("hostile to sound", &ratios), ("sound to sound", &chance)] {
        let [low, middle, high, most] = [0.05, 0.5, 0.95, 1.0].map(|share| of(ratios, share));
        println!("| {what} | {low:.2} | {middle:.2} | {high:.2} | {most:.2} |");
    }
    let worst: Vec<String> = moved.iter().rev().take(10).map(|(ratio, name)| format!("{name} {ratio:.2}")).collect();
    println!("\nmost: {}", worst.join(", "));
    let every_other = |first: usize| {
        let rows: Vec<&Row> = rows.iter().copied().skip(first).step_by(2).collect();
        at(&times(&rows, |row| &row.sound), 0.99)
    };
    if rows.len() > 1 {
        println!("every other sound stretch to the others, p99: {:.2}", ratio(every_other(1), every_other(0)));
    }
}

/// Which stretch of a row.
type Of = fn(&Row) -> &Answers;

fn together(rows: &[&Row]) {
    println!("| A is | requests | p50 | p90 | p99 | p99.9 | most | p99 to sound |\n|---|---|---|---|---|---|---|---|");
    let sound = at(&times(rows, |row| &row.sound), 0.99);
    let all: [(&str, Of); 3] =
        [("silent", |row| &row.silent), ("sound", |row| &row.sound), ("hostile", |row| &row.hostile)];
    for (what, answers) in all {
        let mut times = times(rows, answers);
        let [p50, p90, p99, p999, most] = [0.5, 0.9, 0.99, 0.999, 1.0].map(|share| quantile(&mut times, share));
        println!(
            "| {what} | {} | {:.2} | {:.2} | {:.2} | {:.2} | {:.2} | {:.2} |",
            times.len(),
            millis(p50),
            millis(p90),
            millis(p99),
            millis(p999),
            millis(most),
            ratio(p99, sound),
        );
    }
}

fn times(rows: &[&Row], answers: fn(&Row) -> &Answers) -> Vec<Duration> {
    rows.iter().flat_map(|row| answers(row).times.iter().copied()).collect()
}

fn at(times: &[Duration], share: f64) -> Duration {
    quantile(&mut times.to_vec(), share)
}

fn ratio(one: Duration, other: Duration) -> f64 {
    one.div_duration_f64(other)
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
