//! Terminal setup, input and restoration (raw mode, alternate screen).

use std::fs::File;
use std::io::{self, IsTerminal, stdin, stdout};
use std::sync::Once;
use std::{env, panic};

use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::cursor::Show;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{
    EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};
use ratatui::layout::{Rect, Size};
use ratatui::symbols::Marker;
use ratatui::{DefaultTerminal, Frame, TerminalOptions, Viewport};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::screen::{Action, TerminalCaps};

/// Upper bound on the drawn size: a cell takes memory, and a terminal can have any size.
const MAX_SIZE: Size = Size::new(800, 300);

/// A terminal in raw mode on its alternate screen; dropping it restores both.
pub(super) struct Terminal {
    terminal: DefaultTerminal,
    size: Size,
}

impl Terminal {
    /// Sets up the terminal of standard output.
    ///
    /// # Errors
    /// Errors of the terminal's device; the terminal is restored then.
    pub(super) fn open() -> io::Result<Self> {
        restore_on_panic();
        enable_raw_mode()?;
        let opened = execute!(stdout(), EnterAlternateScreen).and_then(|()| {
            // Sized by the first frame.
            let options = TerminalOptions { viewport: Viewport::Fixed(Rect::ZERO) };
            DefaultTerminal::with_options(CrosstermBackend::new(stdout()), options)
        });
        let terminal = opened.inspect_err(|_| restore())?;
        Ok(Self { terminal, size: Size::ZERO })
    }

    pub(super) fn draw(&mut self, render: impl FnOnce(&mut Frame<'_>)) -> io::Result<()> {
        let size = self.terminal.size()?;
        if size != self.size {
            self.terminal.resize(drawn(size))?;
            self.size = size;
        }
        self.terminal.draw(render).map(drop)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        restore();
    }
}

/// Returns the part of a terminal that is drawn on.
fn drawn(size: Size) -> Rect {
    let (width, height) = (size.width.min(MAX_SIZE.width), size.height.min(MAX_SIZE.height));
    Rect::new(0, 0, width, height)
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

/// Restores the terminal; errors are ignored, since then it has been closed.
fn restore() {
    restore_mode();
    let _ = execute!(stdout(), LeaveAlternateScreen, Show);
}

/// Restores the terminal before a panic is printed, so that the message stays readable.
// A release build aborts on panic, without dropping the terminal.
fn restore_on_panic() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let print = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            restore();
            print(panic);
        }));
    });
}

/// Checks that there is a terminal to draw on and to read keys from.
///
/// # Errors
/// A message that names what is missing.
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

/// Detects the terminal's capabilities from the environment.
pub(super) fn detect() -> TerminalCaps {
    let [lc_all, lc_ctype, lang, term, no_color] =
        ["LC_ALL", "LC_CTYPE", "LANG", "TERM", "NO_COLOR"].map(|name| env::var(name).ok());
    let (marker, utf8) = characters([lc_all, lc_ctype, lang], term.as_deref());
    TerminalCaps {
        marker,
        utf8,
        // See no-color.org: any value but an empty one.
        colour: no_color.is_none_or(|value| value.is_empty()),
    }
}

/// Returns the marker for charts and whether the terminal displays UTF-8, from the locale (the
/// first variable that is set counts, see locale(7)) and `TERM`.
fn characters(locale: [Option<String>; 3], term: Option<&str>) -> (Marker, bool) {
    let locale = locale.into_iter().flatten().find(|value| !value.is_empty());
    // Without a locale, as in some ssh sessions, UTF-8 is the most likely.
    let utf8 = locale.is_none_or(|value| {
        let value = value.to_ascii_lowercase();
        value.contains("utf-8") || value.contains("utf8")
    });
    let marker = match term {
        _ if !utf8 => Marker::Custom('*'),
        // The Linux console has no braille patterns.
        Some("linux") => Marker::HalfBlock,
        _ => Marker::Braille,
    };
    (marker, utf8)
}

/// Waits for the next key that is bound to an action; returns `None` if the size has changed.
pub(super) fn input() -> io::Result<Option<Action>> {
    loop {
        match event::read()? {
            Event::Resize(..) => return Ok(None),
            Event::Key(key) if key.kind != KeyEventKind::Release => {
                if let Some(action) = action(key) {
                    return Ok(Some(action));
                }
            }
            _ => {}
        }
    }
}

fn action(key: KeyEvent) -> Option<Action> {
    if key.modifiers.contains(KeyModifiers::CONTROL) {
        return (key.code == KeyCode::Char('c')).then_some(Action::Quit);
    }
    Some(match key.code {
        KeyCode::Char('q' | 'Q') | KeyCode::Esc => Action::Quit,
        KeyCode::Up | KeyCode::Char('k') => Action::Up,
        KeyCode::Down | KeyCode::Char('j') => Action::Down,
        KeyCode::PageUp => Action::PageUp,
        KeyCode::PageDown => Action::PageDown,
        KeyCode::Home => Action::First,
        KeyCode::End => Action::Last,
        KeyCode::Tab | KeyCode::Right => Action::NextHost,
        KeyCode::BackTab | KeyCode::Left => Action::PreviousHost,
        KeyCode::Char('+' | '=') => Action::LongerSpan,
        KeyCode::Char('-') => Action::ShorterSpan,
        KeyCode::Char(' ' | 'p') => Action::Pause,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_bound_to_actions() {
        let pressed = |code, modifiers| action(KeyEvent::new(code, modifiers));
        let plain = |code| pressed(code, KeyModifiers::NONE);
        assert_eq!(plain(KeyCode::Char('q')), Some(Action::Quit));
        assert_eq!(plain(KeyCode::Down), Some(Action::Down));
        assert_eq!(plain(KeyCode::Tab), Some(Action::NextHost));
        let back_tab = pressed(KeyCode::BackTab, KeyModifiers::SHIFT);
        assert_eq!(back_tab, Some(Action::PreviousHost));
        assert_eq!(plain(KeyCode::Char(' ')), Some(Action::Pause));
        assert_eq!(plain(KeyCode::Char('c')), None);
        let control = |c| pressed(KeyCode::Char(c), KeyModifiers::CONTROL);
        assert_eq!(control('c'), Some(Action::Quit));
        assert_eq!(control('q'), None);
    }

    #[test]
    fn drawn_size_is_bounded() {
        assert_eq!(drawn(Size::new(80, 24)), Rect::new(0, 0, 80, 24));
        assert_eq!(drawn(Size::new(5_000, 24)), Rect::new(0, 0, 800, 24));
        assert_eq!(drawn(Size::new(65_535, 65_535)), Rect::new(0, 0, 800, 300));
        assert_eq!(drawn(Size::ZERO), Rect::ZERO);
    }

    #[test]
    fn characters_depend_on_locale_and_term() {
        let detected = |locale: [Option<&str>; 3], term| {
            characters(locale.map(|value| value.map(str::to_owned)), term)
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
