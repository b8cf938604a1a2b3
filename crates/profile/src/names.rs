use prof_model::{DsoAddr, DsoId, Reason, Resolution};

use crate::hits::Hits;
use crate::{FrameId, Profile};

const NO_MAPPING: Resolution = Resolution::Unresolved(Reason::NoMapping);
const NOT_ASKED: Resolution = Resolution::Unresolved(Reason::NoSymbol);

/// What each frame of a profile is called, or why it has no name.
///
/// Frames that are looked up at one address share the answer.
#[derive(Clone, Debug)]
pub struct Names {
    answers: Vec<Vec<Resolution>>, // as they came; the first ones are NO_MAPPING and NOT_ASKED
    by_frame: Vec<AnswerId>,
}

/// Index in the answers, and in one of these.
#[derive(Clone, Copy, Debug)]
struct AnswerId(u32, u32);

impl AnswerId {
    const NO_MAPPING: Self = Self(0, 0);
    const NOT_ASKED: Self = Self(0, 1);
}

impl Default for Names {
    fn default() -> Self {
        Self {
            answers: vec![vec![NO_MAPPING, NOT_ASKED]],
            by_frame: Vec::new(),
        }
    }
}

impl Names {
    /// Asks `resolver` once per DSO for all addresses that samples hit there. They come ascending,
    /// each once; the answers must come in the same order. An answer that is missing counts as
    /// [`Reason::NoSymbol`], and a frame outside every mapping is [`Reason::NoMapping`].
    pub fn build(
        profile: &Profile,
        resolver: impl FnMut(DsoId, &[DsoAddr]) -> Vec<Resolution>,
    ) -> Self {
        let mut names = Self::default();
        names.extend(profile, resolver);
        names
    }

    /// As [`Names::build`], asking for all DSOs at once: the answers must be in the order of the
    /// requests, too.
    pub fn build_at_once(
        profile: &Profile,
        resolver: impl FnOnce(&[(DsoId, Vec<DsoAddr>)]) -> Vec<Vec<Resolution>>,
    ) -> Self {
        let mut names = Self::default();
        names.extend_at_once(profile, resolver);
        names
    }

    /// As [`Names::build`], for the frames that `profile` has gained since the last call.
    pub fn extend(
        &mut self,
        profile: &Profile,
        mut resolver: impl FnMut(DsoId, &[DsoAddr]) -> Vec<Resolution>,
    ) {
        self.extend_at_once(profile, |requests| {
            let answers = requests.iter().map(|(dso, addrs)| resolver(*dso, addrs));
            answers.collect()
        });
    }

    /// As [`Names::build_at_once`], for the frames that `profile` has gained since the last call.
    pub fn extend_at_once(
        &mut self,
        profile: &Profile,
        resolver: impl FnOnce(&[(DsoId, Vec<DsoAddr>)]) -> Vec<Vec<Resolution>>,
    ) {
        let new = profile.frames().skip(self.by_frame.len());
        let hits = Hits::of(new.map(|(id, key)| (id, *key)));
        self.by_frame
            .resize(profile.frames().len(), AnswerId::NO_MAPPING);
        let requests = hits.requests();
        let answers = resolver(&requests).into_iter();
        let answers = answers.chain(std::iter::repeat_with(Vec::new));
        for (hits, answers) in hits.by_dso().zip(answers) {
            let group = self.answers.len() as u32;
            let ids = (0..answers.len() as u32).map(|index| AnswerId(group, index));
            let ids = ids.chain(std::iter::repeat(AnswerId::NOT_ASKED));
            let addresses = hits.chunk_by(|left, right| left.addr == right.addr);
            for (same, id) in addresses.zip(ids) {
                for hit in same {
                    self.by_frame[hit.frame.index()] = id;
                }
            }
            self.answers.push(answers);
        }
    }

    /// The answer for a frame; [`Reason::NoSymbol`] for one that came after the last look-up.
    pub fn get(&self, frame: FrameId) -> &Resolution {
        self.by_frame
            .get(frame.index())
            .map_or(&NOT_ASKED, |&AnswerId(group, index)| {
                &self.answers[group as usize][index as usize]
            })
    }

    /// How many frames have an answer.
    pub fn len(&self) -> usize {
        self.by_frame.len()
    }

    /// Whether nothing was looked up yet.
    pub fn is_empty(&self) -> bool {
        self.by_frame.is_empty()
    }
}
