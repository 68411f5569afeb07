//! The bill of materials of something that was built: CycloneDX 1.5 in JSON (ECMA-424).
//!
//! It lists what cargo really compiled, not what the lock file holds for the whole workspace: packages whose code is in
//! the program with the scope `required`, macros and build scripts with `excluded`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::{Context, bail};
use cargo_metadata::{DependencyKind, Metadata, Package, PackageId};
use cyclonedx_bom::models::component::{Classification, Scope};
use cyclonedx_bom::models::dependency::{Dependencies, Dependency};
use cyclonedx_bom::models::external_reference::{ExternalReference, ExternalReferenceType, ExternalReferences};
use cyclonedx_bom::models::hash::{Hash, HashAlgorithm, HashValue, Hashes};
use cyclonedx_bom::models::license::{LicenseChoice, Licenses};
use cyclonedx_bom::prelude::{
    Bom, Component, Components, DateTime, Metadata as BomMetadata, NormalizedString, SpdxExpression, SpecVersion, Uri,
    UrnUuid, Validate,
};
use purl::GenericPurlBuilder;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;

use crate::build;
use crate::compile::{Built, SystemLibrary};
use crate::revision::Revision;

/// What a bill of materials is made from.
pub struct Contents<'a> {
    /// The workspace and everything that it depends on.
    pub metadata: &'a Metadata,
    /// The package that the program is built from.
    pub package: &'a Package,
    /// The program, and which packages went into it.
    pub built: &'a Built,
    /// What it was built from.
    pub revision: &'a Revision,
}

/// An image that the program is the only content of.
pub struct Container<'a> {
    /// The image's name without its tag.
    pub repository: &'a str,
    /// Its tag.
    pub version: &'a str,
    /// Its manifest's digest.
    pub digest: &'a str,
    /// What it runs on, as images call it.
    pub architecture: &'a str,
}

/// Writes the bill of materials of a program, or of the image that holds it.
///
/// # Errors
/// When the document would break a rule of the specification; nothing is written then.
pub fn write(contents: &Contents<'_>, container: Option<&Container<'_>>, path: &Path) -> anyhow::Result<()> {
    let bom = describe(contents, container, &checksums()?)?;
    let verdict = bom.validate_version(SpecVersion::V1_5);
    if !verdict.passed() {
        bail!("the bill of materials {} would not be valid: {verdict:?}", path.display());
    }
    let mut text = Vec::new();
    bom.output_as_json_v1_5(&mut text).context("writing CycloneDX")?;
    text.push(b'\n');
    fs::write(path, text).with_context(|| format!("writing {}", path.display()))
}

fn describe(
    contents: &Contents<'_>,
    container: Option<&Container<'_>>,
    checksums: &BTreeMap<(String, String), String>,
) -> anyhow::Result<Bom> {
    let Contents { metadata, package, built, revision } = contents;
    let program = program(contents)?;
    let program_reference = program.bom_ref.clone().unwrap_or_default();
    let mut components = Vec::new();
    let mut references: BTreeMap<&PackageId, String> = BTreeMap::from([(&package.id, program_reference.clone())]);
    for (ids, scope) in [(&built.linked, Scope::Required), (&built.build_time, Scope::Excluded)] {
        for id in ids.iter().filter(|id| **id != package.id) {
            let package = metadata.packages.iter().find(|package| package.id == *id);
            let package = package.with_context(|| format!("cargo built {id}, which it does not list"))?;
            let component = library(package, scope.clone(), revision, checksums)?;
            references.insert(id, component.bom_ref.clone().unwrap_or_default());
            components.push(component);
        }
    }
    let mut dependencies = edges(metadata, &references);
    for library in &built.libraries {
        let component = system_library(library)?;
        let reference = component.bom_ref.clone().unwrap_or_default();
        dependencies.entry(program_reference.clone()).or_default().insert(reference.clone());
        dependencies.insert(reference, BTreeSet::new());
        components.push(component);
    }
    let subject = match container {
        Some(container) => {
            let subject = image(container)?;
            let reference = subject.bom_ref.clone().unwrap_or_default();
            dependencies.insert(reference, BTreeSet::from([program_reference]));
            components.push(program);
            subject
        }
        None => program,
    };
    components.sort_by(|one, other| one.bom_ref.cmp(&other.bom_ref));
    let serial = serial_number(&subject, &components);
    let timestamp = revision.time.format(&Rfc3339)?;
    Ok(Bom {
        serial_number: Some(serial),
        spec_version: SpecVersion::V1_5,
        metadata: Some(BomMetadata {
            timestamp: Some(DateTime::try_from(timestamp)?),
            component: Some(subject),
            ..BomMetadata::default()
        }),
        components: Some(Components(components)),
        dependencies: Some(Dependencies(
            dependencies
                .into_iter()
                .map(|(dependency_ref, on)| Dependency { dependency_ref, dependencies: on.into_iter().collect() })
                .collect(),
        )),
        ..Bom::default()
    })
}

/// The same for the same content, and another for any other: made of a hash, where the usual random number would make
/// each build another one (RFC 9562, version 8).
fn serial_number(subject: &Component, components: &[Component]) -> UrnUuid {
    let mut hash = Sha256::new();
    for component in std::iter::once(subject).chain(components) {
        hash.update(format!("{:?} {:?}\n", component.bom_ref, component.hashes));
    }
    let hash: [u8; 32] = hash.finalize().into();
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash[..16]);
    UrnUuid(format!("urn:uuid:{}", Uuid::new_v8(bytes)))
}

fn image(container: &Container<'_>) -> anyhow::Result<Component> {
    let Container { repository, version, digest, architecture } = container;
    let name = repository.rsplit('/').next().unwrap_or(repository);
    let purl = GenericPurlBuilder::new("oci".to_owned(), name)
        .with_version(*digest)
        .with_qualifier("arch", *architecture)?
        .with_qualifier("repository_url", *repository)?
        .with_qualifier("tag", *version)?
        .build()?
        .to_string();
    Ok(Component {
        purl: purl.parse().ok(),
        ..Component::new(Classification::Container, repository, version, Some(purl))
    })
}

fn program(contents: &Contents<'_>) -> anyhow::Result<Component> {
    let Contents { package, built, revision, .. } = contents;
    let content = fs::read(&built.program).with_context(|| format!("reading {}", built.program.display()))?;
    let mut component = of_package(package, Classification::Application, revision)?;
    component.hashes = Some(sha256(hex::encode(Sha256::digest(content))));
    Ok(component)
}

fn library(
    package: &Package,
    scope: Scope,
    revision: &Revision,
    checksums: &BTreeMap<(String, String), String>,
) -> anyhow::Result<Component> {
    let mut component = of_package(package, Classification::Library, revision)?;
    let key = (package.name.to_string(), package.version.to_string());
    component.hashes = checksums.get(&key).cloned().map(sha256);
    component.scope = Some(scope);
    Ok(component)
}

fn of_package(package: &Package, kind: Classification, revision: &Revision) -> anyhow::Result<Component> {
    let version = package.version.to_string();
    let mut purl = GenericPurlBuilder::new("cargo".to_owned(), package.name.as_str()).with_version(version.as_str());
    let repository = package.repository.as_deref();
    if package.source.is_none() {
        // Our own: without the repository it would be taken for whatever has the name in the public registry.
        let place = format!("git+{}@{}", repository.unwrap_or_default(), revision.name);
        purl = purl.with_qualifier("vcs_url", place)?;
    }
    let purl = purl.build()?.to_string();
    let license = package.license.as_ref().map(|license| SpdxExpression::parse_lax(license.clone())).transpose();
    let license = license.with_context(|| format!("the licence of {}", package.name))?;
    Ok(Component {
        purl: purl.parse().ok(),
        description: package.description.as_deref().map(NormalizedString::new),
        licenses: license.map(|license| Licenses(vec![LicenseChoice::Expression(license)])),
        external_references: repository.map(|url| {
            let url = Uri::new(url);
            ExternalReferences(vec![ExternalReference::new(ExternalReferenceType::Vcs, url)])
        }),
        ..Component::new(kind, &package.name, &version, Some(purl))
    })
}

/// What the linker took from the machine and the compiler rather than from a package of cargo's.
fn system_library(library: &SystemLibrary) -> anyhow::Result<Component> {
    let SystemLibrary { name, version, license } = library;
    let purl = GenericPurlBuilder::new("generic".to_owned(), *name).with_version(version.as_str()).build()?.to_string();
    Ok(Component {
        purl: purl.parse().ok(),
        scope: Some(Scope::Required),
        licenses: Some(Licenses(vec![LicenseChoice::expression(license)])),
        ..Component::new(Classification::Library, name, version, Some(purl))
    })
}

/// Who depends on whom, among what was built.
fn edges(metadata: &Metadata, references: &BTreeMap<&PackageId, String>) -> BTreeMap<String, BTreeSet<String>> {
    let nodes = metadata.resolve.iter().flat_map(|resolve| &resolve.nodes);
    nodes
        .filter_map(|node| {
            let on = node.deps.iter().filter(|on| {
                // Older cargos do not say the kind.
                on.dep_kinds.is_empty() || on.dep_kinds.iter().any(|kind| kind.kind != DependencyKind::Development)
            });
            let on = on.filter_map(|on| references.get(&on.pkg).cloned()).collect();
            Some((references.get(&node.id)?.clone(), on))
        })
        .collect()
}

/// The checksums of the packages' archives, by name and version.
fn checksums() -> anyhow::Result<BTreeMap<(String, String), String>> {
    #[derive(Deserialize)]
    struct Lock {
        package: Vec<Locked>,
    }
    #[derive(Deserialize)]
    struct Locked {
        name: String,
        version: String,
        checksum: Option<String>,
    }
    let path = build::repository().join("Cargo.lock");
    let text = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    let lock: Lock = toml::from_str(&text).with_context(|| format!("reading {}", path.display()))?;
    let packages = lock.package.into_iter();
    Ok(packages.filter_map(|locked| Some(((locked.name, locked.version), locked.checksum?))).collect())
}

fn sha256(content: String) -> Hashes {
    Hashes(vec![Hash { alg: HashAlgorithm::SHA_256, content: HashValue(content) }])
}

#[cfg(test)]
#[path = "sbom_tests.rs"]
mod tests;
