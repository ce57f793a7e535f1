//! What an app says.

use super::*;

/// A thing that is deployed as one. Every key can be overridden for an environment under `in`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Settings {
    /// What runs it: `process`, a process on this machine; `docker`, a container of a Docker Engine;
    /// `compose`, the services of a Compose file there; or `kubernetes`, objects of a cluster.
    #[schemars(extend("default" = "process", "examples" = ["docker"]))]
    pub(crate) target: Option<At<TargetName>>,
    /// What a version is: a directory, a file or an archive (tar.gz, tar.zst, tar, zip), by path or by address.
    /// Relative to the project. Without it the command must be on the machine already.
    #[schemars(extend("examples" = ["dist/shop-{{ version }}.tar.gz"]))]
    pub(crate) artifact: Option<At<Either<Text, Artifact>>>,
    /// `target: docker`: what a version is: a container image, with tag or digest. Without a registry's host it is
    /// looked for in the engine first.
    #[schemars(extend("examples" = ["registry.example.com/shop:{{ version }}"]))]
    pub(crate) image: Option<At<Text>>,
    /// What makes the artifact: program and arguments. Runs only for a version that is not known yet, in a clean
    /// checkout of the revision that the version names. `target: docker`: how the image is made, `{}` by `Dockerfile`.
    #[schemars(extend("examples" = [["cargo", "build", "--release"]]))]
    pub(crate) build: Option<At<Either<Vec<At<Text>>, ImageBuild>>>,
    /// What runs: program and arguments. The program is looked up in the artifact's folder, then in `PATH`. In a
    /// container: what is given to the image's entrypoint instead of the image's own command.
    #[schemars(extend("examples" = [["./api", "--port", "{{ port }}"]]))]
    pub(crate) command: Option<At<Vec<At<Text>>>>,
    /// Environment variables, over a minimal environment: a text, or, for a process, a secret by reference. With `target:
    /// compose`: the variables of the Compose file; `VERSION` is the version if nothing else is said here.
    #[schemars(extend("examples" = [{"LOG": "info", "API_KEY": {"secret": "env:API_KEY"}}]))]
    pub(crate) env: Option<Entries<At<Either<Text, Secret>>>>,
    /// `target: docker`: secrets by reference, each a file of this name under `/run/secrets`, in memory. `target: kubernetes`:
    /// `SECRET/KEY` for each, a key of the Secret that the manifests refer to.
    #[schemars(extend("examples" = [{"api-key": "env:API_KEY"}]))]
    pub(crate) secrets: Option<Entries<At<Text>>>,
    /// `target: docker`: the port that the program listens on in its container.
    #[schemars(extend("examples" = [8080]))]
    pub(crate) port: Option<At<u32>>,
    /// `target: docker`: what is mounted: `NAME:/path` for a volume that belongs to the app in its environment,
    /// `/host/path:/path` for a folder of this machine; with `:ro` for reading only.
    #[schemars(extend("default" = [], "examples" = [["data:/var/lib/shop"]]))]
    pub(crate) volumes: Option<Vec<At<Text>>>,
    /// `target: docker`: networks of the engine, which must be there. The first one is where the app is reached.
    #[schemars(extend("default" = [], "examples" = [["backend"]]))]
    pub(crate) networks: Option<Vec<At<Text>>>,
    /// `target: docker`: whether the container's root file system is read-only.
    #[schemars(extend("default" = false, "examples" = [true]))]
    pub(crate) read_only: Option<At<bool>>,
    /// `target: docker`: folders of the container that are in memory.
    #[schemars(extend("default" = [], "examples" = [["/tmp"]]))]
    pub(crate) tmpfs: Option<Vec<At<Text>>>,
    /// `target: docker`: capabilities more or fewer than the engine's usual ones.
    #[schemars(extend("examples" = [{"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]}]))]
    pub(crate) capabilities: Option<Capabilities>,
    /// `target: compose`: the Compose file, relative to the project. Without it, the one that Docker Compose would take.
    #[schemars(extend("examples" = ["docker/docker-compose.yml"]))]
    pub(crate) file: Option<At<Text>>,
    /// `target: compose`: the Compose project's name, if not the one that Docker Compose gives it: its volumes and networks
    /// are called by it.
    #[schemars(extend("examples" = ["shop-{{ environment }}"]))]
    pub(crate) project_name: Option<At<Text>>,
    /// `target: compose`: profiles whose services are deployed too.
    #[schemars(extend("default" = [], "examples" = [["monitoring"]]))]
    pub(crate) profiles: Option<Vec<At<Text>>>,
    /// `target: compose`: images of services, where the Compose file does not say `${VERSION}` itself. `target: kubernetes`:
    /// images of containers, by their names in the manifests; what is not named keeps its own.
    #[schemars(extend("examples" = [{"web": "registry.example.com/shop:{{ version }}"}]))]
    pub(crate) images: Option<Entries<At<Text>>>,
    /// `target: kubernetes`: whether the tags of `images` are pinned to digests when a release is made. `false` leaves them as they
    /// are, for registries that only the cluster reaches.
    #[schemars(extend("default" = true, "examples" = [false]))]
    pub(crate) pin_tags: Option<At<bool>>,
    /// `target: kubernetes`: the workload whose container the commands of a deployment run as, by name, or `WORKLOAD/CONTAINER`. Needed
    /// where there are several.
    #[schemars(extend("examples" = ["web"]))]
    pub(crate) jobs_as: Option<At<Text>>,
    /// `target: kubernetes`: the directory with the manifests, relative to the project: all `.yaml`, `.yml` and `.json` files in
    /// it and below.
    #[schemars(extend("examples" = ["kubernetes/{{ environment }}"]))]
    pub(crate) manifests: Option<At<Text>>,
    /// `target: kubernetes`: the directory of a Kustomize overlay, relative to the project, instead of `manifests`.
    #[schemars(extend("examples" = ["kubernetes/overlays/{{ environment }}"]))]
    pub(crate) kustomize: Option<At<Text>>,
    /// `target: kubernetes`: a Helm chart, instead of `manifests`.
    #[schemars(extend("examples" = [{"chart": "charts/shop", "set": {"image.tag": "{{ version }}"}}]))]
    pub(crate) helm: Option<At<Helm>>,
    /// `target: kubernetes`: whether objects of these names that are there already, made with `kubectl` or Helm, are taken over.
    /// Without it, they are named and nothing is changed.
    #[schemars(extend("default" = false, "examples" = [true]))]
    pub(crate) adopt: Option<At<bool>>,
    /// `target: kubernetes`: objects, as `KIND/NAME`, that may be deleted and made anew where something changes that cannot change in
    /// place. Without it, such a change is refused.
    #[schemars(extend("default" = [], "examples" = [["Job/import", "StatefulSet/db"]]))]
    pub(crate) replace: Option<Vec<At<Text>>>,
    /// `target: kubernetes`: the context of the kubeconfig. Without it, the cluster that deployctl itself runs in.
    #[schemars(extend("examples" = ["prod-eu"]))]
    pub(crate) context: Option<At<Text>>,
    /// `target: kubernetes`: the namespace of its objects, which must be there.
    #[schemars(extend("examples" = ["shop-{{ environment }}"]))]
    pub(crate) namespace: Option<At<Text>>,
    /// `target: kubernetes`: how long an object may be in trouble that may heal by itself, such as an image that cannot be
    /// pulled.
    #[schemars(extend("default" = "60s", "examples" = ["2m"]))]
    pub(crate) patience: Option<At<SpanText>>,
    /// `target: compose`: what the file cannot say of its services.
    #[schemars(extend("examples" = [{"web": {"strategy": "blue-green"}}]))]
    pub(crate) services: Option<Entries<Service>>,
    /// `target: docker` and `compose`: whose signature the image must have: a version is taken in only if its image is signed so in its
    /// registry.
    #[schemars(extend("examples" = [{"key": "cosign.pub"}]))]
    pub(crate) verify: Option<Verify>,
    /// Values for templates, before those of the environment and the project.
    #[schemars(extend("examples" = [{"workers": 4}]))]
    pub(crate) vars: Option<Entries<At<Text>>>,
    /// The version of an app that does not change with the others; `--all` leaves it alone.
    #[schemars(extend("examples" = ["v1.0.0"]))]
    pub(crate) version: Option<At<Text>>,
    /// How many instances.
    #[schemars(extend("default" = 1, "examples" = [4]))]
    pub(crate) instances: Option<At<u32>>,
    /// Apps that must be up before, in the same environment.
    #[schemars(extend("default" = [], "examples" = [["db"]]))]
    pub(crate) depends_on: Option<Vec<At<Text>>>,
    /// Which requests it takes from the proxy; `{}` takes all.
    #[schemars(extend("examples" = [{"host": "shop.example.com"}]))]
    pub(crate) route: Option<At<Route>>,
    /// When an instance is healthy. Without it: by the image's own health check, if it has one; else when its port takes
    /// connections, or, without a port, when it stays up.
    #[schemars(extend("examples" = [{"http": "/healthz", "within": "20s"}]))]
    pub(crate) health: Option<At<Health>>,
    /// A change of data that goes with a version; runs once per release and environment, before any new instance.
    #[schemars(extend("examples" = [{"run": ["./migrate", "up"], "undo": ["./migrate", "down"]}]))]
    pub(crate) migrate: Option<At<Migrate>>,
    /// What must hold before the new version is final.
    #[schemars(extend("default" = [], "examples" = [[{"http": "/version", "expect": {"body": "{{ version }}"}}]]))]
    pub(crate) smoke: Option<Vec<At<Smoke>>>,
    /// Commands around a deployment.
    #[schemars(extend("examples" = [{"before": [["./announce", "{{ version }}"]]}]))]
    pub(crate) hooks: Option<Hooks>,
    /// How one version replaces another: a name, or a map with the name and its settings. Without it, `rolling`; for
    /// an app that uses `data`, `recreate`.
    #[schemars(extend("examples" = [{"canary": {"steps": ["10%", "50%"], "hold": "1m"}}]))]
    pub(crate) strategy: Option<At<Either<StrategyName, StrategyMap>>>,
    /// How long the old version stays warm after the new one has all traffic.
    #[schemars(extend("default" = "0s", "examples" = ["5m"]))]
    pub(crate) bake: Option<At<SpanText>>,
    /// How long requests in flight, and then the process itself, may take to finish.
    #[schemars(extend("default" = "30s", "examples" = ["10s"]))]
    pub(crate) drain: Option<At<SpanText>>,
    /// How long a deployment may take; a rollback gets the same again.
    #[schemars(extend("default" = "10m", "examples" = ["30m"]))]
    pub(crate) deadline: Option<At<SpanText>>,
    /// The user to run as, if not the engine's; in a container `NAME`, `UID` or `UID:GID`, if not the image's.
    #[schemars(extend("examples" = ["shop"]))]
    pub(crate) user: Option<At<Text>>,
    /// Limits of each instance, where the kernel allows.
    #[schemars(extend("examples" = [{"memory": "512MiB"}]))]
    pub(crate) limits: Option<Limits>,
    /// `target: process`: what happens when an instance exits by itself: it is started again, at once, then with doubling pauses.
    #[schemars(extend("examples" = [{"pause_max": "1m"}]))]
    pub(crate) restart: Option<Restart>,
    /// How much output is kept per instance.
    #[schemars(extend("default" = "16MiB", "examples" = ["64MiB"]))]
    pub(crate) log_max: Option<At<SizeText>>,
}

/// What runs an app.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub(crate) struct TargetName(pub(crate) String);

impl JsonSchema for TargetName {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "TargetName".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "enum": ["process", "docker", "compose", "kubernetes"] })
    }
}

/// Where an artifact comes from.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Artifact {
    /// A file or directory, relative to the project.
    #[schemars(extend("examples" = ["dist/shop-{{ version }}.tar.gz"]))]
    pub(crate) path: Option<At<Text>>,
    /// An `http://` or `https://` address.
    #[schemars(extend("examples" = ["https://example.com/shop-{{ version }}.tar.zst"]))]
    pub(crate) url: Option<At<Text>>,
    /// What its bytes must be: a sha256 in lower-case hex.
    #[schemars(extend("examples" = ["{{ vars.sha256 }}"]))]
    pub(crate) sha256: Option<At<Text>>,
}

/// How an image is made, by the program `docker`; it is labelled with the version, the revision and where that is from.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ImageBuild {
    /// What is given to the build, relative to the project.
    #[schemars(extend("default" = ".", "examples" = ["api"]))]
    pub(crate) context: Option<At<Text>>,
    /// The file with the instructions, relative to the project. Without it, `Dockerfile` in the context.
    #[schemars(extend("examples" = ["Dockerfile.api"]))]
    pub(crate) dockerfile: Option<At<Text>>,
    /// The stage to stop at.
    #[schemars(extend("examples" = ["runtime"]))]
    pub(crate) stage: Option<At<Text>>,
    /// Arguments of the build; whoever has the image can read them.
    #[schemars(extend("examples" = [{"PROFILE": "release"}]))]
    pub(crate) args: Option<Entries<At<Text>>>,
    /// Secrets that a step may read, with `RUN --mount=type=secret,id=NAME` as `/run/secrets/NAME`: `env:NAME`, `file:PATH` or
    /// `stdin:` for each. They are in no layer. Needs BuildKit.
    #[schemars(extend("examples" = [{"npm": "env:NPM_TOKEN"}]))]
    pub(crate) secrets: Option<Entries<At<Text>>>,
}

/// A secret, by reference.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Secret {
    /// Where the value comes from: `env:NAME`, `file:PATH` or `stdin:`.
    #[schemars(extend("examples" = ["file:/run/secrets/api-key"]))]
    pub(crate) secret: At<Text>,
}

/// What a container may do more, or less, than others.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Capabilities {
    /// Added.
    #[schemars(extend("default" = [], "examples" = [["NET_BIND_SERVICE"]]))]
    pub(crate) add: Option<Vec<At<Text>>>,
    /// Taken away; `ALL` takes all.
    #[schemars(extend("default" = [], "examples" = [["ALL"]]))]
    pub(crate) drop: Option<Vec<At<Text>>>,
}

/// Whose signature an image must have.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Verify {
    /// The public key, as `cosign generate-key-pair` writes it: a file, relative to the project, or the key itself in PEM.
    #[schemars(extend("examples" = ["cosign.pub"]))]
    pub(crate) key: At<Text>,
}

/// Limits of one instance.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Limits {
    /// Processor cores, such as `1.5`.
    #[schemars(extend("examples" = [1.5]))]
    pub(crate) cpu: Option<At<CoresText>>,
    /// Memory, such as `512MiB`.
    #[schemars(extend("examples" = ["512MiB"]))]
    pub(crate) memory: Option<At<SizeText>>,
    /// Open files.
    #[schemars(extend("examples" = [4096]))]
    pub(crate) files: Option<At<u64>>,
}

/// Restart of an instance that exits by itself.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Restart {
    /// The first pause; each one after it is twice as long.
    #[schemars(extend("default" = "100ms", "examples" = ["1s"]))]
    pub(crate) pause: Option<At<SpanText>>,
    /// The longest pause.
    #[schemars(extend("default" = "30s", "examples" = ["5m"]))]
    pub(crate) pause_max: Option<At<SpanText>>,
    /// An instance that stays up this long counts as new again.
    #[schemars(extend("default" = "30s", "examples" = ["2m"]))]
    pub(crate) reset_after: Option<At<SpanText>>,
}
