use std::io;
use std::time::{Duration, Instant};

use crossterm::event::{self, Event, KeyEventKind};

use crate::app::{App, Effect};
use crate::draw::draw;
use crate::terminal::Terminal;
use crate::{Request, Source};

/// The screen is drawn at most ten times a second.
const DRAW_EVERY: Duration = Duration::from_millis(100);
/// How long a signal may wait to be noticed.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// How the screens look at first.
#[derive(Clone, Debug)]
pub struct Options {
    /// Whether to use colours.
    pub color: bool,
    /// How often at most the picture is made anew.
    pub refresh: Duration,
}

/// Shows the screens until somebody quits.
///
/// # Errors
/// The terminal's: it is gone, for example.
pub fn run(source: &mut dyn Source, options: &Options) -> io::Result<()> {
    let mut terminal = Terminal::take()?;
    let mut app = App::new(source.is_live(), options.color);
    let mut drawn: Option<Instant> = None;
    let mut looked: Option<Instant> = None;
    let mut dirty = true;
    loop {
        match source.request() {
            Some(Request::Quit) => return Ok(()),
            Some(Request::Suspend) => {
                terminal.leave(|| source.stop())?;
                dirty = true;
            }
            Some(Request::Resumed) => {
                terminal.leave(|| {})?;
                dirty = true;
            }
            None => {}
        }
        let now = Instant::now();
        if let Some(news) = source.news() {
            app.tell(news, now);
            dirty = true;
        }
        if is_due(looked, options.refresh.saturating_sub(LOOK_EVERY), now)
            && app.update(source, now)
        {
            looked = Some(now);
            dirty = true;
        }
        if dirty && is_due(drawn, DRAW_EVERY, now) {
            app.find_callers(source);
            terminal.draw(|frame| draw(&mut app, frame.area(), frame.buffer_mut()))?;
            drawn = Some(now);
            dirty = false;
        }
        let wait = match drawn {
            Some(drawn) if dirty => DRAW_EVERY.saturating_sub(drawn.elapsed()),
            _ => LOOK_EVERY,
        };
        terminal.wait_for_keys(wait)?;
        // Whatever has been typed meanwhile is one drawing.
        while event::poll(Duration::ZERO)? {
            let effect = match event::read()? {
                Event::Key(key) if key.kind != KeyEventKind::Release => {
                    app.press(key, source, Instant::now())
                }
                Event::Resize(..) => Effect::None,
                _ => continue,
            };
            dirty = true;
            match effect {
                Effect::None => {}
                Effect::Quit => return Ok(()),
                Effect::Suspend => terminal.leave(|| source.stop())?,
                Effect::Redraw => terminal.clear()?,
                Effect::Copy(text) => terminal.copy(&text)?,
            }
        }
    }
}

fn is_due(last: Option<Instant>, every: Duration, now: Instant) -> bool {
    last.is_none_or(|last| now.duration_since(last) >= every)
}
