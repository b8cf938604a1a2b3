//! Larger rings for large copies of stacks, once the first ones were about to be full.
//!
//! A ring cannot grow, and the kernel takes tens of milliseconds to move an event that writes from one ring to
//! another. So the events of large copies are moved while those of small ones write.

use std::time::{Duration, Instant};

use crate::open::{Instance, Opened, larger_rings};

/// The kernel waits so long, and mostly shorter, until nobody can be writing into a ring that an event has let go of.
const UNTIL_LET_GO: Duration = Duration::from_millis(100);

/// Whether the rings are to become larger.
#[derive(Debug, Default)]
pub(crate) struct Growing(State);

#[derive(Debug, Default)]
enum State {
    /// They are as large as they were opened.
    #[default]
    First,
    Wanted,
    /// The events of large copies have let go of their rings.
    LetGo(Instant),
    /// They are as large as they may be.
    Over,
}

impl Growing {
    /// Has the rings become larger, if they may and did not yet.
    pub(crate) fn want(&mut self) {
        if matches!(self.0, State::First) {
            self.0 = State::Wanted;
        }
    }

    /// Goes on, where only the events of small copies are enabled and nothing has to be done at once.
    pub(crate) fn go_on(&mut self, opened: &mut Opened) -> std::io::Result<()> {
        match self.0 {
            State::Wanted if opened.full_ring <= ring_size(opened) => self.0 = State::Over,
            State::Wanted => {
                for fd in opened.instances.iter().flat_map(Instance::not_small) {
                    fd.set_output(None)?;
                }
                self.0 = State::LetGo(Instant::now());
            }
            State::LetGo(at) if at.elapsed() >= UNTIL_LET_GO => self.finish(opened)?,
            State::First | State::LetGo(_) | State::Over => {}
        }
        Ok(())
    }

    /// The events of large copies have a ring again: to be called before they are enabled.
    pub(crate) fn finish(&mut self, opened: &mut Opened) -> std::io::Result<()> {
        let State::LetGo(_) = self.0 else {
            return Ok(());
        };
        self.0 = State::Over;
        opened.rings.extend(larger_rings(opened));
        for instance in &opened.instances {
            let mut rings = opened.rings.iter().rev(); // the larger ones first
            let ring = rings.find(|ring| ring.cpu == instance.cpu);
            for fd in instance.not_small() {
                fd.set_output(ring.map(|ring| &ring.owner))?;
            }
        }
        Ok(())
    }
}

/// Bytes of the largest ring.
pub(crate) fn ring_size(opened: &Opened) -> usize {
    let sizes = opened.rings.iter().map(|ring| ring.ring.size());
    sizes.max().unwrap_or(0)
}
