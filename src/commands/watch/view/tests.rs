//! Frames as text.

use std::time::Duration;

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::KeyCode;
use ratatui::style::{Color, Modifier};
use ratatui::symbols::Marker;

use super::super::model::tests::{scrape, sensor};
use super::super::screen::tests::CAPS;
use super::*;
use crate::scrape::{self, ScrapedAlert};

const WATCHED: Duration = Duration::from_secs(100);

/// Two hosts after 100 s: pi4 with the sensors "disks" (down) and "orin", which has an alert and a
/// gap of ten seconds; pi5, which serves no metrics.
fn watched(price: Option<f64>) -> (Screen, Instant) {
    let start = Instant::now();
    let mut model = Model::new(["pi4:8000", "pi5:8000"].map(str::to_owned));
    for second in 0..=WATCHED.as_secs() {
        let now = start + Duration::from_secs(second);
        let power = if second % 20 < 10 { 9.0 } else { 4.5 };
        let orin = ScrapedSensor {
            alert: Some(ScrapedAlert {
                on: "over-current".to_owned(),
                limit: 1.5,
                unit: "A",
                active: second > 90,
            }),
            alerts: 2.0,
            energy: [36_000.0 + second as f64 * 10.0, 0.0],
            measured: 3_600.0,
            unmeasured: 60.0,
            cycle: Some(0.942),
            ..sensor("orin", power, 0.0)
        };
        let down = ScrapedSensor { up: false, readings: None, ..sensor("disks", 1.0, 3.0) };
        let outcome = if (40..50).contains(&second) {
            Err(scrape::Error::NoResponse)
        } else {
            Ok(vec![down, orin])
        };
        model.on_scrape(0, outcome.map(scrape), now);
        let error = scrape::Error::Status { code: 404, location: None };
        model.on_scrape(1, Err(error), now);
    }
    (Screen::new(model, CAPS, price), start + WATCHED)
}

/// The same with "orin" selected.
fn watched_orin(price: Option<f64>) -> (Screen, Instant) {
    let (mut screen, now) = watched(price);
    screen.press(KeyCode::Down.into(), now);
    (screen, now)
}

fn terminal(screen: &Screen, now: Instant, width: u16, height: u16) -> Terminal<TestBackend> {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw(screen, frame, now)).unwrap();
    terminal
}

fn frame(screen: &Screen, now: Instant, width: u16, height: u16) -> Vec<String> {
    let terminal = terminal(screen, now, width, height);
    let buffer = terminal.backend().buffer();
    let line = |y| {
        let symbols = (0..width).map(|x| buffer[(x, y)].symbol());
        symbols.collect::<String>().trim_end().to_owned()
    };
    (0..height).map(line).collect()
}

#[test]
fn value_axes_align_for_negative_power() {
    let start = Instant::now();
    let mut model = Model::new(["pi4:8000".to_owned()]);
    for (second, power) in (0..).zip([-0.0123, -0.0456]) {
        let now = start + Duration::from_secs(second);
        model.on_scrape(0, Ok(scrape(vec![sensor("orin", power, 0.0)])), now);
    }
    let screen = Screen::new(model, CAPS, None);
    let frame = frame(&screen, start + Duration::from_secs(1), 80, 24);
    let axes: Vec<_> =
        frame.iter().filter_map(|line| line.chars().position(|c| c == '│')).collect();
    assert!(axes.len() > 5 && axes.iter().all(|axis| *axis == 8), "{frame:#?}");
    assert!(frame.iter().any(|line| line.starts_with('-')));
}

#[test]
fn min_and_max_are_left_out_not_cut_off() {
    let (screen, now) = watched_orin(None);
    for width in 20..100 {
        for line in frame(&screen, now, width, 24) {
            let mut ends = line.match_indices(" to ").map(|(at, _)| &line[at + 4..]);
            let is_whole =
                |end: &str| end.starts_with(|c: char| c.is_ascii_digit()) && end.contains(" A");
            assert!(!line.contains("Current ") || ends.all(is_whole), "{width}: {line}");
        }
    }
}

#[test]
fn values_are_left_out_not_cut_off() {
    let (screen, now) = watched_orin(None);
    for width in 1..100 {
        let lines = frame(&screen, now, width, 60);
        let title = lines.iter().find_map(|line| line.strip_prefix(" Current "));
        let title = title.map(|title| title.trim_start_matches(['─', ' ']));
        assert!(title.is_none_or(|it| it.is_empty() || it.starts_with("1.800 A")), "{title:?}");
        let row = lines[3].replace("pi4", "").replace("9.000 W", "");
        let row = row.replace("5.000 V", "").replace("1.800 A", "").replace("10.28 Wh", "");
        assert!(!row.contains(['0', '.']), "{width}: {}", lines[3]);
    }
}

#[test]
fn axis_labels_are_left_out_not_cut_off() {
    let (screen, now) = watched_orin(None);
    for width in 10..100 {
        for line in frame(&screen, now, width, 24) {
            let label = line.split_once('│').map(|(label, _)| label.trim());
            let is_whole = |label: &str| label.is_empty() || label.ends_with(['V', 'A', 'W']);
            assert!(label.is_none_or(is_whole), "{width}: {line}");
        }
    }
}

#[test]
fn everything_fits_80_by_24() {
    let (screen, now) = watched_orin(Some(0.35));
    let lines = frame(&screen, now, 80, 24);
    assert_eq!(
        [&lines[..6], &lines[18..]].concat(),
        [
            " ina260-exporter  2 hosts, 2 sensors, 1 in alert, 1 down, 1 unreachable",
            " host     device       power   voltage   current    energy      cost state",
            " pi4      disks            -         -         - 0.833 mWh    0.0000 DOWN",
            " pi4      orin       9.000 W   5.000 V   1.800 A  10.28 Wh    0.0036 ALERT",
            " pi5:8000                  -         -         -                     UNREACHABLE",
            " Power 9.000 W  min 3.500 max 10.00 W ────────────────────────────── last 2 min",
            " pi4 orin: bus 1, 0x40, pi4:8000, result every 942.0 ms",
            " Energy 10.28 Wh total; 277.8 mWh in 1 min 40 s; 156.7 Wh per day at this rate",
            " Cost 0.0036 total; 0.0001 in 1 min 40 s; 0.0548 per day at this rate",
            " Alert over-current 1.500 A: ACTIVE; 2 total",
            " Errors none; measured 1 h of 1 h 1 min",
            KEYS,
        ],
        "{lines:#?}"
    );
}

/// Screens with each entry selected (the last one paused) and each marker, and one without entries.
fn screens() -> Vec<(Screen, Instant)> {
    let mut screens = Vec::new();
    for marker in [Marker::Braille, Marker::HalfBlock, Marker::Custom('*')] {
        for selected in 0..3 {
            let (mut screen, now) = watched(Some(1e9));
            screen.caps.marker = marker;
            screen.caps.utf8 = marker != Marker::Custom('*');
            (0..selected).for_each(|_| _ = screen.press(KeyCode::Down.into(), now));
            if selected == 2 {
                screen.press(KeyCode::Char(' ').into(), now);
            }
            screens.push((screen, now));
        }
    }
    let (_, now) = watched(None);
    screens.push((Screen::new(Model::new([]), CAPS, None), now));
    screens
}

#[test]
fn any_size_of_terminal_is_drawn() {
    for (screen, now) in screens() {
        for width in (0..3).chain([9, 23, 24, 60, 80, 200]) {
            for height in (0..9).chain([12, 24, 60]) {
                terminal(&screen, now, width, height);
            }
        }
    }
}

#[test]
fn any_value_is_drawn() {
    let now = Instant::now();
    for powers in [[f64::MIN, f64::MAX], [0.0, 1e-30], [-1e30, 1.0]] {
        let mut model = Model::new(["pi4".to_owned()]);
        for (second, power) in (0..).zip(powers) {
            let at = now + Duration::from_secs(second);
            model.on_scrape(0, Ok(scrape(vec![sensor("x", power, 0.0)])), at);
        }
        let screen = Screen::new(model, CAPS, None);
        frame(&screen, now + Duration::from_secs(1), 80, 24);
    }
}

#[test]
fn long_numbers_are_shortened_not_cut_off() {
    let now = Instant::now();
    for (power, joules, price, row, title) in [
        (9.0, 3.2e9, 2_500.0, "9.000 W 5.000 V 1.800 A 888.9 kWh 2222222 up", " Power 9.000 W "),
        (1e15, 3.6e6, 1e11, "1e9 MW 5.000 V 2e8 MA 1.000 kWh 1.000e11 up", " Power 1e9 MW "),
        (
            f64::MIN,
            -5.4e6,
            1.0,
            "-2e302 MW 5.000 V -4e301 MA too long -1.50 up",
            " Power -2e302 MW ",
        ),
    ] {
        let mut model = Model::new(["pi4".to_owned()]);
        let sensor = ScrapedSensor { energy: [joules, 0.0], ..sensor("x", power, 0.0) };
        model.on_scrape(0, Ok(scrape(vec![sensor])), now);
        let screen = Screen::new(model, CAPS, Some(price));
        let lines = frame(&screen, now, 80, 24);
        let shown: Vec<&str> = lines[2].split_whitespace().skip(2).collect();
        assert_eq!(shown.join(" "), row);
        assert!(lines[3].starts_with(title), "{lines:#?}");
        // Axes have labels of bounded values.
        let is_whole = |line: &&String| line.find('│').is_none_or(|at| at == 8);
        assert!(lines.iter().all(|line| is_whole(&line)), "{lines:#?}");
    }
}

#[test]
fn energy_is_counted_since_the_sensor_was_seen() {
    let start = Instant::now();
    let mut model = Model::new(["pi4".to_owned()]);
    for (second, joules) in [(3_600, 0.0), (3_700, 3_600.0)] {
        let at = start + Duration::from_secs(second);
        model.on_scrape(0, Ok(scrape(vec![sensor("x", 36.0, joules)])), at);
    }
    let screen = Screen::new(model, CAPS, None);
    let lines = frame(&screen, start + Duration::from_secs(3_700), 80, 24).concat();
    assert!(lines.contains("; 1.000 Wh in 1 min 40 s; "), "{lines}");
}

#[test]
fn control_characters_are_not_sent() {
    let now = Instant::now();
    let mut model = Model::new(["pi4".to_owned()]);
    let mut sensor = sensor("a\x1b[2Jb\nc", 1.0, 0.0);
    let label = ("rail".to_owned(), "x\x1b]0;y\x07\u{9b}".to_owned());
    sensor.labels.push(label);
    model.on_scrape(0, Ok(scrape(vec![sensor])), now);
    let lines = frame(&Screen::new(model, CAPS, None), now, 80, 24).concat();
    assert!(lines.contains("a[2Jb") && lines.contains("x]0;y"), "{lines}");
    assert!(!lines.contains(char::is_control), "{lines:?}");
}

#[test]
fn small_terminals_drop_columns_and_charts() {
    let (screen, now) = watched_orin(Some(0.35));
    let tiny = frame(&screen, now, 30, 4);
    assert_eq!(tiny[1], " device      power state");
    let narrow = frame(&screen, now, 40, 24);
    assert_eq!(narrow[1], " host     device       power state");
    assert!(narrow.iter().any(|line| line.starts_with(" Power 9.000 W")), "{narrow:#?}");
    let short = frame(&screen, now, 80, 10);
    assert_eq!(short[9], KEYS);
    let has = |start| short.iter().any(|line| line.starts_with(start));
    assert!(has(" Energy") && !has(" Power"), "{short:#?}");
}

#[test]
fn failing_host_shows_error_and_duration() {
    let (mut screen, now) = watched(None);
    screen.press(KeyCode::End.into(), now);
    let lines = frame(&screen, now, 80, 24);
    assert_eq!(
        lines[21..23].concat(),
        " pi5:8000: HTTP status 404: wrong path, or another program; retrying every second, \
         for 1 min 40 s so far"
    );
}

#[test]
fn without_colour_the_selection_is_reversed() {
    let (mut screen, now) = watched(None);
    let coloured_cells = |screen: &Screen| {
        let terminal = terminal(screen, now, 80, 24);
        let cells = terminal.backend().buffer().content.iter();
        cells.filter(|cell| cell.fg != Color::Reset || cell.bg != Color::Reset).count()
    };
    assert!(coloured_cells(&screen) > 50);
    screen.caps.colour = false;
    assert_eq!(coloured_cells(&screen), 0);
    let terminal = terminal(&screen, now, 80, 24);
    let buffer = terminal.backend().buffer();
    let is_reversed = |y| (0..80).all(|x| buffer[(x, y)].modifier.contains(Modifier::REVERSED));
    assert_eq!([1, 2, 3].map(is_reversed), [false, true, false]);
}

/// Returns the empty columns of the chart in these lines.
fn empty_columns(lines: &[String]) -> Vec<usize> {
    let chart: Vec<Vec<char>> = lines.iter().map(|line| line.chars().skip(9).collect()).collect();
    let is_empty = |column: &usize| {
        let mut cells = chart.iter().map(|line| line.get(*column).unwrap_or(&' '));
        cells.all(|c| *c == ' ')
    };
    (0..71).filter(is_empty).collect()
}

#[test]
fn chart_shows_the_outage_as_a_gap() {
    let (screen, now) = watched_orin(None);
    let lines = frame(&screen, now, 80, 24);
    assert!(lines[6].starts_with(" 9.000 W│") && lines[11].starts_with(" 4.500 W│"), "{lines:#?}");
    // 71 columns for 120 s: empty for the first 20 s, and from 61 s to 50 s ago.
    let expected: Vec<usize> = (0..12).chain(35..41).collect();
    assert_eq!(empty_columns(&lines[6..12]), expected, "{lines:#?}");
}

#[test]
fn chart_connects_distant_points() {
    let start = Instant::now();
    let mut model = Model::new(["pi4".to_owned()]);
    let end = start + Duration::from_secs(120);
    for (at, power) in [(start, 1.0), (end, 9.0)] {
        model.on_scrape(0, Ok(scrape(vec![sensor("x", power, 0.0)])), at);
    }
    let lines = frame(&Screen::new(model, CAPS, None), end, 80, 24);
    assert_eq!(empty_columns(&lines[4..12]), [0; 0], "{lines:#?}");
}

#[test]
fn without_utf8_all_is_ascii() {
    let (mut screen, now) = watched_orin(Some(0.35));
    screen.caps.marker = Marker::Custom('*');
    screen.caps.utf8 = false;
    let lines = frame(&screen, now, 80, 24);
    assert!(lines.concat().is_ascii(), "{lines:#?}");
    assert!(lines[6].starts_with(" 9.000 W|") && lines[6].contains('*'));
    assert!(lines[5].ends_with("--- last 2 min"), "{lines:#?}");
}

#[test]
fn pause_is_shown_in_the_title() {
    let (mut screen, now) = watched(None);
    assert!(!frame(&screen, now, 120, 24)[0].contains("paused"));
    screen.press(KeyCode::Char(' ').into(), now);
    assert!(frame(&screen, now, 120, 24)[0].ends_with(" paused"));
}

#[test]
fn left_out_data_is_shown() {
    let now = Instant::now();
    let mut model = Model::new(["pi4".to_owned()]);
    let mut scrape = scrape(vec![sensor("x", 1.0, 0.0)]);
    scrape.left_out.sensors = 7;
    model.on_scrape(0, Ok(scrape), now);
    let lines = frame(&Screen::new(model, CAPS, None), now, 80, 24).join("\n");
    assert!(lines.contains("pi4: too much data; left out: 7 of the sensors"), "{lines}");
}

#[test]
fn thousand_sensors_scroll() {
    let now = Instant::now();
    let mut model = Model::new(["fleet".to_owned()]);
    let sensors = (0..1_000).map(|n| sensor(&format!("s{n:03}"), 1.0, 0.0));
    model.on_scrape(0, Ok(scrape(sensors.collect())), now);
    let mut screen = Screen::new(model, CAPS, None);
    let devices = |screen: &Screen| {
        let lines = frame(screen, now, 80, 24);
        let device = |line: &String| line.split_whitespace().nth(1).unwrap().to_owned();
        lines[2..6].iter().map(device).collect::<Vec<_>>()
    };
    assert_eq!(devices(&screen), ["s000", "s001", "s002", "s003"]);
    screen.press(KeyCode::PageDown.into(), now);
    assert_eq!(devices(&screen), ["s008", "s009", "s010", "s011"]);
    screen.press(KeyCode::End.into(), now);
    assert_eq!(devices(&screen), ["s996", "s997", "s998", "s999"]);
}

#[test]
fn wide_and_long_words_are_wrapped_not_cut_off() {
    // A character of the East Asian class W takes two columns (UAX #11).
    let wide = "センサー: バス 1, アドレス 0x40, 場所=日本の電源装置の部屋";
    let lines = wrapped(wide, 24);
    let expected = [" センサー: バス 1,", " アドレス 0x40,", " 場所=日本の電源装置の部", " 屋"];
    assert_eq!(lines, expected);
    let lines = wrapped(&format!("a {} b", "x".repeat(45)), 20);
    let x = " ".to_owned() + &"x".repeat(19);
    assert_eq!(lines, [" a", &x, &x, &format!(" {} b", "x".repeat(7))]);
}
