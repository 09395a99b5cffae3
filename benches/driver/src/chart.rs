//! Draws a bar chart of saved results: the cost of a request natively, as a multiple of the floor's.
//!
//! It is made from the saved files and not from the new figures, so it is complete even if only some
//! scenarios were measured again.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use interop::{Outcome, Runtime, ensure};

use crate::report::{self, Cell};

/// The panels: a file of results, the setting in it, and the title.
const PANELS: [[&str; 3]; 4] = [
    [
        "native-keepalive.md",
        "64 busy",
        "keep-alive, 64 connections",
    ],
    [
        "native-pipelined.md",
        "64 busy",
        "pipelines of 16, 64 connections",
    ],
    ["native-close.md", "64 busy", "one connection a request"],
    [
        "native-echo.md",
        "8 busy",
        "1 MiB POST and echo, 8 connections",
    ],
];
const FIGURE: &str = "times the floor's";
/// The server that is highlighted.
const OURS: &str = "ours";
/// The longest bar; longer ones are cut.
const LONGEST: f64 = 3.0;

// In pixels.
const PANEL: f64 = 400.0;
const TOP: f64 = 44.0;
const TITLE: f64 = 30.0;
const ROW: f64 = 20.0;
const NAMES: f64 = 104.0;
const UNIT: f64 = 80.0;

/// A server's bar, with the quartiles.
struct Bar {
    server: String,
    q1: f64,
    median: f64,
    q3: f64,
}

/// Draws `native.svg` into a folder of results. Panels without results are left out.
///
/// # Errors
/// A file can't be read or written.
pub(crate) fn draw(folder: &Path) -> Outcome {
    let path = folder.join("native.svg");
    fs::write(&path, drawing(folder)?).map_err(|e| format!("{}: {e}", path.display()))
}

fn drawing(folder: &Path) -> Outcome<String> {
    let mut panels = Vec::new();
    for [file, setting, title] in PANELS {
        let path = folder.join(file);
        if path.exists() {
            let named = |e: String| format!("{}: {e}", path.display());
            let text = fs::read_to_string(&path).map_err(|e| named(e.to_string()))?;
            panels.push((title, bars(&text, setting).map_err(named)?));
        }
    }
    Ok(picture(&panels))
}

/// The bars of one setting, the shortest first.
fn bars(report: &str, setting: &str) -> Outcome<Vec<Bar>> {
    let mut bars: Vec<Bar> = report::cells(report, Runtime::Native, setting, FIGURE)
        .into_iter()
        .map(|Cell { server, quartiles }| {
            let [q1, median, q3] = quartiles;
            Bar {
                server,
                q1,
                median,
                q3,
            }
        })
        .collect();
    ensure!(!bars.is_empty(), "there is no '{FIGURE}' for '{setting}'");
    bars.sort_by(|one, other| one.median.total_cmp(&other.median));
    Ok(bars)
}

fn picture(panels: &[(&str, Vec<Bar>)]) -> String {
    let rows: Vec<f64> = panels
        .chunks(2)
        .map(|pair| pair.iter().map(|(_, bars)| bars.len()).max().unwrap_or(0) as f64)
        .collect();
    let tall = |rows: &f64| TITLE + rows * ROW + 16.0;
    let (width, height) = (2.0 * PANEL, TOP + rows.iter().map(tall).sum::<f64>());
    let mut svg = format!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" role="img">
<title>Processor time a request, as a multiple of a bare epoll loop's</title>
<style>
text {{ font: 12px system-ui, sans-serif; fill: #1f2328; }}
.title {{ font-weight: 600; }}
.note {{ fill: #59636e; }}
.bar {{ fill: #8c959f; }}
.ours {{ fill: #1f6feb; }}
.line {{ stroke: #59636e; stroke-dasharray: 3 3; }}
.spread {{ stroke: #1f2328; stroke-width: 1.5; }}
@media (prefers-color-scheme: dark) {{
text {{ fill: #e6edf3; }}
.note {{ fill: #9198a1; }}
.bar {{ fill: #6e7681; }}
.ours {{ fill: #388bfd; }}
.line {{ stroke: #9198a1; }}
.spread {{ stroke: #e6edf3; }}
}}
</style>
<text class="title" x="8" y="18" style="font-size: 14px">Processor time a request, as a multiple of a bare epoll loop's</text>
<text class="note" x="8" y="35">Shorter is better. Medians, with the quartiles as lines; what is longer than {LONGEST} is cut.</text>
"#
    );
    let mut y = TOP;
    for (pair, rows) in panels.chunks(2).zip(&rows) {
        for (column, (title, bars)) in pair.iter().enumerate() {
            panel(&mut svg, column as f64 * PANEL, y, title, bars);
        }
        y += tall(rows);
    }
    svg.push_str("</svg>\n");
    svg
}

fn panel(svg: &mut String, x: f64, y: f64, title: &str, bars: &[Bar]) {
    let (left, first) = (x + NAMES, y + TITLE);
    let _ = writeln!(
        svg,
        r#"<text class="title" x="{left}" y="{}">{title}</text>"#,
        y + 22.0
    );
    for (row, bar) in bars.iter().enumerate() {
        let top = first + row as f64 * ROW;
        let (middle, text) = (top + ROW / 2.0, top + 14.0);
        let at = |value: f64| left + value.min(LONGEST) * UNIT;
        let end = at(bar.median);
        let is_ours = bar.server == OURS;
        let (class, bold) = match is_ours {
            true => ("ours", r#" class="title""#),
            false => ("bar", ""),
        };
        let name = if is_ours { "mini_http" } else { &bar.server };
        let _ = writeln!(
            svg,
            r#"<text{bold} x="{:.1}" y="{text:.1}" text-anchor="end">{name}</text>"#,
            left - 6.0
        );
        let (top, height) = (top + 3.0, ROW - 6.0);
        // A bar that is cut has a slanted end.
        let slant = if bar.median > LONGEST { 8.0 } else { 0.0 };
        let _ = writeln!(
            svg,
            r#"<path class="{class}" d="M{left:.1} {top:.1}H{:.1}L{:.1} {:.1}H{left:.1}z"/>"#,
            end + slant,
            end - slant,
            top + height
        );
        if bar.q3 < LONGEST {
            let _ = writeln!(
                svg,
                r#"<path class="spread" d="M{:.1} {middle:.1}H{:.1}"/>"#,
                at(bar.q1),
                at(bar.q3)
            );
        }
        let _ = writeln!(
            svg,
            r#"<text{bold} x="{:.1}" y="{text:.1}">{}</text>"#,
            at(bar.median.max(bar.q3)) + slant + 5.0,
            crate::report::number(bar.median)
        );
    }
    let one = left + UNIT;
    let last = first + bars.len() as f64 * ROW;
    let _ = writeln!(
        svg,
        r#"<path class="line" d="M{one:.1} {first:.1}V{last:.1}"/>"#
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_of_the_setting_and_sorted() {
        let text = "native, 8 busy
                      CPU µs a request       times the floor's
  slow                  308 (278..319)       2.50 (1.00..9.00)
  fast                  323 (304..327)       1.50 (1.01..1.05)
  none                               -                       -
  ended         FAILED: it ended

native, 64 busy
                      CPU µs a request       times the floor's
  other                 308 (278..319)       0.50 (1.00..1.00)
";
        let bars = bars(text, "8 busy").expect("bars");
        let names: Vec<&str> = bars.iter().map(|bar| bar.server.as_str()).collect();
        assert_eq!(names, ["fast", "slow"]);
        assert_eq!([bars[1].q1, bars[1].median, bars[1].q3], [1.0, 2.5, 9.0]);
    }

    /// The committed picture is that of the committed results.
    #[test]
    fn the_picture_shows_the_results() {
        let folder = interop::root().join("benches/results");
        let drawn = drawing(&folder).expect("a picture");
        let saved = fs::read_to_string(folder.join("native.svg")).expect("the saved one");
        assert!(
            drawn == saved,
            "results/native.svg is older than the results"
        );
    }
}
