//! The programs that the lab runs, built once from their Go modules into a cache.
//!
//! What is built stands in `e2e/components/`: one Go module each, whose `go.mod` and `go.sum` pin every version and
//! checksum. The cache is keyed by all of it, so a changed pin builds anew and an unchanged one is found at once.

mod building;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use sha2::{Digest, Sha256};

use self::building::Building;
use crate::progress::Step;

/// A Kubernetes minor version that the lab can run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum KubernetesMinor {
    /// The newest version that we support.
    #[value(name = "1.37")]
    V1_37,
    /// The oldest version that we support.
    #[value(name = "1.35")]
    V1_35,
}

impl KubernetesMinor {
    fn mod_file(self) -> &'static str {
        match self {
            Self::V1_37 => "go.mod",
            Self::V1_35 => "go-1.35.mod",
        }
    }

    /// The minor version as people write it, for example `1.37`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V1_37 => "1.37",
            Self::V1_35 => "1.35",
        }
    }
}

/// Why a component could not be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file of the module or of the cache could not be read or written.
    #[error("failed to prepare {path}: {source}")]
    Io { path: PathBuf, source: std::io::Error },
    /// The Go toolchain is missing or cannot be started.
    #[error(
        "building {component} needs the Go toolchain (1.26 or newer) as `go` in PATH: {source}; see https://go.dev/doc/install"
    )]
    GoMissing { component: &'static str, source: std::io::Error },
    /// The build failed; the compiler's own words are in the log.
    #[error("building {component} failed ({status}); the last lines of {log} are:\n{tail}")]
    Build { component: &'static str, status: std::process::ExitStatus, log: PathBuf, tail: String },
    /// A module could not be had, or is not the one whose checksum is pinned.
    #[error("downloading {module} with `go mod download` in {folder} failed: {reason}")]
    Download { module: &'static str, folder: PathBuf, reason: String },
    /// The environment asks for a Helm that there is no recipe for.
    #[error("{HELM_VERSION} is {0:?}, expected 3 or 4")]
    HelmVersion(String),
    /// `go.mod` does not require the module that the version is read from.
    #[error("{path} requires no version of {module}")]
    NoVersion { path: PathBuf, module: &'static str },
}

/// How one component is built: a module folder, what is compiled in it and under which names it is started.
struct Recipe {
    name: &'static str,
    folder: &'static str,
    mod_file: &'static str,
    /// The module whose required version is the component's.
    versioned_by: Option<&'static str>,
    /// The package pattern; `tool` means all of the module's `tool` lines.
    packages: &'static str,
    /// Other names for the one binary that the build makes.
    links: &'static [&'static str],
}

const KUBERNETES_LINKS: &[&str] =
    &["kube-apiserver", "kube-controller-manager", "kube-proxy", "kube-scheduler", "kubeadm", "kubectl", "kubelet"];

fn kubernetes(minor: KubernetesMinor) -> Recipe {
    Recipe {
        name: "kubernetes",
        folder: "kubernetes",
        mod_file: minor.mod_file(),
        versioned_by: Some("k8s.io/kubernetes"),
        packages: ".",
        links: KUBERNETES_LINKS,
    }
}

const ETCD: Recipe = Recipe {
    name: "etcd",
    folder: "etcd",
    mod_file: "go.mod",
    versioned_by: Some("go.etcd.io/etcd/server/v3"),
    packages: ".",
    links: &[],
};

const CONTAINERD: Recipe = Recipe {
    name: "containerd",
    folder: "containerd",
    mod_file: "go.mod",
    versioned_by: Some("github.com/containerd/containerd/v2"),
    packages: "tool",
    links: &[],
};

const CNI_PLUGINS: Recipe = Recipe {
    name: "CNI plugins",
    folder: "cni",
    mod_file: "go.mod",
    versioned_by: Some("github.com/containernetworking/plugins"),
    packages: "tool",
    links: &[],
};

const HELM: Recipe = Recipe {
    name: "Helm",
    folder: "helm",
    mod_file: "go.mod",
    versioned_by: Some("helm.sh/helm/v4"),
    packages: "tool",
    links: &[],
};

/// The Helm of before, which the chart is for as well.
const HELM_3: Recipe = Recipe { mod_file: "go-3.mod", versioned_by: Some("helm.sh/helm/v3"), ..HELM };

/// Which major version of Helm is used, `3` or `4`, which is the default.
const HELM_VERSION: &str = "JOIN_E2E_HELM";

const POD: Recipe = Recipe {
    name: "pod images",
    folder: "pod",
    mod_file: "go.mod",
    versioned_by: None,
    packages: ".",
    links: &["pause"],
};

/// The folders of the built programs.
#[derive(Clone, Debug)]
pub struct Components {
    /// kube-apiserver, kubelet, kubeadm and the rest, each a link to one binary.
    pub kubernetes: PathBuf,
    /// The Kubernetes version as its components report it, for example `v1.37.2`.
    pub kubernetes_version: String,
    /// etcd.
    pub etcd: PathBuf,
    /// containerd, ctr and the shim.
    pub containerd: PathBuf,
    /// ptp, host-local, loopback and portmap.
    pub cni_plugins: PathBuf,
    /// helm.
    pub helm: PathBuf,
    /// The static program inside the lab's images.
    pub pod: PathBuf,
}

/// Kubernetes' programs.
#[derive(Clone, Debug)]
pub struct Kubernetes {
    /// The folder with kube-apiserver, kubelet, kubeadm and the rest, each a link to one binary.
    pub folder: PathBuf,
    /// The version as the programs report it, for example `v1.37.2`.
    pub version: String,
}

impl Components {
    /// Finds every component in the cache, and builds those that are not there.
    ///
    /// # Errors
    /// When Go is missing, or a build fails; the cache then holds nothing new.
    pub fn build(minor: KubernetesMinor) -> Result<Self, Error> {
        let kubernetes = Self::kubernetes(minor)?;
        Ok(Self {
            kubernetes_version: kubernetes.version,
            kubernetes: kubernetes.folder,
            etcd: ETCD.build()?,
            containerd: CONTAINERD.build()?,
            cni_plugins: CNI_PLUGINS.build()?,
            helm: Self::helm()?,
            pod: POD.build()?,
        })
    }

    /// The folder of etcd alone, for who needs no cluster.
    ///
    /// # Errors
    /// When Go is missing, or the build fails.
    pub fn etcd() -> Result<PathBuf, Error> {
        ETCD.build()
    }

    /// Kubernetes' programs alone, for who needs no cluster.
    ///
    /// # Errors
    /// When Go is missing, or the build fails.
    pub fn kubernetes(minor: KubernetesMinor) -> Result<Kubernetes, Error> {
        let recipe = kubernetes(minor);
        Ok(Kubernetes { version: recipe.version()?, folder: recipe.build()? })
    }

    /// The folder of helm alone, for who needs no cluster: Helm 4, or Helm 3 where `JOIN_E2E_HELM` says so.
    ///
    /// # Errors
    /// When Go is missing, the build fails, or the variable has another value.
    pub fn helm() -> Result<PathBuf, Error> {
        match std::env::var_os(HELM_VERSION) {
            None => HELM.build(),
            Some(major) if major == "4" => HELM.build(),
            Some(major) if major == "3" => HELM_3.build(),
            Some(other) => Err(Error::HelmVersion(other.to_string_lossy().into_owned())),
        }
    }

    /// The folder with prometheus-operator's definitions of its types, `monitoring.coreos.com_<plural>.yaml` each. They
    /// are files of its module, which Go keeps in its own cache; nothing is built.
    ///
    /// # Errors
    /// When Go is missing, or the module cannot be downloaded or has another checksum.
    pub fn monitoring_definitions() -> Result<PathBuf, Error> {
        const MODULE: &str = "github.com/prometheus-operator/prometheus-operator";
        #[derive(serde::Deserialize)]
        struct Downloaded {
            #[serde(rename = "Dir")]
            folder: PathBuf,
        }
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("components/prometheus-operator");
        let mut go = Command::new("go");
        go.current_dir(&folder).args(["mod", "download", "-json", MODULE]);
        let output = go.output().map_err(|source| Error::GoMissing { component: "prometheus-operator", source })?;
        let downloaded = serde_json::from_slice::<Downloaded>(&output.stdout).map_err(|_| {
            let words = [output.stdout.as_slice(), output.stderr.as_slice()].map(String::from_utf8_lossy).concat();
            Error::Download { module: MODULE, folder, reason: words.trim().to_owned() }
        })?;
        Ok(downloaded.folder.join("example/prometheus-operator-crd"))
    }

    /// The cache folder: `$JOIN_OPERATOR_CACHE`, else `join-operator` in the user's cache folder.
    pub fn cache_folder() -> PathBuf {
        if let Some(folder) = std::env::var_os("JOIN_OPERATOR_CACHE") {
            return PathBuf::from(folder);
        }
        std::env::var_os("XDG_CACHE_HOME")
            .map(PathBuf::from)
            .or_else(|| std::env::home_dir().map(|home| home.join(".cache")))
            .unwrap_or_else(std::env::temp_dir)
            .join("join-operator")
    }
}

impl Recipe {
    fn module_folder(&self) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("components").join(self.folder)
    }

    fn version(&self) -> Result<String, Error> {
        self.versioned_by.map_or_else(|| Ok(String::new()), |module| self.required(module))
    }

    /// The version of a module that `go.mod` requires.
    fn required(&self, module: &'static str) -> Result<String, Error> {
        let path = self.module_folder().join(self.mod_file);
        let text = fs::read_to_string(&path).map_err(|source| Error::Io { path: path.clone(), source })?;
        text.lines()
            .map(|line| line.trim().trim_start_matches("require "))
            // The space keeps apart a module and the packages below it, which `tool` lines name.
            .find_map(|line| line.strip_prefix(module)?.strip_prefix(' ')?.split(' ').next().map(str::to_owned))
            .ok_or(Error::NoVersion { path, module })
    }

    /// Everything that decides what the build makes, hashed.
    fn key(&self) -> Result<String, Error> {
        let mut hash = Sha256::new();
        let sum_file = self.mod_file.replace(".mod", ".sum");
        for file in [self.mod_file, &sum_file, "main.go"] {
            let path = self.module_folder().join(file);
            if let Ok(content) = fs::read(&path) {
                hash.update(file);
                hash.update((content.len() as u64).to_be_bytes());
                hash.update(&content);
            }
        }
        hash.update(self.linker_flags()?);
        hash.update(self.packages);
        hash.update(self.links.join(" "));
        Ok(hex::encode(&hash.finalize()[..8]))
    }

    fn linker_flags(&self) -> Result<String, Error> {
        let version = self.version()?;
        let variables = match self.name {
            // Without these, kubeadm's checks of versions against each other fail.
            "kubernetes" => {
                let mut numbers = version.trim_start_matches('v').split('.');
                let package = "k8s.io/component-base/version";
                let (major, minor) = (numbers.next().unwrap_or_default(), numbers.next().unwrap_or_default());
                format!(
                    " -X {package}.gitVersion={version} -X {package}.gitMajor={major} -X {package}.gitMinor={minor} -X {package}.gitTreeState=clean"
                )
            }
            "Helm" if self.versioned_by == HELM_3.versioned_by => {
                // As Helm's own Makefile has it: without a cluster, Helm 3 takes the Kubernetes that is built into it, and
                // otherwise 1.20. Kubernetes 1.37 is version 0.37 of its libraries.
                let libraries = self.required("k8s.io/client-go")?;
                let minor = libraries.split('.').nth(1).unwrap_or_default();
                let package = "helm.sh/helm/v3/pkg";
                format!(
                    " -X helm.sh/helm/v3/internal/version.version={version} -X {package}/chartutil.k8sVersionMajor=1 -X {package}/chartutil.k8sVersionMinor={minor} -X {package}/lint/rules.k8sVersionMajor=1 -X {package}/lint/rules.k8sVersionMinor={minor}"
                )
            }
            "Helm" => format!(" -X helm.sh/helm/v4/internal/version.version={version}"),
            "containerd" => format!(" -X github.com/containerd/containerd/v2/version.Version={version}"),
            _ => String::new(),
        };
        Ok(format!("-s -w{variables}"))
    }

    /// Returns the folder with the programs, after building them there if need be.
    fn build(&self) -> Result<PathBuf, Error> {
        let version = self.version()?;
        let cache = Components::cache_folder().join("components");
        let finished = cache.join(format!("{}{}-{}", self.folder, version.replacen('v', "-", 1), self.key()?));
        if finished.is_dir() {
            return Ok(finished);
        }
        let step = Step::begin(format!("building {} {version}", self.name).trim_end().to_owned());
        let io = |path: &Path| {
            let path = path.to_owned();
            move |source| Error::Io { path, source }
        };
        fs::create_dir_all(&cache).map_err(io(&cache))?;
        // Built beside its final place and renamed when complete: a failed or killed build leaves no half-made entry.
        let building = Building::begin(&cache, self.folder).map_err(io(&cache))?;
        // Another process may have built the same while this one waited for it.
        if !finished.is_dir() {
            self.compile(building.folder(), &cache.join(format!("{}.log", self.folder)))?;
            building.finish(&finished).map_err(io(&finished))?;
        }
        step.done();
        Ok(finished)
    }

    fn compile(&self, output: &Path, log: &Path) -> Result<(), Error> {
        let io = |path: &Path| {
            let path = path.to_owned();
            move |source| Error::Io { path, source }
        };
        fs::set_permissions(output, std::os::unix::fs::PermissionsExt::from_mode(0o755)).map_err(io(output))?;
        let log_file = fs::File::create(log).map_err(io(log))?;
        let target = if self.packages == "tool" { output.to_owned() } else { output.join(self.folder) };
        let status = Command::new("go")
            .current_dir(self.module_folder())
            .env("CGO_ENABLED", "0")
            .args(["build", "-mod=readonly", "-trimpath", "-buildvcs=false"])
            .arg(format!("-modfile={}", self.mod_file))
            .args(["-ldflags", &self.linker_flags()?])
            .arg("-o")
            .arg(&target)
            .arg(self.packages)
            .stdin(std::process::Stdio::null())
            .stdout(log_file.try_clone().map_err(io(log))?)
            .stderr(log_file)
            .status()
            .map_err(|source| Error::GoMissing { component: self.name, source })?;
        if !status.success() {
            let text = fs::read_to_string(log).unwrap_or_default();
            let lines: Vec<&str> = text.lines().collect();
            let tail = lines[lines.len().saturating_sub(20)..].join("\n");
            return Err(Error::Build { component: self.name, status, log: log.to_owned(), tail });
        }
        for link in self.links {
            let link = output.join(link);
            symlink(self.folder, &link).map_err(io(&link))?;
        }
        Ok(())
    }
}
