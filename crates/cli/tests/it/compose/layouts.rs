//! Projects as people lay them out.

use super::{SPEC, Shop};

/// `docker/docker-compose.yml` with a Dockerfile per role, and the data in a folder of the project.
const ROLES: &str = r#"
services:
  api:
    build: { context: .., dockerfile: docker/Dockerfile.api }
    stop_grace_period: 1s
    ports: ["127.0.0.1:PORT:8080"]
    depends_on: [db]
    secrets: [token]
    configs: [{ source: told, target: /data/told }]
    environment:
      ROLE: api
      DB_PASSWORD: ${DB_PASSWORD}
      ADMIN_PASSWORD: l1teral-pw
  db:
    build: { context: .., dockerfile: docker/Dockerfile.db }
    stop_grace_period: 1s
    volumes: ["../data:/data"]
  wrk:
    build: { context: .., dockerfile: docker/Dockerfile.wrk }
    stop_grace_period: 1s
    depends_on: [db, api]
secrets: { token: { file: ../token.txt } }
configs: { told: { content: "role of ${ROLE_NAME:-nobody}" } }
"#;

fn git(folder: &std::path::Path, args: &[&str]) {
    let mut command = std::process::Command::new("git");
    let names = ["user.name=t", "user.email=t@example.com"].iter().flat_map(|name| ["-c", name]);
    let done = command.current_dir(folder).args(names).args(args).output().expect("git");
    assert!(done.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&done.stderr));
}

#[test]
fn a_folder_with_a_dockerfile_per_role_works_as_it_stands() {
    let spec = SPEC.replace("target: compose", "target: compose, file: docker/docker-compose.yml, project_name: roles");
    let Some(mut shop) = Shop::new("roles", &spec, "docker/docker-compose.yml", ROLES) else { return };
    shop.engine.image("roles-base:1", "", &[]);
    for role in ["api", "db", "wrk"] {
        let text = format!("FROM roles-base:1\nCOPY docker/{role}.conf /app.conf\n");
        shop.world.write(&format!("p/docker/Dockerfile.{role}"), &text);
        shop.world.write(&format!("p/docker/{role}.conf"), &format!("print=I am {role}\n"));
    }
    shop.world.write("p/data/kept", "all of it");
    shop.world.write("p/token.txt", "t0ken");
    shop.world.var("DB_PASSWORD", "h8sh-h8sh");
    let folder = shop.world.project();
    git(&folder, &["init", "-q"]);
    git(&folder, &["add", "docker", "deployctl.yaml"]);
    git(&folder, &["commit", "-qm", "one"]);
    git(&folder, &["tag", "v1"]);
    shop.deploy("v1").code(0);
    assert_eq!((shop.get("/env/ROLE"), shop.get("/secret/token")), ("api".into(), "t0ken".into()));
    assert_eq!((shop.get("/env/DB_PASSWORD"), shop.get("/read/told")), ("h8sh-h8sh".into(), "role of nobody".into()));
    assert_eq!(shop.get("/env/ADMIN_PASSWORD"), "l1teral-pw");
    shop.world.write("p/docker/api.conf", "print=I am new\n");
    git(&folder, &["commit", "-qam", "two"]);
    git(&folder, &["tag", "v2"]);
    shop.deploy("v2").code(0);
    let logs = shop.world.ok("logs --env dev --app roles.api").out;
    assert!(logs.contains("I am new"), "{logs}");
    shop.world.ok("rollback --env dev --app roles");
    let logs = shop.world.ok("logs --env dev --app roles.db").out;
    assert!(logs.contains("I am db"), "{logs}");
    for (path, bytes) in shop.world.state_files() {
        let has = |secret: &[u8]| bytes.windows(secret.len()).any(|piece| piece == secret);
        assert!(!has(b"h8sh-h8sh") && !has(b"t0ken") && !has(b"l1teral-pw"), "{}", path.display());
    }
    shop.down();
    assert_eq!(shop.world.read("p/data/kept"), "all of it");
}

#[test]
fn a_dockerfile_that_cannot_be_read_is_said_with_its_line() {
    let text = "name: NAME\nservices:\n  web:\n    build: .\n";
    let Some(shop) = Shop::new("unread", SPEC, "compose.yaml", text) else { return };
    shop.world.write("p/Dockerfile", "FROM scratch\nCOPPY a b\n");
    let said = shop.world.run("deploy --env dev --app unread --version v1 --build-here");
    assert_eq!(said.code, 2, "{}", said.err);
    assert!(said.err.contains("line 2") && said.err.contains("COPPY"), "{}", said.err);
    assert!(said.last().contains("unread.web v1 could not be built"), "{}", said.err);
}

#[test]
fn a_store_that_publishes_a_port_is_recreated_in_place() {
    let text = "name: NAME\nservices:\n  db:\n    image: \"NAME:${VERSION}\"\n    ports: [\"127.0.0.1:PORT:8080\"]\n    \
                volumes: [\"data:/data\"]\n    stop_grace_period: 1s\nvolumes: { data: }\n";
    let Some(shop) = Shop::new("kept", SPEC, "compose.yaml", text) else { return };
    for version in ["v1", "v2"] {
        shop.engine.image(&format!("kept:{version}"), "", &[]);
    }
    shop.deploy("v1").code(0);
    assert_eq!(shop.get("/version"), "v1");
    shop.deploy("v2").code(0);
    assert_eq!((shop.get("/version"), shop.containers("db").len()), ("v2".into(), 1));
    shop.down();
}
