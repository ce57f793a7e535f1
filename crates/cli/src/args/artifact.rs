//! What `artifact` takes.

use clap::{Args, Subcommand, ValueEnum};
use std::path::PathBuf;

const RESOLVE: &str = "\
Examples:
  deployctl artifact resolve registry.example.com/shop:v1.2.0
  deployctl artifact resolve shop:v1.2.0 --platform linux/arm64 --output json";
const COPY: &str = "\
Examples:
  deployctl artifact copy ci.example.com/shop:v1.2.0 prod.example.com/shop
  deployctl artifact copy ci.example.com/shop@sha256:... prod.example.com/team/shop:v1.2.0";
const PROMOTE: &str = "\
Examples:
  deployctl artifact promote registry.example.com/shop:v1.2.0 :stable --replace
  deployctl artifact promote registry.example.com/shop@sha256:... registry.example.com/prod/shop:v1.2.0";
const VERIFY: &str = "\
Examples:
  deployctl artifact verify --key cosign.pub registry.example.com/shop:v1.2.0
  deployctl artifact verify --key cosign.pub shop:v1.2.0 && deployctl deploy --env prod --all --version v1.2.0

Exit codes: 0 it is signed with this key, 2 it is not there, 3 it is not, 5 the registry cannot be reached.";
const CHECK: &str = "\
Examples:
  deployctl artifact check registry.example.com/shop:v1.2.0
  deployctl artifact check dist/shop-v1.2.0.tar.gz --target process
  deployctl artifact check shop:v1.2.0 --target docker --try
  deployctl artifact check image.tar --output sarif > artifact.sarif

Exit codes: 0 all asked for can run it (or none was asked for), 1 a target asked for cannot, 2 it is not there.";

#[derive(Subcommand)]
pub(crate) enum Artifact {
    /// Can each target run this image, package, archive or program; and what would fail?
    #[command(after_help = CHECK)]
    Check(Check),
    /// What the name of an image means now: its digest, for good.
    #[command(after_help = RESOLVE)]
    Resolve(OnPlatform),
    /// Copy an image to another repository or registry: whole, by digest, with what refers to it.
    #[command(after_help = COPY)]
    Copy(Copy),
    /// Give an image another tag or repository, without changing it.
    #[command(after_help = PROMOTE)]
    Promote(Promoted),
    /// What refers to an image: signatures, lists of parts, attestations.
    Referrers(Reference),
    /// Whether an image is signed with a key, as cosign does it.
    #[command(after_help = VERIFY)]
    Verify(Key),
}

/// An image in a registry.
#[derive(Args)]
pub(crate) struct Reference {
    /// The image: HOST/NAME:TAG or HOST/NAME@sha256:DIGEST.
    #[arg(value_name = "REF")]
    pub(crate) reference: String,
}

#[derive(Args)]
pub(crate) struct OnPlatform {
    #[command(flatten)]
    pub(crate) image: Reference,
    /// Also the digest of the image for this platform, such as linux/arm64.
    #[arg(long, value_name = "OS/ARCH")]
    pub(crate) platform: Option<deployctl_oci::Platform>,
}

#[derive(Args)]
pub(crate) struct Copy {
    /// The image.
    #[arg(value_name = "FROM")]
    pub(crate) from: String,
    /// Where to; without a tag it takes that of FROM.
    #[arg(value_name = "TO")]
    pub(crate) to: String,
    #[command(flatten)]
    pub(crate) how: How,
}

#[derive(Args)]
pub(crate) struct Promoted {
    /// The image; best by digest.
    #[arg(value_name = "REF")]
    pub(crate) from: String,
    /// Another name: :TAG in the same repository, or HOST/NAME:TAG.
    #[arg(value_name = "TO")]
    pub(crate) to: String,
    #[command(flatten)]
    pub(crate) how: How,
}

#[derive(Args)]
pub(crate) struct How {
    /// Move the tag if it means another image.
    #[arg(long)]
    pub(crate) replace: bool,
    /// Leave signatures and whatever else refers to it behind.
    #[arg(long)]
    pub(crate) only_image: bool,
}

#[derive(Args)]
pub(crate) struct Key {
    #[command(flatten)]
    pub(crate) image: Reference,
    /// The public key, in PEM.
    #[arg(long, value_name = "FILE")]
    pub(crate) key: PathBuf,
}

#[derive(Args)]
pub(crate) struct Check {
    /// An image (in a registry, or in the Docker Engine here), a folder or a file.
    #[arg(value_name = "REF|DIR|FILE")]
    pub(crate) what: String,
    /// This target must be able to run it; may be given several times. Without it all are looked at, and none must.
    #[arg(long = "target", value_name = "TARGET", value_enum)]
    pub(crate) targets: Vec<TargetName>,
    /// Start the image in the Docker Engine here, and see whether it ends on SIGTERM.
    #[arg(long = "try")]
    pub(crate) tried: bool,
    /// With --try: how long it may take to end.
    #[arg(long, value_name = "SECONDS", default_value_t = 10, requires = "tried")]
    pub(crate) within: u64,
    /// For which platform; that of this machine if not given.
    #[arg(long, value_name = "OS/ARCH")]
    pub(crate) platform: Option<deployctl_oci::Platform>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum TargetName {
    /// A process on a machine.
    Process,
    /// A container of a Docker Engine.
    Docker,
    /// A pod of Kubernetes.
    Kubernetes,
}
