//! What holds data, or what others have in it: it stays, unless it is told to go when nothing else of the app is left.

use crate::prune::{Left, says_keep};
use crate::record::Entry;
use crate::site::Site;
use deployctl_core::driver::Data;
use deployctl_core::fault::Fault;
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

fn is_data(entry: &Entry) -> bool {
    order::is_kept(entry.name().group(), &entry.kind)
}

impl Site {
    /// What holds data of the scope, and whether it goes when that is told.
    pub(crate) async fn data(&self, deletes: bool) -> Result<Vec<Data>, Fault> {
        let Some(record) = self.record().await? else { return Ok(Vec::new()) };
        let entries: Vec<Entry> = record.all().filter(|entry| is_data(entry)).cloned().collect();
        if deletes {
            self.check_deletions(&entries).await?;
        }
        let mut found = Vec::new();
        for entry in entries {
            let name = entry.name();
            let (line, goes) = match self.fate(&entry).await? {
                Fate::Gone => continue,
                Fate::Stays(why) => (format!("keep {name}: {why}"), false),
                Fate::Goes(_) if !deletes => (format!("keep {name}: only --delete-data deletes it"), false),
                Fate::Goes(_) if name.is_namespace() => {
                    (format!("delete {name} with all that is in it, for good"), true)
                }
                Fate::Goes(_) if entry.kind == "CustomResourceDefinition" => {
                    (format!("delete {name} with every object of its kind, whoever made it, for good"), true)
                }
                Fate::Goes(_) => (format!("delete {name} with its data, for good"), true),
            };
            found.push(Data { line, goes });
        }
        Ok(found)
    }

    async fn fate(&self, entry: &Entry) -> Result<Fate, Fault> {
        let Some(there) = self.find(entry).await? else { return Ok(Fate::Gone) };
        if applyset::stranger(&there, &self.set()).is_some() {
            return Ok(Fate::Gone);
        }
        if says_keep(&there) {
            return Ok(Fate::Stays("its chart says that it outlives its release".into()));
        }
        if !entry.name().is_namespace() || same::ends(&there) {
            return Ok(Fate::Goes(there));
        }
        if !self.is_made_for_it(&there) {
            return Ok(Fate::Stays("it was there before the app".into()));
        }
        Ok(match self.others_inside().await? {
            Some(other) => Fate::Stays(format!("{other} is in it, which is not the app's")),
            None => Fate::Goes(there),
        })
    }

    /// Tells what holds data to go, the namespace last: what is known of the app is in it.
    pub(crate) async fn take_data(&self, left: Left) -> Result<Left, Fault> {
        let (spaces, rest): (Vec<_>, Vec<_>) =
            left.inventory.into_iter().partition(|entry| entry.name().is_namespace());
        let mut left = Left { inventory: Vec::new(), ..left };
        for entry in rest.into_iter().chain(spaces) {
            if !is_data(&entry) || (entry.name().is_namespace() && left.waits.is_some()) {
                left.inventory.push(entry);
                continue;
            }
            match self.fate(&entry).await? {
                Fate::Gone => continue,
                Fate::Stays(_) => {}
                Fate::Goes(there) => {
                    if !same::ends(&there) {
                        self.delete(&entry, &there).await?;
                    }
                    left.waits = left.waits.or_else(|| Some(format!("{} is to end", entry.name())));
                }
            }
            left.inventory.push(entry);
        }
        Ok(left)
    }
}
