//! Tests of the specification as its users see it.

mod it {
    mod docs;
    mod golden;
    mod init;
    mod limits;
    mod load;
    mod manifests;
    mod properties;
    mod rendered;
    mod resolve;
    mod schema;

    /// A specification of one text, in the project `/project`.
    fn parse(text: &str) -> Result<deployctl_spec::Spec, deployctl_spec::Diagnostics> {
        let source = deployctl_spec::Source { name: "deployctl.yaml".into(), text: text.into() };
        deployctl_spec::Spec::parse(std::path::Path::new("/project"), vec![source])
    }

    /// The app `api` in `dev`, at version `v1`.
    fn api(text: &str) -> deployctl_spec::ResolvedApp {
        resolved(text, "dev", "api")
    }

    fn resolved(text: &str, environment: &str, app: &str) -> deployctl_spec::ResolvedApp {
        let spec = parse(text).unwrap_or_else(|errors| panic!("{errors}"));
        resolve(&spec, environment, app)
    }

    fn resolve(spec: &deployctl_spec::Spec, environment: &str, app: &str) -> deployctl_spec::ResolvedApp {
        let region = spec.environment(environment).expect("the environment").regions[0].clone();
        let version = "v1".parse().expect("a version");
        let environment = environment.parse().expect("a name");
        let app = app.parse().expect("a name");
        let found = spec.resolve(&environment, &app, &region, Some(&version));
        found.unwrap_or_else(|errors| panic!("{errors}")).remove(0)
    }
}
