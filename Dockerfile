# deployctl alone, for a Job in a cluster or a step of a pipeline: docs/kubernetes.md.
#   docker build -t registry.example.com/deployctl:0.1.0 .
ARG BUILDER=docker.io/library/rust:1-bookworm
# Has the C library, certificates and nothing else: no shell. Runs as user 65532.
ARG BASE=gcr.io/distroless/cc-debian12:nonroot

FROM ${BUILDER} AS build
WORKDIR /src
COPY . .
RUN cargo build --locked --release -p deployctl --bin deployctl

FROM ${BASE}
COPY --from=build /src/target/release/deployctl /usr/local/bin/deployctl
USER 65532:65532
ENTRYPOINT ["/usr/local/bin/deployctl"]
