//! Who fetches what: pure bookkeeping over pieces and sources. Time is an argument.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::PieceRef;
use crate::model::{Code, Error};
use crate::node::limits::{BACK_OFF, BACK_OFF_MOST, PIECE_TRIES, REQUEST_BYTES, REQUEST_BYTES_MOST};

/// The state of one download.
pub(super) struct Board {
    pieces: Arc<[PieceRef]>,
    marks: Vec<Mark>,
    /// No piece before this one is missing.
    cursor: usize,
    /// Bytes that are there.
    done: u64,
    sources: Vec<Standing>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mark {
    Missing,
    /// A lane fetches it.
    Claimed,
    /// In the file, and verified.
    There,
}

/// How a source has done so far.
struct Standing {
    /// Sources of a higher number are asked only while none of a lower one can be.
    tier: usize,
    lanes: usize,
    /// Pieces that it sent with other bytes than their hash says.
    wrong: Vec<usize>,
    /// Bytes of its next request.
    span: u64,
    pause: Duration,
    rests_until: Option<Instant>,
    /// It answers with the whole package: one lane is all it is good for.
    whole: bool,
    last: Option<Error>,
    is_out: bool,
}

/// What a lane does next.
#[derive(Debug)]
pub(super) enum Next {
    Fetch(Grip),
    /// At this time, or when something has changed.
    Wait(Option<Instant>),
    Done,
    /// No source is left.
    Nobody(Error),
}

/// What a lane has taken upon itself.
#[derive(Debug)]
pub(super) struct Grip {
    pub(super) source: usize,
    /// Adjacent pieces, all of them missing.
    pub(super) pieces: Range<usize>,
    /// More of them, which come on the way.
    extra: Vec<usize>,
    /// Whether it has brought anything yet.
    is_fruitful: bool,
}

impl Board {
    /// `missing` says of each piece whether it is; `tiers` of each source when it is asked.
    pub(super) fn new(pieces: Arc<[PieceRef]>, missing: &[bool], tiers: impl IntoIterator<Item = usize>) -> Self {
        let marks = missing.iter().map(|missing| if *missing { Mark::Missing } else { Mark::There }).collect();
        let there = pieces.iter().zip(missing).filter(|(_, missing)| !**missing);
        let done = there.map(|(piece, _)| piece.length).sum();
        let fresh = |tier| Standing {
            tier,
            lanes: 0,
            wrong: Vec::new(),
            span: REQUEST_BYTES,
            pause: BACK_OFF,
            rests_until: None,
            whole: false,
            last: None,
            is_out: false,
        };
        Self { pieces, marks, cursor: 0, done, sources: tiers.into_iter().map(fresh).collect() }
    }

    pub(super) fn done(&self) -> u64 {
        self.done
    }

    /// The work of a lane that has none: of the usable sources the one that the fewest lanes use.
    pub(super) fn next(&mut self, now: Instant) -> Next {
        if self.marks.iter().all(|mark| *mark == Mark::There) {
            return Next::Done;
        }
        if self.sources.iter().all(|source| source.is_out) {
            return Next::Nobody(self.fault());
        }
        let usable = (0..self.sources.len()).filter(|source| self.is_usable(*source));
        let (resting, ready): (Vec<_>, Vec<_>) =
            usable.partition(|source| self.sources[*source].rests_until.is_some_and(|until| until > now));
        let Some(source) = ready.into_iter().min_by_key(|source| self.rank(*source)) else {
            return Next::Wait(resting.iter().filter_map(|source| self.sources[*source].rests_until).min());
        };
        Next::Fetch(self.claim(source))
    }

    fn rank(&self, source: usize) -> (usize, usize, usize) {
        (self.sources[source].tier, self.sources[source].lanes, source)
    }

    /// Whether there is anything for this source to do.
    fn is_usable(&self, source: usize) -> bool {
        let standing = &self.sources[source];
        let is_taken = standing.is_out || (standing.whole && standing.lanes > 0);
        !is_taken && (self.cursor..self.marks.len()).any(|piece| self.is_claimable(source, piece))
    }

    /// A piece that came wrong from a source is for another one to send, where there is one.
    fn is_claimable(&self, source: usize, piece: usize) -> bool {
        let came_wrong = |source: &Standing| source.wrong.contains(&piece);
        self.marks[piece] == Mark::Missing
            && (!came_wrong(&self.sources[source])
                || self.sources.iter().all(|other| other.is_out || came_wrong(other)))
    }

    fn claim(&mut self, source: usize) -> Grip {
        let claimable = |piece: &usize| self.is_claimable(source, *piece);
        let first = (self.cursor..self.marks.len()).find(claimable).unwrap_or(self.cursor);
        let (mut end, mut bytes) = (first + 1, self.pieces[first].length);
        while end < self.marks.len() && claimable(&end) && bytes + self.pieces[end].length <= self.sources[source].span
        {
            bytes += self.pieces[end].length;
            end += 1;
        }
        self.marks[first..end].fill(Mark::Claimed);
        let standing = &mut self.sources[source];
        standing.lanes += 1;
        standing.rests_until = None;
        Grip { source, pieces: first..end, extra: Vec::new(), is_fruitful: false }
    }

    /// Takes one more piece, which comes by; whether it is this lane's to keep.
    pub(super) fn take_along(&mut self, grip: &mut Grip, piece: usize) -> bool {
        if grip.pieces.contains(&piece) {
            return true;
        }
        let takes = self.is_claimable(grip.source, piece);
        if takes {
            self.marks[piece] = Mark::Claimed;
            grip.extra.push(piece);
        }
        takes
    }

    /// Whether nothing from this piece on is this lane's, or could be.
    pub(super) fn is_rest_idle(&self, grip: &Grip, from: usize) -> bool {
        grip.pieces.end <= from && (from..self.marks.len()).all(|piece| !self.is_claimable(grip.source, piece))
    }

    /// A piece was verified and is in the file.
    pub(super) fn there(&mut self, grip: &mut Grip, piece: usize) {
        self.marks[piece] = Mark::There;
        self.done += self.pieces[piece].length;
        grip.is_fruitful = true;
        while self.marks.get(self.cursor) == Some(&Mark::There) {
            self.cursor += 1;
        }
    }

    /// A piece came wrong; how many have from this source. It stays claimed until the lane is through.
    pub(super) fn wrong(&mut self, grip: &Grip, piece: usize) -> usize {
        let wrong = &mut self.sources[grip.source].wrong;
        wrong.push(piece);
        wrong.len()
    }

    pub(super) fn is_whole(&mut self, grip: &Grip) {
        self.sources[grip.source].whole = true;
    }

    /// Whether somebody else could be asked.
    pub(super) fn has_others(&self, grip: &Grip) -> bool {
        self.sources.iter().enumerate().any(|(at, source)| at != grip.source && !source.is_out)
    }

    /// A lane is through with what it took, or gave up: what it did not bring is missing again.
    pub(super) fn leave(&mut self, grip: &Grip, failed: Option<Error>, now: Instant) {
        for piece in grip.pieces.clone().chain(grip.extra.iter().copied()) {
            if self.marks[piece] == Mark::Claimed {
                self.marks[piece] = Mark::Missing;
                self.cursor = self.cursor.min(piece);
            }
        }
        let standing = &mut self.sources[grip.source];
        standing.lanes -= 1;
        if grip.is_fruitful {
            standing.pause = BACK_OFF;
        }
        let Some(error) = failed else {
            standing.span = (standing.span * 2).min(REQUEST_BYTES_MOST);
            return;
        };
        standing.span /= 2;
        standing.is_out |= !passing(&error) || standing.wrong.len() >= PIECE_TRIES;
        if !grip.is_fruitful {
            standing.rests_until = Some(now + standing.pause);
            standing.pause = (standing.pause * 2).min(BACK_OFF_MOST);
        }
        standing.last = Some(error);
    }

    /// Why nothing comes: what the source that was to be asked first said last.
    pub(super) fn fault(&self) -> Error {
        let mut faults = self.sources.iter().filter_map(|source| source.last.clone());
        let Some(mut first) = faults.next() else { return Error::new(Code::Unreachable, "there is no source to ask") };
        let others = faults.count();
        if others > 0 {
            first.message.push_str(&format!("; nor does it come from {others} other sources"));
        }
        first
    }
}

/// Whether waiting can help: the source is away or out of room, and has not said no.
fn passing(error: &Error) -> bool {
    matches!(error.code, Code::Unreachable | Code::TimedOut | Code::Busy | Code::Locked)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Hash;

    const PIECE: u64 = 256 * 1024;

    fn board(pieces: usize, tiers: &[usize]) -> Board {
        let piece = |n: usize| PieceRef { offset: n as u64 * PIECE, length: PIECE, hash: Hash::of(b"") };
        Board::new((0..pieces).map(piece).collect(), &vec![true; pieces], tiers.iter().copied())
    }
    fn taken(board: &mut Board, now: Instant) -> Grip {
        match board.next(now) {
            Next::Fetch(grip) => grip,
            other => panic!("{other:?}"),
        }
    }
    fn away() -> Option<Error> {
        Some(Error::new(Code::Unreachable, "away"))
    }

    #[test]
    fn requests_grow_with_success_and_shrink_with_failure_to_one_piece() {
        let (mut board, now) = (board(200, &[0]), Instant::now());
        for length in [4, 8, 16, 32, 32] {
            let mut grip = taken(&mut board, now);
            assert_eq!(grip.pieces.len(), length);
            grip.pieces.clone().for_each(|piece| board.there(&mut grip, piece));
            board.leave(&grip, None, now);
        }
        assert_eq!(board.done(), 92 * PIECE);
        for length in [32, 16, 8, 4, 2, 1, 1] {
            let mut grip = taken(&mut board, now);
            assert_eq!(grip.pieces.len(), length);
            let first = grip.pieces.start;
            board.there(&mut grip, first);
            board.leave(&grip, away(), now);
        }
    }

    #[test]
    fn lanes_take_different_pieces_from_different_sources_and_the_last_resort_only_when_nobody_else_is_left() {
        let (mut board, now) = (board(16, &[0, 0, 1]), Instant::now());
        let (one, two, three) = (taken(&mut board, now), taken(&mut board, now), taken(&mut board, now));
        assert_eq!([one.source, two.source, three.source], [0, 1, 0]);
        assert_eq!([one.pieces, two.pieces.clone(), three.pieces], [0..4, 4..8, 8..12]);
        let refused = Error::new(Code::NotFound, "it is not here");
        board.leave(&two, Some(refused), now);
        assert_eq!(taken(&mut board, now).pieces, 4..8, "what was given back is first");
        board.sources[0].is_out = true;
        assert_eq!(taken(&mut board, now).source, 2);
        assert!(matches!(board.next(now), Next::Wait(None)), "others are at it");
        board.sources[2].is_out = true;
        assert!(matches!(board.next(now), Next::Nobody(error) if error.code == Code::NotFound));
    }

    #[test]
    fn a_source_that_brings_nothing_rests_longer_each_time_while_another_is_asked() {
        let (mut board, now) = (board(4, &[0, 1]), Instant::now());
        for pause in [1, 2, 4] {
            let grip = taken(&mut board, now);
            assert_eq!(grip.source, 0);
            board.leave(&grip, away(), now);
            assert_eq!(board.sources[0].rests_until, Some(now + BACK_OFF * pause));
            let other = taken(&mut board, now);
            assert_eq!(other.source, 1);
            board.leave(&other, away(), now);
            let Next::Wait(Some(until)) = board.next(now) else { panic!("both rest") };
            assert_eq!(until, now + BACK_OFF * pause);
            board.sources.iter_mut().for_each(|source| source.rests_until = None);
        }
    }

    #[test]
    fn a_piece_that_came_wrong_is_asked_of_another_and_its_sender_is_left_after_three() {
        let (mut board, now) = (board(4, &[0, 0]), Instant::now());
        let grip = taken(&mut board, now);
        assert_eq!(board.wrong(&grip, 0), 1);
        board.leave(&grip, None, now);
        let other = taken(&mut board, now);
        assert_eq!((other.source, other.pieces.clone()), (0, 1..4), "not the one that it sent wrong");
        assert_eq!(taken(&mut board, now).source, 1);
        board.wrong(&other, 1);
        board.wrong(&other, 2);
        board.leave(&other, away(), now);
        assert!(board.sources[0].is_out);
    }

    #[test]
    fn a_source_that_sends_all_at_once_gets_one_lane_and_leaves_others_theirs() {
        let (mut board, now) = (board(8, &[0, 1]), Instant::now());
        let mut grip = taken(&mut board, now);
        board.is_whole(&grip);
        assert!(matches!(board.next(now), Next::Fetch(other) if other.source == 1 && other.pieces == (4..8)));
        assert!(board.take_along(&mut grip, 0) && !board.take_along(&mut grip, 5));
        assert!(board.is_rest_idle(&grip, 4));
        board.leave(&grip, away(), now);
        assert_eq!(board.marks[..4], [Mark::Missing; 4]);
    }
}
