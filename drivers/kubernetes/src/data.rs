//! What holds data, or what others have in it: it stays, unless it is told to go when nothing else of the app is left.

use crate::claims::Claim;
use crate::prune::{Left, says_keep};
use crate::record::Entry;
use crate::site::Site;
use deployctl_core::driver::Data;
use deployctl_core::fault::{Fault, FaultKind};
use deployctl_kubernetes::{applyset, order, same};
use serde_json::Value;

/// What becomes of something that holds data where that is to go.
enum Fate {
    /// It is not there, or not the app's any more.
    Gone,
    Goes(Value),
    /// It stays, and why.
    Stays(String),
}

/// Something that holds data: of the inventory, or made by a StatefulSet.
struct Held {
    entry: Entry,
    made: Option<Claim>,
}

impl Held {
    fn listed(entry: Entry) -> Self {
        Self { entry, made: None }
    }

    fn made(made: Claim) -> Self {
        Self { entry: made.entry(), made: Some(made) }
    }
}

fn is_data(entry: &Entry) -> bool {
    order::is_kept(entry.name().group(), &entry.kind)
}

/// The namespace last: what is known of the app is in it.
fn ordered(mut all: Vec<Held>) -> Vec<Held> {
    all.sort_by_key(|held| held.entry.name().is_namespace());
    all
}

impl Site {
    /// What holds data of the scope, and whether it goes when that is told.
    pub(crate) async fn data(&self, deletes: bool) -> Result<Vec<Data>, Fault> {
        let Some(record) = self.record().await? else { return Ok(Vec::new()) };
        let made = match self.claims(&record).await {
            Err(fault) if fault.kind == FaultKind::Denied && !deletes => record.claims.clone(),
            made => made?,
        };
        let listed = record.all().filter(|entry| is_data(entry)).cloned().map(Held::listed);
        let all: Vec<Held> = ordered(listed.chain(made.into_iter().map(Held::made)).collect());
        if deletes {
            self.check_deletions(all.iter().map(|held| &held.entry)).await?;
        }
        let (mut found, mut going) = (Vec::new(), Vec::new());
        for held in all {
            let name = held.entry.name();
            let fate = self.fate(&held, &going).await?;
            if matches!(fate, Fate::Goes(_)) {
                going.extend(held.made);
            }
            let (line, goes) = match fate {
                Fate::Gone => continue,
                Fate::Stays(why) => (format!("keep {name}: {why}"), false),
                Fate::Goes(_) if !deletes => (format!("keep {name}: only --delete-data deletes it"), false),
                Fate::Goes(_) if name.is_namespace() => {
                    (format!("delete {name} with all that is in it, for good"), true)
                }
                Fate::Goes(_) if held.entry.kind == "CustomResourceDefinition" => {
                    (format!("delete {name} with every object of its kind, whoever made it, for good"), true)
                }
                Fate::Goes(_) => (format!("delete {name} with its data, for good"), true),
            };
            found.push(Data { line, goes });
        }
        Ok(found)
    }

    /// `going` are of the app, and go.
    async fn fate(&self, held: &Held, going: &[Claim]) -> Result<Fate, Fault> {
        let Some(there) = self.find(&held.entry).await? else { return Ok(Fate::Gone) };
        let is_ours = match &held.made {
            Some(made) => made.is(&there) && applyset::set_of(&there).is_none_or(|set| set == self.set()),
            None => applyset::stranger(&there, &self.set()).is_none(),
        };
        if !is_ours {
            return Ok(Fate::Gone);
        }
        if says_keep(&there) {
            return Ok(Fate::Stays("its chart says that it outlives its release".into()));
        }
        if !held.entry.name().is_namespace() || same::ends(&there) {
            return Ok(Fate::Goes(there));
        }
        if !self.is_made_for_it(&there) {
            return Ok(Fate::Stays("it was there before the app".into()));
        }
        Ok(match self.others_inside(going).await? {
            Some(why) => Fate::Stays(why),
            None => Fate::Goes(there),
        })
    }

    /// Tells what holds data to go.
    pub(crate) async fn take_data(&self, left: Left) -> Result<Left, Fault> {
        let (data, inventory): (Vec<_>, Vec<_>) = left.inventory.into_iter().partition(is_data);
        let made = left.claims.into_iter().map(Held::made);
        let all = ordered(data.into_iter().map(Held::listed).chain(made).collect());
        let mut left = Left { inventory, claims: Vec::new(), ..left };
        for held in all {
            // What ends is in it still.
            if !held.entry.name().is_namespace() || left.waits.is_none() {
                match self.fate(&held, &[]).await? {
                    Fate::Gone => continue,
                    Fate::Stays(_) => {}
                    Fate::Goes(there) => {
                        if !same::ends(&there) {
                            self.delete(&held.entry, &there).await?;
                        }
                        left.waits = left.waits.or_else(|| Some(format!("{} is to end", held.entry.name())));
                    }
                }
            }
            match held.made {
                Some(made) => left.claims.push(made),
                None => left.inventory.push(held.entry),
            }
        }
        Ok(left)
    }
}
