use prof_profile::{FrameId, Profile, StackId};

/// The frames of all stacks that samples have, those of one stack one after the other.
#[derive(Debug, Default)]
pub(crate) struct FlatStacks {
    frames: Vec<FrameId>,
    ends: Vec<usize>,  // in `frames`, of the first stack, the second one ...
    numbers: Vec<u32>, // by stack: which one it is, from 1; 0 if no sample has it
}

impl FlatStacks {
    /// Writes them down.
    pub(crate) fn of(profile: &Profile) -> Self {
        let stacks = profile.stacks();
        let mut this = Self {
            numbers: vec![0; stacks.len()],
            ..Self::default()
        };
        for (key, _) in profile.samples() {
            let number = &mut this.numbers[key.stack.index()];
            if *number == 0 {
                this.frames.extend(stacks.frames(key.stack));
                this.ends.push(this.frames.len());
                *number = this.ends.len() as u32;
            }
        }
        this
    }

    /// How many stacks there are.
    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    /// How many frames all of them have.
    pub(crate) fn frames_in_all(&self) -> usize {
        self.frames.len()
    }

    /// Those of a stack, innermost first; none if no sample has it.
    pub(crate) fn frames(&self, stack: StackId) -> &[FrameId] {
        let number = self.numbers.get(stack.index());
        let last = match number.and_then(|&number| (number as usize).checked_sub(1)) {
            Some(index) => index,
            None => return &[],
        };
        let start = last.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.frames[start..self.ends[last]]
    }
}

#[cfg(test)]
mod tests {
    use prof_model::{CommId, CpuMode, Pid, Tid};
    use prof_profile::{FrameKey, Sample};

    use super::*;

    fn sample(frames: &[FrameKey]) -> Sample<'_> {
        Sample {
            event: 0,
            pid: Pid(1),
            tid: Tid(1),
            comm: None::<CommId>,
            cpu: None,
            time: None,
            period: 1,
            inner: None,
            frames,
            end: Default::default(),
        }
    }

    #[test]
    fn stacks_of_samples_have_their_frames_and_those_of_callers_alone_have_none() {
        let frame = |shown| FrameKey {
            mode: CpuMode::User,
            shown,
            ..FrameKey::default()
        };
        let mut profile = Profile::default();
        let stacks = [
            vec![frame(3), frame(1)],
            vec![frame(1)],
            vec![frame(2), frame(4), frame(1)],
        ];
        for frames in stacks.iter().chain(&stacks) {
            profile.add(&sample(frames));
        }
        let callers = profile.intern(&[frame(4), frame(1)]);
        let flat = FlatStacks::of(&profile);
        let shown = |stack| {
            let frames = flat.frames(stack).iter();
            frames
                .map(|&frame| profile.frame(frame).shown)
                .collect::<Vec<_>>()
        };
        let all: Vec<_> = profile.samples().map(|(key, _)| shown(key.stack)).collect();
        assert_eq!(all, [vec![3, 1], vec![1], vec![2, 4, 1]]);
        assert!(shown(callers).is_empty());
        assert!(shown(StackId::ROOT).is_empty());
        assert_eq!(flat.frames.len(), 6);
    }
}
