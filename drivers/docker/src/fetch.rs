//! What is asked of a registry through the engine, and getting images from it.

use crate::client::{FULL, Trouble, WORK};
use crate::docker::Inner;
use crate::images::{CANNOT_HOLD, Reference};
use crate::login;
use crate::pull::{self, Asked};
use bollard::query_parameters::CreateImageOptionsBuilder;
use deployctl_core::fault::Fault;
use deployctl_core::ports::NotTaken;
use deployctl_sys::crash;
use futures_util::StreamExt;

impl Inner {
    /// The digest that a registry has under a name; else its trouble, and whether it was told who we are.
    pub(crate) async fn ask(
        &self,
        reference: &str,
        registry: &str,
    ) -> Result<Result<String, (Trouble, bool)>, NotTaken> {
        let login = self.login(registry).await?;
        let known = login.is_some();
        let client = &self.engine()?.client;
        let ask = client.call(WORK, |api| async move {
            match tokio::time::timeout(pull::ANSWER, api.inspect_registry_image(reference, login)).await {
                Ok(found) => found.map(Ok),
                Err(_) => Ok(Err(pull::slow(pull::ANSWER))),
            }
        });
        Ok(match ask.await.and_then(|found| found) {
            Ok(found) => Ok(found.descriptor.digest.unwrap_or_default()),
            Err(trouble) => Err((trouble, known)),
        })
    }

    /// Pulls the image `name`, which has this digest.
    pub(crate) async fn pull(&self, name: &str, digest: &str) -> Result<(), NotTaken> {
        let login = self.login(Reference::of(name).registry()).await?;
        let known = login.is_some();
        let client = &self.engine()?.client;
        let pull = client.call(pull::WHOLE, |api| async move {
            let options = CreateImageOptionsBuilder::new().from_image(name).build();
            let mut progress = Box::pin(api.create_image(Some(options), None, login));
            loop {
                match tokio::time::timeout(pull::STALL, progress.next()).await {
                    Ok(None) => return Ok(Ok(())),
                    Ok(Some(step)) => drop(step?),
                    Err(_) => return Ok(Err(pull::slow(pull::STALL))),
                }
            }
        });
        if let Err(trouble) = pull.await.and_then(|done| done) {
            return Err(self.not_had(name, known, trouble).await);
        }
        crash::point("docker.pulled");
        // What was pulled by us is removed by us, when nothing needs it any more.
        let there = self.inspect_image(name).await;
        let there = there.map_err(|trouble| trouble.fault(&format!("the image {name} cannot be looked at")))?;
        match there {
            Some(image) => Ok(self.hold(digest, name, &image).await.map_err(|trouble| trouble.fault(CANNOT_HOLD))?),
            None => Err(Fault::platform(format!("the image {name} was removed while it was pulled")).into()),
        }
    }

    /// Why an image cannot be had, with what there is to be done about it.
    pub(crate) async fn not_had(&self, image: &str, known: bool, trouble: Trouble) -> NotTaken {
        let is_full = matches!(&trouble, Trouble::Said { message, .. } if message.contains(FULL));
        let user = login::user();
        let asked = Asked { image, registry: Reference::of(image).registry(), known, user: &user };
        let not = match is_full {
            true => trouble.fault(&format!("the image {image} cannot be had")).into(),
            false => pull::why(&asked, trouble),
        };
        match self.disk().await {
            Ok(disk) if is_full => NotTaken { fault: not.fault.hint(disk.advice()), ..not },
            _ => not,
        }
    }
}
