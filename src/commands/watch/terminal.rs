//! The terminal: taken, drawn on, listened to, and given back as it was.

use std::fs::File;
use std::io::{self, IsTerminal, stdin, stdout};
use std::sync::Once;
use std::{env, panic};

use ratatui::DefaultTerminal;
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::cursor::Show;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{
    EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};

use super::curve::Marks;
use super::screen::{Key, Look};

/// What comes from a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Input {
    Key(Key),
    Resized,
}

/// A terminal in our hands, until it is dropped.
pub(super) struct Terminal(DefaultTerminal);

impl Terminal {
    /// # Errors
    /// What the kernel says.
    pub(super) fn open() -> io::Result<Self> {
        restore_on_panic();
        enable_raw_mode()?;
        // From here on, whatever fails gives it back.
        let opened = execute!(stdout(), EnterAlternateScreen)
            .and_then(|()| DefaultTerminal::new(CrosstermBackend::new(stdout())));
        match opened {
            Ok(terminal) => Ok(Self(terminal)),
            Err(error) => {
                restore();
                Err(error)
            }
        }
    }

    pub(super) fn draw(
        &mut self,
        picture: impl FnOnce(&mut ratatui::buffer::Buffer),
    ) -> io::Result<()> {
        self.0.draw(|frame| picture(frame.buffer_mut())).map(drop)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        restore();
    }
}

/// Gives the terminal back; where that fails there is none any more.
fn restore() {
    let _ = disable_raw_mode();
    let _ = execute!(stdout(), LeaveAlternateScreen, Show);
}

/// A panic is told on the screen as it was before, where it can be read. In a release it ends the process and nothing is dropped.
fn restore_on_panic() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let told = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            restore();
            told(panic);
        }));
    });
}

/// Whether there is a terminal to draw on.
///
/// # Errors
/// A sentence on what there is instead.
pub(super) fn check() -> Result<(), String> {
    let instead = "`curl` of its URL shows the same as text";
    if !stdout().is_terminal() {
        return Err(format!(
            "watch draws on a terminal, and standard output is none; {instead}"
        ));
    }
    // Where keys come from: standard input, or the terminal that this process belongs to.
    if !stdin().is_terminal() && File::open("/dev/tty").is_err() {
        return Err(format!(
            "watch needs a terminal for its keys, and standard input is none; {instead}"
        ));
    }
    match env::var("TERM").as_deref() {
        Ok("dumb") => Err(format!(
            "watch draws on a terminal, and this one (TERM=dumb) can't be drawn on; {instead}"
        )),
        _ => Ok(()),
    }
}

/// What this terminal can show.
pub(super) fn look() -> Look {
    let [all, ctype, lang, term, no_color] =
        ["LC_ALL", "LC_CTYPE", "LANG", "TERM", "NO_COLOR"].map(|name| env::var(name).ok());
    Look {
        marks: Marks::of(
            [all.as_deref(), ctype.as_deref(), lang.as_deref()],
            term.as_deref(),
        ),
        // As no-color.org has it: whatever it says, unless it is empty.
        colour: no_color.is_none_or(|value| value.is_empty()),
    }
}

/// Waits for the next thing that means something here.
pub(super) fn input() -> io::Result<Input> {
    loop {
        match event::read()? {
            Event::Resize(..) => return Ok(Input::Resized),
            Event::Key(pressed) if pressed.kind != KeyEventKind::Release => {
                if let Some(key) = key(pressed) {
                    return Ok(Input::Key(key));
                }
            }
            _ => {}
        }
    }
}

fn key(pressed: KeyEvent) -> Option<Key> {
    if pressed.modifiers.contains(KeyModifiers::CONTROL) {
        return (pressed.code == KeyCode::Char('c')).then_some(Key::Quit);
    }
    Some(match pressed.code {
        KeyCode::Char('q' | 'Q') | KeyCode::Esc => Key::Quit,
        KeyCode::Up | KeyCode::Char('k') => Key::Up,
        KeyCode::Down | KeyCode::Char('j') => Key::Down,
        KeyCode::PageUp => Key::PageUp,
        KeyCode::PageDown => Key::PageDown,
        KeyCode::Home => Key::First,
        KeyCode::End => Key::Last,
        KeyCode::Tab | KeyCode::Right => Key::NextHost,
        KeyCode::BackTab | KeyCode::Left => Key::PreviousHost,
        KeyCode::Char('+' | '=') => Key::Longer,
        KeyCode::Char('-') => Key::Shorter,
        KeyCode::Char(' ' | 'p') => Key::Pause,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_those_that_the_last_line_names_and_their_kin() {
        let pressed = |code, modifiers| key(KeyEvent::new(code, modifiers));
        let plain = |code| pressed(code, KeyModifiers::NONE);
        assert_eq!(plain(KeyCode::Char('q')), Some(Key::Quit));
        assert_eq!(plain(KeyCode::Down), Some(Key::Down));
        assert_eq!(plain(KeyCode::Tab), Some(Key::NextHost));
        assert_eq!(
            pressed(KeyCode::BackTab, KeyModifiers::SHIFT),
            Some(Key::PreviousHost)
        );
        assert_eq!(plain(KeyCode::Char(' ')), Some(Key::Pause));
        assert_eq!(plain(KeyCode::Char('c')), None);
        assert_eq!(
            pressed(KeyCode::Char('c'), KeyModifiers::CONTROL),
            Some(Key::Quit)
        );
        assert_eq!(pressed(KeyCode::Char('q'), KeyModifiers::CONTROL), None);
    }
}
