//! The page that tells what was measured: a table, the targets, and a plot.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use plotters::prelude::{
    BLACK, ChartBuilder, Color, IntoDrawingArea, IntoFont, IntoSegmentedCoord, RGBColor, Rectangle, SVGBackend,
    SegmentValue, WHITE,
};

use super::Results;

/// A run's figures, ready to be shown.
pub struct Report<'a> {
    /// What was measured.
    pub results: &'a Results,
    /// The Kubernetes version.
    pub kubernetes: &'a str,
    /// The stripped size of join-agent, in bytes.
    pub agent_size: u64,
}

/// Minimum, median and maximum.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Spread {
    least: f64,
    median: f64,
    most: f64,
}

fn spread(values: impl IntoIterator<Item = f64>) -> Spread {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    let median = match values.len() {
        0 => f64::NAN,
        count if count % 2 == 0 => f64::midpoint(values[middle - 1], values[middle]),
        _ => values[middle],
    };
    let ends = (values.first().copied(), values.last().copied());
    Spread { least: ends.0.unwrap_or(f64::NAN), median, most: ends.1.unwrap_or(f64::NAN) }
}

fn seconds(values: impl IntoIterator<Item = Duration>) -> Spread {
    spread(values.into_iter().map(|value| value.as_secs_f64()))
}

#[allow(clippy::cast_precision_loss, reason = "counts and KiB are far below 2^52")]
pub(super) fn number(value: u64) -> f64 {
    value as f64
}

pub(super) fn count(value: usize) -> f64 {
    number(value as u64)
}

/// A number with its thousands apart.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let groups: Vec<&str> =
        digits.as_bytes().rchunks(3).rev().map(|group| std::str::from_utf8(group).unwrap_or_default()).collect();
    groups.join(",")
}

impl Report<'_> {
    /// The page as Markdown.
    pub fn markdown(&self) -> String {
        let Results { ours, kubeadm, floor } = self.results;
        let ours_ready = seconds(ours.iter().map(|join| join.ready));
        let kubeadm_ready = seconds(kubeadm.iter().map(|join| join.ready));
        let floor_ready = seconds(floor.iter().map(|start| start.ready));
        let ratio = ours_ready.median / kubeadm_ready.median;
        let floor_ratio = floor_ready.median / kubeadm_ready.median;

        let mut page = format!(
            "# Benchmarks\n\n\
             Written by `cargo xtask bench join` on {}: {} joins of each kind, in turns, in one lab.\n\n\
             Host: {}. Kubernetes {}. Release builds.\n\n\
             Absolute times depend on the host; compare the columns of one run. Each figure is the median, with the \
             least and the most in brackets.\n\n\
             ![Time until the Node is Ready](benchmarks.svg)\n\n",
            crate::host::today(),
            ours.len(),
            crate::host::description(),
            self.kubernetes,
        );
        page.push_str("## Time until the Node is Ready\n\n");
        page.push_str("| | join-operator | `kubeadm join` | kubelet alone (floor) |\n|---|---|---|---|\n");
        let none = "–".to_owned();
        for (label, ours, theirs, least) in [
            ("from", "`NodeJoinRequest` created".to_owned(), "program started".to_owned(), "unit started".to_owned()),
            ("credential issued", show(seconds(ours.iter().map(|j| j.credential)), "s"), none.clone(), none.clone()),
            (
                "client certificate issued",
                show(seconds(ours.iter().map(|j| j.certificate)), "s"),
                none.clone(),
                none.clone(),
            ),
            (
                "Node registered",
                show(seconds(ours.iter().map(|j| j.registered)), "s"),
                show(seconds(kubeadm.iter().map(|j| j.registered)), "s"),
                show(seconds(floor.iter().map(|j| j.registered)), "s"),
            ),
            ("Node Ready", show(ours_ready, "s"), show(kubeadm_ready, "s"), show(floor_ready, "s")),
            ("program ended", none.clone(), show(seconds(kubeadm.iter().map(|j| j.exit)), "s"), none),
            ("**Ready, relative to kubeadm**", format!("**{ratio:.2}**"), "1".to_owned(), format!("{floor_ratio:.2}")),
        ] {
            let _ = writeln!(page, "| {label} | {ours} | {theirs} | {least} |");
        }
        page.push_str("\n## Cost\n\n| | join-operator | `kubeadm join` |\n|---|---|---|\n");
        let mebibytes = |kibibytes: u64| number(kibibytes) / 1024.0;
        for (label, ours, theirs) in [
            (
                "API writes per join",
                show(spread(ours.iter().map(|j| count(j.requests.writes))), ""),
                show(spread(kubeadm.iter().map(|j| count(j.requests.writes))), ""),
            ),
            (
                "API reads per join",
                show(spread(ours.iter().map(|j| count(j.requests.reads))), ""),
                show(spread(kubeadm.iter().map(|j| count(j.requests.reads))), ""),
            ),
            (
                "peak memory",
                show(spread(ours.iter().map(|j| mebibytes(j.peak_memory))), "MiB"),
                show(spread(kubeadm.iter().map(|j| mebibytes(j.peak_memory))), "MiB"),
            ),
            (
                "memory while waiting",
                show(spread(ours.iter().map(|j| mebibytes(j.idle_memory))), "MiB"),
                "– (not running)".to_owned(),
            ),
        ] {
            let _ = writeln!(page, "| {label} | {ours} | {theirs} |");
        }
        page.push_str(
            "\nWrites and reads of ours are those of agent and controller together, from the creation of the request until \
             it is Ready and its token removed, without the leader's lease and without the announcement (one write, \
             before). Where the kubelet asks for a serving certificate, its decision takes up to three more writes, most of \
             them after that. kubeadm's are its own, without those of the kubelet, which requests its certificate \
             itself.\n\n\
             [Scale](scale.md) has the controller's memory and processor time, and joins beside each other.\n",
        );
        page.push_str(&self.targets(ratio));
        page
    }

    /// What we want to reach, and whether this run did.
    fn targets(&self, ratio: f64) -> String {
        let ours = &self.results.ours;
        let own = spread(ours.iter().filter_map(|join| join.agent).map(|time| time.as_secs_f64() * 1000.0)).median;
        let writes = spread(ours.iter().map(|join| count(join.requests.writes))).median;
        let idle = spread(ours.iter().map(|join| number(join.idle_memory) / 1024.0)).median;
        let size = number(self.agent_size) / 1e6;
        let mut text = "\n## Targets\n\n| target | measured | reached |\n|---|---|---|\n".to_owned();
        for (target, measured, reached) in [
            ("created → Ready at most 0.7 × kubeadm's", format!("{ratio:.2}"), ratio <= 0.7),
            ("the agent's own part at most 150 ms", format!("{own:.0} ms"), own <= 150.0),
            ("at most 15 writes per join", format!("{writes:.0}"), writes <= 15.0),
            ("agent at most 8 MB on the disk", format!("{size:.1} MB"), size <= 8.0),
            ("agent at most 10 MB of memory while it waits", format!("{idle:.1} MiB"), idle * 1.048_576 <= 10.0),
        ] {
            let _ = writeln!(text, "| {target} | {measured} | {} |", if reached { "yes" } else { "**no**" });
        }
        text
    }

    /// Draws the medians of the time until Ready as bars.
    pub fn plot(&self, path: &Path) -> anyhow::Result<()> {
        let bars = [
            ("join-operator", seconds(self.results.ours.iter().map(|join| join.ready))),
            ("kubeadm join", seconds(self.results.kubeadm.iter().map(|join| join.ready))),
            ("kubelet alone", seconds(self.results.floor.iter().map(|start| start.ready))),
        ];
        let most = bars.iter().map(|(_, spread)| spread.most).fold(0.0, f64::max) * 1.1;
        let area = SVGBackend::new(path, (640, 360)).into_drawing_area();
        area.fill(&WHITE)?;
        let mut chart = ChartBuilder::on(&area)
            .caption("Seconds until the Node is Ready (median; line: least to most)", ("sans-serif", 16).into_font())
            .margin(12)
            .x_label_area_size(28)
            .y_label_area_size(44)
            .build_cartesian_2d((0..bars.len() - 1).into_segmented(), 0.0..most)?;
        chart
            .configure_mesh()
            .disable_x_mesh()
            .x_label_formatter(&|place| match place {
                SegmentValue::CenterOf(index) => bars.get(*index).map_or(String::new(), |(name, _)| (*name).to_owned()),
                _ => String::new(),
            })
            .draw()?;
        chart.draw_series(bars.iter().enumerate().map(|(index, (_, spread))| {
            let corners = [(SegmentValue::Exact(index), 0.0), (SegmentValue::Exact(index + 1), spread.median)];
            let mut bar = Rectangle::new(corners, RGBColor(70, 120, 180).mix(0.8).filled());
            bar.set_margin(0, 0, 40, 40);
            bar
        }))?;
        chart.draw_series(bars.iter().enumerate().map(|(index, (_, spread))| {
            let ends = [spread.least, spread.most].map(|end| (SegmentValue::CenterOf(index), end));
            plotters::element::PathElement::new(ends.to_vec(), BLACK.stroke_width(2))
        }))?;
        area.present()?;
        Ok(())
    }
}

fn show(spread: Spread, unit: &str) -> String {
    let digits = if unit.is_empty() { 0 } else { 2 };
    let Spread { least, median, most } = spread;
    format!("{median:.digits$} {unit} ({least:.digits$}–{most:.digits$})").replace("  ", " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_of_odd_and_even_counts() {
        assert_eq!(spread([3.0, 1.0, 2.0]), Spread { least: 1.0, median: 2.0, most: 3.0 });
        assert_eq!(spread([4.0, 1.0, 2.0, 3.0]), Spread { least: 1.0, median: 2.5, most: 4.0 });
        assert!(spread([]).median.is_nan());
    }

    #[test]
    fn thousands_are_apart() {
        assert_eq!([0, 100, 1000, 131_072, 1_000_000].map(grouped), ["0", "100", "1,000", "131,072", "1,000,000"]);
    }

    #[test]
    fn counts_have_no_decimals_and_times_have_two() {
        assert_eq!(show(spread([1.0, 2.0, 3.0]), ""), "2 (1–3)");
        assert_eq!(show(spread([0.5]), "s"), "0.50 s (0.50–0.50)");
    }
}
