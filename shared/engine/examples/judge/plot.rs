//! The curves of `docs/judge.svg`.

use std::error::Error;
use std::path::Path;

use plotters::coord::Shift;
use plotters::coord::ranged1d::{AsRangedCoord, ValueFormatter};
use plotters::prelude::*;

/// When something happened in each of so many runs, in requests; those where it did not are left out.
pub(crate) struct Curve {
    pub(crate) name: String,
    pub(crate) color: RGBColor,
    pub(crate) times: Vec<u64>,
    pub(crate) runs: usize,
}

impl Curve {
    /// After how many requests it had happened in how many percent of the runs, as a stair from `from` to `to`.
    fn stair(&self, from: f64, to: f64) -> Vec<(f64, f64)> {
        let mut times = self.times.clone();
        times.sort_unstable();
        let percent = |count: usize| 100.0 * count as f64 / self.runs as f64;
        let (mut stair, mut height) = (vec![(from, 0.0)], 0.0);
        // Some hundred steps are as good as thousands.
        for count in (1..=times.len()).filter(|count| count % times.len().div_ceil(300) == 0) {
            let at = times.get(count - 1).map_or(to, |&time| (time as f64).clamp(from, to));
            stair.push((at, height));
            height = percent(count);
            stair.push((at, height));
        }
        stair.push((to, percent(times.len())));
        stair
    }
}

/// Draws false alarms on the left, and how soon a worse canary is found on the right.
pub(crate) fn draw(path: &Path, alarms: &[Curve], found: &[Curve]) -> Result<(), Box<dyn Error>> {
    let area = SVGBackend::new(path, (1000, 480)).into_drawing_area();
    area.fill(&WHITE)?;
    let (charts, names) = area.split_vertically(390);
    let (left, right) = charts.split_horizontally(500);
    let x = (0f64..20_000f64, "requests, looked at after each");
    chart(&left, "A good canary is called worse", x, 25.0, alarms)?;
    let x = ((1f64..100_000f64).log_scale(), "canary requests, on a logarithmic scale");
    chart(&right, "A bad canary is found", x, 100.0, found)?;
    let (left, right) = names.split_horizontally(500);
    name(&left, alarms)?;
    name(&right, found)?;
    area.present()?;
    Ok(())
}

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

fn chart<X>(
    area: &Area<'_>,
    caption: &str,
    (x, x_name): (X, &str),
    most: f64,
    curves: &[Curve],
) -> Result<(), Box<dyn Error>>
where
    X: AsRangedCoord<Value = f64>,
    X::CoordDescType: ValueFormatter<f64>,
{
    let x = X::CoordDescType::from(x);
    let (from, to) = (x.range().start, x.range().end);
    let mut chart = ChartBuilder::on(area)
        .caption(caption, ("sans-serif", 22))
        .margin(12)
        .margin_right(28)
        .x_label_area_size(44)
        .y_label_area_size(52)
        .build_cartesian_2d(x, 0f64..most)?;
    chart
        .configure_mesh()
        .x_desc(x_name)
        .y_desc("% of runs")
        .x_labels(6)
        .x_label_formatter(&|x| format!("{x:.0}"))
        .y_label_formatter(&|y| format!("{y:.0}"))
        .light_line_style(TRANSPARENT)
        .label_style(("sans-serif", 16))
        .draw()?;
    for curve in curves {
        chart.draw_series(LineSeries::new(curve.stair(from, to), curve.color.stroke_width(2)))?;
    }
    Ok(())
}

/// Writes what the colours mean, in columns of three.
fn name(area: &Area<'_>, curves: &[Curve]) -> Result<(), Box<dyn Error>> {
    let columns = area.margin(0, 8, 64, 12).split_evenly((1, curves.len().div_ceil(3).max(1)));
    for (column, curves) in columns.iter().zip(curves.chunks(3)) {
        for (curve, y) in curves.iter().zip((12..).step_by(24)) {
            column.draw(&PathElement::new([(0, y), (20, y)], curve.color.stroke_width(3)))?;
            let text = ("sans-serif", 17).into_font();
            column.draw(&Text::new(curve.name.as_str(), (28, y - 7), text))?;
        }
    }
    Ok(())
}
