//! What is to be done next, by what the record has and what is wanted.

use crate::record::{Phase, Record};
use deployctl_core::desired::{Desired, Extent, FULL};
use deployctl_core::id::Revision;

/// What the record has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Now {
    /// What has the names, and whether all of it is applied.
    stable: Option<(Revision, bool)>,
    side: Option<Side>,
}

/// What is beside.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Side {
    revision: Revision,
    /// Whether it is made as far as it is to extend.
    made: bool,
    /// None while traffic is being led from the one to the other.
    share: Option<u32>,
    extent: Extent,
    /// Whether it is being taken away.
    going: bool,
}

/// What is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Want {
    /// What is to have the names.
    stable: Revision,
    /// What is to be beside, its share and how far it extends.
    side: Option<(Revision, u32, Extent)>,
}

/// An act. Each leads nearer, and is done again until it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Act {
    Done,
    /// What has the names becomes this, by its own rolling update.
    Bring(Revision),
    /// This comes beside, or as far as it is to be.
    Make(Revision),
    /// This share of the traffic is led to what is beside.
    Lead(u32, Extent),
    /// What is beside goes.
    Unmake,
}

impl Now {
    pub(super) fn of(record: &Record) -> Self {
        let applied = record.phase == Phase::Applied && record.version.is_some();
        let side = record.side.as_ref().map(|side| Side {
            revision: side.revision.clone(),
            made: side.phase == Phase::Applied,
            share: side.settled(),
            extent: side.extent,
            going: side.going,
        });
        Self { stable: record.revision.clone().map(|revision| (revision, applied)), side }
    }
}

impl Want {
    /// Which of the wanted revisions has the names and which is beside: as it is, as far as it is so already. None if there are more
    /// than two.
    pub(super) fn of(desired: &Desired, now: &Now) -> Option<Self> {
        let all: Vec<&Revision> = desired.parts.keys().collect();
        let (stable, side) = match all[..] {
            [one] => (one, None),
            [a, b] => {
                let is_side = |revision: &Revision| now.side.as_ref().is_some_and(|side| side.revision == *revision);
                let is_stable = |revision: &Revision| now.stable.as_ref().is_some_and(|(stable, _)| stable == revision);
                let other = |one: &Revision| if one == a { b } else { a };
                let based = desired.base.as_ref().filter(|base| *base == b).map_or(a, |_| b);
                let side = [a, b].into_iter().find(|one| is_side(one));
                let beside_stable = [a, b].into_iter().find(|one| is_stable(one)).map(other);
                let side = side.or(beside_stable).unwrap_or_else(|| other(based));
                (other(side), Some(side))
            }
            _ => return None,
        };
        let side = side.map(|side| (side.clone(), desired.weight(side), desired.extent(side)));
        Some(Self { stable: stable.clone(), side })
    }
}

/// What is to be done.
///
/// What has the names is only brought to another release in place while the other side has no traffic of it to take over, or all
/// of it: then it goes without traffic.
pub(super) fn due(now: &Now, want: &Want) -> Act {
    let stands = now.stable.as_ref() == Some(&(want.stable.clone(), true));
    let bring = || Act::Bring(want.stable.clone());
    match (&now.side, &want.side) {
        // What is there of it is no use to anybody.
        (Some(is), _) if is.going => Act::Unmake,
        (None, None) if stands => Act::Done,
        (None, Some((side, ..))) if stands => Act::Make(side.clone()),
        (None, _) => bring(),
        (Some(is), Some((side, share, extent))) if is.revision == *side => match () {
            () if !is.made => Act::Make(side.clone()),
            () if !stands && (is.share == Some(FULL) || *share < FULL) => bring(),
            () if is.share != Some(*share) || is.extent != *extent => Act::Lead(*share, *extent),
            () => Act::Done,
        },
        (Some(is), _) if !stands && is.share == Some(FULL) => bring(),
        (Some(is), _) if is.share != Some(0) => Act::Lead(0, is.extent),
        (Some(_), _) => Act::Unmake,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use deployctl_core::desired::{Part, Share};
    use deployctl_core::id::Sha256Hex;

    fn rev(n: u32) -> Revision {
        Revision { release: Sha256Hex::of(b"x"), nonce: n }
    }

    fn now(stable: Option<(u32, bool)>, side: Option<(u32, bool, Option<u32>)>) -> Now {
        let side =
            side.map(|(n, made, share)| Side { revision: rev(n), made, share, extent: Extent::Auto, going: false });
        Now { stable: stable.map(|(n, applied)| (rev(n), applied)), side }
    }

    fn want(parts: &[(u32, u32)]) -> Desired {
        let part = |(n, weight): &(u32, u32)| {
            let share = if parts.len() == 1 { Share::Unmanaged } else { Share::Weight(*weight) };
            (rev(*n), Part { extent: Extent::Auto, share })
        };
        let base = parts.first().map(|(n, _)| rev(*n));
        Desired { base, parts: parts.iter().map(part).collect() }
    }

    fn acts(stable: Option<(u32, bool)>, side: Option<(u32, bool, Option<u32>)>, parts: &[(u32, u32)]) -> Act {
        let now = now(stable, side);
        due(&now, &Want::of(&want(parts), &now).unwrap())
    }

    const ALL: u32 = FULL;

    #[test]
    fn one_release_is_brought_in_place_and_two_are_beside_each_other() {
        assert_eq!(acts(None, None, &[(1, ALL)]), Act::Bring(rev(1)));
        assert_eq!(acts(Some((1, true)), None, &[(1, ALL)]), Act::Done);
        assert_eq!(acts(Some((1, false)), None, &[(1, ALL)]), Act::Bring(rev(1)));
        assert_eq!(acts(Some((1, true)), None, &[(2, ALL)]), Act::Bring(rev(2)));
        let both = &[(1, ALL), (2, 0)];
        assert_eq!(acts(Some((1, true)), None, both), Act::Make(rev(2)));
        assert_eq!(acts(Some((1, true)), Some((2, false, Some(0))), both), Act::Make(rev(2)));
        assert_eq!(acts(Some((1, true)), Some((2, true, Some(0))), both), Act::Done);
        let switched = &[(1, 0), (2, ALL)];
        let lead = |share| Act::Lead(share, Extent::Auto);
        assert_eq!(acts(Some((1, true)), Some((2, true, Some(0))), switched), lead(ALL));
        assert_eq!(acts(Some((1, true)), Some((2, true, None)), switched), lead(ALL));
        assert_eq!(acts(Some((1, true)), Some((2, true, Some(ALL))), switched), Act::Done);
        assert_eq!(acts(Some((1, true)), Some((2, true, None)), both), lead(0), "back from half-way");
    }

    #[test]
    fn the_names_become_the_new_release_while_the_side_has_the_traffic() {
        let end = &[(2, ALL)];
        assert_eq!(acts(Some((1, true)), Some((2, true, Some(ALL))), end), Act::Bring(rev(2)));
        assert_eq!(acts(Some((2, false)), Some((2, true, Some(ALL))), end), Act::Bring(rev(2)));
        assert_eq!(acts(Some((2, true)), Some((2, true, Some(ALL))), end), Act::Lead(0, Extent::Auto));
        assert_eq!(acts(Some((2, true)), Some((2, true, None)), end), Act::Lead(0, Extent::Auto));
        assert_eq!(acts(Some((2, true)), Some((2, true, Some(0))), end), Act::Unmake);
        assert_eq!(acts(Some((2, true)), None, end), Act::Done);
    }

    #[test]
    fn on_the_way_back_traffic_moves_first_and_then_the_side_goes() {
        let end = &[(1, ALL)];
        assert_eq!(acts(Some((1, true)), Some((2, true, Some(ALL))), end), Act::Lead(0, Extent::Auto));
        assert_eq!(acts(Some((1, true)), Some((2, false, Some(0))), end), Act::Unmake);
        assert_eq!(acts(Some((1, true)), Some((2, true, None)), end), Act::Lead(0, Extent::Auto));
        // From where the names were being brought to the new one: it keeps the traffic until the old one has them again.
        let both = &[(1, 0), (2, ALL)];
        assert_eq!(acts(Some((2, false)), Some((2, true, Some(ALL))), both), Act::Bring(rev(1)));
        assert_eq!(acts(Some((2, true)), Some((2, true, Some(0))), both), Act::Lead(ALL, Extent::Auto));
        assert_eq!(acts(Some((1, true)), Some((2, true, Some(ALL))), both), Act::Done);
        // And from where it had them alone: the old one comes beside.
        assert_eq!(acts(Some((2, true)), None, both), Act::Make(rev(1)));
    }

    #[test]
    fn a_third_one_comes_when_the_side_is_gone() {
        assert_eq!(acts(Some((1, true)), Some((2, true, Some(0))), &[(1, ALL), (3, 0)]), Act::Unmake);
        assert_eq!(acts(Some((1, true)), Some((2, true, Some(1_000))), &[(3, ALL)]), Act::Lead(0, Extent::Auto));
        assert_eq!(acts(Some((1, true)), Some((2, true, Some(ALL))), &[(3, ALL)]), Act::Bring(rev(3)));
        assert_eq!(Want::of(&want(&[(1, 0), (2, 0), (3, ALL)]), &now(None, None)), None);
    }

    #[test]
    fn what_is_being_taken_away_goes_whatever_is_wanted_by_now() {
        let going = |n| {
            let mut now = now(Some((2, true)), Some((n, true, Some(0))));
            now.side = now.side.map(|side| Side { going: true, ..side });
            now
        };
        for parts in [&[(2, ALL)][..], &[(1, 0), (2, ALL)], &[(1, ALL), (2, 0)], &[(1, ALL)]] {
            for n in [1, 2] {
                let now = going(n);
                assert_eq!(due(&now, &Want::of(&want(parts), &now).unwrap()), Act::Unmake, "{parts:?}");
            }
        }
    }

    /// What an act makes of it, when it is done.
    fn done(mut now: Now, act: Act) -> Now {
        match act {
            Act::Done => {}
            Act::Bring(revision) => now.stable = Some((revision, true)),
            Act::Make(revision) => {
                let (share, extent) = now.side.map_or((Some(0), Extent::Auto), |side| (side.share, side.extent));
                now.side = Some(Side { revision, made: true, share, extent, going: false });
            }
            Act::Lead(share, extent) => {
                now.side = now.side.map(|side| Side { share: Some(share), extent, ..side });
            }
            Act::Unmake => {
                assert_eq!(now.side.and_then(|side| side.share), Some(0), "nothing goes that may have traffic");
                now.side = None;
            }
        }
        now
    }

    #[test]
    fn from_whatever_is_there_it_ends_where_it_is_wanted() {
        let stables = [None, Some((1, true)), Some((1, false)), Some((2, true)), Some((2, false))];
        let shares = [None, Some(0), Some(1_000), Some(ALL)];
        let sides = (1..=3).flat_map(|n| [true, false].map(|made| (n, made)));
        let sides = sides.flat_map(|(n, made)| shares.map(|share| Some((n, made, share)))).chain([None]);
        let wants: [&[(u32, u32)]; 6] = [
            &[(1, ALL)],
            &[(2, ALL)],
            &[(1, ALL), (2, 0)],
            &[(1, 0), (2, ALL)],
            &[(1, 9_000), (2, 1_000)],
            &[(3, ALL), (2, 0)],
        ];
        for side in sides {
            for (stable, parts) in stables.iter().flat_map(|stable| wants.map(|parts| (*stable, parts))) {
                let (begun, desired) = (now(stable, side), want(parts));
                let mut now = begun.clone();
                let mut acts = 0;
                let end = loop {
                    let want = Want::of(&desired, &now).unwrap();
                    match due(&now, &want) {
                        Act::Done => break want,
                        act => now = done(now, act),
                    }
                    acts += 1;
                    assert!(acts < 9, "{begun:?} never becomes {desired:?}");
                };
                assert_eq!(now.stable, Some((end.stable, true)), "{begun:?} to {desired:?}");
                let beside = now.side.map(|side| (side.revision, side.share.unwrap(), side.extent));
                assert_eq!(beside, end.side, "{begun:?} to {desired:?}");
            }
        }
    }
}
