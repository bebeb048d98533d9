//! Terminal setup, input and restoration (raw mode, alternate screen).

use std::fs::File;
use std::io::{self, IsTerminal, stdin, stdout};
use std::{env, panic};

use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::cursor::Show;
use ratatui::crossterm::event::{self, Event, KeyEvent, KeyEventKind};
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{
    EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};
use ratatui::layout::{Rect, Size};
use ratatui::symbols::Marker;
use ratatui::{DefaultTerminal, Frame, TerminalOptions, Viewport};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::screen::TerminalCaps;

/// Upper bound on the drawn area: a cell takes memory, and a terminal can have any size.
const MAX_AREA: Rect = Rect::new(0, 0, 800, 300);

/// Sets up the terminal of standard output: raw mode and the alternate screen.
pub(super) fn open() -> io::Result<DefaultTerminal> {
    // A release build aborts on panic. Restoring the terminal first keeps the message readable.
    let print = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        restore();
        print(panic);
    }));
    enable_raw_mode()?;
    let opened = execute!(stdout(), EnterAlternateScreen).and_then(|()| {
        // Sized by the first frame.
        let options = TerminalOptions { viewport: Viewport::Fixed(Rect::ZERO) };
        DefaultTerminal::with_options(CrosstermBackend::new(stdout()), options)
    });
    opened.inspect_err(|_| restore())
}

/// Sets up the terminal after another program has used it.
pub(super) fn set_up_again(terminal: &mut DefaultTerminal) -> io::Result<()> {
    // crossterm enables only what it has disabled.
    disable_raw_mode()?;
    enable_raw_mode()?;
    execute!(stdout(), EnterAlternateScreen)?;
    terminal.clear()
}

/// Draws a frame, as large as the terminal is now.
pub(super) fn draw(
    terminal: &mut DefaultTerminal,
    render: impl FnOnce(&mut Frame<'_>),
) -> io::Result<()> {
    let area = drawn(terminal.size()?);
    if area != terminal.get_frame().area() {
        terminal.resize(area)?;
    }
    terminal.draw(render).map(drop)
}

fn drawn(size: Size) -> Rect {
    Rect::from(size).intersection(MAX_AREA)
}

/// Returns whether a write to the terminal would not block.
pub(super) fn takes_output() -> bool {
    let stdout = stdout();
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut [PollFd::new(&stdout, PollFlags::OUT)], Some(&now)).is_ok_and(|ready| ready > 0)
}

/// Restores what can be restored without output.
pub(super) fn restore_mode() {
    let _ = disable_raw_mode();
}

/// Restores the terminal. Errors are ignored: they mean that it has been closed.
pub(super) fn restore() {
    restore_mode();
    let _ = execute!(stdout(), LeaveAlternateScreen, Show);
}

/// Checks that there is a terminal to draw on and to read keys from, or names what is missing.
pub(super) fn check() -> Result<(), String> {
    let advice = "use `curl` on the exporter's URL for text output";
    // crossterm reads keys from standard input or the controlling terminal.
    let has_keys = stdin().is_terminal() || File::open("/dev/tty").is_ok();
    let missing = if !stdout().is_terminal() {
        "standard output is not a terminal"
    } else if !has_keys {
        "standard input is not a terminal, and there is no controlling terminal"
    } else if env::var("TERM").is_ok_and(|term| term == "dumb") {
        "the terminal cannot position text (TERM=dumb)"
    } else {
        return Ok(());
    };
    Err(format!("watch: {missing}; {advice}"))
}

/// Detects the terminal's capabilities from environment variables.
pub(super) fn detect(variable: impl Fn(&str) -> Option<String>) -> TerminalCaps {
    let variable = |name: &str| variable(name).filter(|value| !value.is_empty());
    // The first one that is set counts, see locale(7).
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(variable);
    // Without a locale, as in some ssh sessions, UTF-8 is the most likely.
    let utf8 = locale.is_none_or(|value| {
        let value = value.to_ascii_lowercase();
        value.contains("utf-8") || value.contains("utf8")
    });
    let marker = match variable("TERM").as_deref() {
        _ if !utf8 => Marker::Custom('*'),
        // The Linux console has no braille patterns.
        Some("linux") => Marker::HalfBlock,
        _ => Marker::Braille,
    };
    // See no-color.org: any value but an empty one.
    TerminalCaps { marker, utf8, colour: variable("NO_COLOR").is_none() }
}

/// Waits for the next key; returns `None` if the size has changed.
pub(super) fn input() -> io::Result<Option<KeyEvent>> {
    loop {
        match event::read()? {
            Event::Resize(..) => return Ok(None),
            Event::Key(key) if key.kind != KeyEventKind::Release => return Ok(Some(key)),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drawn_size_is_bounded() {
        assert_eq!(drawn(Size::new(80, 24)), Rect::new(0, 0, 80, 24));
        assert_eq!(drawn(Size::new(5_000, 24)), Rect::new(0, 0, 800, 24));
        assert_eq!(drawn(Size::new(65_535, 65_535)), Rect::new(0, 0, 800, 300));
        assert_eq!(drawn(Size::ZERO), Rect::ZERO);
    }

    #[test]
    fn characters_depend_on_locale_and_term() {
        let detected = |locale: [Option<&str>; 3], term: Option<&str>| {
            let caps = detect(|name| {
                let [lc_all, lc_ctype, lang] = locale;
                let value = match name {
                    "LC_ALL" => lc_all,
                    "LC_CTYPE" => lc_ctype,
                    "LANG" => lang,
                    "TERM" => term,
                    _ => None,
                };
                value.map(str::to_owned)
            });
            (caps.marker, caps.utf8)
        };
        let german = Some("de_DE.UTF-8");
        let xterm = Some("xterm");
        let braille = (Marker::Braille, true);
        assert_eq!(detected([None, None, german], xterm), braille);
        assert_eq!(detected([None, None, None], None), braille);
        let console = detected([Some(""), Some("C.utf8"), Some("C")], Some("linux"));
        assert_eq!(console, (Marker::HalfBlock, true));
        let ascii = detected([Some("C"), None, german], xterm);
        assert_eq!(ascii, (Marker::Custom('*'), false));
    }
}
