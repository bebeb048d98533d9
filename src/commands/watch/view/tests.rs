//! Pictures, as text.

use std::time::Duration;

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::style::{Color, Modifier};

use super::super::curve::Marks;
use super::super::model::tests::sensor;
use super::super::screen::{Key, Look};
use super::super::snapshot::{self, Alert};
use super::*;

const BEGUN: Duration = Duration::from_secs(100);

/// Two hosts, one of which does not answer; the sensor "orin" of the other with two minutes and a gap behind it.
fn watched(price: Option<f64>) -> (Screen, Instant) {
    let begun = Instant::now();
    let mut model = Model::new(["pi4:8000", "pi5:8000"].map(str::to_owned), begun);
    for second in 0..=BEGUN.as_secs() {
        let now = begun + Duration::from_secs(second);
        let power = if second % 20 < 10 { 9.0 } else { 4.5 };
        let orin = snapshot::Sensor {
            alert: Some(Alert {
                on: "over-current".to_owned(),
                limit: 1.5,
                active: second > 90,
            }),
            alerts: 2.0,
            energy: [36_000.0 + second as f64 * 10.0, 0.0],
            measured: 3_600.0,
            unmeasured: 60.0,
            cycle: Some(0.942),
            ..sensor("orin", power, 0.0)
        };
        let down = snapshot::Sensor {
            up: false,
            ranges: None,
            ..sensor("disks", 1.0, 3.0)
        };
        let scrape = if (40..50).contains(&second) {
            Err("connection refused".to_owned())
        } else {
            Ok(vec![down, orin])
        };
        model.on_scrape(0, scrape, now);
        model.on_scrape(
            1,
            Err("answers 404 Not Found: another path, or another program".to_owned()),
            now,
        );
    }
    let look = Look {
        marks: Marks::Braille,
        colour: true,
    };
    (Screen::new(model, look, price), begun + BEGUN)
}

fn terminal(screen: &Screen, now: Instant, width: u16, height: u16) -> Terminal<TestBackend> {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    let drawn = terminal.draw(|frame| draw(screen, frame.buffer_mut(), now));
    drawn.unwrap();
    terminal
}

fn picture(screen: &Screen, now: Instant, width: u16, height: u16) -> Vec<String> {
    let terminal = terminal(screen, now, width, height);
    let buffer = terminal.backend().buffer();
    let line = |y| {
        (0..width)
            .map(|x| buffer[(x, y)].symbol())
            .collect::<String>()
    };
    (0..height).map(|y| line(y).trim_end().to_owned()).collect()
}

#[test]
fn the_scale_of_a_negative_power_is_no_wider_than_that_of_another() {
    let begun = Instant::now();
    let mut model = Model::new(["pi4:8000".to_owned()], begun);
    for (second, power) in (0..).zip([-0.0123, -0.0456]) {
        let now = begun + Duration::from_secs(second);
        model.on_scrape(0, Ok(vec![sensor("orin", power, 0.0)]), now);
    }
    let look = Look {
        marks: Marks::Braille,
        colour: true,
    };
    let screen = Screen::new(model, look, None);
    let picture = picture(&screen, begun + Duration::from_secs(1), 80, 24);
    let edges: Vec<_> = picture
        .iter()
        .filter_map(|line| line.chars().position(|c| c == '│'))
        .collect();
    assert!(
        edges.len() > 5 && edges.iter().all(|edge| *edge == 8),
        "{picture:#?}"
    );
    assert!(picture.iter().any(|line| line.starts_with('-')));
}

#[test]
fn extremes_that_have_no_room_are_left_out_and_not_cut_off() {
    let (mut screen, now) = watched(None);
    screen.press(Key::Down, now);
    for width in 20..100 {
        for line in picture(&screen, now, width, 24) {
            let mut ends = line.match_indices(" to ").map(|(at, _)| &line[at + 4..]);
            let is_whole =
                |end: &str| end.starts_with(|c: char| c.is_ascii_digit()) && end.contains(" A");
            assert!(
                !line.contains("Current ") || ends.all(is_whole),
                "{width}: {line}"
            );
        }
    }
}

#[test]
fn eighty_by_twenty_four_shows_everything() {
    let (mut screen, now) = watched(Some(0.35));
    screen.press(Key::Down, now);
    let lines = picture(&screen, now, 80, 24);
    assert_eq!(
        [&lines[..6], &lines[18..]].concat(),
        [
            " ina260-exporter  2 hosts, 2 sensors, 1 in alert, 1 down, 1 without answer",
            " host     device       power   voltage   current     energy      cost state",
            " pi4      disks            -         -         -  0.833 mWh    0.0000 DOWN",
            " pi4      orin       9.000 W   5.000 V   1.800 A   10.28 Wh    0.0036 ALERT",
            " pi5:8000                  -         -         -                      NO ANSWER",
            " Power 9.000 W  min 3.500 max 10.00 W                                last 2 min",
            " pi4 orin: bus 1, 0x40, pi4:8000, a result each 942.0 ms",
            " Energy 10.28 Wh in all; 277.8 mWh in 1 min 40 s; 156.7 Wh a day at this rate",
            " Cost 0.0036 in all; 0.0001 in 1 min 40 s; 0.0548 a day at this rate",
            " Alert over-current 1.500 A: ACTIVE; 2 in all",
            " Errors none; measured 1 h of 1 h 1 min",
            " q quit  up/down sensor  tab host  space pause  +/- time",
        ],
        "{lines:#?}"
    );
}

/// Every state that a screen can be in: whatever is selected, paused, in all marks.
fn screens() -> Vec<(Screen, Instant)> {
    let mut screens = Vec::new();
    for marks in [Marks::Braille, Marks::Blocks, Marks::Ascii] {
        for selected in 0..3 {
            let (mut screen, now) = watched(Some(1e9));
            screen.look.marks = marks;
            (0..selected).for_each(|_| _ = screen.press(Key::Down, now));
            if selected == 2 {
                screen.press(Key::Pause, now);
            }
            screens.push((screen, now));
        }
    }
    let (screen, now) = watched(None);
    let nothing = Model::new([], now);
    screens.push((Screen::new(nothing, screen.look, None), now));
    screens
}

#[test]
fn no_size_of_a_terminal_is_too_small_or_too_large() {
    for (screen, now) in screens() {
        for width in (0..5).chain([9, 15, 39, 59, 60, 79, 80, 200]) {
            for height in (0..16).chain([23, 24, 60]) {
                terminal(&screen, now, width, height);
            }
        }
    }
}

#[test]
fn what_is_narrow_loses_columns_and_what_is_low_loses_curves() {
    let (mut screen, now) = watched(Some(0.35));
    screen.press(Key::Down, now);
    let tiny = picture(&screen, now, 30, 4);
    assert_eq!(tiny[1].trim_end(), " device       power state");
    let narrow = picture(&screen, now, 40, 24);
    assert_eq!(narrow[1], " host     device        power state");
    assert!(
        narrow.iter().any(|line| line.starts_with(" Power 9.000 W")),
        "{narrow:#?}"
    );
    let low = picture(&screen, now, 80, 10);
    assert_eq!(low[9].trim_end(), KEYS);
    assert!(
        low.iter().all(|line| !line.starts_with(" Power")),
        "{low:#?}"
    );
    assert!(
        low.iter().any(|line| line.starts_with(" Energy")),
        "{low:#?}"
    );
}

#[test]
fn a_host_that_does_not_answer_says_why_and_for_how_long() {
    let (mut screen, now) = watched(None);
    screen.press(Key::Last, now);
    let lines = picture(&screen, now, 80, 24);
    let said = lines[21..23].join("");
    assert_eq!(
        said,
        " pi5:8000: answers 404 Not Found: another path, or another program; asked again every second, for 1 min 40 s now"
    );
}

#[test]
fn without_colour_nothing_is_coloured_and_the_selected_row_still_shows() {
    let (mut screen, now) = watched(None);
    let colours = |screen: &Screen| {
        let terminal = terminal(screen, now, 80, 24);
        let cells = terminal.backend().buffer().content.iter();
        cells
            .filter(|cell| cell.fg != Color::Reset || cell.bg != Color::Reset)
            .count()
    };
    assert!(colours(&screen) > 50);
    screen.look.colour = false;
    assert_eq!(colours(&screen), 0);
    let terminal = terminal(&screen, now, 80, 24);
    let buffer = terminal.backend().buffer();
    let is_reversed = |y| buffer[(1, y)].modifier.contains(Modifier::REVERSED);
    assert_eq!([1, 2, 3].map(is_reversed), [false, true, false]);
}

#[test]
fn the_curve_has_the_outage_as_a_gap_and_its_ends_as_a_scale() {
    let (mut screen, now) = watched(None);
    screen.press(Key::Down, now);
    let lines = picture(&screen, now, 80, 24);
    let curve: Vec<_> = lines[6..12]
        .iter()
        .map(|line| line.chars().skip(9).collect::<String>())
        .collect();
    assert!(
        lines[6].starts_with(" 9.000 W│") && lines[11].starts_with(" 4.500 W│"),
        "{lines:#?}"
    );
    // Seventy columns for 120 s: nothing for the first 20, an outage from 61 to 50 s ago.
    let is_bare = |column: usize| {
        curve
            .iter()
            .all(|line| line.chars().nth(column).is_none_or(|c| c == ' '))
    };
    let bare: Vec<usize> = (0..70).filter(|column| is_bare(*column)).collect();
    assert_eq!(
        bare,
        [&(0..11).collect::<Vec<_>>()[..], &[35, 36, 37, 38, 39]].concat(),
        "{lines:#?}"
    );
}

#[test]
fn where_characters_are_not_utf_8_none_is_beyond_ascii() {
    let (mut screen, now) = watched(Some(0.35));
    screen.press(Key::Down, now);
    screen.look.marks = Marks::Ascii;
    let lines = picture(&screen, now, 80, 24);
    assert!(lines.concat().is_ascii(), "{lines:#?}");
    assert!(lines[6].contains('*'), "{lines:#?}");
}

#[test]
fn a_pause_is_said() {
    let (mut screen, now) = watched(None);
    assert!(!picture(&screen, now, 120, 24)[0].contains("paused"));
    screen.press(Key::Pause, now);
    assert!(picture(&screen, now, 120, 24)[0].ends_with(" paused"));
}

#[test]
fn a_thousand_sensors_are_scrolled_through() {
    let now = Instant::now();
    let mut model = Model::new(["fleet".to_owned()], now);
    let sensors = (0..1_000).map(|n| sensor(&format!("s{n:03}"), 1.0, 0.0));
    model.on_scrape(0, Ok(sensors.collect()), now);
    let look = Look {
        marks: Marks::Braille,
        colour: false,
    };
    let mut screen = Screen::new(model, look, None);
    let devices = |screen: &Screen| {
        let lines = picture(screen, now, 80, 24);
        let word = |line: &String| line.split_whitespace().nth(1).unwrap().to_owned();
        lines[2..6].iter().map(word).collect::<Vec<_>>()
    };
    assert_eq!(devices(&screen), ["s000", "s001", "s002", "s003"]);
    screen.press(Key::PageDown, now);
    assert_eq!(devices(&screen), ["s008", "s009", "s010", "s011"]);
    screen.press(Key::Last, now);
    assert_eq!(devices(&screen), ["s996", "s997", "s998", "s999"]);
}
